//! Requests in which somebody may see another one: whatever is said to the client, the upstream sees
//! one request at most, and never the one that was hidden.

use std::{io, time::Duration};

use tokio::time::timeout;

use crate::{
    running::Running,
    upstream::{Conn, Upstream},
    wire::{PATIENCE, Wire},
};

async fn answers(mut conn: Conn) -> io::Result<()> {
    loop {
        conn.request().await?;
        conn.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await?;
    }
}

async fn running() -> (Running, Upstream) {
    Running::before(answers, |builder| builder).await
}

/// The statuses of all answers, and whether the proxy has closed then.
type Answered = (Vec<u16>, bool);

/// The first lines and bodies of what the upstream has seen.
type Seen = Vec<(&'static str, &'static str)>;

/// What of the hidden request would be seen.
const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nhost: a\r\n\r\n";

/// Sends these bytes.
async fn statuses(wire: &mut Wire, bytes: impl AsRef<[u8]>) -> Answered {
    // NB: the proxy may have closed before it has read all.
    let _ = wire.write(bytes).await;
    let mut statuses = Vec::new();
    loop {
        match timeout(Duration::from_millis(150), wire.answer()).await {
            Err(_) => return (statuses, false),
            Ok(Err(_)) => return (statuses, true),
            Ok(Ok(answer)) => statuses.push(answer.status()),
        }
    }
}

/// A request with a body that is sent in the given way, and another request behind.
fn post(headers: &str, body: &str) -> Vec<u8> {
    format!("POST /x HTTP/1.1\r\nhost: a\r\n{headers}\r\n\r\n{body}{HIDDEN}").into_bytes()
}

fn get(head: &str) -> Vec<u8> {
    format!("{head}{HIDDEN}").into_bytes()
}

/// All of them are refused, with this status, and the connection is closed.
#[tokio::test]
async fn what_has_two_meanings_is_refused() {
    let (running, upstream) = running().await;
    let chunked = "transfer-encoding: chunked";
    let rows: Vec<(&str, u16, Vec<u8>)> = vec![
        ("two lengths", 400, post("content-length: 2\r\ncontent-length: 3", "abc")),
        ("a length list", 400, post("content-length: 3, 3", "abc")),
        ("a length with a plus", 400, post("content-length: +3", "abc")),
        ("a negative length", 400, post("content-length: -1", "abc")),
        ("a length in two parts", 400, post("content-length: 3 3", "abc")),
        ("no length", 400, post("content-length:", "abc")),
        ("a hexadecimal length", 400, post("content-length: 0x3", "abc")),
        ("a length beyond all", 400, post("content-length: 99999999999999999999", "abc")),
        ("a coding that looks like it", 400, post("transfer-encoding: xchunked", "0\r\n\r\n")),
        ("one that is undone", 400, post("transfer-encoding: chunked, identity", "0\r\n\r\n")),
        ("identity", 400, post("transfer-encoding: identity", "0\r\n\r\n")),
        ("chunked twice", 400, post(&format!("{chunked}\r\n{chunked}"), "0\r\n\r\n")),
        ("chunked in a list", 400, post("transfer-encoding: chunked, chunked", "0\r\n\r\n")),
        ("an empty coding", 400, post("transfer-encoding: , chunked", "0\r\n\r\n")),
        // Passed on, the inner coding would be forgotten.
        ("compressed for the way", 400, post("transfer-encoding: gzip, chunked", "0\r\n\r\n")),
        ("a vertical tab", 400, post("transfer-encoding: \x0bchunked", "0\r\n\r\n")),
        ("a space before the colon", 400, post("transfer-encoding : chunked", "0\r\n\r\n")),
        ("a folded header", 400, post("x-y: 1\r\n transfer-encoding: chunked", "0\r\n\r\n")),
        ("chunked in 1.0", 400, get(&format!("POST /x HTTP/1.0\r\n{chunked}\r\n\r\n0\r\n\r\n"))),
        ("a size in C", 400, post(chunked, "0x3\r\nabc\r\n0\r\n\r\n")),
        ("a negative size", 400, post(chunked, "-3\r\nabc\r\n0\r\n\r\n")),
        ("a size beyond all", 400, post(chunked, "10000000000000003\r\nabc\r\n0\r\n\r\n")),
        ("no size", 400, post(chunked, "\r\nabc\r\n0\r\n\r\n")),
        ("a size in two parts", 400, post(chunked, "1 1\r\nabc\r\n0\r\n\r\n")),
        ("lines that end with LF only", 400, post(chunked, "3\nabc\n0\n\n")),
        ("a LF in an extension", 400, post(chunked, "3;a\n\r\nabc\r\n0\r\n\r\n")),
        ("more than the size", 400, post(chunked, "3\r\nabcd\r\n0\r\n\r\n")),
        ("a long extension", 400, post(chunked, &format!("3;{}\r\n", "x".repeat(20_000)))),
        ("a CR in a value", 400, post("x-y: a\rcontent-length: 3", "abc")),
        ("a NUL in a value", 400, post("x-y: a\0", "abc")),
        ("a NUL in a name", 400, post("x\0y: a", "abc")),
        ("no host", 400, get("GET /x HTTP/1.1\r\n\r\n")),
        ("two hosts", 400, get("GET /x HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n")),
        ("a space in the target", 400, get("GET /x y HTTP/1.1\r\nhost: a\r\n\r\n")),
        ("a line end in the target", 400, get("GET /x\r\ny: HTTP/1.1\r\nhost: a\r\n\r\n")),
        ("a NUL in the target", 400, get("GET /x\0 HTTP/1.1\r\nhost: a\r\n\r\n")),
        ("no target", 400, get("GET  HTTP/1.1\r\nhost: a\r\n\r\n")),
        ("no path", 400, get("GET x HTTP/1.1\r\nhost: a\r\n\r\n")),
        ("HTTP/0.9", 400, get("GET /x\r\n\r\n")),
        ("HTTP/1.2", 400, get("GET /x HTTP/1.2\r\nhost: a\r\n\r\n")),
        ("HTTP/2.0", 400, get("GET /x HTTP/2.0\r\nhost: a\r\n\r\n")),
        ("TLS", 400, get("\x16\x03\x01\x02\0\x01\0\x01\r\n\r\n")),
        ("nothing that is known", 400, get("\r\n\r\n?\r\n\r\n")),
        ("a tunnel", 405, get("CONNECT a:443 HTTP/1.1\r\nhost: a\r\n\r\n")),
        ("101 headers", 431, post(&"x-y: 1\r\n".repeat(101), "")),
        ("a header of 64 KiB", 431, post(&format!("x-y: {}", "x".repeat(70_000)), "")),
    ];
    for (name, status, bytes) in rows {
        let mut wire = running.connect().await;
        assert_eq!(statuses(&mut wire, bytes).await, (vec![status], true), "{name}");
        assert!(upstream_saw(&upstream, name).len() <= 1, "{name}");
    }
    let long = format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "x".repeat(70_000));
    let (got, is_closed) = statuses(&mut running.connect().await, long).await;
    assert!((got == [414] || got == [431]) && is_closed, "{got:?}");
    running.end().await;
}

/// What is accepted, how it is seen by the upstream, and why that is safe: every request is written
/// anew, by what was understood of it.
#[tokio::test]
async fn what_is_passed_on_has_one_meaning() {
    let chunked = "transfer-encoding: chunked";
    let ok = |n: usize| vec![200; n];
    let rows: Vec<(&str, Vec<u8>, Answered, Seen)> = vec![
        // NB: hyper drops the length where both are there, reads chunks, and closes behind the
        // answer, as RFC 9112 section 6.3 allows; no sign of it is left that it could be refused by.
        // The upstream gets the body with a length of our own.
        (
            "a length and chunks",
            post(&format!("content-length: 4\r\n{chunked}"), "3\r\nabc\r\n0\r\n\r\n"),
            (ok(1), true),
            vec![("POST /x HTTP/1.1", "abc")],
        ),
        (
            "chunks and a length",
            post(&format!("{chunked}\r\ncontent-length: 40"), "0\r\n\r\n"),
            (ok(1), true),
            vec![("POST /x HTTP/1.1", "")],
        ),
        // One of them goes on.
        (
            "the same length twice",
            post("content-length: 3\r\ncontent-length: 3", "abc"),
            (ok(2), false),
            vec![("POST /x HTTP/1.1", "abc"), ("GET /hidden HTTP/1.1", "")],
        ),
        // NB: hyper takes lines of a head that end with LF only; the upstream sees CRLF.
        (
            "lines that end with LF only",
            b"POST /x HTTP/1.1\nhost: a\ncontent-length: 3\n\nabc".to_vec(),
            (ok(1), false),
            vec![("POST /x HTTP/1.1", "abc")],
        ),
        (
            "extensions, which are dropped",
            post(chunked, "3 ;a=\"b\"\r\nabc\r\n000;c\r\n\r\n"),
            (ok(2), false),
            vec![("POST /x HTTP/1.1", "abc"), ("GET /hidden HTTP/1.1", "")],
        ),
        (
            "the framing as hop-by-hop",
            post("connection: content-length, transfer-encoding\r\ncontent-length: 3", "abc"),
            (ok(2), false),
            vec![("POST /x HTTP/1.1", "abc"), ("GET /hidden HTTP/1.1", "")],
        ),
        (
            "a body where none is usual",
            get("GET /x HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc"),
            (ok(2), false),
            vec![("GET /x HTTP/1.1", "abc"), ("GET /hidden HTTP/1.1", "")],
        ),
        (
            "line ends in the target, encoded",
            b"GET /x%0d%0ahost:b%20HTTP/1.1%0d%0a HTTP/1.1\r\nhost: a\r\n\r\n".to_vec(),
            (ok(1), false),
            vec![("GET /x%0d%0ahost:b%20HTTP/1.1%0d%0a HTTP/1.1", "")],
        ),
        (
            "HTTP/2 as an upgrade, which is not passed on",
            b"GET /x HTTP/1.1\r\nhost: a\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\n\
              http2-settings: AAMAAABkAAQAAP__\r\n\r\n"
                .to_vec(),
            (ok(1), false),
            vec![("GET /x HTTP/1.1", "")],
        ),
    ];
    for (name, bytes, answered, seen) in rows {
        let (running, upstream) = running().await;
        let mut wire = running.connect().await;
        assert_eq!(statuses(&mut wire, bytes).await, answered, "{name}");
        let saw = upstream.requests();
        let saw: Vec<_> = saw.iter().map(|r| (&*r.start, r.text())).collect();
        let seen: Vec<_> = seen.into_iter().map(|(start, body)| (start, body.to_owned())).collect();
        assert_eq!(saw, seen, "{name}");
        for request in upstream.requests() {
            let [lengths, codings] =
                ["content-length", "transfer-encoding"].map(|name| request.headers(name).len());
            assert!(lengths + codings <= 1, "{name}: {request:?}");
            for dropped in ["upgrade", "http2-settings", "connection"] {
                assert_eq!(request.header(dropped), None, "{name}");
            }
        }
        running.end().await;
    }
}

#[tokio::test]
async fn headers_without_an_end_have_one() {
    let (running, upstream) = running().await;
    let mut wire = running.send("GET /x HTTP/1.1\r\nhost: a\r\nx-y: ").await;
    wire.write(vec![b'x'; 100_000]).await.unwrap();
    assert_eq!(wire.answer().await.unwrap().status(), 431);
    // What comes then is thrown away, for a second at most.
    let write_on = async { while wire.write(vec![b'x'; 4096]).await.is_ok() {} };
    timeout(PATIENCE, write_on).await.expect("the proxy reads on");
    assert!(upstream.requests().is_empty());
    running.end().await;
}

/// An answer has one length for the client as well, and nothing behind it is another answer.
#[tokio::test]
async fn answers_have_one_meaning() {
    let hidden = "HTTP/1.1 201 Hidden\r\ncontent-length: 0\r\n\r\n";
    let chunked = "transfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    for (name, status, answer) in [
        ("a length and chunks", 200, format!("content-length: 50\r\n{chunked}{hidden}")),
        (
            "chunks and a length",
            200,
            format!(
                "transfer-encoding: chunked\r\ncontent-length: 1\r\n\r\n2\r\nok\r\n0\r\n\r\n{hidden}"
            ),
        ),
        (
            "the same length twice",
            200,
            format!("content-length: 2\r\ncontent-length: 2\r\n\r\nok{hidden}"),
        ),
        ("more than its length", 200, format!("content-length: 2\r\n\r\nok{hidden}")),
        (
            "a length as hop-by-hop",
            200,
            format!("connection: content-length\r\ncontent-length: 2\r\n\r\nok{hidden}"),
        ),
        // The inner coding would be forgotten.
        (
            "compressed for the way",
            502,
            format!("transfer-encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n{hidden}"),
        ),
        ("chunked twice", 502, format!("transfer-encoding: chunked\r\n{chunked}{hidden}")),
        ("a coding without an end", 502, format!("transfer-encoding: xchunked\r\n\r\n{hidden}")),
        ("a length with a plus", 502, format!("content-length: +2\r\n\r\nok{hidden}")),
        ("a folded header", 502, format!("x-y: 1\r\n content-length: 2\r\n\r\nok{hidden}")),
        ("a NUL in a value", 502, format!("x-y: \0\r\ncontent-length: 2\r\n\r\nok{hidden}")),
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\n{answer}");
        let answers = move |mut conn: Conn| {
            let answer = answer.clone();
            async move {
                conn.request().await?;
                conn.write(answer).await?;
                conn.gone().await
            }
        };
        let (running, upstream) = Running::before(answers, |builder| builder).await;
        let mut wire = running.connect().await;
        for n in 1..3 {
            wire.write("GET /x HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
            let answer = wire.answer().await.unwrap();
            let [lengths, codings] =
                ["content-length", "transfer-encoding"].map(|name| answer.headers(name).len());
            assert_eq!((answer.status(), lengths + codings), (status, 1), "{name}: {answer:?}");
            let (seen, expected) = match status {
                200 => (answer.text(), "ok"),
                _ => (answer.code(), "upstream_invalid"),
            };
            assert_eq!(seen, expected, "{name}");
            assert_eq!(upstream.requests().len(), n, "{name}");
        }
        running.end().await;
    }
}

/// What the upstream has seen, of which none is the hidden one.
fn upstream_saw(upstream: &Upstream, name: &str) -> Vec<String> {
    let saw: Vec<String> = upstream.requests().into_iter().map(|request| request.start).collect();
    assert!(!saw.iter().any(|start| start.contains("hidden")), "{name}: {saw:?}");
    saw
}
