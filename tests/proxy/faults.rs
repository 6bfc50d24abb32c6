//! What can go wrong, row by row: what the client sees, how it is counted, and that nothing is left.

use std::{io, pin::Pin, time::Duration};

use infermeter::proxy::ProxyBuilder;
use tokio::net::TcpListener;

use crate::{
    running::{Running, chat, chat_head, tasks},
    upstream::Conn,
    wire::eventually,
};

struct Row {
    name: &'static str,
    upstream: fn(Conn) -> Script,
    with: fn(ProxyBuilder) -> ProxyBuilder,
    client: String,
    sees: Sees,
    /// Outcome, reason, code.
    counted: &'static str,
}

enum Sees {
    /// An error of the proxy's own: status and code.
    Error(u16, &'static str),
    /// A whole answer with this body.
    Whole(u16, &'static str),
    /// A head of 200 and this much, and then the end of the connection where none may be.
    Cut(&'static str),
}

type Script = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

const EVENT: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n";

fn row(name: &'static str, upstream: fn(Conn) -> Script, sees: Sees, counted: &'static str) -> Row {
    Row { name, upstream, with: |b| b, client: chat("{}"), sees, counted }
}

/// Answers with these bytes, and closes.
async fn says(mut conn: Conn, answer: impl AsRef<[u8]>) -> io::Result<()> {
    conn.request().await?;
    conn.write(answer).await
}

/// Answers with these bytes, and does nothing more.
async fn hangs_after(mut conn: Conn, answer: impl AsRef<[u8]>) -> io::Result<()> {
    conn.request().await?;
    conn.write(answer).await?;
    conn.gone().await
}

fn stream(events: &str) -> String {
    let length = events.len();
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n\
         {length:x}\r\n{events}\r\n"
    )
}

const SHORT: Duration = Duration::from_millis(100);

fn first_byte(builder: ProxyBuilder) -> ProxyBuilder {
    builder.first_byte_timeout(SHORT)
}

fn idle(builder: ProxyBuilder) -> ProxyBuilder {
    builder.idle_timeout(SHORT)
}

fn of_the_upstream() -> Vec<Row> {
    let closed = || Sees::Error(502, "upstream_closed");
    let invalid = || Sees::Error(502, "upstream_invalid");
    vec![
        row(
            "closes at once",
            |conn| {
                Box::pin(async {
                    drop(conn);
                    Ok(())
                })
            },
            closed(),
            "failure server_error 502",
        ),
        row(
            "closes before the head",
            |c| Box::pin(says(c, "")),
            closed(),
            "failure server_error 502",
        ),
        row(
            "resets before the head",
            |mut conn| {
                Box::pin(async {
                    conn.request().await?;
                    conn.reset()
                })
            },
            closed(),
            "failure server_error 502",
        ),
        row(
            "closes in the head",
            |c| Box::pin(says(c, "HTTP/1.1 200 OK\r\ncontent-le")),
            closed(),
            "failure server_error 502",
        ),
        row(
            "closes right behind the head",
            |c| Box::pin(says(c, "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n")),
            closed(),
            "failure server_error 502",
        ),
        row(
            "speaks something else",
            |c| Box::pin(says(c, "SSH-2.0-OpenSSH_9.2\r\n\r\n")),
            invalid(),
            "failure server_error 502",
        ),
        row(
            "has two lengths",
            |c| {
                Box::pin(says(
                    c,
                    "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
                ))
            },
            invalid(),
            "failure server_error 502",
        ),
        row(
            "has more headers than a client should read",
            |c| {
                let headers = "x-y: 1\r\n".repeat(101);
                Box::pin(says(c, format!("HTTP/1.1 200 OK\r\n{headers}content-length: 0\r\n\r\n")))
            },
            invalid(),
            "failure server_error 502",
        ),
        row(
            // It is passed on as it is.
            "has 200 KB of headers",
            |c| {
                let value = "x".repeat(200_000);
                Box::pin(says(
                    c,
                    format!("HTTP/1.1 200 OK\r\nx-y: {value}\r\ncontent-length: 0\r\n\r\n"),
                ))
            },
            Sees::Whole(200, ""),
            "success other 200",
        ),
        row(
            "changes the protocol unasked",
            |c| {
                let head =
                    "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n";
                Box::pin(hangs_after(c, head))
            },
            invalid(),
            "failure server_error 502",
        ),
        row(
            "resets in the body",
            |mut conn| {
                Box::pin(async {
                    conn.request().await?;
                    conn.write(stream(EVENT)).await?;
                    tokio::time::sleep(SHORT).await;
                    conn.reset()
                })
            },
            Sees::Cut(EVENT),
            "failure stream_error 200",
        ),
        row(
            "closes without a last chunk",
            |c| Box::pin(says(c, stream(EVENT))),
            Sees::Cut(EVENT),
            "failure stream_error 200",
        ),
        row(
            "closes in the middle of a chunk",
            |c| Box::pin(says(c, format!("{}ff\r\nhalf", stream(EVENT)))),
            Sees::Cut(EVENT),
            "failure stream_error 200",
        ),
        row(
            "sends a chunk that is none",
            |c| Box::pin(hangs_after(c, format!("{}xyz\r\n", stream(EVENT)))),
            Sees::Cut(EVENT),
            "failure stream_error 200",
        ),
        row(
            "sends less than its length",
            |c| Box::pin(says(c, "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf")),
            Sees::Cut("half"),
            "failure stream_error 200",
        ),
        row(
            "sends more than its length",
            |c| Box::pin(hangs_after(c, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}and more")),
            Sees::Whole(200, "{}"),
            "success other 200",
        ),
        row(
            "ends a stream too early",
            |c| {
                let head = "HTTP/1.0 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
                Box::pin(says(c, format!("{head}{EVENT}")))
            },
            Sees::Whole(200, EVENT),
            "failure truncated 200",
        ),
        row(
            "is overloaded",
            |c| Box::pin(says(c, "HTTP/1.1 503 No\r\ncontent-length: 2\r\n\r\nno")),
            Sees::Whole(503, "no"),
            "failure overloaded 503",
        ),
        Row {
            with: first_byte,
            ..row(
                "does not begin",
                |c| Box::pin(hangs_after(c, "")),
                Sees::Error(504, "upstream_timeout"),
                "failure timeout 504",
            )
        },
        Row {
            with: first_byte,
            ..row(
                "does not begin the body",
                |c| {
                    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
                    Box::pin(hangs_after(c, head))
                },
                Sees::Cut(""),
                "failure timeout 200",
            )
        },
        Row {
            with: idle,
            ..row(
                "hangs in the stream",
                |c| Box::pin(hangs_after(c, stream(EVENT))),
                Sees::Cut(EVENT),
                "failure timeout 200",
            )
        },
        Row {
            with: idle,
            ..row(
                "only says that it lives",
                |mut conn| {
                    Box::pin(async move {
                        conn.request().await?;
                        conn.write(stream(EVENT)).await?;
                        loop {
                            tokio::time::sleep(SHORT / 10).await;
                            conn.write("3\r\n:\n\n\r\n").await?;
                        }
                    })
                },
                Sees::Cut(EVENT),
                "failure timeout 200",
            )
        },
    ]
}

fn of_the_client() -> Vec<Row> {
    let client = |name, client: String, status, code, counted| Row {
        client,
        with: |builder| builder.max_request_body(20),
        ..row(name, |c| Box::pin(hangs_after(c, "")), Sees::Error(status, code), counted)
    };
    let chunked = |body: &str| format!("{}transfer-encoding: chunked\r\n\r\n{body}", chat_head());
    let large = "failure client_error 413";
    vec![
        client("says that it is too long", chat(&"x".repeat(21)), 413, "request_too_large", large),
        client(
            "is too long without saying so",
            chunked(&format!("20\r\n{}\r\n", "x".repeat(32))),
            413,
            "request_too_large",
            large,
        ),
        client(
            "has a chunk that is none",
            chunked("2\r\n{}\r\nxyz\r\n"),
            400,
            "malformed_body",
            "failure invalid_request 400",
        ),
        client(
            "has a chunk that is longer than it says",
            chunked("2\r\n{} \r\n0\r\n\r\n"),
            400,
            "malformed_body",
            "failure invalid_request 400",
        ),
    ]
}

#[tokio::test]
async fn of_an_upstream_that_fails() {
    for row in of_the_upstream() {
        row.holds().await;
    }
}

#[tokio::test]
async fn of_a_request_that_fails() {
    for row in of_the_client() {
        row.holds().await;
    }
}

#[tokio::test]
async fn of_an_upstream_that_is_not_there() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let running = Running::at(&format!("http://{address}"), |b| b).await;
    let error = running.send(chat("{}")).await.answer().await.unwrap();
    assert_eq!((error.status(), &*error.code()), (502, "upstream_unreachable"));
    assert_eq!(running.ended(1).await, ["default chat_completions failure unreachable 502 1"]);
    assert!(!error.text().contains(&address.port().to_string()), "{}", error.text());
    running.end().await;

    // It is there, and does not go on to TLS.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let running = Running::at(&url, |b| b.connect_timeout(SHORT)).await;
    let error = running.send(chat("{}")).await.answer().await.unwrap();
    assert_eq!((error.status(), &*error.code()), (504, "upstream_connect_timeout"));
    assert_eq!(running.ended(1).await, ["default chat_completions failure unreachable 504 1"]);
    running.end().await;
}

// === impl Row ===

impl Row {
    async fn holds(self) {
        let Self { name, upstream, with, client, sees, counted } = self;
        println!("{name}");
        let lists = name != "closes at once";
        let (running, upstream) = if lists {
            Running::before(upstream, with).await
        } else {
            let upstream = crate::upstream::Upstream::start(upstream).await;
            let running = Running::at(&format!("http://{}", upstream.address), with).await;
            eventually(name, || upstream.connections() > 0 && upstream.open() == 0).await;
            (running, upstream)
        };
        let base = tasks();

        let mut wire = running.send(client).await;
        match sees {
            Sees::Error(status, code) => {
                let answer = wire.answer().await.unwrap_or_else(|error| panic!("{name}: {error}"));
                assert_eq!((answer.status(), &*answer.code()), (status, code), "{name}");
                assert_eq!(answer.header("content-type"), Some("application/json"), "{name}");
                assert!(answer.header("x-request-id").is_some(), "{name}");
            }
            Sees::Whole(status, body) => {
                let answer = wire.answer().await.unwrap_or_else(|error| panic!("{name}: {error}"));
                assert_eq!((answer.status(), &*answer.text()), (status, body), "{name}");
            }
            Sees::Cut(body) => {
                let head = wire.head().await.unwrap_or_else(|error| panic!("{name}: {error}"));
                assert_eq!(head.status(), 200, "{name}");
                let (rest, _) = wire.rest().await;
                let rest = String::from_utf8(rest).unwrap();
                assert!(rest.contains(body) && !rest.contains("0\r\n\r\n"), "{name}: {rest}");
            }
        }
        drop(wire);
        let ended = running.ended(1).await;
        let model = if lists { "m" } else { "default" };
        assert_eq!(ended, [format!("{model} chat_completions {counted} 1")], "{name}");
        eventually(name, || upstream.open() == 0).await;
        eventually(name, || tasks() <= base).await;
        running.end().await;
    }
}
