//! HTTP/2 and TLS on either side.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::{body::Incoming, client::conn::http2, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use infermeter::{Meter, engines::EngineMetrics, proxy::ProxyBuilder, record::Collect};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;

use crate::{
    running::{Running, chat, tasks},
    upstream::Conn,
    wire::eventually,
};

type Pieces = StreamBody<ReceiverStream<Result<Frame<Bytes>, Infallible>>>;

const KEY: &[u8] = include_bytes!("tls/key.pem");
const CERTIFICATE: &[u8] = include_bytes!("tls/certificate.pem");
const OTHER: &[u8] = include_bytes!("tls/other.pem");

/// A body that is sent as it is told.
fn pieces() -> (mpsc::Sender<Result<Frame<Bytes>, Infallible>>, Pieces) {
    let (sender, receiver) = mpsc::channel(4);
    (sender, StreamBody::new(ReceiverStream::new(receiver)))
}

fn data(text: &'static str) -> Result<Frame<Bytes>, Infallible> {
    Ok(Frame::data(Bytes::from_static(text.as_bytes())))
}

/// A client of HTTP/2 by prior knowledge.
async fn http2(address: SocketAddr) -> http2::SendRequest<Pieces> {
    let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    sender
}

/// Answers with what comes, piece by piece.
async fn echoes(mut conn: Conn) -> io::Result<()> {
    conn.head().await?;
    conn.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await?;
    loop {
        let chunk = conn.chunk().await?;
        if chunk.is_empty() {
            return conn.write("0\r\n\r\n").await;
        }
        conn.write([format!("{:x}\r\n", chunk.len()).as_bytes(), &chunk, b"\r\n"].concat()).await?;
    }
}

#[tokio::test]
async fn a_client_of_http2_streams_both_ways() {
    let (running, upstream) = Running::before(echoes, |builder| builder).await;
    let mut client = http2(running.address).await;
    let (sender, body) = pieces();
    let request = Request::post("http://a.example/any")
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .body(body)
        .unwrap();
    let mut answer = client.send_request(request).await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.version()), (200, Version::HTTP_2));
    for piece in ["one", "two", "three"] {
        sender.send(data(piece)).await.unwrap();
        let frame = answer.body_mut().frame().await.unwrap().unwrap();
        assert_eq!(frame.data_ref().unwrap(), piece);
    }
    drop(sender);
    // NB: the end may come as a frame with nothing in it.
    let rest = answer.body_mut().collect().await.unwrap();
    assert_eq!(rest.to_bytes(), "");
    let request = upstream.requests().pop().unwrap();
    assert_eq!(request.headers("x-forwarded-host"), ["a.example"]);
    assert_eq!(request.headers("cookie"), ["a=1; b=2"]);
    drop((answer, client));
    running.end().await;
}

#[tokio::test]
async fn a_client_of_http2_that_leaves() {
    let hangs = |mut conn: Conn| async move {
        let request = conn.request().await?;
        if request.body == b"begin" {
            conn.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await?;
        }
        conn.gone().await
    };
    let (running, upstream) = Running::before(hangs, |builder| builder).await;
    let base = tasks();
    let mut client = http2(running.address).await;
    let request = |body| Request::post("http://a/v1/chat/completions").body(body).unwrap();

    // Before the head, and with the connection left open.
    let (sender, body) = pieces();
    sender.send(data("{}")).await.unwrap();
    drop(sender);
    let answer = tokio::spawn(client.send_request(request(body)));
    eventually("it is there", || upstream.open() == 1).await;
    answer.abort();
    assert_eq!(running.ended(1).await, ["m chat_completions aborted queue none 1"]);
    eventually("closed", || upstream.open() == 0).await;

    // In the middle of its body.
    let (sender, body) = pieces();
    sender.send(data("{")).await.unwrap();
    let answer = tokio::spawn(client.send_request(request(body)));
    running.in_flight(1).await;
    answer.abort();
    assert_eq!(running.ended(2).await, ["m chat_completions aborted queue none 2"]);
    drop(sender);

    // In the stream.
    let (sender, body) = pieces();
    sender.send(data("begin")).await.unwrap();
    drop(sender);
    let answer = client.send_request(request(body)).await.unwrap();
    drop(answer);
    let mut ended = running.ended(3).await;
    ended.sort();
    let aborted = "m chat_completions aborted queue";
    assert_eq!(ended, [format!("{aborted} 200 1"), format!("{aborted} none 2")]);
    eventually("closed", || upstream.open() == 0).await;

    drop(client);
    eventually("nothing is left", || tasks() <= base).await;
    running.end().await;
}

#[tokio::test]
async fn a_client_of_http2_as_the_proxy_stops() {
    let begins = |mut conn: Conn| async move {
        let request = conn.request().await?;
        conn.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await?;
        if request.body == b"end" {
            // After the proxy was told to stop.
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            return conn.write("2\r\nok\r\n0\r\n\r\n").await;
        }
        conn.gone().await
    };
    for (says, counted) in [("end", "failure truncated 200 1"), ("hang", "failure timeout 200 1")] {
        let limit = std::time::Duration::from_millis(600);
        let (running, upstream) = Running::before(begins, |b| b.drain_timeout(limit)).await;
        let mut client = http2(running.address).await;
        let (sender, body) = pieces();
        sender.send(data(says)).await.unwrap();
        drop(sender);
        let request = Request::post("http://a/v1/chat/completions").body(body).unwrap();
        let answer = client.send_request(request).await.unwrap();
        let meter = running.meter.clone();
        let serving = running.stop();
        let body = answer.into_body().collect().await.map(|body| body.to_bytes());
        assert_eq!(body.is_ok(), says == "end", "{body:?}");
        serving.await.unwrap();
        let ended = || crate::scrape::Scrape::of(&meter).counted("infermeter_requests_total");
        eventually(says, || ended() == [format!("m chat_completions {counted}")]).await;
        eventually("closed", || upstream.open() == 0).await;
        // No more requests.
        eventually("closed", || client.is_closed()).await;
    }
}

/// Says which version a request came by; with ALPN, HTTP/2 is chosen where both can.
async fn tls(protocols: &[&[u8]]) -> SocketAddr {
    let certificate = CertificateDer::from_pem_slice(CERTIFICATE).unwrap();
    let key = PrivateKeyDer::from_pem_slice(KEY).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(stream) = acceptor.accept(stream).await else { continue };
            let service = service_fn(|request: Request<Incoming>| async move {
                let version = format!("{:?} {:?}", request.version(), request.uri().authority());
                let body = request.into_body().collect().await.unwrap().to_bytes();
                Ok::<_, Infallible>(
                    Response::builder()
                        .header("x-version", version)
                        .body(http_body_util::Full::new(body))
                        .unwrap(),
                )
            });
            tokio::spawn(async move {
                let builder = Builder::new(TokioExecutor::new());
                let _ = builder.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    address
}

#[tokio::test]
async fn an_upstream_by_tls_speaks_what_it_can() {
    for (protocols, version) in [
        (&[&b"h2"[..], b"http/1.1"][..], "HTTP/2.0"),
        (&[b"http/1.1"], "HTTP/1.1"),
        (&[], "HTTP/1.1"),
    ] {
        let address = tls(protocols).await;
        for url in [format!("https://{address}"), format!("https://localhost:{}", address.port())] {
            let running = Running::at(&url, |builder| builder.upstream_ca(CERTIFICATE)).await;
            let mut wire = running.connect().await;
            for _ in 0..3 {
                wire.write(chat("{\"a\":1}")).await.unwrap();
                let answer = wire.answer().await.unwrap();
                assert_eq!((answer.status(), &*answer.text()), (200, "{\"a\":1}"));
                let says = answer.header("x-version").unwrap();
                assert!(says.starts_with(version), "{says} for {version}");
            }
            assert_eq!(running.ended(3).await, ["default chat_completions success other 200 3"]);
            running.end().await;
        }
    }
}

#[tokio::test]
async fn an_upstream_that_is_not_trusted_is_not_spoken_to() {
    let address = tls(&[b"h2", b"http/1.1"]).await;
    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let speaks_plain = plain.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = plain.accept().await.unwrap();
            let _ = stream.try_write(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    for (address, ca) in
        [(address, None), (address, Some(OTHER)), (speaks_plain, Some(CERTIFICATE))]
    {
        let with = |builder: ProxyBuilder| match ca {
            Some(ca) => builder.upstream_ca(ca),
            None => builder,
        };
        let running = Running::at(&format!("https://{address}"), with).await;
        let answer = running.send(chat("{}")).await.answer().await.unwrap();
        assert_eq!((answer.status(), &*answer.code()), (502, "upstream_tls"), "{}", answer.text());
        assert_eq!(running.ended(1).await, ["default chat_completions failure unreachable 502 1"]);
        running.end().await;
    }
}

/// The page of an engine is behind the same certificate as the engine.
#[tokio::test]
async fn a_page_by_tls_is_read_from_who_is_trusted() {
    let address = tls(&[b"h2", b"http/1.1"]).await;
    for (ca, is_up) in [(Some(CERTIFICATE), true), (Some(OTHER), false), (None, false)] {
        let engine = EngineMetrics::at(&format!("https://{address}")).unwrap();
        let engine = ca.map_or_else(|| Ok(engine.clone()), |ca| engine.clone().ca(ca)).unwrap();
        let meter = Meter::new();
        let _watch = engine.watch(&meter).await;
        meter.sample();
        assert_eq!(meter.sources()[0].up, Some(is_up), "{:?}", meter.sources());
    }
    let engine = EngineMetrics::at("https://h").unwrap();
    let error = engine.ca(b"none").unwrap_err().to_string();
    assert!(error.contains("there is no certificate in it; allowed are"), "{error}");
}
