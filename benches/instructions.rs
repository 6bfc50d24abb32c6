//! What instructions are counted of: `.ci/instructions` runs it under callgrind, which counts what
//! happens within [`measured`], each time apart. Before each it prints what it is and how often that
//! is done.
//!
//! One thread, no runtime, a body that is always ready: what differs between a piece and its `bare`
//! one is ours and nothing else.

#![allow(clippy::unwrap_used, reason = "what fails here fails the bench")]

#[path = "../src/upstream/direct/framing.rs"]
#[allow(dead_code, reason = "a part of it is used")]
mod framing;
#[path = "../src/upstream/direct/head.rs"]
#[allow(dead_code, reason = "a part of it is used")]
mod head;
mod scripted;

use std::{
    hint::black_box,
    pin::{Pin, pin},
    thread::sleep,
    time::Duration,
};

use bytes::BytesMut;
use http::{HeaderValue, Method, Request};
use http_body::Body;
use infermeter::{
    InferenceLayer, Meter, exporter::Prometheus, layer::Endpoint, names, record::KeptKind,
    wire::Wire,
};
use scripted::{
    CHAT, CHAT_CONTENT, CHAT_WHOLE, Scripts, TINY_CHAT, chat, counted,
    many::{self, MODELS, UPSTREAMS},
    whole,
};
use tower::{Layer, Service};

fn main() {
    requests();
    kept();
    streams();
    models();
    upstream();
    pages();
}

/// NB: callgrind knows it by its name.
#[inline(never)]
fn measured(work: &mut dyn FnMut()) {
    work();
}

fn piece(name: &str, times: usize, mut work: impl FnMut()) {
    println!("{name} {times}");
    measured(&mut work);
}

// === Requests ===

/// An endpoint whose answers are not read: what the layer costs by itself.
const OPAQUE: &str = "/v1/opaque";

const REQUESTS: usize = 300;

fn requests() {
    for (kind, answer, tokens) in [
        ("opaque", whole(OPAQUE, &CHAT_WHOLE), 0),
        ("json", whole(CHAT, &CHAT_WHOLE), 20),
        ("stream", TINY_CHAT, 4),
    ] {
        let mut bare = Scripts(answer);
        let meter = Meter::new().model("tiny-qwen");
        let mut ours = layer(&meter).layer(bare.clone());
        request_often(&format!("request-{kind}"), &mut ours, answer.path);
        request_often(&format!("request-{kind}-bare"), &mut bare, answer.path);

        let n = REQUESTS as u64 + 1;
        assert_eq!(counted(&meter, &names::GENERATION_TOKENS_TOTAL), n * tokens);
        assert_eq!(counted(&meter, &names::REQUEST_SUCCESS_TOTAL), n);
        assert_eq!(counted(&meter, &names::E2E_REQUEST_LATENCY_SECONDS), n);
    }
}

fn request_often<S, B>(name: &str, service: &mut S, path: &'static str)
where
    S: Service<Request<()>, Response = http::Response<B>, Error = std::convert::Infallible>,
    B: Body<Data = bytes::Bytes, Error = std::convert::Infallible>,
{
    // The first one makes what all need.
    scripted::request(service, path);
    piece(name, REQUESTS, || {
        for _ in 0..REQUESTS {
            scripted::request(service, path);
        }
    });
}

fn layer(meter: &Meter) -> InferenceLayer {
    InferenceLayer::new(meter.clone()).endpoint(OPAQUE, Endpoint::new("opaque", Wire::opaque()))
}

/// What it costs to have requests kept, as an exporter has, where nothing is kept of this one.
fn kept() {
    /// Longer than any of those that are counted takes.
    const LONGER: Duration = Duration::from_secs(3);

    let id = HeaderValue::from_static("5f1c2ab0-9d1e-4c7a-8a53-0f6f3f1f7b11");
    let id = Some(("x-request-id", &id));
    for (name, is_kept) in [("keeping-a-request", true), ("keeping-a-request-bare", false)] {
        let meter = Meter::new().model("tiny-qwen");
        if is_kept {
            meter.keep_requests();
        }
        let mut service = layer(&meter).layer(Scripts(whole(OPAQUE, &CHAT_WHOLE)));
        let slow: Vec<_> = (0..KeptKind::MOST).map(|_| open(&mut service, OPAQUE, id)).collect();
        sleep(LONGER);
        drop(slow);
        piece(name, REQUESTS, || {
            for _ in 0..REQUESTS {
                let mut body = pin!(open(&mut service, OPAQUE, id));
                while scripted::next(body.as_mut()).is_some() {}
            }
        });
        let of = |kind| meter.kept_requests(kind).len();
        let all = if is_kept { KeptKind::MOST } else { 0 };
        assert_eq!(KeptKind::ALL.iter().map(|kind| of(*kind)).collect::<Vec<_>>(), [all, all, 0]);
        assert_eq!(counted(&meter, &names::REQUEST_SUCCESS_TOTAL), REQUESTS as u64);
    }
}

// === Plain content events ===

const CHUNKS: usize = 5000;

/// Of so many streams that are open, each in its turn.
fn streams() {
    for streams in [1, 1000] {
        let mut bare = Scripts(chat(usize::MAX / 2));
        let meter = Meter::new().model("tiny-qwen");
        let mut ours = layer(&meter).layer(bare.clone());
        chunks_of(&format!("chunk-of-{streams}"), streams, || open(&mut ours, CHAT, None));
        chunks_of(&format!("chunk-of-{streams}-bare"), streams, || open(&mut bare, CHAT, None));
        assert_eq!(counted(&meter, &names::TIME_TO_FIRST_TOKEN_SECONDS), streams as u64);
        let gaps = (CHUNKS + streams) as u64;
        assert_eq!(counted(&meter, &names::INTER_TOKEN_LATENCY_SECONDS), gaps);
    }
}

fn chunks_of<B: Body<Error = std::convert::Infallible>>(
    name: &str,
    streams: usize,
    mut open: impl FnMut() -> B,
) {
    let mut bodies: Vec<Pin<Box<B>>> = (0..streams).map(|_| Box::pin(open())).collect();
    let mut each = |times: usize| {
        for _ in 0..times {
            for body in &mut bodies {
                black_box(scripted::next(body.as_mut()));
            }
        }
    };
    // The role, two tokens.
    each(3);
    piece(name, CHUNKS, || each(CHUNKS / streams));
}

// === Models ===

fn models() {
    let names: [String; MODELS] = std::array::from_fn(|i| format!("model-{i:02}"));
    for models in [1, MODELS] {
        let values: Vec<HeaderValue> =
            names[..models].iter().map(|name| name.parse().unwrap()).collect();
        let meter = Meter::new();
        let mut service = InferenceLayer::new(meter.clone())
            .model_from(|head| Some(head.headers.get("x-model")?.to_str().ok()?.to_owned()))
            .layer(Scripts(whole(CHAT, &CHAT_WHOLE)));
        let mut each = |times: usize| {
            for i in 0..times {
                let model = Some(("x-model", &values[i % models]));
                let mut body = pin!(open(&mut service, CHAT, model));
                while scripted::next(body.as_mut()).is_some() {}
            }
        };
        each(MODELS);
        piece(&format!("request-of-{models}"), REQUESTS, || each(REQUESTS));
        assert_eq!(counted(&meter, &names::REQUEST_SUCCESS_TOTAL), (MODELS + REQUESTS) as u64);
    }
}

/// The body of the answer to a request with this header.
fn open<S, B>(
    service: &mut S,
    path: &'static str,
    header: Option<(&'static str, &HeaderValue)>,
) -> B
where
    S: Service<Request<()>, Response = http::Response<B>, Error = std::convert::Infallible>,
{
    let mut request = Request::new(());
    *request.method_mut() = Method::POST;
    *request.uri_mut() = http::Uri::from_static(path);
    if let Some((name, value)) = header {
        request.headers_mut().insert(name, value.clone());
    }
    scripted::open(service, request).into_body()
}

// === What an upstream sends ===

const HEAD: &[u8] =
    b"HTTP/1.1 200 OK\r\ndate: Sun, 29 Nov 2026 05:04:16 GMT\r\nserver: uvicorn\r\n\
    content-type: text/event-stream; charset=utf-8\r\nx-request-id: 5f1c2ab0\r\n\
    transfer-encoding: chunked\r\n\r\n";

fn upstream() {
    const TIMES: usize = 1000;
    piece("answer-head", TIMES, || {
        for _ in 0..TIMES {
            let (head, length) = head::read_last(HEAD, &Method::POST).unwrap();
            assert!(length == HEAD.len() && head.is_some());
        }
    });

    let chunk = CHAT_CONTENT[0];
    let chunk = format!("{:x}\r\n{chunk}\r\n", chunk.len());
    let (mut framing, mut payload) = (framing::Framing::chunked(), BytesMut::new());
    piece("framing-of-a-chunk", TIMES, || {
        for _ in 0..TIMES {
            payload.clear();
            let taken = framing.feed(chunk.as_bytes(), &mut payload, &mut None).unwrap();
            assert!(taken == chunk.len() && payload.len() == CHAT_CONTENT[0].len());
        }
    });
}

// === Pages ===

/// A small one, and one of more than ten thousand histograms.
fn pages() {
    for (name, upstreams) in [("series-of-a-small-page", 1), ("series", UPSTREAMS)] {
        let meter = many::meter(upstreams);
        let exporter = Prometheus::builder().meter(meter).process(false).build().unwrap();
        let histograms = many::histograms(&exporter.render());
        assert!(upstreams == 1 || histograms > 10_000, "{histograms}");
        piece(name, histograms, || {
            black_box(exporter.render());
        });
    }
}
