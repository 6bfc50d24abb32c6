//! Two real hops: a client, our service with the layer on, and an upstream that answers with bytes
//! of your choice and then ends the connection.

use std::{
    collections::HashMap,
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use axum::body::Body;
use http::{HeaderName, Request, Response, StatusCode, Version, header};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use infermeter::{InferenceLayer, Meter, layer::Endpoint};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tower::{Layer, ServiceExt, service_fn};

use super::recording::{find, unchunk};

/// The two servers.
#[derive(Clone, Debug)]
pub(crate) struct Hops {
    service: SocketAddr,
    cases: Cases,
    next: Arc<AtomicU64>,
}

type Cases = Arc<Mutex<HashMap<u64, Case>>>;

/// One request: where it is measured, and what the upstream writes before it closes.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) meter: Meter,
    pub(crate) answer: Arc<[u8]>,
    pub(crate) cut: usize,
    /// What the path is measured as, where the layer does not know it.
    pub(crate) endpoint: Option<Endpoint>,
}

/// What a client read until the connection ended.
#[derive(Debug)]
pub(crate) struct Got {
    /// 0 where there is no head.
    pub(crate) status: u16,
    pub(crate) headers: String,
    pub(crate) body: Vec<u8>,
    /// Whether it is a whole response by its own framing.
    pub(crate) complete: bool,
}

const CASE: HeaderName = HeaderName::from_static("x-case");

/// What concerns a connection, and not the one behind it.
const HOP_BY_HOP: [HeaderName; 3] =
    [header::CONNECTION, header::TRANSFER_ENCODING, HeaderName::from_static("keep-alive")];

// === impl Hops ===

impl Hops {
    pub(crate) async fn start() -> Self {
        let cases = Cases::default();
        let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let service = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (to, at) = (upstream.local_addr().unwrap(), service.local_addr().unwrap());
        tokio::spawn(serve_upstream(upstream, Arc::clone(&cases)));
        tokio::spawn(serve(service, Arc::clone(&cases), to));
        Self { service: at, cases, next: Arc::default() }
    }

    /// Sends one request over a connection of its own, and reads until that ends.
    pub(crate) async fn request(&self, path: &str, case: Case) -> Got {
        let id = self.next.fetch_add(1, Relaxed);
        self.cases.lock().unwrap().insert(id, case);
        let got = self.send(path, id).await;
        self.cases.lock().unwrap().remove(&id);
        got
    }

    async fn send(&self, path: &str, id: u64) -> Got {
        let mut socket = TcpStream::connect(self.service).await.unwrap();
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n{CASE}: {id}\r\n\
             content-type: application/json\r\ncontent-length: 2\r\n\r\n{{}}"
        );
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        socket.read_to_end(&mut bytes).await.unwrap();
        Got::parse(&bytes)
    }
}

// === impl Got ===

impl Got {
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let Some(head_length) = find(bytes, b"\r\n\r\n").map(|at| at + 4) else {
            // NB: where a body fails before its first byte, hyper does not send the head either.
            assert!(bytes.is_empty());
            return Self { status: 0, headers: String::new(), body: Vec::new(), complete: false };
        };
        let headers = std::str::from_utf8(&bytes[..head_length]).unwrap().to_ascii_lowercase();
        let body = &bytes[head_length..];
        let (body, complete) = match headers.split_once("content-length: ") {
            Some((_, length)) => {
                let length: usize = length.lines().next().unwrap().parse().unwrap();
                (body.to_vec(), body.len() == length)
            }
            None => {
                assert!(headers.contains("transfer-encoding: chunked"), "{headers}");
                unchunk(body)
            }
        };
        Self { status: headers[9..12].parse().unwrap(), headers, body, complete }
    }
}

async fn serve_upstream(listener: TcpListener, cases: Cases) {
    loop {
        let (socket, _) = listener.accept().await.unwrap();
        tokio::spawn(answer(socket, Arc::clone(&cases)));
    }
}

/// Reads a request, writes what its case says, and closes.
async fn answer(mut socket: TcpStream, cases: Cases) -> io::Result<()> {
    let (mut request, mut bytes) = (Vec::new(), [0; 1024]);
    while !request.ends_with(b"{}") {
        let read = socket.read(&mut bytes).await?;
        assert_ne!(read, 0, "the request is whole");
        request.extend_from_slice(&bytes[..read]);
    }
    let head = std::str::from_utf8(&request).unwrap();
    let id = head.split_once("x-case: ").unwrap().1.lines().next().unwrap();
    let Case { answer, cut, .. } = cases.lock().unwrap()[&id.parse().unwrap()].clone();
    socket.write_all(&answer[..cut]).await?;
    socket.shutdown().await?;
    // NB: closed with something unread, the connection would be reset and lose what was written.
    while socket.read(&mut bytes).await? > 0 {}
    Ok(())
}

async fn serve(listener: TcpListener, cases: Cases, upstream: SocketAddr) {
    loop {
        let (socket, _) = listener.accept().await.unwrap();
        let cases = Arc::clone(&cases);
        let service = hyper::service::service_fn(move |request: Request<Incoming>| {
            let id = request.headers()[CASE].to_str().unwrap().parse().unwrap();
            let Case { meter, endpoint, .. } = cases.lock().unwrap()[&id].clone();
            let inner = service_fn(move |request| forward(request, upstream));
            let mut layer = InferenceLayer::new(meter);
            if let Some(endpoint) = endpoint {
                layer = layer.endpoint(request.uri().path(), endpoint);
            }
            layer.layer(inner).oneshot(request)
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(socket), service);
        // A body that fails ends its connection with an error.
        tokio::spawn(async { connection.await.ok() });
    }
}

/// Passes a request on, and the answer back.
async fn forward(
    request: Request<Incoming>,
    upstream: SocketAddr,
) -> Result<Response<Body>, Infallible> {
    let response = match send_on(request, upstream).await {
        Ok(mut response) => {
            *response.version_mut() = Version::HTTP_11;
            for name in &HOP_BY_HOP {
                response.headers_mut().remove(name);
            }
            response.map(Body::new)
        }
        Err(_) => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::BAD_GATEWAY;
            response
        }
    };
    Ok(response)
}

async fn send_on(
    request: Request<Incoming>,
    upstream: SocketAddr,
) -> hyper::Result<Response<Incoming>> {
    let socket = TokioIo::new(TcpStream::connect(upstream).await.unwrap());
    let (mut sender, connection) = hyper::client::conn::http1::handshake(socket).await?;
    tokio::spawn(async { connection.await.ok() });
    sender.send_request(request).await
}
