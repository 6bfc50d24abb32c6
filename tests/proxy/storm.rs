//! Everything at once, on several threads: every request ends once, and every scrape adds up.

use std::{io, sync::Arc, time::Duration};

use tokio::time::{sleep, timeout};

use crate::{
    running::{Running, chat, chat_head},
    upstream::Conn,
    wire::{PATIENCE, Wire, eventually},
};

const REQUESTS: u64 = 400;

/// How many clients there are at once.
const CLIENTS: u64 = 40;

const HEAD: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
const DONE: &str = "e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n";

/// Does what the request asks for.
async fn upstream(mut conn: Conn) -> io::Result<()> {
    loop {
        let request = conn.request().await?;
        match &*request.text() {
            "ok" => conn.write(format!("{HEAD}{DONE}")).await?,
            "slow" => {
                conn.write(HEAD).await?;
                for _ in 0..5 {
                    sleep(Duration::from_millis(5)).await;
                    conn.write("5\r\n: hm\n\r\n").await?;
                }
                conn.write(DONE).await?;
            }
            "cut" => return conn.write(HEAD.to_owned() + "ff\r\ndata").await,
            "garbage" => return conn.write("?\r\n\r\n").await,
            "reset" => return conn.reset(),
            _ => return conn.gone().await,
        }
    }
}

async fn client(running: &Running, n: u64) {
    let mixed = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    let asks = ["ok", "slow", "cut", "garbage", "reset", "hang"][(n % 6) as usize];
    let pause = Duration::from_millis(mixed % 8);
    let mut wire = if mixed & 1024 == 0 {
        running.send(chat(asks)).await
    } else {
        // Half of the body does not come, or comes later.
        let length = asks.len();
        let half = format!("{}content-length: {length}\r\n\r\n{}", chat_head(), &asks[..1]);
        let mut wire = running.send(half).await;
        sleep(pause).await;
        if mixed & 2048 != 0 {
            return leaves(wire, mixed);
        }
        let _ = wire.write(&asks[1..]).await;
        wire
    };
    if asks == "hang" || mixed & 4096 != 0 {
        let _ = timeout(pause, wire.answer()).await;
        return leaves(wire, mixed);
    }
    let answer = wire.answer().await;
    match asks {
        "ok" | "slow" => assert!(answer.unwrap().text().ends_with("data: [DONE]\n\n")),
        "cut" => assert!(answer.is_err()),
        _ => assert_eq!(answer.unwrap().status(), 502),
    }
}

fn leaves(wire: Wire, mixed: u64) {
    if mixed & 8192 == 0 {
        wire.reset();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_request_ends_once() {
    let (running, upstream) = Running::before(upstream, |builder| builder).await;
    let running = Arc::new(running);
    let clients = (0..CLIENTS).map(|first| {
        let running = Arc::clone(&running);
        tokio::spawn(async move {
            for n in (first..REQUESTS).step_by(CLIENTS as usize) {
                client(&running, n).await;
            }
        })
    });
    let clients: Vec<_> = clients.collect();
    while !clients.iter().all(|client| client.is_finished()) {
        running.scrape();
        sleep(Duration::from_millis(1)).await;
    }
    for client in clients {
        client.await.unwrap();
    }
    eventually("all have ended", || running.scrape().in_flight() == 0).await;
    let scrape = running.scrape();
    // NB: who left before the proxy has read its head was no request.
    let received = scrape.sum("infermeter_requests_received_total", &[]);
    assert!(received > REQUESTS / 2 && received <= REQUESTS, "{received}");
    let ended = scrape.counted("infermeter_requests_total");
    for outcome in ["success other 200", "failure server_error 502", "aborted queue none"] {
        assert!(ended.iter().any(|line| line.contains(outcome)), "{outcome}: {ended:?}");
    }
    let of = |outcome| scrape.sum("infermeter_requests_total", &[("outcome", outcome)]);
    assert_eq!(of("success") + of("failure") + of("aborted"), received);
    let Ok(running) = Arc::try_unwrap(running) else { panic!("somebody keeps it") };
    timeout(PATIENCE, running.stop()).await.unwrap().unwrap();
    eventually("all are closed", || upstream.open() == 0).await;
}
