//! `infermeter exporter` as an operator meets it: another process, that is told by flags, variables
//! and signals.

#![cfg(unix)]

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener},
    process::{Child, Command, Stdio},
    thread,
};

use super::proxy::get;

const PAGE: &str = "# TYPE vllm:num_requests_running gauge\n\
    vllm:num_requests_running{engine=\"0\",model_name=\"m\"} 2\n\
    # TYPE vllm:generation_tokens_total counter\n\
    vllm:generation_tokens_total{engine=\"0\",model_name=\"m\"} 70\n\
    # TYPE process_open_fds gauge\n\
    process_open_fds 123456\n\
    # TYPE process_virtual_memory_bytes gauge\n\
    process_virtual_memory_bytes 123456\n";

const RUNNING: &str = "num_requests_running{model_name=\"m\",engine=\"0\",variant=\"a\"} 2.0\n";
const TOKENS: &str =
    "vllm:generation_tokens_total{engine=\"0\",model_name=\"m\",variant=\"a\"} 70\n";

/// The first page has what the engine tells.
#[test]
fn one_line_says_where_the_page_is_and_flags_and_variables_mean_the_same() {
    let engine = engine();
    let by_flags = Program::start(&["--engine-metrics", &engine, "--labels", "variant=a"], &[]);
    let by_variables = Program::start(
        &[],
        &[("INFERMETER_ENGINE_METRICS", &engine), ("INFERMETER_LABELS", "variant=a")],
    );
    for program in [by_flags, by_variables] {
        assert_eq!(program.engine, format!("{engine}/metrics"));
        let (head, page) = program.get("/metrics", "");
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert!(page.contains(&format!("vllm:{RUNNING}")), "{page}");
        assert!(page.contains(TOKENS), "{page}");
    }
}

#[test]
fn the_engines_page_can_be_left_out_and_the_names_be_others() {
    let engine = engine();
    let arguments = ["--engine-metrics", &engine, "--label", "variant=a"];
    let other = ["--engine", "vllm", "--engine-page", "off", "--metric-prefix", "llm_"];
    let variables = [
        ("INFERMETER_ENGINE", "vllm"),
        ("INFERMETER_ENGINE_PAGE", "off"),
        ("INFERMETER_METRIC_PREFIX", "llm_"),
    ];
    for program in [
        Program::start(&[arguments, [other[0], other[1], other[2], other[3]]].concat(), &[]),
        Program::start(&arguments, &variables),
    ] {
        let (_, page) = program.get("/metrics", "");
        assert!(page.contains(RUNNING) && !page.contains("generation_tokens"), "{page}");
    }
    let program = Program::start(&[&arguments[..], &other].concat(), &[]);
    let (_, page) = program.get("/metrics", "");
    assert!(page.contains(&format!("\nllm_{RUNNING}")) && !page.contains("vllm:"), "{page}");
}

#[test]
fn without_an_engine_it_runs_and_says_so() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut program = Program::start(&["--engine-metrics", &format!("http://{free}")], &[]);
    let (_, page) = program.get("/metrics", "");
    assert!(page.contains("infermeter_source_up{source=\"engine\"} 0.0\n"), "{page}");
    assert!(program.get("/readyz", "").0.starts_with("HTTP/1.1 200"));
    let told = Command::new("kill").arg(program.child.id().to_string()).status().unwrap();
    assert!(told.success() && program.child.wait().unwrap().success());
}

/// This process is the engine.
#[cfg(target_os = "linux")]
#[test]
fn the_processes_of_the_engine_are_watched_in_place_of_what_its_page_says() {
    let own = std::process::id().to_string();
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let ticks: f64 = stat.rsplit_once(") ").unwrap().1.split(' ').nth(19).unwrap().parse().unwrap();
    let boot = fs::read_to_string("/proc/stat").unwrap();
    let boot = boot.lines().find_map(|line| line.strip_prefix("btime ")).unwrap().to_owned();
    let started = boot.parse::<f64>().unwrap() + ticks / 100.0;

    let engine = engine();
    for pid in ["auto", &own] {
        let program = Program::start(&["--engine-metrics", &engine, "--engine-pid", pid], &[]);
        let (_, page) = program.get("/metrics", "");
        let value = |name: &str| -> Option<f64> {
            let mut lines =
                page.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            let value = lines.next().map(|value| value.parse().unwrap());
            assert_eq!(lines.next(), None, "{name} is there twice");
            value
        };
        assert!((value("process_start_time_seconds").unwrap() - started).abs() < 2.0, "{page}");
        assert!(value("process_resident_memory_bytes").unwrap() > 100_000.0, "{page}");
        assert!(value("process_threads").unwrap() > 1.0, "{page}");
        assert!(value("process_open_fds").unwrap() < 100_000.0, "{page}");
        // Of several processes there is no such thing, and the page's is that of one.
        assert_eq!(value("process_virtual_memory_bytes"), None);
        // The exporter itself is another one.
        let exporter = value("infermeter_process_start_time_seconds").unwrap();
        assert!(exporter > value("process_start_time_seconds").unwrap(), "{page}");
        assert!(value("infermeter_process_virtual_memory_bytes").unwrap() > 0.0, "{page}");
        for name in ["process", "infermeter_process", "engine"] {
            assert!(
                page.contains(&format!("infermeter_source_up{{source=\"{name}\"}} 1.0\n")),
                "{page}"
            );
        }
    }
    // Without it, the page is what there is.
    let (_, page) = Program::start(&["--engine-metrics", &engine], &[]).get("/metrics", "");
    assert!(page.contains("\nprocess_open_fds 123456.0\n"), "{page}");
    assert!(!page.contains("source=\"process\""), "{page}");
    assert!(page.contains("\ninfermeter_process_threads "), "{page}");
}

#[cfg(target_os = "linux")]
#[test]
fn an_engine_elsewhere_has_no_process_here() {
    // Nobody listens there, nor is it an address of this machine.
    for engine in ["http://127.0.0.1:1", "http://192.0.2.1:8000"] {
        let variables = [("INFERMETER_ENGINE_PID", "auto")];
        let (_, page) =
            Program::start(&["--engine-metrics", engine], &variables).get("/metrics", "");
        assert!(page.contains("infermeter_source_up{source=\"process\"} 0.0\n"), "{page}");
        assert!(!page.contains("\nprocess_"), "{page}");
    }
}

#[test]
fn a_token_and_mistakes() {
    let file = std::env::temp_dir().join(format!("infermeter-exporter-{}", std::process::id()));
    fs::write(&file, "secret\n").unwrap();
    let path = file.to_str().unwrap();
    let program =
        Program::start(&["--engine-metrics", &engine(), "--metrics-token-file", path], &[]);
    fs::remove_file(&file).unwrap();
    assert!(program.get("/metrics", "").0.starts_with("HTTP/1.1 401"));
    let (head, _) = program.get("/metrics", "authorization: Bearer secret\r\n");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let url = ["--engine-metrics", "http://h"];
    for (arguments, says) in [
        (vec![], "--engine-metrics"),
        (vec!["--engine-metrics", "127.0.0.1:8000"], "http://HOST[:PORT]"),
        (vec![url[0], url[1], "--engine", "ollama"], "vllm, none"),
        (vec![url[0], url[1], "--engine-pid", "vllm"], "number of a process, or auto"),
        (
            vec![url[0], url[1], "--metrics-port", "0", "--engine-pid", "4294967295"],
            "--engine-pid: process 4294967295",
        ),
        (vec!["--engine", "none", "--engine-pid", "auto"], "--engine-metrics"),
        (vec![url[0], url[1], "--metrics-port", &port], "--metrics-port 127.0.0.1:"),
        (vec![url[0], url[1], "--metrics-token-file", "/dev/null"], "token"),
        (vec![url[0], url[1], "--label", "a=1", "--label", "a=2"], "twice"),
    ] {
        let mut exporter = Command::new(env!("CARGO_BIN_EXE_infermeter"));
        let ended = exporter.arg("exporter").args(&arguments).output().unwrap();
        let error = String::from_utf8(ended.stderr).unwrap();
        assert!(!ended.status.success() && error.contains(says), "{arguments:?}: {error}");
    }
}

struct Program {
    child: Child,
    engine: String,
    page: SocketAddr,
}

// === impl Program ===

impl Program {
    fn start(arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_infermeter"))
            .args(["exporter", "--metrics-listen", "127.0.0.1:0"])
            .args(arguments)
            .envs(variables.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let mut words = line.trim_end().split(' ').skip(3).step_by(2);
        let (engine, page) = (words.next().unwrap(), words.next().unwrap());
        let page = page.strip_prefix("http://").unwrap().strip_suffix("/metrics").unwrap();
        assert!(line.starts_with("infermeter exporter: engine http://"), "{line}");
        Self { child, engine: engine.to_owned(), page: page.parse().unwrap() }
    }

    fn get(&self, path: &str, headers: &str) -> (String, String) {
        get(self.page, path, headers)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A page, whatever is asked for; the URL of it.
fn engine() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for socket in listener.incoming() {
            let mut socket = socket.unwrap();
            let mut head = [0; 4096];
            let _ = socket.read(&mut head);
            let length = PAGE.len();
            let answer = format!(
                "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{PAGE}"
            );
            let _ = socket.write_all(answer.as_bytes());
        }
    });
    url
}
