//! Clients that leave: whenever they do, it is an abort and no failure, and the upstream is told.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    io::AsyncWriteExt,
    sync::Notify,
    time::{sleep, timeout},
};

use crate::{
    running::{Running, chat, chat_head, tasks},
    upstream::{Conn, Upstream},
    wire::{Wire, eventually},
};

const HEAD: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
const EVENT: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n";

/// A part of a body that is longer than what is read ahead.
const LONG: usize = 9 * 1024 * 1024;

#[derive(Clone, Copy, Debug)]
enum Leaves {
    Closes,
    Resets,
    /// Says that it will send nothing more, which counts as having left.
    HalfCloses,
}

/// What is upstream when they leave.
#[derive(Clone, Copy, Debug)]
enum Upstreams {
    /// Reads whatever comes, and does not answer.
    Reads,
    /// Has sent a head.
    Begins,
    /// Has sent a token.
    Streams,
}

async fn upstream(mut conn: Conn, does: Upstreams) -> io::Result<()> {
    conn.head().await?;
    match does {
        Upstreams::Reads => {}
        Upstreams::Begins => conn.write(HEAD).await?,
        Upstreams::Streams => {
            let length = EVENT.len();
            conn.write(format!("{HEAD}{length:x}\r\n{EVENT}\r\n")).await?;
        }
    }
    conn.gone().await
}

async fn leaves(mut wire: Wire, how: Leaves) -> Option<Wire> {
    match how {
        Leaves::Closes => drop(wire),
        Leaves::Resets => wire.reset(),
        Leaves::HalfCloses => {
            wire.socket.shutdown().await.unwrap();
            return Some(wire);
        }
    }
    None
}

#[tokio::test]
async fn it_is_an_abort_in_the_phase_that_it_was_in() {
    let half = || format!("{}content-length: 20\r\n\r\n{{\"model\"", chat_head());
    let half_chunked = || format!("{}transfer-encoding: chunked\r\n\r\n8\r\n{{\"mo", chat_head());
    let chunk_missing =
        || format!("{}transfer-encoding: chunked\r\n\r\n2\r\n{{}}\r\n", chat_head());
    let whole = || chat("{}");
    let long = || {
        let head = format!("{}content-length: {}\r\n\r\n", chat_head(), LONG + 100);
        head + &"x".repeat(LONG)
    };
    let long_chunked = || {
        let head = format!("{}transfer-encoding: chunked\r\n\r\n", chat_head());
        format!("{head}{LONG:x}\r\n{}\r\n", "x".repeat(LONG))
    };
    let two = || chat("{}") + &chat("{}");
    let requests: [(&str, &dyn Fn() -> String, Upstreams, &str); 12] = [
        ("half a body", &half, Upstreams::Reads, "queue none"),
        ("half a chunk", &half_chunked, Upstreams::Reads, "queue none"),
        ("no last chunk", &chunk_missing, Upstreams::Reads, "queue none"),
        ("before the head", &whole, Upstreams::Reads, "queue none"),
        ("before the head, with another request behind", &two, Upstreams::Reads, "queue none"),
        ("behind the head", &whole, Upstreams::Begins, "queue 200"),
        ("behind the head, with another request behind", &two, Upstreams::Begins, "queue 200"),
        ("in the stream", &whole, Upstreams::Streams, "decode 200"),
        ("in the stream, with another request behind", &two, Upstreams::Streams, "decode 200"),
        ("half of a long body", &long, Upstreams::Reads, "queue none"),
        ("half of a long body in chunks", &long_chunked, Upstreams::Reads, "queue none"),
        ("half of a long body, after the answer began", &long, Upstreams::Streams, "decode 200"),
    ];
    for (name, request, does, counted) in requests {
        for how in [Leaves::Closes, Leaves::Resets, Leaves::HalfCloses] {
            let name = format!("{name}, {how:?}");
            let (running, upstream) =
                Running::before(move |conn| upstream(conn, does), |b| b).await;
            let base = tasks();
            let mut wire = running.send(request()).await;
            match does {
                Upstreams::Streams => drop(wire.until("\n\n").await.unwrap()),
                Upstreams::Begins => drop(wire.until("\r\n\r\n").await.unwrap()),
                _ => running.in_flight(1).await,
            }
            if counted == "queue none" && !name.starts_with("half a") && !name.starts_with("no") {
                eventually(&name, || upstream.open() == 1).await;
            }
            let kept = leaves(wire, how).await;
            is_aborted(&running, &upstream, counted, &name).await;
            eventually(&name, || tasks() <= base).await;
            drop(kept);
            running.end().await;
        }
    }
}

/// NB: hyper does not read from a client while nothing can be passed on, and so does not see it go.
/// One that only closes is not to be seen at all then: the end of its connection waits behind bytes
/// that nobody takes.
#[tokio::test]
async fn it_is_seen_where_the_upstream_does_not_read() {
    let read_on = Arc::new(Notify::new());
    let reads_on = Arc::clone(&read_on);
    let hangs = move |mut conn: Conn| {
        let reads_on = Arc::clone(&reads_on);
        async move {
            conn.head().await?;
            reads_on.notified().await;
            conn.gone().await
        }
    };
    let (running, upstream) = Running::before(hangs, |b| b).await;
    let length = 1_u64 << 40;
    let mut wire = running.send(format!("{}content-length: {length}\r\n\r\n", chat_head())).await;
    let piece = vec![b'x'; 64 * 1024];
    let mut sent = 0;
    while let Ok(written) = timeout(Duration::from_millis(300), wire.socket.write(&piece)).await {
        sent += written.unwrap();
        assert!(sent < 64 << 20, "the proxy keeps what it cannot pass on");
    }
    wire.reset();
    let ended = running.ended(1).await;
    assert_eq!(ended, ["m chat_completions aborted queue none 1"]);
    // What was on its way to the upstream stands before the end.
    read_on.notify_one();
    eventually("closed", || upstream.open() == 0).await;
    running.end().await;
}

#[tokio::test]
async fn who_leaves_with_the_last_byte_got_an_answer() {
    let body = format!("{EVENT}data: [DONE]\n\n");
    let answer = format!("{HEAD}{:x}\r\n{body}\r\n", body.len());
    let (running, upstream) = Running::before(
        move |mut conn: Conn| {
            let answer = answer.clone();
            async move {
                conn.request().await?;
                conn.write(answer).await?;
                conn.gone().await
            }
        },
        |b| b,
    )
    .await;
    let mut wire = running.send(chat("{}")).await;
    wire.until("[DONE]\n\n").await.unwrap();
    drop(wire);
    assert_eq!(running.ended(1).await, ["m chat_completions success other 200 1"]);
    eventually("closed", || upstream.open() == 0).await;
    running.end().await;
}

#[tokio::test]
async fn a_slow_client_holds_the_upstream_up() {
    let written = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&written);
    let (running, upstream) = Running::before(
        move |mut conn: Conn| {
            let counter = Arc::clone(&counter);
            async move {
                conn.request().await?;
                conn.write(HEAD).await?;
                let events = EVENT.repeat(1000);
                let chunk = format!("{:x}\r\n{events}\r\n", events.len());
                loop {
                    conn.socket.write_all(chunk.as_bytes()).await?;
                    counter.fetch_add(chunk.len(), Relaxed);
                }
            }
        },
        |b| b,
    )
    .await;
    let mut wire = running.send(chat("{}")).await;
    wire.until("\r\n\r\n").await.unwrap();
    let mut before = 0;
    loop {
        sleep(Duration::from_millis(300)).await;
        let now = written.load(Relaxed);
        assert!(now < 64 << 20, "{now} bytes are kept somewhere");
        if now == before && now > 0 {
            break;
        }
        before = now;
    }
    // It goes on where the client does.
    wire.exactly(before).await.unwrap();
    eventually("it goes on", || written.load(Relaxed) > before).await;
    drop(wire);
    is_aborted(&running, &upstream, "decode 200", "slow").await;
    running.end().await;
}

async fn is_aborted(running: &Running, upstream: &Upstream, counted: &str, name: &str) {
    let ended = running.ended(1).await;
    assert_eq!(ended, [format!("m chat_completions aborted {counted} 1")], "{name}");
    eventually(name, || upstream.open() == 0).await;
}
