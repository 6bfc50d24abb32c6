//! The end of the proxy.

use std::{io, time::Duration};

use infermeter::AdmissionLayer;
use infermeter::Meter;
use tokio::net::TcpStream;

use crate::{
    running::{Running, chat, chat_head},
    upstream::{Conn, Upstream},
    wire::{Wire, eventually},
};

const HEAD: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
const EVENT: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n";

/// Streams one event, and the rest once it is told to.
async fn upstream(mut conn: Conn, go: tokio::sync::watch::Receiver<bool>) -> io::Result<()> {
    let request = conn.request().await?;
    if request.header("upgrade").is_some() {
        conn.write("HTTP/1.1 101 X\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n").await?;
        loop {
            let byte = conn.exactly(1).await?;
            conn.write(byte).await?;
        }
    }
    if request.start.starts_with("GET") {
        return conn.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    }
    if request.body == b"silent" {
        return conn.gone().await;
    }
    conn.write(format!("{HEAD}{:x}\r\n{EVENT}\r\n", EVENT.len())).await?;
    let mut go = go;
    tokio::select! {
        _ = go.wait_for(|go| *go) => {}
        gone = conn.gone() => return gone,
    }
    conn.write("e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n").await
}

async fn running(limit: Duration) -> (Running, Upstream, tokio::sync::watch::Sender<bool>) {
    let (go, going) = tokio::sync::watch::channel(false);
    let (running, upstream) = Running::before(
        move |conn| upstream(conn, going.clone()),
        |builder| builder.drain_timeout(limit),
    )
    .await;
    (running, upstream, go)
}

async fn upgraded(running: &Running) -> Wire {
    let request = "GET /echo HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";
    let mut wire = running.send(request).await;
    assert_eq!(wire.head().await.unwrap().status(), 101);
    echoes(&mut wire).await;
    wire
}

async fn echoes(wire: &mut Wire) {
    wire.write("x").await.unwrap();
    assert_eq!(wire.exactly(1).await.unwrap(), b"x");
}

const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn streams_come_to_their_end() {
    let (running, _upstream, go) = running(LONG).await;
    let mut idle = running.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(idle.answer().await.unwrap().text(), "ok");
    let mut fresh = running.connect().await;
    let mut streaming = running.send(chat("{}")).await;
    streaming.until(EVENT).await.unwrap();
    let mut tunnel = upgraded(&running).await;
    let mut half = running.send(format!("{}content-length: 2\r\n\r\n{{", chat_head())).await;
    running.in_flight(2).await;

    let (address, meter) = (running.address, running.meter.clone());
    let serving = running.stop();
    assert_eq!(idle.rest().await, (Vec::new(), true));
    assert_eq!(fresh.rest().await, (Vec::new(), true));
    assert!(TcpStream::connect(address).await.is_err(), "nobody accepts any more");
    echoes(&mut tunnel).await;
    half.write("}").await.unwrap();
    half.until(EVENT).await.unwrap();
    assert!(!serving.is_finished());

    go.send_replace(true);
    for mut wire in [streaming, half] {
        wire.until("0\r\n\r\n").await.unwrap();
        assert_eq!(wire.rest().await, (Vec::new(), true), "no more requests");
    }
    echoes(&mut tunnel).await;
    drop(tunnel);
    serving.await.unwrap();
    let ended = crate::scrape::Scrape::of(&meter).counted("infermeter_requests_total");
    assert_eq!(ended, ["m chat_completions success other 200 2"]);
}

#[tokio::test]
async fn what_is_there_at_the_limit_is_cut_and_is_our_failure() {
    let (running, upstream, _go) = running(Duration::from_millis(300)).await;
    let mut streaming = running.send(chat("{}")).await;
    streaming.until(EVENT).await.unwrap();
    let mut silent = running.send(chat("silent")).await;
    let mut half = running.send(format!("{}content-length: 2\r\n\r\n{{", chat_head())).await;
    let mut tunnel = upgraded(&running).await;
    running.in_flight(3).await;

    let meter = running.meter.clone();
    let serving = running.stop();
    serving.await.unwrap();
    for wire in [&mut streaming, &mut silent, &mut half, &mut tunnel] {
        let (rest, _) = wire.rest().await;
        assert!(!rest.ends_with(b"0\r\n\r\n"));
    }
    let scrape = crate::scrape::Scrape::of(&meter);
    scrape.assert_identities();
    let mut ended = scrape.counted("infermeter_requests_total");
    ended.sort();
    assert_eq!(
        ended,
        ["m chat_completions failure timeout 200 1", "m chat_completions failure timeout none 2"]
    );
    eventually("the upstream is told", || upstream.open() == 0).await;
}

/// A connection that is accepted as the proxy stops is not served for ever.
#[tokio::test]
async fn who_comes_at_the_last_moment_does_not_keep_it() {
    for _ in 0..20 {
        let (running, _upstream, _go) = running(LONG).await;
        let mut wires = Vec::new();
        for _ in 0..4 {
            wires.push(running.connect().await);
        }
        tokio::time::timeout(crate::wire::PATIENCE, running.stop()).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn who_waits_to_be_admitted_is_cut_as_well() {
    let meter = Meter::new();
    let (_go, going) = tokio::sync::watch::channel(false);
    let upstream = Upstream::start(move |conn| upstream(conn, going.clone())).await;
    let admission = AdmissionLayer::new(&meter, 1).max_waiting(1);
    let url = format!("http://{}", upstream.address);
    let running = Running::of(meter.clone(), &url, |builder| {
        builder.admission(admission).drain_timeout(Duration::from_millis(300))
    })
    .await;
    running.is_set(&upstream).await;
    let mut streaming = running.send(chat("{}")).await;
    streaming.until(EVENT).await.unwrap();
    let _waiting = running.send(chat("{}")).await;
    running.in_flight(2).await;
    running.stop().await.unwrap();
    let mut ended = crate::scrape::Scrape::of(&meter).counted("infermeter_requests_total");
    ended.sort();
    assert_eq!(
        ended,
        ["m chat_completions failure timeout 200 1", "m chat_completions failure timeout none 1"]
    );
}
