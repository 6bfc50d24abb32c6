//! A limit on how many run at once, in front of the upstream.

use infermeter::{
    AdmissionLayer, Meter,
    proxy::{self, Proxy},
};

use crate::{
    running::{Running, chat, chat_head},
    upstream::{Conn, Upstream},
    wire::eventually,
};

#[tokio::test]
async fn who_is_refused_is_told_and_who_needs_no_place_passes_by() {
    let meter = Meter::new();
    let upstream = Upstream::start(|mut conn: Conn| async move {
        let request = conn.request().await?;
        if request.start.starts_with("GET /health ") {
            return conn.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
        }
        conn.gone().await
    })
    .await;
    let admission = AdmissionLayer::new(&meter, 1).max_waiting(1);
    let url = format!("http://{}", upstream.address);
    let running = Running::of(meter, &url, |builder| builder.admission(admission)).await;
    running.is_set(&upstream).await;

    let runs = running.send(chat("{}")).await;
    eventually("it runs", || upstream.open() == 1).await;
    let waits = running.send(chat("{}")).await;
    running.in_flight(2).await;
    let mut refused = running.send(chat("{}")).await;
    let answer = refused.answer().await.unwrap();
    assert_eq!((answer.status(), &*answer.code()), (429, "queue_full"));
    assert!(answer.header("retry-after").is_some() && answer.header("x-request-id").is_some());
    let mut health = running.send("GET /health HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(health.answer().await.unwrap().text(), "ok");
    // The connection of a refused request goes on.
    refused.write("GET /health HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    assert_eq!(refused.answer().await.unwrap().text(), "ok");

    drop(waits);
    running.in_flight(1).await;
    drop(runs);
    let mut ended = running.ended(3).await;
    ended.sort();
    assert_eq!(
        ended,
        ["m chat_completions aborted queue none 2", "m chat_completions failure rejected 429 1"]
    );
    assert_eq!(upstream.requests().iter().filter(|r| r.start.starts_with("POST")).count(), 1);
    running.end().await;
}

/// Many clients send the head by itself: what they do then is seen as well.
#[tokio::test]
async fn bodies_that_come_later_than_the_verdict() {
    let meter = Meter::new();
    let upstream = Upstream::start(|mut conn: Conn| async move {
        loop {
            if conn.request().await?.start.starts_with("POST ") {
                return conn.gone().await;
            }
            conn.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await?;
        }
    })
    .await;
    let admission = AdmissionLayer::new(&meter, 1).max_waiting(1);
    let url = format!("http://{}", upstream.address);
    let running = Running::of(meter, &url, |builder| builder.admission(admission)).await;
    running.is_set(&upstream).await;
    let runs = running.send(chat("{}")).await;
    eventually("it runs", || upstream.open() == 1).await;

    // One that waits, and leaves before its body has come.
    let head = |length: usize| format!("{}content-length: {length}\r\n\r\n", chat_head());
    let waits = running.send(head(10)).await;
    running.in_flight(2).await;
    drop(waits);
    running.in_flight(1).await;

    let waits = running.send(chat("{}")).await;
    running.in_flight(2).await;
    // A little is still read, so that the connection goes on.
    let mut refused = running.send(head(10)).await;
    let answer = refused.answer().await.unwrap();
    assert_eq!((answer.status(), answer.header("connection")), (429, None));
    refused.write("0123").await.unwrap();
    refused.write("456789GET /health HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    assert_eq!(refused.answer().await.unwrap().text(), "ok");
    // Much is not, and that is said.
    let mut refused = running.send(head(100_000)).await;
    let answer = refused.answer().await.unwrap();
    assert_eq!((answer.status(), answer.header("connection")), (429, Some("close")));
    assert_eq!(refused.rest().await, (Vec::new(), true));

    drop((waits, runs));
    let mut ended = running.ended(5).await;
    ended.sort();
    assert_eq!(
        ended,
        ["m chat_completions aborted queue none 3", "m chat_completions failure rejected 429 2"]
    );
    running.end().await;
}

#[tokio::test]
async fn its_limits_are_of_all_upstreams_together() {
    let silent = |mut conn: Conn| async move {
        conn.request().await?;
        conn.gone().await
    };
    let (a, b) = (Upstream::start(silent).await, Upstream::start(silent).await);
    let behind = [("a", &a), ("b", &b)].map(|(name, upstream)| {
        let url = format!("http://{}", upstream.address);
        proxy::Upstream::new(name, url).unwrap().model(name)
    });
    let meter = Meter::new();
    let admission = AdmissionLayer::new(&meter, 1).max_waiting(0);
    let running = Running::start(meter, Proxy::routing(behind).admission(admission)).await;
    let runs = running.send(chat("{\"model\":\"a\"}")).await;
    eventually("it runs", || !a.requests().is_empty()).await;
    let refused = running.send(chat("{\"model\":\"b\"}")).await.answer().await.unwrap();
    assert_eq!((refused.status(), &*refused.code()), (429, "queue_full"));
    drop(runs);
    let mut ended = running.ended(2).await;
    ended.sort();
    // Which upstream it was for, nobody has read.
    assert_eq!(
        ended,
        [
            "a chat_completions aborted queue none a none 1",
            "default chat_completions failure rejected 429 none none 1",
        ]
    );
    assert!(b.requests().is_empty());
}
