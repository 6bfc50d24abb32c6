//! A plain request is served without hyper, and nobody can tell: the client gets the same answer, and
//! the upstream the same request, as where hyper has read it.

use std::{io, sync::Arc, time::Duration};

use tokio::time::sleep;

use crate::{
    running::{Running, chat},
    upstream::Conn,
    wire::{Message, Wire},
};

/// What an upstream answers, and whether it closes then.
const ANSWERS: [(&str, bool); 21] = [
    ("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}", false),
    ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nserver: x\r\ndate: y\r\n\r\n{}", false),
    ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", false),
    ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\n{}", false),
    (
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n11\r\n0123456789abcdefg\r\n0\r\n\r\n",
        false,
    ),
    ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", false),
    (
        "HTTP/1.1 200 OK\r\ntrailer: x\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\nx: y\r\n\r\n",
        false,
    ),
    (
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n\
      e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n",
        false,
    ),
    ("HTTP/1.1 200 OK\r\n\r\nuntil the end", true),
    ("HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\n{}", true),
    (
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\na",
        false,
    ),
    ("HTTP/1.1 204 No Content\r\n\r\n", false),
    ("HTTP/1.1 304 Not Modified\r\netag: x\r\ncontent-length: 5\r\n\r\n", false),
    (
        "HTTP/1.1 418 Short and stout\r\nset-cookie: a\r\nx: 1\r\nset-cookie: b\r\ncontent-length: 1\r\n\r\na",
        false,
    ),
    ("HTTP/1.1 299 \r\ncontent-length: 1\r\n\r\na", false),
    ("HTTP/1.1 500 Internal Server Error\r\ncontent-length: 1\r\nconnection: close\r\n\r\na", true),
    ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort", true),
    ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nshort\r\n", true),
    ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nshort\r\n?\r\n", false),
    ("HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", true),
    ("nothing that is known", true),
];

/// What the client gets for two requests on one connection, and what the upstream has seen.
type Seen = (Vec<String>, Vec<String>);

/// Sends a request in these pieces, and another one behind it; `connection` is a header of both.
async fn seen(pieces: &[String], answer: &'static str, closes: bool, connection: &str) -> Seen {
    let answers = move |mut conn: Conn| async move {
        loop {
            conn.request().await?;
            conn.write(answer).await?;
            if closes {
                return Ok(());
            }
        }
    };
    let (running, upstream) = Running::before(answers, |builder| builder).await;
    let mut wire = running.connect().await;
    let mut got = Vec::new();
    for _ in 0..2 {
        got.push(match exchange(&mut wire, pieces, connection).await {
            Ok(answer) => told(answer),
            Err(error) => format!("{:?}, {:?}", error.kind(), wire.rest().await),
        });
    }
    let told = |request| told(request).replace(&upstream.address.to_string(), "upstream");
    let requests = upstream.requests().into_iter().map(told).collect();
    running.end().await;
    (got, requests)
}

async fn exchange(wire: &mut Wire, pieces: &[String], connection: &str) -> io::Result<Message> {
    for (at, piece) in pieces.iter().enumerate() {
        if at > 0 {
            // So that it does not come together with the one before.
            sleep(Duration::from_millis(20)).await;
        }
        let line = format!("\r\nconnection: {connection}\r\nx-request-id: 1\r\n");
        wire.write(piece.replacen("\r\nhost: a\r\n", &format!("{line}host: a\r\n"), 1)).await?;
    }
    wire.answer().await
}

/// All but the time of the day.
fn told(mut message: Message) -> String {
    for (name, value) in &mut message.headers {
        if name == "date" && value.len() == "Sun, 06 Nov 1994 08:49:37 GMT".len() {
            value.clear();
        }
    }
    format!("{message:?}")
}

async fn is_told_apart_by_nobody(pieces: &[String]) {
    for (answer, closes) in ANSWERS {
        let plain = seen(pieces, answer, closes, "keep-alive").await;
        // NB: it names a header that is not there, which nobody has to do anything about.
        let by_hyper = seen(pieces, answer, closes, "keep-alive, x-none").await;
        assert_eq!(plain, by_hyper, "{answer:?} to {pieces:?}");
        assert!(!plain.1.is_empty(), "{answer:?} to {pieces:?}");
    }
}

#[tokio::test]
async fn a_request_that_comes_at_once() {
    is_told_apart_by_nobody(&[chat(r#"{"model":"m","messages":[]}"#)]).await;
}

#[tokio::test]
async fn a_stream_whose_usage_is_asked_for() {
    is_told_apart_by_nobody(&[chat(r#"{"model":"m","messages":[],"stream":true}"#)]).await;
}

#[tokio::test]
async fn a_request_without_a_body() {
    is_told_apart_by_nobody(&["GET /x HTTP/1.1\r\nhost: a\r\n\r\n".to_owned()]).await;
    let none = "POST /x?y HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n".to_owned();
    is_told_apart_by_nobody(&[none]).await;
}

#[tokio::test]
async fn a_body_that_comes_behind_its_head() {
    let whole = chat(r#"{"model":"m","messages":[]}"#);
    let (head, body) = whole.split_at(whole.find("\r\n\r\n").unwrap() + 4);
    let (first, last) = body.split_at(5);
    is_told_apart_by_nobody(&[head.to_owned(), first.to_owned(), last.to_owned()]).await;
    // NB: this one is read by nobody but the upstream.
    let whole = whole.replace("/v1/chat/completions", "/x");
    let (head, body) = whole.split_at(whole.find("\r\n\r\n").unwrap() + 9);
    is_told_apart_by_nobody(&[head.to_owned(), body.to_owned()]).await;
}

/// The upstream answers before it has all, and the rest is still sent: the next request is the one
/// behind it.
#[tokio::test]
async fn an_answer_that_comes_before_the_body() {
    let early = |mut conn: Conn| async move {
        loop {
            conn.head().await?;
            conn.write("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\na").await?;
            conn.exactly(6).await?;
        }
    };
    for connection in ["keep-alive", "keep-alive, x-none"] {
        let (running, upstream) = Running::before(early, |builder| builder).await;
        let mut wire = running.connect().await;
        for _ in 0..2 {
            let head = format!("POST /x HTTP/1.1\r\nhost: a\r\nconnection: {connection}\r\n");
            wire.write(format!("{head}content-length: 6\r\n\r\nabc")).await.unwrap();
            assert_eq!(wire.answer().await.unwrap().text(), "a");
            wire.write("def").await.unwrap();
        }
        assert_eq!(upstream.requests().len(), 2);
        running.end().await;
    }
}

/// What is told twice in one header is told once.
#[tokio::test]
async fn a_length_that_is_a_list() {
    let answers = |mut conn: Conn| async move {
        conn.request().await?;
        conn.write("HTTP/1.1 200 OK\r\ncontent-length: 2, 2\r\n\r\n{}").await
    };
    let (running, _upstream) = Running::before(answers, |builder| builder).await;
    let answer = running.send(chat("{}")).await.answer().await.unwrap();
    assert_eq!((answer.text(), answer.headers("content-length")), ("{}".into(), vec!["2"]));
    assert_eq!(running.ended(1).await, ["m chat_completions success other 200 1"]);
    running.end().await;
}

/// What comes early waits, also where it is more than is read at once.
#[tokio::test]
async fn requests_that_come_together() {
    let echoes = |mut conn: Conn| async move {
        loop {
            let Message { body, .. } = conn.request().await?;
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
            conn.write([head.as_bytes(), &body].concat()).await?;
        }
    };
    let (running, upstream) = Running::before(echoes, |builder| builder).await;
    let bodies: Arc<[String]> =
        (0..40).map(|n| format!("{n}").repeat([1, 70_000][usize::from(n == 7)])).collect();
    let post = |body: &String| {
        let head = format!("POST /x HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n", body.len());
        format!("{head}\r\n{body}")
    };
    // The last one is for hyper.
    let all: String = bodies.iter().map(post).collect();
    let all = all + "GET /x HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let mut wire = running.connect().await;
    wire.write(all).await.unwrap();
    for body in &*bodies {
        assert_eq!(wire.answer().await.unwrap().text(), *body);
    }
    assert_eq!(wire.answer().await.unwrap().text(), "");
    assert!(wire.rest().await.0.is_empty());
    assert_eq!(upstream.requests().len(), bodies.len() + 1);
    running.end().await;
}

/// An odd request behind plain ones is what hyper says it is.
#[tokio::test]
async fn a_request_that_is_refused_behind_one_that_is_not() {
    let answers = |mut conn: Conn| async move {
        loop {
            conn.request().await?;
            conn.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await?;
        }
    };
    let (running, upstream) = Running::before(answers, |builder| builder).await;
    let plain = "POST /x HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\na";
    let odd = "POST /y HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab";
    let mut wire = running.send(format!("{plain}{odd}{plain}")).await;
    assert_eq!(wire.answer().await.unwrap().status(), 200);
    assert_eq!(wire.answer().await.unwrap().status(), 400);
    assert!(wire.rest().await.0.is_empty(), "the connection is not closed");
    let starts: Vec<_> = upstream.requests().into_iter().map(|request| request.start).collect();
    assert_eq!(starts, ["POST /x HTTP/1.1"]);
    running.end().await;
}
