//! A limit on how many run at once, in front of the upstream.

use infermeter::{AdmissionLayer, Meter};

use crate::{
    running::{Running, chat},
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
