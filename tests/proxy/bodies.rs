//! Bodies pass byte by byte, when they come, and as framed as they were.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    sync::{Mutex, mpsc},
    time::sleep,
};

use crate::{
    running::{Running, chat, chat_head},
    upstream::Conn,
    wire::{Message, eventually},
};

/// Answers with the request's body, framed as it was.
async fn echoes(mut conn: Conn) -> io::Result<()> {
    loop {
        let request = conn.request().await?;
        let (length, mut answer) = (request.body.len(), Vec::new());
        answer.extend(format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n").bytes());
        answer.extend(&request.body);
        conn.write(answer).await?;
    }
}

#[tokio::test]
async fn uploads_of_both_framings_and_every_length() {
    let (running, upstream) = Running::before(echoes, |builder| builder).await;
    let lengths =
        [0, 1, 2, 65_535, 65_536, 1 << 20, (8 << 20) - 1, 8 << 20, (8 << 20) + 1, 9 << 20];
    let bytes: Vec<u8> = (0..9 << 20).map(|i: usize| (i * 7 + i / 251) as u8).collect();
    for path in ["/v1/chat/completions", "/any"] {
        let mut wire = running.connect().await;
        for length in lengths {
            let body = &bytes[..length];
            let head = format!("POST {path} HTTP/1.1\r\nhost: a\r\n");
            let mut whole = format!("{head}content-length: {length}\r\n\r\n").into_bytes();
            whole.extend(body);
            let mut chunked = format!("{head}transfer-encoding: chunked\r\n\r\n").into_bytes();
            for piece in body.chunks(100_000) {
                chunked.extend(format!("{:X}\r\n", piece.len()).bytes());
                chunked.extend(piece);
                chunked.extend(b"\r\n");
            }
            chunked.extend(b"0\r\n\r\n");
            for request in [whole, chunked] {
                wire.write(request).await.unwrap();
                let answer = wire.answer().await.unwrap();
                assert!(answer.status() == 200 && answer.body == body, "{path} {length}");
            }
        }
    }
    // And all of it over few connections: they are kept on both sides.
    assert_eq!(upstream.requests().len(), 4 * lengths.len());
    assert!(upstream.connections() <= 2, "{}", upstream.connections());
    running.end().await;
}

#[tokio::test]
async fn what_is_compressed_stays_so() {
    let gzip = [&b"\x1f\x8b\x08"[..], &[0, 255, 13, 10]].concat();
    let (running, upstream) = Running::before(
        |mut conn: Conn| async move {
            let request = conn.request().await?;
            let head = "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 7\r\n\r\n";
            conn.write([head.as_bytes(), &request.body].concat()).await
        },
        |builder| builder,
    )
    .await;
    let head = format!("{}content-encoding: gzip\r\ncontent-length: 7\r\n\r\n", chat_head());
    let mut wire = running.send([head.as_bytes(), &gzip].concat()).await;
    let answer = wire.answer().await.unwrap();
    assert_eq!((answer.body, &upstream.requests()[0].body), (gzip.clone(), &gzip));
    running.end().await;
}

#[tokio::test]
async fn trailers_of_both_ways() {
    let (running, upstream) = Running::before(
        |mut conn: Conn| async move {
            conn.request().await?;
            let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum, x-n\r\n";
            conn.write(format!("{head}\r\n2\r\nok\r\n0\r\nx-sum: 7\r\nx-n: 1\r\n\r\n")).await
        },
        |builder| builder,
    )
    .await;
    for path in ["/any", "/v1/chat/completions"] {
        let head = format!("POST {path} HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n");
        let body = "\r\n2\r\n{}\r\n0\r\nx-sum: 5\r\n\r\n";
        let request = format!("{head}te: trailers\r\ntrailer: x-sum\r\n{body}");
        let answer = running.send(request).await.answer().await.unwrap();
        let trailers = [("x-sum".to_owned(), "7".to_owned()), ("x-n".to_owned(), "1".to_owned())];
        assert_eq!((answer.text().as_str(), &answer.trailers[..]), ("ok", &trailers[..]), "{path}");
        let request = upstream.requests().pop().unwrap();
        assert_eq!(request.headers("connection"), ["te"], "{path}");
        assert_eq!(request.trailers, [("x-sum".to_owned(), "5".to_owned())], "{path}");
        assert_eq!(request.header("trailer"), Some("x-sum"));

        // NB: hyper gives them to whom takes them only.
        let answer = running.send(head + body).await.answer().await.unwrap();
        assert_eq!((answer.text().as_str(), answer.trailers.len()), ("ok", 0), "{path}");
    }
    running.end().await;
}

#[tokio::test]
async fn a_client_that_waits_to_be_asked_is_asked() {
    let (running, upstream) =
        Running::before(echoes, |builder| builder.max_request_body(100)).await;
    for head in [chat_head(), "POST /any HTTP/1.1\r\nhost: a\r\n".to_owned()] {
        let head = format!("{head}expect: 100-continue\r\n");
        let mut wire = running.send(format!("{head}content-length: 2\r\n\r\n")).await;
        assert_eq!(wire.answer().await.unwrap().start, "HTTP/1.1 100 Continue");
        wire.write("{}").await.unwrap();
        assert_eq!(wire.answer().await.unwrap().text(), "{}");
        assert_eq!(upstream.requests().pop().unwrap().header("expect"), None);

        // What is not wanted is not asked for.
        let mut wire = running.send(format!("{head}content-length: 101\r\n\r\n")).await;
        assert_eq!(wire.answer().await.unwrap().code(), "request_too_large");
        assert!(wire.rest().await.1);
    }
    running.end().await;
}

/// A client that writes all before it reads gets its refusal, and no reset in its place.
#[tokio::test]
async fn a_refusal_in_the_middle_of_an_upload_is_read() {
    let (running, _upstream) =
        Running::before(echoes, |builder| builder.max_request_body(100)).await;
    for framing in ["content-length: 3000000", "transfer-encoding: chunked"] {
        let size = if framing.starts_with('t') { "2dc6c0\r\n" } else { "" };
        let request = format!("{}{framing}\r\n\r\n{size}", chat_head());
        let mut wire = running.send(request + &"x".repeat(3_000_000)).await;
        assert_eq!(wire.answer().await.unwrap().code(), "request_too_large", "{framing}");
    }
    running.end().await;
}

#[tokio::test]
async fn requests_that_come_together_are_answered_in_order() {
    let (running, _upstream) = Running::before(echoes, |builder| builder).await;
    let bodies: Vec<String> = (0..50).map(|i| format!("{{\"n\":{i}}}")).collect();
    let mut wire = running.send(bodies.iter().map(|body| chat(body)).collect::<String>()).await;
    for body in &bodies {
        assert_eq!(&wire.answer().await.unwrap().text(), body);
    }
    assert_eq!(running.ended(50).await.len(), 1);
    running.end().await;
}

#[tokio::test]
async fn every_piece_goes_out_when_it_comes() {
    let (sent, seen) = (mpsc::channel(1), mpsc::channel(1));
    let seen_there = Arc::new(Mutex::new(seen.1));
    let (running, _upstream) = Running::before(
        move |mut conn: Conn| {
            let (seen, sent) = (Arc::clone(&seen_there), sent.0.clone());
            async move {
                conn.request().await?;
                let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n";
                conn.write(format!("{head}transfer-encoding: chunked\r\n\r\n")).await?;
                sent.send(()).await.unwrap();
                let mut seen = seen.lock().await;
                for i in 0..100 {
                    seen.recv().await.unwrap();
                    // Some of them in the middle of a line.
                    let event = format!("data: {{\"n\":{i}}}{}", "\n\n".repeat(i % 2));
                    conn.write(format!("{:x}\r\n{event}\r\n", event.len())).await?;
                }
                seen.recv().await.unwrap();
                conn.write("0\r\n\r\n").await
            }
        },
        |builder| builder,
    )
    .await;
    let mut wire = running.send(chat("{\"stream\":true}")).await;
    assert_eq!(wire.head().await.unwrap().status(), 200);
    for i in 0..100 {
        seen.0.send(()).await.unwrap();
        let chunk = String::from_utf8(wire.chunk().await.unwrap()).unwrap();
        assert!(chunk.starts_with(&format!("data: {{\"n\":{i}}}")), "{chunk}");
    }
    seen.0.send(()).await.unwrap();
    assert_eq!(wire.chunk().await.unwrap(), b"");
    drop(sent.1);
    running.end().await;
}

#[tokio::test]
async fn an_answer_may_begin_before_its_request_has_ended() {
    let (running, _upstream) = Running::before(
        |mut conn: Conn| async move {
            conn.head().await?;
            conn.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await?;
            loop {
                let chunk = conn.chunk().await?;
                let last = if chunk.is_empty() { "\r\n" } else { "" };
                let size = format!("{:x}\r\n", chunk.len());
                let end = if chunk.is_empty() { "" } else { "\r\n" };
                conn.write([size.as_bytes(), &chunk, end.as_bytes(), last.as_bytes()].concat())
                    .await?;
                if chunk.is_empty() {
                    return Ok(());
                }
            }
        },
        |builder| builder,
    )
    .await;
    let head = "POST /any HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut wire = running.send(head).await;
    assert_eq!(wire.head().await.unwrap().status(), 200);
    for i in 0..20 {
        wire.write(format!("2\r\n{i:02}\r\n")).await.unwrap();
        assert_eq!(wire.chunk().await.unwrap(), format!("{i:02}").as_bytes());
    }
    wire.write("0\r\n\r\n").await.unwrap();
    assert_eq!(wire.chunk().await.unwrap(), b"");
    running.end().await;
}

/// An upstream that refuses does not read all that it refuses.
#[tokio::test]
async fn an_early_answer_is_passed_on() {
    let (running, upstream) = Running::before(
        |mut conn: Conn| async move {
            conn.head().await?;
            conn.write("HTTP/1.1 413 No\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno")
                .await?;
            conn.gone().await
        },
        |builder| builder,
    )
    .await;
    let head = format!("{}content-length: 20000000\r\n\r\n", chat_head());
    let mut wire = running.send(head + &"x".repeat(9_000_000)).await;
    let answer: Message = wire.answer().await.unwrap();
    assert_eq!((answer.status(), &*answer.text()), (413, "no"));
    drop(wire);
    eventually("closed", || upstream.open() == 0).await;
    assert_eq!(running.ended(1).await, ["m chat_completions failure client_error 413 1"]);
    running.end().await;
}

#[tokio::test]
async fn a_stale_connection_is_replaced_where_nothing_was_sent() {
    let (running, upstream) = Running::before(
        |mut conn: Conn| async move {
            conn.request().await?;
            conn.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await
        },
        |builder| builder,
    )
    .await;
    for i in 1..6 {
        let answer = running.send(chat("{}")).await.answer().await.unwrap();
        assert_eq!(answer.text(), "ok", "{i}");
        eventually("closed", || upstream.open() == 0).await;
        assert_eq!(upstream.connections(), i);
    }
    running.end().await;
}

/// It may have been worked on: who asks again decides that.
#[tokio::test]
async fn a_request_that_was_sent_is_not_sent_again() {
    let (running, upstream) = Running::before(
        |mut conn: Conn| async move {
            conn.request().await?;
            conn.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await?;
            conn.request().await?;
            Ok(())
        },
        |builder| builder,
    )
    .await;
    assert_eq!(running.send(chat("{}")).await.answer().await.unwrap().text(), "ok");
    let answer = running.send(chat("{}")).await.answer().await.unwrap();
    assert_eq!((answer.status(), &*answer.code()), (502, "upstream_closed"));
    assert_eq!((upstream.requests().len(), upstream.connections()), (2, 1));
    running.end().await;
}

/// What a client takes to send its request is not the upstream's time.
#[tokio::test]
async fn a_slow_upload_is_no_late_answer() {
    let limit = Duration::from_millis(200);
    let (running, _upstream) =
        Running::before(echoes, |builder| builder.first_byte_timeout(limit)).await;
    let mut wire =
        running.send("POST /any HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\n").await;
    for _ in 0..10 {
        sleep(limit / 4).await;
        wire.write("x").await.unwrap();
    }
    let answer = wire.answer().await.unwrap();
    assert_eq!((answer.status(), &*answer.text()), (200, "xxxxxxxxxx"));
    running.end().await;
}
