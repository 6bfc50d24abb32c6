//! Recorded answers of real engines through the proxy: the client sees the bytes that the upstream
//! sent, and what is counted is what they tell.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]

mod support;

use std::{io, net::SocketAddr, sync::Arc};

use infermeter::{
    Meter,
    layer::Endpoint,
    proxy::{InjectUsage, Proxy},
};
use support::{hop::Got, recording::Recording, scrape::Scrape};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::oneshot,
};

/// Lines of an answer that are about one of the two connections, or the moment.
const OF_A_HOP: [&str; 5] =
    ["connection:", "keep-alive:", "transfer-encoding:", "x-request-id:", "date:"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_recording_passes_as_it_is() {
    for recording in Recording::all() {
        let (proxied, scrape) =
            through(&recording, recording.raw.len(), InjectUsage::Never, "{}").await;
        let (entry, case) = (&recording.entry, &recording.entry.file);
        assert_eq!(proxied.status, entry.status, "{case}");
        assert_eq!(proxied.complete, recording.held(recording.raw.len()).complete, "{case}");
        if proxied.complete {
            assert_eq!(text(&proxied.body), text(&recording.body()), "{case}");
        } else {
            assert!(recording.body().starts_with(&proxied.body), "{case}");
        }
        let head = text(&recording.raw[..recording.head_length]).to_ascii_lowercase();
        assert_eq!(about_the_answer(&proxied.headers), about_the_answer(&head), "{case}");

        let (outcome, reason) = entry.end.split_once('/').unwrap();
        let labels = [("model_name", "tiny"), ("outcome", outcome), ("reason", reason)];
        let seen = scrape.counted("infermeter_requests_total");
        assert_eq!(scrape.sum("infermeter_requests_total", &labels), 1, "{case}: {seen:?}");
        let count = |name| scrape.sum(name, &[]);
        assert_eq!(count("vllm:prompt_tokens_total"), entry.tells.prompt.unwrap_or(0), "{case}");
        let completion = entry.tells.completion.unwrap_or(0);
        assert_eq!(count("vllm:generation_tokens_total"), completion, "{case}");
    }
}

/// Where the upstream breaks off, the client sees that too, and one request ended badly.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_breaks_off_is_no_whole_one() {
    const CUTS: usize = 6;
    for recording in Recording::all() {
        let (length, head) = (recording.raw.len(), recording.head_length);
        let even = (1..CUTS).map(|cut| head + (length - head) * cut / CUTS);
        for cut in even.chain([head - 1, head, length - 1]) {
            let (proxied, scrape) = through(&recording, cut, InjectUsage::Never, "{}").await;
            let (held, case) =
                (recording.held(cut), format!("{} cut at {cut}", recording.entry.file));
            assert_eq!(scrape.sum("infermeter_requests_total", &[]), 1, "{case}");
            assert_eq!(scrape.in_flight(), 0, "{case}");
            // Nothing after the head, and the connection may end before it is passed on.
            let is_refused = proxied.status == 502;
            let Some(body) = held.body.filter(|body| !body.is_empty() || !is_refused) else {
                assert!(is_refused, "{case}");
                assert!(text(&proxied.body).contains("\"code\":\"upstream_closed\""), "{case}");
                continue;
            };
            assert!(body.starts_with(&proxied.body), "{case}: {proxied:?}");
            assert_eq!(proxied.complete, held.complete, "{case}");
            if !held.complete {
                assert_eq!(scrape.sum("vllm:request_success_total", &[]), 0, "{case}");
            }
        }
    }
}

/// The chunk that comes because the proxy asked for it, and nothing else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_was_asked_for_is_taken_out() {
    let mut taken_out = 0;
    for recording in Recording::openai().iter().filter(|recording| recording.is_stream()) {
        let (proxied, scrape) =
            through(recording, recording.raw.len(), InjectUsage::Always, r#"{"stream":true}"#)
                .await;
        let (case, whole) = (&recording.entry.file, recording.body());
        let is_usage =
            |event: &str| event.contains("\"choices\":[]") && event.contains("\"usage\":{");
        let expected: String =
            text(&whole).split_inclusive("\n\n").filter(|event| !is_usage(event)).collect();
        taken_out += usize::from(expected.len() < whole.len());
        // NB: vLLM writes that on its last event, which moves; the recordings in usage/ have both.
        if proxied.complete && !text(&whole).contains("system_fingerprint") {
            assert_eq!(text(&proxied.body), expected, "{case}");
        }
        // Taken out or not, it was counted.
        let completion = recording.entry.tells.completion.unwrap_or(0);
        assert_eq!(scrape.sum("vllm:generation_tokens_total", &[]), completion, "{case}");
    }
    assert!(taken_out > 10, "{taken_out}");
}

// === what they need ===

/// A request through a proxy of its own to an upstream that writes a part of a recording and closes.
async fn through(
    recording: &Recording,
    cut: usize,
    inject: InjectUsage,
    body: &str,
) -> (Got, Scrape) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = listener.local_addr().unwrap();
    let answer: Arc<[u8]> = recording.raw[..cut].into();
    let serving = tokio::spawn(serve(listener, answer));

    let meter = Meter::new();
    let path = &recording.entry.path;
    let mut proxy = Proxy::builder(format!("http://{upstream}"))
        .meter(meter.clone())
        .model("tiny")
        .inject_usage(inject);
    if recording.wire_name() != "openai" {
        proxy = proxy.endpoint(path, Endpoint::new(recording.wire_name(), recording.wire()));
    }
    let proxy = proxy.build().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let front = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let proxying = tokio::spawn(async move {
        proxy.serve(listener, async { stopped.await.unwrap_or(()) }).await;
    });

    let proxied = request(front, path, body).await;
    // The client sees the end of its connection after the proxy has seen that of the body.
    let scrape = Scrape::of(&meter);
    scrape.assert_identities();
    drop(stop);
    proxying.await.unwrap();
    serving.abort();
    (proxied, scrape)
}

async fn request(to: SocketAddr, path: &str, body: &str) -> Got {
    let mut socket = TcpStream::connect(to).await.unwrap();
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    socket.read_to_end(&mut bytes).await.unwrap();
    Got::parse(&bytes)
}

async fn serve(listener: TcpListener, answer: Arc<[u8]>) {
    loop {
        let (socket, _) = listener.accept().await.unwrap();
        tokio::spawn(write(socket, Arc::clone(&answer)));
    }
}

/// Reads a request, writes the answer, and closes. It lists no models.
async fn write(mut socket: TcpStream, answer: Arc<[u8]>) -> io::Result<()> {
    let (mut request, mut bytes) = (Vec::new(), [0; 1024]);
    while !request.ends_with(b"}") {
        let read = socket.read(&mut bytes).await?;
        request.extend_from_slice(&bytes[..read]);
        if read == 0 || request.starts_with(b"GET ") {
            return socket
                .write_all(
                    b"HTTP/1.1 404 Not Found\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
                )
                .await;
        }
    }
    socket.write_all(&answer).await?;
    socket.shutdown().await?;
    // NB: closed with something unread, the connection would be reset and lose what was written.
    while socket.read(&mut bytes).await? > 0 {}
    Ok(())
}

fn about_the_answer(head: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = head
        .lines()
        .skip(1)
        .filter(|line| !OF_A_HOP.iter().any(|name| line.starts_with(name)))
        .collect();
    lines.sort_unstable();
    lines
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}
