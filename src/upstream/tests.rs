//! Both ways to an upstream, side by side: what hyper's client makes of an answer is what ours does.

use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::{BodyExt, Empty, StreamBody, combinators::UnsyncBoxBody};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::{JoinHandle, JoinSet},
    time::{sleep, timeout},
};

use super::{Received, SendError, Upstream, Why, tls};

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// Answers each request on each connection with these pieces, and closes behind the last one if so
/// asked. Tells how many connections there were.
struct Server {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Server {
    async fn start(pieces: Vec<Vec<u8>>, closes: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::<AtomicUsize>::default();
        let count = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                count.fetch_add(1, Relaxed);
                let pieces = pieces.clone();
                tokio::spawn(async move {
                    let mut read = vec![0; 4096];
                    // A request of these tests comes in one piece, or its body does not count.
                    while client.read(&mut read).await.is_ok_and(|length| length > 0) {
                        for piece in &pieces {
                            if client.write_all(piece).await.is_err() {
                                return;
                            }
                            sleep(Duration::from_millis(2)).await;
                        }
                        if closes {
                            return;
                        }
                    }
                });
            }
        });
        Self { address, connections }
    }

    fn request(&self, method: &Method, body: Body) -> Request<Body> {
        let uri = format!("http://{}/x", self.address);
        Request::builder().method(method).uri(uri).body(body).unwrap()
    }
}

fn empty() -> Body {
    Empty::new().boxed_unsync()
}

fn upstream() -> Upstream<Body> {
    Upstream::new(&tls::usual().unwrap(), Duration::from_secs(5))
}

/// All that a client of the proxy could see of an answer.
async fn seen(answer: Result<Response<Received<Body>>, SendError>) -> String {
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => return format!("{:?}", error.why),
    };
    let reason = answer.extensions().get::<hyper::ext::ReasonPhrase>().cloned();
    let (parts, mut body) = answer.into_parts();
    let mut seen = format!("{:?} {:?} {reason:?} {:?}", parts.version, parts.status, parts.headers);
    let mut payload = Vec::new();
    seen += &format!(" sized {:?}", body.size_hint().exact());
    while let Some(frame) = body.frame().await {
        match frame.map(Frame::into_data) {
            Ok(Ok(data)) => payload.extend_from_slice(&data),
            Ok(Err(frame)) => seen += &format!(" trailers {:?}", frame.into_trailers().unwrap()),
            Err(_) => seen += " broken",
        }
        if seen.ends_with("broken") {
            break;
        }
    }
    format!("{seen} {:?}", String::from_utf8_lossy(&payload))
}

const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";

/// Answers that a client must read, and whether the connection ends with them.
fn answers() -> Vec<(String, bool)> {
    let many: String = (0..120).map(|n| format!("x-{n}: 1\r\n")).collect();
    [
        ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\nX-Mixed:  a \r\nx-mixed: b\r\n\r\nhello", false),
        ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", false),
        ("HTTP/1.1 204 No Content\r\nx: y\r\n\r\n", false),
        ("HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n", false),
        ("HTTP/1.1 418 Short And Stout\r\ncontent-length: 1\r\n\r\nt", false),
        ("HTTP/1.1 200\r\ncontent-length: 1\r\n\r\nt", false),
        ("HTTP/1.1 200 \r\ncontent-length: 1\r\n\r\nt", false),
        ("HTTP/1.1 599 Odd\r\nx: caf\u{e9}\r\ncontent-length: 1\r\n\r\nt", false),
        ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", false),
        ("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nto the end", true),
        ("HTTP/1.1 200 OK\r\n\r\n", true),
        ("HTTP/1.0 200 OK\r\n\r\nto the end", true),
        ("HTTP/1.0 200 OK\r\ncontent-length: 3\r\n\r\nold", true),
        ("HTTP/1.0 200 OK\r\ncontent-length: 3\r\nconnection: keep-alive\r\n\r\nold", false),
        ("HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 3\r\n\r\nabc", false),
        ("HTTP/1.1 200 OK\r\ncontent-length: 3, 3\r\n\r\nabc", false),
        ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc", true),
        // What is wrong.
        ("", true),
        ("HTTP/1.1 200 OK\r\ncontent-le", true),
        ("HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabc", true),
        ("HTTP/1.1 200 OK\r\ncontent-length: +3\r\n\r\nabc", true),
        ("HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\nabc", true),
        ("HTTP/1.1 200 OK\r\nno colon\r\n\r\n", true),
        ("HTTP/1.1 200 OK\r\nx : y\r\ncontent-length: 0\r\n\r\n", true),
        ("HTTP/1.1 200 OK\r\nx: y\r\n folded\r\ncontent-length: 0\r\n\r\n", true),
        ("HTTP/1.1 200 OK\r\ncontent-length: 3, 4\r\n\r\nabc", true),
        ("HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", true),
        ("HTTP/1.1 20 OK\r\n\r\n", true),
        ("HTTP/2.0 200 OK\r\n\r\n", true),
        ("SSH-2.0-x\r\n", true),
    ]
    .into_iter()
    .map(|(answer, closes)| (answer.to_owned(), closes))
    .chain([
        (format!("{CHUNKED}3\r\nabc\r\n0\r\n\r\n"), false),
        (format!("{CHUNKED}3;x=y\r\nabc\r\n0\r\n\r\n"), false),
        (format!("{CHUNKED}3\r\nabc\r\n0\r\nx-t: 1\r\n\r\n"), false),
        (format!("{CHUNKED}0\r\n\r\n"), false),
        (format!("{CHUNKED}3\r\nabc\r\n"), true),
        (format!("{CHUNKED}3\r\nab"), true),
        (format!("{CHUNKED}3\r\nabcd\r\n0\r\n\r\n"), true),
        (format!("{CHUNKED}zz\r\nabc\r\n"), true),
        (format!("{CHUNKED}3 1\r\nabc\r\n"), true),
        (format!("HTTP/1.1 200 OK\r\n{many}content-length: 0\r\n\r\n"), true),
    ])
    .collect()
}

#[tokio::test]
async fn an_answer_is_read_as_hyper_reads_it() {
    let mut all = JoinSet::new();
    for (answer, closes) in answers() {
        let whole = vec![answer.clone().into_bytes()];
        let (first, second) = answer.as_bytes().split_at(answer.len() / 2);
        let halves = vec![first.to_vec(), second.to_vec()];
        let bytewise = answer.bytes().take(120).map(|byte| vec![byte]).collect();
        for pieces in [whole, halves, bytewise] {
            all.spawn(is_read_as_hyper_reads_it(pieces, closes));
        }
    }
    while let Some(compared) = all.join_next().await {
        compared.unwrap();
    }
}

async fn is_read_as_hyper_reads_it(pieces: Vec<Vec<u8>>, closes: bool) {
    let what = String::from_utf8_lossy(&pieces.concat()).into_owned();
    let count = pieces.len();
    // NB: an answer of which only the beginning is sent ends there.
    let server = Server::start(pieces, closes || count == 120).await;
    for method in [Method::GET, Method::HEAD, Method::POST] {
        let upstream = upstream();
        let ours = seen(upstream.send(server.request(&method, empty())).await).await;
        let theirs = upstream.client.request(server.request(&method, empty())).await;
        let theirs = theirs.map(|answer| answer.map(Received::Right)).map_err(SendError::new);
        assert_eq!(ours, seen(theirs).await, "{method} of {what:?} in {count} pieces");
    }
}

#[tokio::test]
async fn a_connection_is_used_again_only_if_it_can_be() {
    for (answer, closes) in answers() {
        let server = Server::start(vec![answer.clone().into_bytes()], closes).await;
        let upstream = upstream();
        for _ in 0..3 {
            let request = server.request(&Method::GET, empty());
            seen(upstream.send(request).await).await;
        }
        let expected = if closes { 3 } else { 1 };
        let connections = server.connections.load(Relaxed);
        assert_eq!(connections, expected, "{answer:?}");
    }
}

#[tokio::test]
async fn what_comes_unasked_is_nobodys_answer() {
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    for more in ["x", answer] {
        let server = Server::start(vec![format!("{answer}{more}").into_bytes()], false).await;
        let upstream = upstream();
        for _ in 0..2 {
            let request = server.request(&Method::GET, empty());
            assert!(seen(upstream.send(request).await).await.ends_with("\"ok\""));
        }
        assert_eq!(server.connections.load(Relaxed), 2, "{more:?}");
    }
}

/// A request whose body never ends, though its length is known.
fn endless(length: u64) -> Body {
    let first = tokio_stream::once(Ok(Frame::data(Bytes::from_static(b"first"))));
    let frames = tokio_stream::StreamExt::chain(first, tokio_stream::pending());
    Sized(StreamBody::new(frames), length).boxed_unsync()
}

struct Sized<B>(B, u64);

impl<B: http_body::Body + Unpin> http_body::Body for Sized<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.0).poll_frame(cx)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.1)
    }
}

/// Takes what comes on one connection up to so many bytes, after each of which it says something.
async fn taken(steps: Vec<(usize, &'static str)>) -> (SocketAddr, JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let taken = tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut taken = Vec::new();
        for (length, answer) in steps {
            let end = |taken: &[u8]| taken.windows(4).position(|four| four == b"\r\n\r\n");
            let mut read = [0; 4096];
            let from = taken.len();
            while end(&taken[from..]).is_none_or(|end| taken.len() < from + end + 4 + length) {
                let more = client.read(&mut read).await.unwrap();
                assert!(more > 0, "closed after {:?}", String::from_utf8_lossy(&taken));
                taken.extend_from_slice(&read[..more]);
            }
            client.write_all(answer.as_bytes()).await.unwrap();
        }
        taken
    });
    (address, taken)
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

fn post(to: SocketAddr) -> http::request::Builder {
    Request::post(format!("http://{to}/v1/x?y=%20z")).header("x-a", "1").header("x-a", "caf\u{e9}")
}

/// A body of known length, whose frames come one by one.
fn frames(frames: &[&'static str], length: u64) -> Body {
    let frames = frames.iter().map(|data| Ok(Frame::data(Bytes::from_static(data.as_bytes()))));
    let frames = tokio_stream::iter(frames.collect::<Vec<_>>());
    let slowly = tokio_stream::StreamExt::throttle(frames, Duration::from_millis(20));
    Sized(StreamBody::new(Box::pin(slowly)), length).boxed_unsync()
}

/// The lines of the head in order of the alphabet, and the body.
fn parts(request: &[u8]) -> (Vec<String>, String) {
    let request = String::from_utf8_lossy(request).into_owned();
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    let mut lines: Vec<String> = head.split("\r\n").map(str::to_owned).collect();
    lines[1..].sort();
    (lines, body.to_owned())
}

#[tokio::test]
async fn a_request_is_written_as_hyper_writes_it() {
    let told = |to| post(to).header("content-length", "5");
    let get = |to| Request::get(format!("http://{to}"));
    let body = || frames(&["", "he", "", "llo"], 5);
    for (request, length) in [
        ((&|to| post(to).body(body())) as &dyn Fn(SocketAddr) -> http::Result<Request<Body>>, 5),
        (&|to| told(to).body(body()), 5),
        (&|to| post(to).body(empty()), 0),
        (&|to| get(to).body(empty()), 0),
    ] {
        let (ours, our_bytes) = taken(vec![(length, OK)]).await;
        upstream().send(request(ours).unwrap()).await.unwrap();
        let (theirs, their_bytes) = taken(vec![(length, OK)]).await;
        upstream().client.request(request(theirs).unwrap()).await.unwrap();
        let (ours, theirs) = (ours.to_string(), theirs.to_string());
        let (mut head, body) = parts(&our_bytes.await.unwrap());
        head.iter_mut().for_each(|line| *line = line.replace(&ours, &theirs));
        assert_eq!((head, body), parts(&their_bytes.await.unwrap()));
    }
}

#[tokio::test]
async fn an_answer_before_the_end_of_the_request_is_one() {
    let early = "HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\n\r\nno";
    // NB: the second request begins where the rest of the first one has ended.
    let (to, bytes) = taken(vec![(2, early), (0, OK)]).await;
    let upstream = upstream();
    let request = post(to).body(frames(&["he", "", "l", "lo"], 5)).unwrap();
    assert!(seen(upstream.send(request).await).await.ends_with("\"no\""));
    let is_back = async {
        while upstream.direct.idle() == 0 {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(Duration::from_secs(30), is_back).await.expect("all of the request is sent");
    seen(upstream.send(post(to).body(empty()).unwrap()).await).await;
    let bytes = String::from_utf8_lossy(&bytes.await.unwrap()).into_owned();
    assert!(bytes.contains("\r\n\r\nhelloPOST /v1/x"), "{bytes:?}");
}

#[tokio::test]
async fn who_never_sends_the_rest_keeps_the_connection_from_others() {
    let answer = "HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno";
    let server = Server::start(vec![answer.into()], false).await;
    let upstream = upstream();
    for connections in 1..3 {
        let request = server.request(&Method::POST, endless(1000));
        assert!(seen(upstream.send(request).await).await.ends_with("\"no\""));
        assert_eq!(server.connections.load(Relaxed), connections);
    }
}

#[tokio::test]
async fn a_body_of_another_length_is_not_sent_to_its_end() {
    let server =
        Server::start(vec![b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".into()], false).await;
    let long =
        Sized(StreamBody::new(tokio_stream::once(Ok(Frame::data(Bytes::from_static(b"long"))))), 3);
    let request = server.request(&Method::POST, long.boxed_unsync());
    let error = upstream().send(request).await.unwrap_err();
    assert_eq!((error.why, error.cause().as_str()), (Why::Closed, "the body is too long"));
}
