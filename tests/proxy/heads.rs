//! Heads pass as they are, but for what is between two neighbours.

use crate::{running::Running, upstream::Conn, wire::Message};

/// Sends a request to an upstream that answers so; what the upstream saw, and the answer.
async fn passed(request: &str, answer: &'static str) -> (Message, Message) {
    let answers = move |mut conn: Conn| async move {
        conn.request().await?;
        conn.write(answer).await
    };
    let (running, upstream) = Running::before(answers, |builder| builder).await;
    let mut wire = running.send(request).await;
    let is_head = request.starts_with("HEAD");
    let answer = if is_head { wire.head().await } else { wire.answer().await }.unwrap();
    let [request] = <[Message; 1]>::try_from(upstream.requests())
        .unwrap_or_else(|seen| panic!("{request:?}: {seen:?}, {answer:?}"));
    assert_eq!(request.headers("host"), [upstream.address.to_string()]);
    running.end().await;
    (request, answer)
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

#[tokio::test]
async fn methods_and_targets() {
    for start in [
        "GET / HTTP/1.1",
        "DELETE //a/..//%2F%2e%2E/%zz;p=1/b?c=%20d&e&=?/ HTTP/1.1",
        "OPTIONS /v1/chat/completions HTTP/1.1",
        "PATCH /a%00b?%0d%0a HTTP/1.1",
        "FROBNICATE /\u{e9}?\u{e9} HTTP/1.1",
        "get /? HTTP/1.1",
        "PUT /\"\\^{|} HTTP/1.1",
    ] {
        let (request, answer) = passed(&format!("{start}\r\nhost: a\r\n\r\n"), OK).await;
        assert_eq!((&*request.start, answer.status()), (as_utf8(start).as_str(), 200));
    }
    // A host in the target is not the way there.
    let whole = "GET http://other:1/a?b HTTP/1.1\r\nhost: a\r\n\r\n";
    let (request, _) = passed(whole, OK).await;
    assert_eq!(request.start, "GET /a?b HTTP/1.1");
    assert_eq!(request.headers("x-forwarded-host"), ["other:1"]);
}

/// As the bytes of it look, a character each.
fn as_utf8(text: &str) -> String {
    text.bytes().map(char::from).collect()
}

#[tokio::test]
async fn headers_of_a_request() {
    let (request, answer) = passed(
        "POST /x HTTP/1.1\r\nHost: a.example\r\nX-Many: 1\r\naccept: */*\r\nx-many: 2\r\n\
         X-Many:\r\nx-text: \u{e9} \t\"; ,\r\ncookie: a=1\r\ncookie: b=2\r\n\
         accept-encoding: gzip, br\r\nauthorization: Bearer sk\r\ncontent-type: Application/JSON\r\n\
         connection: x-mine,  Keep-Alive\r\nConnection: X-Other\r\nx-mine: 1\r\nx-other: 2\r\n\
         keep-alive: timeout=5\r\nproxy-connection: keep-alive\r\nproxy-authorization: Basic x\r\n\
         te: gzip, trailers\r\ntraceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\
         x-forwarded-for: 10.0.0.1\r\nx-request-id: mine\r\ncontent-length: 0\r\n\r\n",
        OK,
    )
    .await;
    let text = as_utf8("\u{e9} \t\"; ,");
    for (name, values) in [
        ("x-many", &["1", "2", ""][..]),
        ("x-text", &[&text]),
        ("cookie", &["a=1", "b=2"]),
        ("accept", &["*/*"]),
        ("accept-encoding", &["gzip, br"]),
        ("authorization", &["Bearer sk"]),
        ("content-type", &["Application/JSON"]),
        ("te", &["trailers"]),
        ("connection", &["te"]),
        ("traceparent", &["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"]),
        ("x-forwarded-for", &["10.0.0.1", "127.0.0.1"]),
        ("x-forwarded-host", &["a.example"]),
        ("x-forwarded-proto", &["http"]),
        ("x-request-id", &["mine"]),
        ("via", &["1.1 infermeter"]),
        ("content-length", &["0"]),
    ] {
        assert_eq!(request.headers(name), values, "{name}");
    }
    for name in [
        "x-mine",
        "x-other",
        "keep-alive",
        "proxy-connection",
        "proxy-authorization",
        "transfer-encoding",
        "user-agent",
    ] {
        assert_eq!(request.header(name), None, "{name}");
    }
    assert_eq!(answer.headers("x-request-id"), ["mine"]);
}

#[tokio::test]
async fn headers_of_an_answer() {
    let (request, answer) = passed(
        "GET /x HTTP/1.1\r\nhost: a\r\n\r\n",
        "HTTP/1.1 299 Odd Reason\r\nset-cookie: a=1\r\nset-cookie: b=2; Path=/\r\n\
         x-text: \u{e9} \t\"\r\nserver: engine\r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\
         connection: close, x-mine\r\nx-mine: 1\r\nkeep-alive: timeout=5\r\n\
         proxy-authenticate: Basic\r\nvary: *\r\nx-request-id: of-the-engine\r\n\
         content-length: 2\r\n\r\nok",
    )
    .await;
    assert_eq!((answer.status(), &*answer.text()), (299, "ok"));
    let text = as_utf8("\u{e9} \t\"");
    for (name, values) in [
        ("set-cookie", &["a=1", "b=2; Path=/"][..]),
        ("x-text", &[&text]),
        ("server", &["engine"]),
        ("date", &["Thu, 01 Jan 1970 00:00:00 GMT"]),
        ("vary", &["*"]),
        ("x-request-id", &["of-the-engine"]),
        ("content-length", &["2"]),
    ] {
        assert_eq!(answer.headers(name), values, "{name}");
    }
    for name in ["connection", "x-mine", "keep-alive", "proxy-authenticate", "transfer-encoding"] {
        assert_eq!(answer.header(name), None, "{name}");
    }
    // One was made.
    let made = request.header("x-request-id").unwrap();
    assert!(made.len() == 32 && made.bytes().all(|byte| byte.is_ascii_hexdigit()), "{made}");
    let (request, answer) = passed("GET /x HTTP/1.1\r\nhost: a\r\n\r\n", OK).await;
    assert_eq!(request.header("x-request-id"), answer.header("x-request-id"));
}

#[tokio::test]
async fn answers_without_a_body() {
    let (request, answer) = passed(
        "HEAD /x HTTP/1.1\r\nhost: a\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 1234\r\netag: \"1\"\r\n\r\n",
    )
    .await;
    assert_eq!(request.start, "HEAD /x HTTP/1.1");
    assert_eq!(
        (answer.header("content-length"), answer.header("etag")),
        (Some("1234"), Some("\"1\""))
    );

    let get = "GET /x HTTP/1.1\r\nhost: a\r\nif-none-match: \"1\"\r\n\r\n";
    let (_, answer) = passed(get, "HTTP/1.1 304 Not Modified\r\netag: \"1\"\r\n\r\n").await;
    assert_eq!((answer.status(), answer.header("etag")), (304, Some("\"1\"")));
    assert_eq!(answer.header("transfer-encoding"), None);

    let (_, answer) = passed(get, "HTTP/1.1 204 No Content\r\n\r\n").await;
    assert_eq!((answer.status(), answer.header("content-length")), (204, None));
    assert_eq!(answer.header("transfer-encoding"), None);
}

/// NB: hyper reads over them, and a server of hyper's has no way to send any but 100 and 101.
#[tokio::test]
async fn interim_answers_of_the_upstream_are_not_the_answer() {
    let (_, answer) = passed(
        "GET /x HTTP/1.1\r\nhost: a\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n\
         HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
    )
    .await;
    assert_eq!((answer.status(), &*answer.text(), answer.header("link")), (200, "ok", None));
}

#[tokio::test]
async fn clients_and_upstreams_of_http_1_0() {
    let get = "GET /x HTTP/1.0\r\n\r\n";
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    let (request, answer) = passed(get, chunked).await;
    assert_eq!(request.start, "GET /x HTTP/1.1");
    assert!(answer.start.starts_with("HTTP/1.0 200"), "{}", answer.start);
    assert_eq!((answer.header("transfer-encoding"), &*answer.text()), (None, "ok"));

    let kept = "GET /x HTTP/1.0\r\nconnection: keep-alive\r\n\r\n";
    let (_, answer) = passed(kept, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    assert_eq!(answer.header("connection"), Some("keep-alive"));

    let until_closed = "HTTP/1.0 200 OK\r\n\r\nok";
    let (_, answer) = passed("GET /x HTTP/1.1\r\nhost: a\r\n\r\n", until_closed).await;
    assert_eq!((answer.header("transfer-encoding"), &*answer.text()), (Some("chunked"), "ok"));
}
