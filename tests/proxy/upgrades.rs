//! Connections that change to another protocol.

use std::io;

use tokio::{io::AsyncWriteExt, time::timeout};

use crate::{
    running::{Running, tasks},
    upstream::{Conn, Upstream},
    wire::{PATIENCE, Wire, eventually},
};

const ASKS: &str = "GET /socket HTTP/1.1\r\nhost: a\r\nconnection: keep-alive, Upgrade\r\n\
                    upgrade: websocket\r\nsec-websocket-key: x\r\n\r\n";
const AGREES: &str = "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\n\
                      upgrade: websocket\r\nsec-websocket-accept: y\r\n\r\n";

async fn running<F, R>(script: F) -> (Running, Upstream)
where
    F: Fn(Conn) -> R + Send + 'static,
    R: Future<Output = io::Result<()>> + Send + 'static,
{
    Running::before(script, |builder| builder).await
}

/// Repeats what comes, until nothing does.
async fn repeats(mut conn: Conn) -> io::Result<()> {
    conn.head().await?;
    // The first words come with the head.
    conn.write(format!("{AGREES}hello")).await?;
    loop {
        let byte = conn.exactly(1).await?;
        conn.write(byte).await?;
    }
}

async fn upgraded(running: &Running) -> Wire {
    let mut wire = running.send(format!("{ASKS}early")).await;
    let answer = wire.head().await.unwrap();
    assert_eq!((answer.status(), answer.header("upgrade")), (101, Some("websocket")));
    assert_eq!(answer.header("connection"), Some("upgrade"));
    assert_eq!(answer.header("sec-websocket-accept"), Some("y"));
    wire
}

#[tokio::test]
async fn bytes_pass_both_ways_until_one_side_ends() {
    let (running, upstream) = running(repeats).await;
    let base = tasks();
    let mut wire = upgraded(&running).await;
    assert_eq!(wire.exactly(10).await.unwrap(), b"helloearly");
    for _ in 0..50 {
        wire.write("\r\n\0").await.unwrap();
        assert_eq!(wire.exactly(3).await.unwrap(), b"\r\n\0");
    }
    let request = upstream.requests().pop().unwrap();
    assert_eq!(request.header("upgrade"), Some("websocket"));
    assert_eq!(request.header("connection"), Some("upgrade"));
    assert_eq!(request.header("sec-websocket-key"), Some("x"));

    // What was said before the end still comes.
    wire.write("bye").await.unwrap();
    wire.socket.shutdown().await.unwrap();
    assert_eq!(wire.rest().await, (b"bye".to_vec(), true));
    eventually("closed", || upstream.open() == 0).await;

    let wire = upgraded(&running).await;
    wire.reset();
    eventually("closed", || upstream.open() == 0).await;
    eventually("nothing is left", || tasks() <= base).await;
    assert_eq!(running.scrape().sum("infermeter_requests_received_total", &[]), 0);
    running.end().await;
}

#[tokio::test]
async fn one_side_that_does_not_end_does_not_keep_the_other() {
    let (running, upstream) = running(|mut conn: Conn| async move {
        conn.head().await?;
        conn.write(AGREES).await?;
        conn.gone().await?;
        // It is told, and stays.
        std::future::pending().await
    })
    .await;
    let base = tasks();
    let mut wire = upgraded(&running).await;
    wire.socket.shutdown().await.unwrap();
    timeout(PATIENCE, wire.rest()).await.unwrap();
    // But for the one of the upstream that stays.
    eventually("nothing is left", || tasks() <= base + 1).await;
    assert_eq!(upstream.open(), 1);
    running.end().await;
}

#[tokio::test]
async fn an_upstream_may_decline() {
    let (running, upstream) = running(|mut conn: Conn| async move {
        loop {
            let asks = conn.request().await?.header("upgrade").is_some();
            let (status, body) = if asks { ("426 No", "no") } else { ("200 OK", "ok") };
            conn.write(format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\n{body}")).await?;
        }
    })
    .await;
    let mut wire = running.send(ASKS).await;
    assert_eq!(wire.answer().await.unwrap().text(), "no");
    wire.write("GET /x HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    assert_eq!(wire.answer().await.unwrap().text(), "ok");
    assert_eq!(upstream.requests()[0].header("upgrade"), Some("websocket"));
    running.end().await;
}

/// HTTP/1.0 has no such thing, and a header by itself asks for nothing.
#[tokio::test]
async fn who_cannot_change_does_not() {
    let (running, upstream) = running(|mut conn: Conn| async move {
        conn.request().await?;
        conn.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await
    })
    .await;
    for request in [
        "GET /x HTTP/1.0\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
        "GET /x HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\n\r\n",
    ] {
        assert_eq!(running.send(request).await.answer().await.unwrap().text(), "ok");
        let request = upstream.requests().pop().unwrap();
        assert_eq!((request.header("upgrade"), request.header("connection")), (None, None));
    }
    running.end().await;
}
