//! What a client reads from its socket, with the layer and without.

use std::convert::Infallible;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use infermeter::{InferenceLayer, Meter};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tower::{Layer, ServiceExt, service_fn};

use super::support::{
    frames::{Script, Step},
    scrape::Scrape,
};

const EVENT: &str = "data: {\"choices\":[{\"index\":0,\"text\":\"a\"}]}\n\n";
const DONE: &str = "data: [DONE]\n\n";
const ANSWER: &str = r#"{"choices":[{"index":0,"text":"a","finish_reason":"stop"}],
    "usage":{"prompt_tokens":3,"completion_tokens":2}}"#;

/// A response, how it is framed over HTTP/1.1, and how it is counted.
struct Sample {
    name: &'static str,
    response: fn() -> Response<Body>,
    framing: &'static str,
    end: &'static str,
}

const SAMPLES: [Sample; 11] = [
    Sample {
        name: "a body of known size",
        response: || typed("application/json", Body::from(ANSWER)),
        framing: "content-length: 114",
        end: "success stop 200",
    },
    Sample {
        name: "an empty body",
        response: || typed("application/json", Body::empty()),
        framing: "content-length: 0",
        end: "success other 200",
    },
    Sample {
        name: "a stream",
        response: || typed("text/event-stream", stream([EVENT, EVENT, DONE])),
        framing: "transfer-encoding: chunked",
        end: "success other 200",
    },
    Sample {
        name: "a stream of known size",
        response: || typed("text/event-stream", Body::new(events([EVENT, DONE]).sized())),
        framing: "content-length: 58",
        end: "success other 200",
    },
    Sample {
        name: "a stream that announces its end",
        response: || typed("text/event-stream", Body::new(events([EVENT, DONE]).announcing_end())),
        framing: "transfer-encoding: chunked",
        end: "success other 200",
    },
    Sample {
        name: "a stream whose size stands in the head",
        response: || with("content-length", "58", stream([EVENT, DONE])),
        framing: "content-length: 58",
        end: "success other 200",
    },
    // NB: of these two, hyper never polls for the end, and no marker in the body tells of it.
    Sample {
        name: "an answer whose size stands in the head",
        response: || {
            let mut response = typed("application/json", stream([ANSWER]));
            response.headers_mut().insert("content-length", "114".parse().unwrap());
            response
        },
        framing: "content-length: 114",
        end: "success stop 200",
    },
    Sample {
        name: "an answer that announces its end",
        response: || typed("application/json", Body::new(events([ANSWER]).announcing_end())),
        framing: "transfer-encoding: chunked",
        end: "success stop 200",
    },
    Sample {
        name: "no content",
        response: || status(204, Body::empty()),
        framing: "",
        end: "success other 204",
    },
    Sample {
        name: "an error",
        response: || status(503, Body::from("{\"error\":{\"message\":\"busy\"}}")),
        framing: "content-length: 28",
        end: "failure overloaded 503",
    },
    Sample {
        name: "a stream that breaks",
        response: || {
            let script = events([EVENT]).then(Step::Pending).then(Step::Error("broken"));
            typed("text/event-stream", Body::new(script))
        },
        framing: "transfer-encoding: chunked",
        end: "failure stream_error 200",
    },
];

#[tokio::test]
async fn over_http_1_a_response_has_the_same_bytes_and_the_same_framing() {
    for Sample { name, response, framing, end } in SAMPLES {
        let bare = read_http_1(None, response).await;
        let meter = Meter::new().model("m");
        let watched = read_http_1(Some(meter.clone()), response).await;
        assert_eq!(watched, bare, "{name}");
        assert!(watched.contains(framing), "{name}: {watched}");
        assert_eq!(watched.contains("chunked"), framing.contains("chunked"), "{name}: {watched}");
        assert_eq!(ended(&meter), end, "{name}");
    }
}

#[tokio::test]
async fn a_length_of_zero_in_the_head_is_an_end_although_the_body_does_not_know() {
    let response = || {
        let mut response = typed("application/json", stream([]));
        response.headers_mut().insert("content-length", "0".parse().unwrap());
        response
    };
    let meter = Meter::new().model("m");
    let read = read_http_1(Some(meter.clone()), response).await;
    assert!(read.contains("content-length: 0"), "{read}");
    assert_eq!(ended(&meter), "success other 200");
}

#[tokio::test]
async fn trailers_pass_over_http_1_and_http_2() {
    let response = || {
        let script = events([EVENT, DONE]).then(Step::Frame(Frame::trailers(trailers("0"))));
        let mut response = typed("text/event-stream", Body::new(script));
        response.headers_mut().insert("trailer", "grpc-status, x-tokens".parse().unwrap());
        response
    };
    let meter = Meter::new().model("m");
    let read = read_http_1(Some(meter.clone()), response).await;
    assert!(read.ends_with("0\r\ngrpc-status: 0\r\nx-tokens: 7\r\n\r\n"), "{read}");
    assert_eq!(ended(&meter), "success other 200");

    let meter = Meter::new().model("m");
    let (data, got) = read_http_2(meter.clone(), response).await;
    assert_eq!(data, [EVENT, DONE].concat());
    assert_eq!(got, Some(trailers("0")));
    assert_eq!(ended(&meter), "success other 200");
}

#[tokio::test]
async fn the_status_of_a_grpc_call_is_in_its_trailers() {
    for (response, end) in [
        ((|| grpc(Body::new(messages("0")))) as fn() -> Response<Body>, "success other 200"),
        (|| grpc(Body::new(messages("13"))), "failure stream_error 200"),
    ] {
        let meter = Meter::new().model("m");
        let (data, got) = read_http_2(meter.clone(), response).await;
        assert_eq!(data, "message");
        assert!(got.unwrap().contains_key("grpc-status"));
        assert_eq!(ended(&meter), end);
    }
}

#[tokio::test]
async fn the_status_of_a_grpc_call_of_known_size_is_in_its_trailers_too() {
    for (response, end) in [
        (
            (|| grpc(Body::new(messages("0").sized()))) as fn() -> Response<Body>,
            "success other 200",
        ),
        (|| grpc(Body::new(messages("13").sized())), "failure stream_error 200"),
        (
            || {
                let message = Full::<Bytes>::from("message");
                grpc(Body::new(message.with_trailers(async { Some(Ok(trailers("0"))) })))
            },
            "success other 200",
        ),
    ] {
        let meter = Meter::new().model("m");
        let (data, got) = read_http_2(meter.clone(), response).await;
        assert_eq!(data, "message");
        assert!(got.unwrap().contains_key("grpc-status"));
        assert_eq!(ended(&meter), end);
    }
}

// === responses ===

fn typed(kind: &str, body: Body) -> Response<Body> {
    with("content-type", kind, body)
}

fn with(name: &'static str, value: &str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    if name != "content-type" {
        response.headers_mut().insert("content-type", "text/event-stream".parse().unwrap());
    }
    response.headers_mut().insert(name, value.parse().unwrap());
    response
}

fn status(status: u16, body: Body) -> Response<Body> {
    let mut response = typed("application/json", body);
    *response.status_mut() = status.try_into().unwrap();
    response
}

fn stream<const N: usize>(frames: [&'static str; N]) -> Body {
    Body::new(events(frames))
}

fn events<const N: usize>(frames: [&'static str; N]) -> Script<Bytes, &'static str> {
    Script::data(frames)
}

fn grpc(body: Body) -> Response<Body> {
    typed("application/grpc+proto", body)
}

fn messages(status: &str) -> Script<Bytes, &'static str> {
    events(["mess", "age"]).then(Step::Frame(Frame::trailers(trailers(status))))
}

fn trailers(status: &str) -> HeaderMap {
    let pairs = [("grpc-status", status), ("x-tokens", "7")];
    pairs.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).into_iter().collect()
}

// === connections ===

/// Makes one response over a connection of its own, on a server with the layer or without.
async fn serve(
    meter: Option<Meter>,
    response: fn() -> Response<Body>,
    is_http_2: bool,
) -> TcpStream {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (socket, _) = listener.accept().await.unwrap();
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let inner =
            service_fn(move |_: Request<Incoming>| async move { Ok::<_, Infallible>(response()) });
        let meter = meter.clone();
        async move {
            match meter {
                Some(meter) => {
                    let service = InferenceLayer::new(meter).layer(inner);
                    service.oneshot(request).await.map(|response| response.map(Body::new))
                }
                None => inner.oneshot(request).await,
            }
        }
    });
    tokio::spawn(async move {
        let socket = TokioIo::new(socket);
        if is_http_2 {
            let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            server.serve_connection(socket, service).await.ok();
        } else {
            let server = hyper::server::conn::http1::Builder::new();
            server.serve_connection(socket, service).await.ok();
        }
    });
    client
}

/// All that comes over the socket, but for the date.
async fn read_http_1(meter: Option<Meter>, response: fn() -> Response<Body>) -> String {
    let mut client = serve(meter, response, false).await;
    let request = "POST /v1/completions HTTP/1.1\r\nhost: test\r\nte: trailers\r\n\
                   connection: close\r\ncontent-length: 0\r\n\r\n";
    client.write_all(request.as_bytes()).await.unwrap();
    let mut read = String::new();
    client.read_to_string(&mut read).await.unwrap();
    let lines = read.split_inclusive("\r\n").filter(|line| !line.starts_with("date: "));
    lines.collect()
}

async fn read_http_2(
    meter: Meter,
    response: fn() -> Response<Body>,
) -> (String, Option<HeaderMap>) {
    let client = TokioIo::new(serve(Some(meter), response, true).await);
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), client).await.unwrap();
    tokio::spawn(connection);
    let request = Request::post("http://test/v1/completions").body(Empty::<Bytes>::new()).unwrap();
    let mut request = request;
    if response().headers()["content-type"].as_bytes().starts_with(b"application/grpc") {
        let kind = "application/grpc".parse().unwrap();
        request.headers_mut().insert("content-type", kind);
    }
    let response = sender.send_request(request).await.unwrap();
    let body = response.into_body().collect().await.unwrap();
    let trailers = body.trailers().cloned();
    (String::from_utf8(body.to_bytes().into()).unwrap(), trailers)
}

/// How the one request ended.
fn ended(meter: &Meter) -> String {
    let scrape = Scrape::of(meter);
    scrape.assert_identities();
    assert_eq!(scrape.sum("infermeter_requests_total", &[]), 1);
    let value = |label| scrape.values("infermeter_requests_total", label).concat();
    format!("{} {} {}", value("outcome"), value("reason"), value("code"))
}
