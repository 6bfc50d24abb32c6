//! Clients that are slow on purpose, with limits that are short.

use std::{sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    time::{Instant, sleep, timeout},
};

use super::{Proxy, connections::Limits};

const LIMIT: Duration = Duration::from_millis(200);
const PATIENCE: Duration = Duration::from_secs(10);

/// A proxy with these limits, and its upstream.
async fn running() -> (TcpStream, TcpListener, oneshot::Sender<()>) {
    let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", upstream.local_addr().unwrap());
    let mut proxy = Proxy::builder(url).build().unwrap();
    Arc::get_mut(&mut proxy.shared).unwrap().limits = Limits { head: LIMIT, pause: LIMIT };
    // It does not ask the upstream what it serves.
    std::mem::forget(proxy.shared.routes.first().listing.try_lock().unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    tokio::spawn(async move { proxy.serve(listener, async { drop(stopped.await) }).await });
    (TcpStream::connect(address).await.unwrap(), upstream, stop)
}

/// All that comes until the end, which must come.
async fn to_end(stream: &mut TcpStream) -> String {
    let mut all = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut all)).await.expect("it is kept for ever");
    String::from_utf8_lossy(&all).into_owned()
}

#[tokio::test]
async fn who_says_nothing_is_sent_away() {
    let (mut client, _upstream, _stop) = running().await;
    assert_eq!(to_end(&mut client).await, "");
    // It may be about to speak HTTP/2.
    let (mut client, _upstream, _stop) = running().await;
    client.write_all(b"PRI * HT").await.unwrap();
    assert_eq!(to_end(&mut client).await, "");
    let (mut client, _upstream, _stop) = running().await;
    client.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    to_end(&mut client).await;
}

#[tokio::test]
async fn who_does_not_come_to_the_end_of_a_head_is_sent_away() {
    let (mut client, _upstream, _stop) = running().await;
    client.write_all(b"GET /x HTTP/1.1\r\nhost: a\r\n").await.unwrap();
    let start = Instant::now();
    while client.write_all(b"x: y\r\n").await.is_ok() {
        assert!(start.elapsed() < PATIENCE, "headers are read for ever");
        sleep(LIMIT / 10).await;
    }
}

#[tokio::test]
async fn who_stops_in_the_body_is_told() {
    for path in ["/v1/chat/completions", "/any"] {
        let (mut client, _upstream, _stop) = running().await;
        let head = format!("POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nhalf");
        client.write_all(head.as_bytes()).await.unwrap();
        let answer = to_end(&mut client).await;
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        assert!(answer.contains("\"code\":\"request_timeout\""), "{answer}");
    }
}

#[tokio::test]
async fn an_upstream_that_takes_its_time_is_no_pause_of_the_client() {
    let (client, upstream, _stop) = running().await;
    let length = 30 << 20;
    let (mut answer, mut upload) = client.into_split();
    tokio::spawn(async move {
        let head = format!("POST /any HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n");
        upload.write_all(head.as_bytes()).await.unwrap();
        for _ in 0..30 {
            upload.write_all(&vec![b'x'; 1 << 20]).await.unwrap();
            // So that the proxy has to wait for the client now and then, too.
            tokio::task::yield_now().await;
        }
        sleep(PATIENCE).await;
    });
    let (mut stream, _) = upstream.accept().await.unwrap();
    let (mut read, mut bytes) = (0, vec![0; 1 << 20]);
    let mut rests = 0;
    while read < length {
        let n = stream.read(&mut bytes).await.unwrap();
        assert!(n > 0, "the proxy has given up at {read}");
        read += n;
        if read / (10 << 20) > rests {
            rests += 1;
            sleep(2 * LIMIT).await;
        }
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
    let mut head = [0; 15];
    timeout(PATIENCE, answer.read_exact(&mut head)).await.unwrap().unwrap();
    assert_eq!(&head, b"HTTP/1.1 200 OK");
}
