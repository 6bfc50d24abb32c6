//! All connections of a thread get their turn.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use tokio::io::AsyncReadExt;

use crate::{running::Running, upstream::Conn};

/// What a stream without a pause may pass on while somebody else asks for something.
const MOST_PER_REQUEST: u64 = 64 * 1024 * 1024;

/// NB: upstream, proxy and clients share one thread here.
#[tokio::test]
async fn a_stream_without_a_pause_leaves_room() {
    let upstream = |mut conn: Conn| async move {
        loop {
            let head = conn.request().await?;
            if head.start.contains("/hose") {
                conn.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await?;
                let chunks = format!("10000\r\n{}\r\n", "x".repeat(0x10000)).repeat(4);
                loop {
                    conn.write(&chunks).await?;
                }
            }
            conn.write("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\na").await?;
        }
    };
    let (running, _upstream) = Running::before(upstream, |builder| builder).await;
    let mut hose = running.send("GET /hose HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let passed = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&passed);
    let reading = tokio::spawn(async move {
        let mut buffer = vec![0; 1024 * 1024];
        while let Ok(read @ 1..) = hose.socket.read(&mut buffer).await {
            counted.fetch_add(read as u64, Relaxed);
        }
    });
    while passed.load(Relaxed) < 1024 * 1024 {
        tokio::task::yield_now().await;
    }
    let mut wire = running.connect().await;
    let before = passed.load(Relaxed);
    for asked in 1..=20 {
        wire.write("GET /x HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        assert_eq!(wire.answer().await.unwrap().text(), "a");
        let passed = passed.load(Relaxed) - before;
        assert!(passed < asked * MOST_PER_REQUEST, "{passed} bytes, {asked} requests");
    }
    assert!(passed.load(Relaxed) > before, "the stream stands still");
    reading.abort();
}
