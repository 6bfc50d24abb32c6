//! `infermeter proxy --config` and `infermeter check`: several upstreams behind one port, by a file.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    thread,
    time::Duration,
};

use tokio::time::Instant;

/// Longer than anything here takes, on any machine.
const LONG: Duration = Duration::from_secs(30);

#[test]
fn a_file_puts_several_upstreams_behind_one_port() {
    let [a, b] = ["first", "second"].map(|name| engine(name, ""));
    let file = File::new(
        "right",
        &format!(
            "[[upstream]]\nname = \"a\"\nurl = \"{a}\"\nmodels = [\"m\"]\n\
             [[upstream]]\nname = \"b\"\nurl = \"{b}\"\nmodels = [\"n\"]\nvariant = \"thinking\"\n"
        ),
    );
    let by_flag = Program::start(&["--config", file.path()], &[]);
    let by_variable = Program::start(&[], &[("INFERMETER_CONFIG", file.path())]);
    for program in [by_flag, by_variable] {
        let line = &program.line;
        assert!(line.contains(&format!(" upstreams a={a} b={b} metrics http://")), "{line}");
        let (service, metrics) = (program.after("service "), program.after("metrics "));
        for (model, name) in [("m", "first"), ("n", "second"), ("n", "second")] {
            let body = format!("{{\"model\":\"{model}\"}}");
            let head = format!("POST /v1/completions HTTP/1.1\r\ncontent-length: {}", body.len());
            let answer = ask(&service, &format!("{head}\r\nHEADERS{body}"));
            assert!(answer.ends_with(&format!("\r\n\r\n{name}")), "{answer}");
        }
        let models = ask(&service, "GET /v1/models HTTP/1.1\r\nHEADERS");
        assert!(models.contains("\"m\"") && models.contains("\"n\""), "{models}");
        let page = ask(&metrics, "GET /metrics HTTP/1.1\r\nHEADERS");
        for (labels, requests) in [
            ("model_name=\"m\",upstream=\"a\",variant=\"none\"", 1),
            ("model_name=\"n\",upstream=\"b\",variant=\"thinking\"", 2),
        ] {
            let series = format!("vllm:request_total{{{labels}}} {requests}\n");
            assert!(page.contains(&series), "{series}: {page}");
        }
    }
}

/// What each tells stands beside what is measured of its requests.
#[test]
fn the_page_of_each_engine_is_read() {
    let running = |name: &str| format!("{name}{{engine=\"0\",model_name=\"m\"}} 3\n");
    let (a, b) = (running("vllm:num_requests_running"), running("sglang:num_running_reqs"));
    let [a, b] = [a, b].map(|page| engine(page.leak(), ""));
    let text = format!(
        "[[upstream]]\nname = \"a\"\nurl = \"{a}\"\nmodels = [\"m\"]\n\
         [[upstream]]\nname = \"b\"\nurl = \"http://127.0.0.1:1\"\nmodels = [\"n\"]\n\
         engine = \"sglang\"\nengine_metrics = \"{b}/page\"\nvariant = \"thinking\"\n\
         [[upstream]]\nname = \"c\"\nurl = \"http://127.0.0.1:1\"\nengine = \"none\"\n"
    );
    let file = File::new("pages", &text);
    let program = Program::start(&["--config", file.path()], &[]);
    let metrics = program.after("metrics ");
    let expected = [
        "vllm:num_requests_running{model_name=\"m\",engine=\"0\",upstream=\"a\",variant=\"none\"} 3.0\n",
        "vllm:num_requests_running{model_name=\"m\",engine=\"0\",upstream=\"b\",variant=\"thinking\"} 3.0\n",
        "sglang:num_running_reqs{engine=\"0\",model_name=\"m\",upstream=\"b\",variant=\"thinking\"} 3\n",
        "infermeter_source_up{source=\"engine:a\"} 1.0\n",
        "infermeter_source_up{source=\"engine:b\"} 1.0\n",
    ];
    let end = Instant::now() + LONG;
    loop {
        let page = ask(&metrics, "GET /metrics HTTP/1.1\r\nHEADERS");
        let missing = expected.iter().find(|line| !page.contains(**line));
        let Some(missing) = missing else {
            assert!(!page.contains("engine:c"), "{page}");
            break;
        };
        assert!(Instant::now() < end, "{missing} is missing: {page}");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn the_log_tells_once_of_a_model_that_two_upstreams_list() {
    let [a, b] = ["first", "second"].map(|name| engine(name, "{\"data\":[{\"id\":\"m\"}]}"));
    let text = format!(
        "upstream = [{{ name = \"a\", url = \"{a}\" }}, {{ name = \"b\", url = \"{b}\" }}]"
    );
    let file = File::new("both", &text);
    let mut program = Program::start(&["--config", file.path()], &[]);
    let mut log = BufReader::new(program.child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let warning = log.find(|line| line.contains("another upstream")).unwrap();
    assert!(warning.contains("WARN"), "{warning}");
    assert!(warning.contains("upstream=\"b\"") && warning.contains("[\"m\"]"), "{warning}");
    drop(program);
    assert_eq!(log.find(|line| line.contains("another upstream")), None);
}

#[test]
fn check_says_what_a_file_means() {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/ab.toml");
    let checked = run(&["check", example]);
    assert!(checked.status.success(), "{checked:?}");
    let expected = "\
upstream  url                    models          page of the engine             variant
instruct  http://127.0.0.1:8002  qwen3-instruct  http://127.0.0.1:8002/metrics  instruct
thinking  http://127.0.0.1:8003  qwen3-thinking  http://127.0.0.1:8003/metrics  thinking
";
    assert_eq!(String::from_utf8(checked.stdout).unwrap(), expected);
    let file = File::new("asked", "[[upstream]]\nname = \"a\"\nurl = \"http://h\"\n");
    let checked = run(&["check", file.path()]);
    let table = String::from_utf8(checked.stdout).unwrap();
    let row = "a         http://h  asked at /v1/models  http://h/metrics\n";
    assert!(table.ends_with(row), "{table}");
}

#[test]
fn check_and_the_proxy_tell_all_that_is_wrong() {
    let file = File::new("wrong", "listen = \"x\"\n[[upstream]]\nname = \"a b\"\nurl = \"h\"\n");
    let path = file.path();
    for arguments in [&["check", path][..], &["proxy", "--config", path]] {
        let ended = run(arguments);
        let error = String::from_utf8(ended.stderr).unwrap();
        assert_eq!((ended.status.code(), ended.stdout.len()), (Some(1), 0), "{error}");
        for (line, key) in [(1, "listen"), (3, "upstream.name"), (4, "upstream.url")] {
            assert!(error.contains(&format!("{path}:{line}: {key}: ")), "{error}");
        }
    }
    let none = run(&["check", "/nowhere/a.toml"]);
    let error = String::from_utf8(none.stderr).unwrap();
    assert!(error.contains("/nowhere/a.toml: ") && error.contains("allowed is a file"), "{error}");
}

#[test]
fn labels_of_upstreams_are_not_given_to_all() {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/ab.toml");
    let ended = run(&["proxy", "--config", example, "--label", "variant=x"]);
    let error = String::from_utf8(ended.stderr).unwrap();
    assert!(ended.status.code() == Some(1) && error.contains("variant"), "{error}");
}

// === the program ===

struct Program {
    child: Child,
    line: String,
}

impl Program {
    fn start(arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_infermeter"))
            .args(["proxy", "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"])
            .args(arguments)
            .envs(variables.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { child, line }
    }

    /// The address behind a word of its first line.
    fn after(&self, word: &str) -> String {
        let (_, rest) = self.line.split_once(&format!("{word}http://")).unwrap();
        rest.split(['/', ' ']).next().unwrap().to_owned()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One that ends by itself.
fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_infermeter")).args(arguments).output().unwrap()
}

// === what is around it ===

struct File(PathBuf);

impl File {
    fn new(name: &str, text: &str) -> Self {
        let name = format!("infermeter-config-{}-{name}.toml", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::write(&path, text).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// An upstream that answers everything with its name, and says this of its models; its URL.
fn engine(name: &'static str, models: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for socket in listener.incoming() {
            let mut socket = BufReader::new(socket.unwrap());
            let (mut head, mut length) = (String::new(), 0);
            while socket.read_line(&mut head).unwrap_or(0) > 2 {}
            for line in head.lines() {
                if let Some(value) = line.strip_prefix("content-length: ") {
                    length = value.parse().unwrap();
                }
            }
            let _ = socket.read_exact(&mut vec![0; length]);
            let body = if head.starts_with("GET /v1/models ") { models } else { name };
            let length = body.len();
            let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}");
            let _ = socket.get_mut().write_all(format!("{head}\r\n\r\n{body}").as_bytes());
        }
    });
    url
}

/// Sends a request, in which the rest of the head is put in, and reads all of its answer.
fn ask(address: &str, request: &str) -> String {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(LONG)).unwrap();
    let request = request.replace("HEADERS", "host: t\r\nconnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer
}
