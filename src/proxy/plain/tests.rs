//! What is plain here has one meaning, and hyper finds the same.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, request::Parts};
use http_body_util::{BodyExt, Empty};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use proptest::{prelude::*, sample::select};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use super::request;

/// What comes behind the request in question, and must not be a part of it.
const NEXT: &str = "GET /next HTTP/1.1\r\nhost: b\r\nconnection: close\r\n\r\n";

/// Far longer than hyper takes.
const PATIENCE: Duration = Duration::from_secs(10);

const USUAL: [&str; 6] = [
    "accept: */*",
    "Authorization: Bearer x",
    "x-a: b",
    "x-a:",
    "X-A:  c \t",
    "connection: keep-alive",
];

const ODD: [&str; 16] = [
    "host: a",
    "Host: b",
    "content-length: 3",
    "Content-Length: 0",
    "content-length: 003",
    "content-length: 3, 3",
    "content-length: +3",
    "content-length: ",
    "transfer-encoding: chunked",
    "Transfer-Encoding: gzip, chunked",
    "connection: close",
    "expect: 100-continue",
    "upgrade: x",
    " folded: x",
    "x y: z",
    "x: \u{e9}",
];

/// A head of lines that may be odd, with line ends that may be, of which some bytes have changed.
fn heads() -> impl Strategy<Value = Vec<u8>> {
    let start = select(vec![
        "POST /x HTTP/1.1",
        "POST /x?y=%20#z HTTP/1.1",
        "GET /x HTTP/1.1",
        "GET //x HTTP/1.1",
        "POST /x HTTP/1.0",
        "HEAD /x HTTP/1.1",
        "POST http://a/x HTTP/1.1",
    ]);
    let lines = prop::collection::vec(prop_oneof![5 => select(&USUAL), 1 => select(&ODD)], 0..5);
    let end = select(vec!["\r\n", "\r\n", "\r\n", "\n"]);
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..2);
    (start, lines, end, changes).prop_map(|(start, lines, end, changes)| {
        let usual =
            ["host: a", if start.starts_with("POST") { "content-length: 3" } else { "x: y" }];
        let all: Vec<&str> =
            [start].into_iter().chain(usual).chain(lines).chain(["", ""]).collect();
        let mut head = all.join(end).into_bytes();
        for (at, byte) in changes {
            let at = at.index(head.len());
            head[at] = byte;
        }
        head
    })
}

/// The requests that hyper finds, and how long their bodies are.
async fn found_by_hyper(bytes: &[u8]) -> Vec<(Parts, usize)> {
    let found = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&found);
    let service = service_fn(move |request: Request<Incoming>| {
        let seen = Arc::clone(&seen);
        async move {
            let (head, body) = request.into_parts();
            if let Ok(body) = body.collect().await {
                seen.lock().unwrap().push((head, body.to_bytes().len()));
            }
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        }
    });
    let (mut client, server) = tokio::io::duplex(1024 * 1024);
    let serving = http1::Builder::new().serve_connection(TokioIo::new(server), service);
    let asking = async {
        client.write_all(bytes).await.unwrap();
        let _ = client.read_to_end(&mut Vec::new()).await;
    };
    let both = async { tokio::join!(serving, asking) };
    let _ = timeout(PATIENCE, both).await.expect("hyper waits for more");
    let mut found = found.lock().unwrap();
    std::mem::take(&mut *found)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]
    #[test]
    fn hyper_finds_the_same(head in heads()) {
        let bytes = Bytes::from([&head[..], b"abc", NEXT.as_bytes()].concat());
        let Some(plain) = request::read(&bytes) else { return Ok(()) };
        // NB: a head may be shorter than was meant, and the body of any length.
        let all = [&bytes[..], &b" ".repeat(plain.body.min(9999) as usize)].concat();
        let behind = plain.length + plain.body as usize;
        prop_assume!(behind <= all.len());
        let all = [&all[..behind], NEXT.as_bytes()].concat();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let found = runtime.block_on(found_by_hyper(&all));
        prop_assert_eq!(found.len(), 2, "{:?}", String::from_utf8_lossy(&all));
        let (head, body) = &found[0];
        prop_assert_eq!(*body as u64, plain.body);
        prop_assert_eq!(&head.method, plain.request.method());
        prop_assert_eq!(&head.uri, plain.request.uri());
        prop_assert_eq!(head.version, plain.request.version());
        prop_assert_eq!(&head.headers, plain.request.headers());
        prop_assert_eq!(found[1].0.uri.path(), "/next");
    }
}
