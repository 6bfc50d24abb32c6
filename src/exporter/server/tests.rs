//! The limits, each short where a test waits for it and long where it must not be the one.

use std::{
    cell::Cell,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use axum::{Router, routing::get};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    time::timeout,
};

use super::{Limits, Server, accept};

const SHORT: Duration = Duration::from_millis(300);
/// No test waits for it, unless it fails.
const LONG: Duration = Duration::from_secs(60);

const ASK: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
/// More than the buffers of two sockets hold.
const LARGE: usize = 32 << 20;

#[tokio::test]
async fn a_head_that_does_not_end_is_closed_while_others_are_answered() {
    let server = serve(Limits { head: SHORT, ..patient() });
    let (mut silent, mut slow) = (server.connect().await, server.connect().await);
    slow.send("GET / HTTP/1.1\r\nx: ").await;
    let mut trickling = server.connect().await;
    let trickles = async {
        loop {
            // A byte now and then does not gain time.
            if trickling.0.write_all(b"G").await.is_err() {
                break;
            }
            tokio::time::sleep(SHORT / 10).await;
        }
    };
    let others = async {
        server.connect().await.asks().await;
        assert_eq!(silent.rest().await, "");
        assert_eq!(slow.rest().await, "");
    };
    soon(async { tokio::join!(trickles, others) }).await;
}

#[tokio::test]
async fn the_head_of_a_later_request_has_the_same_time() {
    let server = serve(Limits { head: SHORT, ..patient() });
    let mut client = server.connect().await;
    client.asks().await;
    client.send("GET / HT").await;
    assert_eq!(client.rest().await, "");
}

#[tokio::test]
async fn between_requests_there_is_more_time_than_for_a_head() {
    let server = serve(Limits { head: SHORT, answer: SHORT, ..patient() });
    let mut client = server.connect().await;
    for _ in 0..2 {
        client.asks().await;
        tokio::time::sleep(SHORT * 2).await;
    }
    client.asks().await;

    let server = serve(Limits { idle: SHORT, ..patient() });
    let mut client = server.connect().await;
    client.asks().await;
    assert_eq!(client.rest().await, "");
}

#[tokio::test]
async fn who_does_not_read_is_dropped() {
    let server = serve(Limits { answer: SHORT, connections: 1, ..patient() });
    let mut stuck = server.connect().await;
    // Also when it asks again and again.
    stuck.send(&"GET /large HTTP/1.1\r\nhost: a\r\n\r\n".repeat(3)).await;
    stuck.readable().await;
    // The one place is free only once the other is gone.
    server.connect().await.asks().await;
    let mut read = Vec::new();
    let _ = soon(stuck.0.read_to_end(&mut read)).await;
    assert!(read.len() < LARGE, "{}", read.len());
}

#[tokio::test]
async fn an_answer_takes_its_time_while_it_is_read() {
    let server = serve(patient());
    let mut client = server.connect().await;
    client.send("GET /large HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    assert!(client.rest().await.len() > LARGE);
}

#[tokio::test]
async fn the_idle_make_room() {
    let server = serve(Limits { connections: 2, ..patient() });
    let (mut one, mut two) = (server.connect().await, server.connect().await);
    one.asks().await;
    two.asks().await;
    for _ in 0..3 {
        server.connect().await.asks().await;
    }
    assert_eq!((one.rest().await, two.rest().await), (String::new(), String::new()));
}

#[tokio::test]
async fn who_had_no_answer_yet_keeps_the_place_for_one() {
    let server = serve(Limits { connections: 1, ..patient() });
    let mut first = server.connect().await;
    first.send("GET / ").await;
    let mut second = server.connect().await;
    second.send(ASK).await;
    // Not before the first has had its answer.
    let early = timeout(SHORT, second.0.readable()).await;
    assert!(early.is_err());
    first.send("HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let last = first.rest().await;
    assert!(last.contains("connection: close\r\n") && last.ends_with("ok"), "{last}");
    second.is_answered().await;
}

#[tokio::test]
async fn those_who_only_hold_places_do_not_hold_them_for_ever() {
    let server = serve(Limits { connections: 2, head: SHORT, ..patient() });
    let mut silent = Vec::new();
    for _ in 0..6 {
        silent.push(server.connect().await);
    }
    server.connect().await.asks().await;
}

#[tokio::test]
async fn a_large_head_is_refused() {
    let server = serve(patient());
    let head = |fields: &str| format!("GET / HTTP/1.1\r\n{fields}connection: close\r\n\r\n");
    for (what, fields, status) in [
        ("64 fields", "a: b\r\n".repeat(63), "200"),
        ("65 fields", "a: b\r\n".repeat(64), "431"),
        ("15 KiB", format!("a: {}\r\n", "b".repeat(15 << 10)), "200"),
        ("17 KiB", format!("a: {}\r\n", "b".repeat(17 << 10)), "431"),
        // All of it is taken in, or the answer would be lost with the connection.
        ("a lot", format!("a: {}\r\n", "b".repeat(LARGE)), "431"),
    ] {
        let mut client = server.connect().await;
        client.send(&head(&fields)).await;
        let answer = client.rest().await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{what}: {answer}");
    }
}

#[tokio::test]
async fn a_body_is_not_read() {
    let server = serve(patient());
    let with = |length: usize| format!("GET / HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n");
    // Not even waited for.
    let mut client = server.connect().await;
    client.send(&format!("{}\r\n", with(10_000_000))).await;
    assert!(client.rest().await.ends_with("ok"));
    // Nor asked for.
    let mut client = server.connect().await;
    client.send(&format!("{}expect: 100-continue\r\n\r\n", with(10_000_000))).await;
    let answer = client.rest().await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("ok"), "{answer}");
    // Nor is the answer lost where it comes.
    let mut client = server.connect().await;
    client.send(&format!("{}\r\n{}", with(LARGE), "x".repeat(LARGE))).await;
    assert!(client.rest().await.ends_with("ok"));
}

#[tokio::test]
async fn who_goes_on_sending_after_a_refusal_is_dropped() {
    let server = serve(Limits { closing: SHORT, connections: 1, ..patient() });
    let mut client = server.connect().await;
    client.send(&"a".repeat(20 << 10)).await;
    let pours = async { while client.0.write_all(&[b'a'; 4096]).await.is_ok() {} };
    let other = async { server.connect().await.asks().await };
    soon(async { tokio::join!(pours, other) }).await;
}

#[tokio::test]
async fn a_stop_closes_the_idle_and_waits_for_the_rest_not_for_long() {
    let server = serve(Limits { last_answers: LONG, ..patient() });
    let (mut idle, _silent) = (server.connect().await, server.connect().await);
    idle.asks().await;
    soon(server.server.shutdown()).await.unwrap();

    let server = serve(Limits { last_answers: SHORT, connections: 1, ..patient() });
    let mut unfinished = server.connect().await;
    unfinished.send("GET /large HTTP/1.1\r\n\r\n").await;
    unfinished.readable().await;
    soon(server.server.shutdown()).await.unwrap();
}

#[tokio::test]
async fn an_answer_under_way_is_whole_after_a_stop() {
    let server = serve(Limits { last_answers: LONG, ..patient() });
    let mut client = server.connect().await;
    client.send("GET /large HTTP/1.1\r\nhost: a\r\n\r\n").await;
    client.readable().await;
    let (stopped, answer) = tokio::join!(soon(server.server.shutdown()), client.rest());
    stopped.unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    assert_eq!(body.len(), LARGE);
}

#[tokio::test]
async fn errors_of_accept_neither_spin_nor_end_the_server() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (asked, limits) = (Cell::new(0), Limits { accept_again: SHORT, ..patient() });
    let accept = async || {
        asked.set(asked.get() + 1);
        match asked.get() {
            1 => Err(std::io::ErrorKind::ConnectionAborted.into()),
            // EMFILE
            2..=4 => Err(std::io::Error::from_raw_os_error(24)),
            _ => Ok(listener.accept().await?.0),
        }
    };
    let (stop, stopped) = oneshot::channel();
    let serving = accept::serve(accept, router(), limits, async { stopped.await.unwrap() });
    let asking = async {
        let began = tokio::time::Instant::now();
        Client(TcpStream::connect(address).await.unwrap()).asks().await;
        assert!(began.elapsed() >= SHORT * 3, "no pause");
        stop.send(()).unwrap();
    };
    soon(async { tokio::join!(serving, asking) }).await;
    assert_eq!(asked.get(), 6);
}

// === Helpers ===

struct Served {
    server: Server,
    address: SocketAddr,
}

struct Client(TcpStream);

fn patient() -> Limits {
    Limits {
        head: LONG,
        answer: LONG,
        idle: LONG,
        closing: LONG,
        last_answers: SHORT,
        ..Limits::default()
    }
}

fn router() -> Router {
    let large = get(async || "x".repeat(LARGE));
    Router::new().route("/", get(async || "ok")).route("/large", large)
}

fn serve(limits: Limits) -> Served {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let server = Server::start(listener, router(), limits).unwrap();
    Served { address: server.address(), server }
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(LONG / 2, future).await.expect("too late")
}

// === impl Served ===

impl Served {
    async fn connect(&self) -> Client {
        Client(TcpStream::connect(self.address).await.unwrap())
    }
}

// === impl Client ===

impl Client {
    async fn send(&mut self, text: &str) {
        soon(self.0.write_all(text.as_bytes())).await.unwrap();
    }

    async fn asks(&mut self) {
        self.send(ASK).await;
        self.is_answered().await;
    }

    async fn is_answered(&mut self) {
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\nok") {
            let read = soon(self.0.read_buf(&mut answer)).await.unwrap();
            assert_ne!(read, 0, "closed after {}", String::from_utf8_lossy(&answer));
        }
    }

    async fn readable(&self) {
        soon(self.0.readable()).await.unwrap();
    }

    /// What comes until the server closes the connection.
    async fn rest(&mut self) -> String {
        let mut rest = String::new();
        soon(self.0.read_to_string(&mut rest)).await.unwrap();
        rest
    }
}
