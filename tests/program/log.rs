//! What the proxy logs: one event for each request that has failed.

use std::{
    collections::BTreeMap,
    fmt,
    future::pending,
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use infermeter::{
    Meter,
    layer::Endpoint,
    names::{self, Family},
    proxy::{Proxy, ProxyBuilder},
    record::{Collect, Series, Value},
    wire::Wire,
};
use serde_json::Value as Json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

/// Keeps the events of requests.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<Fields>>>);

/// The fields of one event, by name.
#[derive(Clone, Debug, Default)]
struct Fields(BTreeMap<&'static str, Json>);

const TARGET: &str = "infermeter::request";
const CHAT: &str = "/v1/chat/completions";
const PROMPT: &str = "the prompt of a client";
const REFUSED: &str = "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\n\
    content-length: 144\r\n\r\n{\"error\":{\"message\":\"cannot read: the prompt of a client\\n\
    FORGED\",\"type\":\"BadRequestError\",\"param\":\"messages\",\"code\":\"context_length_exceeded\"}}";

// === impl Log ===

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == TARGET
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        assert_eq!(event.metadata().name(), "request_failed");
        assert_eq!(*event.metadata().level(), Level::WARN);
        let mut fields = Fields::default();
        event.record(&mut fields);
        self.0.lock().unwrap().push(fields);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.0.insert(field.name(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name(), value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}").into());
    }
}

// === impl Fields ===

impl Fields {
    /// Takes out what differs from run to run, and gives the rest as one text.
    fn rest(mut self) -> String {
        let duration = self.0.remove("duration_seconds").unwrap();
        assert!(duration.as_f64().is_some_and(|seconds| seconds > 0.0), "{duration}");
        let text = |(name, value): (&str, Json)| match value {
            Json::String(text) => format!("{name}={text}"),
            other => format!("{name}={other}"),
        };
        self.0.into_iter().map(text).collect::<Vec<_>>().join(" ")
    }
}

/// Answers each connection with these bytes, once its request is there, and ends it.
async fn upstream(answer: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut request = vec![0; 64 * 1024];
                let mut read = 0;
                while !String::from_utf8_lossy(&request[..read]).contains(PROMPT) {
                    match socket.read(&mut request[read..]).await {
                        Ok(more) if more > 0 => read += more,
                        _ => return,
                    }
                }
                socket.write_all(answer.as_bytes()).await.unwrap();
                if answer.is_empty() {
                    pending::<()>().await;
                }
            });
        }
    });
    address
}

/// Sends a request of this head to a proxy, and reads its answer to the end.
async fn send(proxy: SocketAddr, head: &str) -> String {
    let mut socket = open(proxy, head).await;
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

async fn open(proxy: SocketAddr, head: &str) -> TcpStream {
    let mut socket = TcpStream::connect(proxy).await.unwrap();
    let body = format!(r#"{{"model":"tiny","messages":[{{"content":"{PROMPT}"}}]}}"#);
    let request = format!(
        "POST {head}\r\nhost: test\r\nconnection: close\r\nauthorization: Bearer secret\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    socket
}

/// What is logged of what `requests` do with a proxy, which is given its address.
fn logged<F: Future<Output = ()>>(
    answer: &'static str,
    set_up: impl FnOnce(ProxyBuilder) -> ProxyBuilder,
    requests: impl FnOnce(SocketAddr, Meter) -> F,
) -> Vec<Fields> {
    let log = Log::default();
    // NB: this thread's alone, and so are all tasks.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tracing::subscriber::with_default(log.clone(), || {
        runtime.block_on(async {
            let upstream = format!("http://{}", upstream(answer).await);
            let meter = Meter::new();
            let proxy = Proxy::builder(upstream).model("tiny").meter(meter.clone());
            let proxy = set_up(proxy).build().unwrap();
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let stop = async {
                requests(address, meter).await;
            };
            proxy.serve(listener, stop).await;
        });
    });
    std::mem::take(&mut *log.0.lock().unwrap())
}

/// The only event of one request.
fn logged_of(
    answer: &'static str,
    set_up: impl FnOnce(ProxyBuilder) -> ProxyBuilder,
    head: &str,
) -> String {
    let mut all = logged(answer, set_up, async |address, _| drop(send(address, head).await));
    assert_eq!(all.len(), 1, "{all:?}");
    let line = all.remove(0).rest();
    assert!(!line.contains("secret") && !line.contains('\n'), "{line}");
    line
}

const HEAD: &str =
    "/v1/chat/completions?key=secret HTTP/1.1\r\nx-request-id: r-1\r\ntraceparent: 00-a-b-01";

#[test]
fn a_refusal_of_the_engine() {
    let line = logged_of(REFUSED, |proxy| proxy, HEAD);
    assert_eq!(
        line,
        "endpoint=chat_completions error_code=context_length_exceeded error_param=messages \
         error_type=BadRequestError message=request_failed model=tiny phase=queue \
         reason=context_length request_id=r-1 status=400 traceparent=00-a-b-01"
    );
    let asks = |proxy: ProxyBuilder| proxy.failure_messages(true).tenant_header("x-tenant");
    let line = logged_of(REFUSED, asks, &format!("{HEAD}\r\nx-tenant: me"));
    assert!(line.contains("error_message=cannot read: the prompt of a client FORGED"), "{line}");
    assert!(line.contains(" tenant=me "), "{line}");
}

/// Also where the client's format is not read.
#[test]
fn what_the_proxy_refuses_itself() {
    let opaque = |proxy: ProxyBuilder| {
        proxy
            .endpoint("/opaque", Endpoint::new("opaque", Wire::opaque()))
            .max_request_body(10)
            .failure_messages(true)
    };
    for (path, endpoint) in [(CHAT, "chat_completions"), ("/opaque", "opaque")] {
        let head = format!("{path} HTTP/1.1\r\nx-request-id: r-2");
        let line = logged_of(REFUSED, opaque, &head);
        let (start, message) = line.split_once("error_message=").unwrap();
        assert_eq!(start, format!("endpoint={endpoint} error_code=request_too_large "));
        let (_, end) = message.split_once(" error_type=").unwrap();
        assert_eq!(
            end,
            "invalid_request_error message=request_failed model=tiny phase=queue \
             reason=client_error request_id=r-2 status=413"
        );
    }
    let waits = |proxy: ProxyBuilder| proxy.first_byte_timeout(Duration::from_millis(10));
    let line = logged_of("", waits, HEAD);
    assert!(line.contains("error_code=upstream_timeout error_type=upstream_error"), "{line}");
    assert!(line.contains("reason=timeout request_id=r-1 status=504"), "{line}");
}

#[test]
fn a_stream_that_fails() {
    let stream = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n\
        data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"secret\"}}]}\n\n\
        data: {\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":1}}\n\n\
        data: {\"error\":{\"message\":\"secret\",\"type\":\"InternalServerError\",\"code\":500}}\n\n\
        data: [DONE]\n\n";
    let line = logged_of(stream, |proxy| proxy, HEAD);
    let (start, end) = line.split_once(" traceparent=00-a-b-01").unwrap();
    assert_eq!(
        start,
        "endpoint=chat_completions error_code=500 error_type=InternalServerError \
         generated_tokens=1 message=request_failed model=tiny phase=decode prompt_tokens=5 \
         reason=stream_error request_id=r-1 status=200"
    );
    assert!(end.starts_with(" ttft_seconds=0."), "{end}");
}

#[test]
fn the_id_that_the_proxy_makes() {
    let mut answer = String::new();
    let sent = &mut answer;
    let all = logged(
        REFUSED,
        |proxy| proxy,
        async move |address, _| *sent = send(address, &format!("{CHAT} HTTP/1.1")).await,
    );
    let [Fields(fields)] = &all[..] else { panic!("{all:?}") };
    let id = fields["request_id"].as_str().unwrap();
    assert!(id.len() == 32 && answer.contains(&format!("x-request-id: {id}\r\n")), "{answer}");
    assert!(!fields.contains_key("traceparent"));
}

#[test]
fn successes_and_clients_that_leave_are_not_logged() {
    let whole = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
    let all = logged(whole, |proxy| proxy, async |address, _| drop(send(address, HEAD).await));
    assert!(all.is_empty(), "{all:?}");
    let all = logged(
        "",
        |proxy| proxy,
        async |address, meter| {
            let socket = open(address, HEAD).await;
            until_one(&meter, &names::REQUESTS_RECEIVED_TOTAL).await;
            drop(socket);
            until_one(&meter, &names::REQUEST_ABORTED_TOTAL).await;
        },
    );
    assert!(all.is_empty(), "{all:?}");
}

/// Waits until a request was counted.
async fn until_one(meter: &Meter, family: &'static Family) {
    let is_one = |series: &Series| matches!(series.value, Value::Counter(n) if n > 0);
    while !meter.collect().series(family).iter().any(is_one) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The line that the program logs of a refused request.
fn line_of(format: &str, messages: &str) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let upstream = runtime.block_on(upstream(REFUSED));
    let child = Command::new(env!("CARGO_BIN_EXE_infermeter"))
        .args(["proxy", "--upstream", &format!("http://{upstream}"), "--model", "tiny"])
        .args(["--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0", "--workers", "1"])
        .args(["--log", format])
        .env("INFERMETER_FAILURE_MESSAGES", messages)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut child = Running(child);
    let mut said = String::new();
    BufReader::new(child.0.stdout.take().unwrap()).read_line(&mut said).unwrap();
    let (_, address) = said.split_once("service http://").unwrap();
    let address = address.split(' ').next().unwrap().parse().unwrap();
    let answer = runtime.block_on(send(address, HEAD));
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    let mut log = BufReader::new(child.0.stderr.take().unwrap());
    loop {
        let mut line = String::new();
        assert!(log.read_line(&mut line).unwrap() > 0, "the log has ended");
        if line.contains("request_failed") {
            drop(child);
            let mut rest = String::new();
            log.read_to_string(&mut rest).unwrap();
            assert!(!rest.contains("FORGED"), "{rest}");
            return line;
        }
    }
}

#[test]
fn the_program_logs_a_line_of_json() {
    let line = line_of("json", "true");
    let line: Json = serde_json::from_str(&line).unwrap();
    for (name, value) in [
        ("level", "WARN"),
        ("target", TARGET),
        ("message", "request_failed"),
        ("request_id", "r-1"),
        ("reason", "context_length"),
        ("error_type", "BadRequestError"),
        ("error_message", "cannot read: the prompt of a client FORGED"),
    ] {
        assert_eq!(line[name], value, "{line}");
    }
    assert_eq!(line["status"], 400);
    assert!(line["duration_seconds"].as_f64().is_some() && line.get("tenant").is_none(), "{line}");
}

#[test]
fn the_program_logs_a_line_of_text() {
    let line = line_of("text", "false");
    let (_, line) = line.split_once("WARN infermeter::request: request_failed ").unwrap();
    let expected = "request_id=\"r-1\" traceparent=\"00-a-b-01\" model=\"tiny\" \
        endpoint=\"chat_completions\" phase=\"queue\" reason=\"context_length\" status=400 \
        error_type=\"BadRequestError\" error_code=\"context_length_exceeded\" \
        error_param=\"messages\" duration_seconds=";
    assert!(line.starts_with(expected), "{line}");
}
