//! `infermeter proxy` as an operator meets it: another process, that is told by flags, variables and
//! signals.

#![cfg(unix)]

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use crate::scrape::Scrape;

/// Longer than anything here takes, on any machine.
const LONG: Duration = Duration::from_secs(30);

/// How often it is looked in that time.
const TRIES: u32 = 1500;

const TOKEN: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n";
const DONE: &str = "data: [DONE]\n\n";

// === what is said at the start ===

#[test]
fn one_line_says_where_it_listens_and_flags_and_variables_mean_the_same() {
    let upstream = Engine::start();
    let flags: &[&str] = &["--upstream", &upstream.url, "--labels", "variant=a", "--no-aliases"];
    let by_flags = Program::start(flags, &[]);
    let variables = &[
        ("INFERMETER_UPSTREAM", upstream.url.as_str()),
        ("INFERMETER_LABELS", "variant=a"),
        ("INFERMETER_NO_ALIASES", "true"),
    ];
    let by_variables = Program::start(&[], variables);
    for program in [by_flags, by_variables] {
        let (_, page) = program.page("/metrics", "");
        assert!(page.contains("variant=\"a\""), "{page}");
        assert!(!page.contains("request_queue_time_seconds"), "{page}");
        let (head, _) = get(program.service, "/hello", "");
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    }
}

#[test]
fn mistakes_end_it_with_what_is_allowed() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    for (arguments, says) in [
        (&["--upstream", "127.0.0.1:8000"][..], "http://HOST[:PORT]"),
        (&["--upstream", "http://h", "--listen", &taken], "--listen 127.0.0.1:"),
        (&["--upstream", "http://h", "--upstream-ca", "/nowhere"], "--upstream-ca /nowhere"),
        (&["--upstream", "http://h", "--upstream-ca", "/dev/null"], "BEGIN CERTIFICATE"),
        (&["--upstream", "http://h", "--metrics-token-file", "/dev/null"], "token"),
        (&["--upstream", "http://h", "--tenant-header", "x y"], "such as x-tenant"),
        (&["--upstream", "http://h", "--label", "a=1", "--label", "a=2"], "twice"),
        (&[], "--upstream"),
    ] {
        let listen = ["--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"];
        let listen = if arguments.contains(&"--listen") { &listen[2..] } else { &listen };
        let mut proxy = Command::new(env!("CARGO_BIN_EXE_infermeter"));
        let ended = proxy.arg("proxy").args(listen).args(arguments).output().unwrap();
        let error = String::from_utf8(ended.stderr).unwrap();
        assert!(!ended.status.success() && error.contains(says), "{arguments:?}: {error}");
    }
}

#[test]
fn the_metrics_can_ask_for_a_token() {
    let upstream = Engine::start();
    let file = std::env::temp_dir().join(format!("infermeter-token-{}", std::process::id()));
    fs::write(&file, "secret\n").unwrap();
    let path = file.to_str().unwrap();
    let program = Program::start(&["--upstream", &upstream.url, "--metrics-token-file", path], &[]);
    fs::remove_file(&file).unwrap();
    assert!(program.page("/metrics", "").0.starts_with("HTTP/1.1 401"));
    let (head, page) = program.page("/metrics", "authorization: Bearer secret\r\n");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(Scrape::parse(&page).sum("infermeter_build_info", &[]) == 1);
    assert!(program.page("/readyz", "").0.starts_with("HTTP/1.1 200"));
}

// === how it ends ===

#[test]
fn sigterm_lets_streams_end_and_the_last_scrape_sees_them() {
    let upstream = Engine::start();
    let mut program = Program::start(&["--upstream", &upstream.url, "--model", "tiny"], &[]);
    let mut stream = ask_for_a_stream(program.service);
    upstream.send(TOKEN);
    read_until(&mut stream, "\"a\"");

    program.signal("TERM");
    // It does not accept any more, and says so; the stream goes on.
    eventually(|| TcpStream::connect(program.service).is_err());
    let (head, ready) = program.page("/readyz", "");
    assert!(head.starts_with("HTTP/1.1 503") && ready.contains("not ready"), "{head}{ready}");
    assert_eq!(program.ended(), None);
    upstream.send(DONE);
    upstream.end();
    read_until(&mut stream, "0\r\n\r\n");

    let sees_the_end = |page: &Scrape| page.sum("vllm:request_success_total", &[]) == 1;
    eventually(|| {
        let (_, page) = program.page("/metrics", "");
        let scrape = Scrape::parse(&page);
        scrape.assert_identities();
        sees_the_end(&scrape)
    });
    // A scrape while it was ending may have come too early to be the last one.
    let _ = program.page_if_there("/metrics");
    assert!(program.wait().success());
}

#[test]
fn a_drain_has_a_limit_and_whoever_is_cut_has_failed() {
    let upstream = Engine::start();
    let arguments = ["--upstream", &upstream.url, "--model", "tiny", "--drain-timeout", "300ms"];
    let mut program = Program::start(&arguments, &[]);
    let mut stream = ask_for_a_stream(program.service);
    upstream.send(TOKEN);
    read_until(&mut stream, "\"a\"");
    program.signal("TERM");
    let mut rest = Vec::new();
    // However it is told: there is no proper end.
    let _ = stream.read_to_end(&mut rest);
    assert!(!String::from_utf8_lossy(&rest).contains("0\r\n\r\n"), "{rest:?}");
    // The client sees the end of its connection before anybody else does.
    eventually(|| {
        let (_, page) = program.page("/metrics", "");
        let scrape = Scrape::parse(&page);
        scrape.assert_identities();
        let labels = [("outcome", "failure"), ("reason", "timeout")];
        scrape.sum("infermeter_requests_total", &labels) == 1
    });
    let _ = program.page_if_there("/metrics");
    assert!(program.wait().success());
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let upstream = Engine::start();
    let mut program = Program::start(&["--upstream", &upstream.url], &[]);
    let mut stream = ask_for_a_stream(program.service);
    upstream.send(TOKEN);
    read_until(&mut stream, "\"a\"");
    program.signal("TERM");
    eventually(|| TcpStream::connect(program.service).is_err());
    program.signal("TERM");
    assert!(!program.wait().success());
}

#[test]
fn nobody_at_a_keyboard_waits_for_a_scrape() {
    let upstream = Engine::start();
    let mut program = Program::start(&["--upstream", &upstream.url], &[]);
    program.signal("INT");
    assert!(program.wait().success());
}

// === the program ===

struct Program {
    child: Child,
    service: SocketAddr,
    metrics: SocketAddr,
    _stdout: BufReader<ChildStdout>,
}

impl Program {
    fn start(arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_infermeter"))
            .args(["proxy", "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"])
            .args(["--workers", "2"])
            .args(arguments)
            .envs(variables.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let after = |word: &str| {
            let (_, rest) = line.split_once(word).unwrap();
            rest.split(['/', ' ', '\n']).next().unwrap().parse().unwrap()
        };
        let (service, metrics) = (after("service http://"), after("metrics http://"));
        Self { child, service, metrics, _stdout: stdout }
    }

    fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &id]).status().unwrap().success());
    }

    fn page(&self, path: &str, headers: &str) -> (String, String) {
        get(self.metrics, path, headers)
    }

    fn page_if_there(&self, path: &str) -> Option<()> {
        let mut socket = TcpStream::connect(self.metrics).ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).ok()?;
        socket.read_to_end(&mut Vec::new()).ok().map(|_| ())
    }

    fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    fn wait(&mut self) -> ExitStatus {
        for _ in 0..TRIES {
            if let Some(status) = self.ended() {
                return status;
            }
            thread::sleep(LONG / TRIES);
        }
        panic!("it does not end");
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

// === what is behind and before it ===

/// An upstream that streams what it is told to, to whoever posts, and answers all else at once.
struct Engine {
    url: String,
    told: mpsc::Sender<Option<&'static str>>,
}

impl Engine {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (told, orders) = mpsc::channel();
        let mut orders = Some(orders);
        thread::spawn(move || {
            for socket in listener.incoming() {
                let mut socket = socket.unwrap();
                let head = read_head(&mut socket);
                if head.starts_with("POST") {
                    let orders = orders.take().unwrap();
                    thread::spawn(move || stream(socket, &orders));
                } else {
                    let answer =
                        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
                    socket.write_all(answer.as_bytes()).unwrap();
                }
            }
        });
        Self { url, told }
    }

    fn send(&self, event: &'static str) {
        self.told.send(Some(event)).unwrap();
    }

    fn end(&self) {
        self.told.send(None).unwrap();
    }
}

fn stream(mut socket: TcpStream, orders: &mpsc::Receiver<Option<&'static str>>) {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
                transfer-encoding: chunked\r\n\r\n";
    socket.write_all(head.as_bytes()).unwrap();
    while let Ok(Some(event)) = orders.recv() {
        let chunk = format!("{:x}\r\n{event}\r\n", event.len());
        socket.write_all(chunk.as_bytes()).unwrap();
    }
    let _ = socket.write_all(b"0\r\n\r\n");
}

fn read_head(socket: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && socket.read(&mut byte).unwrap_or(0) > 0 {
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

fn ask_for_a_stream(service: SocketAddr) -> TcpStream {
    let mut socket = connect(service);
    let request = "POST /v1/chat/completions HTTP/1.1\r\nhost: t\r\ncontent-length: 15\r\n\r\n\
                   {\"stream\":true}";
    socket.write_all(request.as_bytes()).unwrap();
    socket
}

pub(super) fn get(from: SocketAddr, path: &str, headers: &str) -> (String, String) {
    let mut socket = connect(from);
    let request = format!("GET {path} HTTP/1.1\r\nhost: t\r\nconnection: close\r\n{headers}\r\n");
    socket.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (format!("{head}\r\n"), body.to_owned())
}

fn connect(to: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(to).unwrap();
    socket.set_read_timeout(Some(LONG)).unwrap();
    socket
}

fn read_until(socket: &mut TcpStream, text: &str) {
    let mut seen = Vec::new();
    let mut byte = [0];
    while !seen.ends_with(text.as_bytes()) {
        assert_eq!(socket.read(&mut byte).unwrap(), 1, "{}", String::from_utf8_lossy(&seen));
        seen.push(byte[0]);
    }
}

fn eventually(is_so: impl Fn() -> bool) {
    let comes = (0..TRIES).any(|_| {
        let is_so = is_so();
        if !is_so {
            thread::sleep(LONG / TRIES);
        }
        is_so
    });
    assert!(comes, "it never comes to that");
}
