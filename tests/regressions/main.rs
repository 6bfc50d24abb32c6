//! What was wrong once, or is easily got wrong: each test is named for what holds.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]

mod buffers;
mod counts;
mod endings;
mod endpoints;
mod exporter;
mod live;
mod model;
mod panics;
mod settings;
#[path = "../support/mod.rs"]
mod support;

use std::{
    convert::Infallible,
    future::ready,
    sync::{Mutex, mpsc},
};

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Request, Response};
use http_body::Body;
use infermeter::{
    InferenceLayer, Meter, RequestMeter,
    layer::ResponseBody,
    stream::{ObservedBody, Summary},
    wire::Wire,
};
use tower::{Layer, ServiceExt, service_fn};

use support::{
    frames::{Script, drain},
    scrape::Scrape,
};

const A: &str = "data: {\"choices\":[{\"index\":0,\"text\":\"a\",\"finish_reason\":null}]}\n\n";
const STOP: &str =
    "data: {\"choices\":[{\"index\":0,\"text\":\"\",\"finish_reason\":\"stop\"}]}\n\n";
const DONE: &str = "data: [DONE]\n\n";

type Text = Script<Bytes, &'static str>;

/// The usage of the whole request, in an event of its own.
fn usage(prompt: u64, completion: u64) -> String {
    format!(
        "data: {{\"choices\":[],\
         \"usage\":{{\"prompt_tokens\":{prompt},\"completion_tokens\":{completion}}}}}\n\n"
    )
}

/// One token, and the usage so far.
fn running(prompt: u64, completion: u64) -> String {
    usage(prompt, completion).replace("[]", r#"[{"index":0,"text":"a","finish_reason":null}]"#)
}

fn request() -> Request<()> {
    Request::post("/v1/completions").body(()).unwrap()
}

/// A response that streams `body`.
fn events<B>(body: B) -> Response<B> {
    Response::builder().header("content-type", "text/event-stream").body(body).unwrap()
}

/// What a body of these frames, of which no head is known, was.
fn observe(frames: impl IntoIterator<Item = impl Into<Bytes>>) -> Summary {
    let (send, receive) = mpsc::channel();
    let body = ObservedBody::new(Text::data(frames), Wire::openai(), move |summary| {
        send.send(summary).unwrap();
    });
    drain(body);
    receive.try_recv().unwrap()
}

/// Sends a request; `serve` answers it, and may say something by its handle.
fn send<B: Body>(
    layer: InferenceLayer,
    request: Request<()>,
    serve: impl Fn(&RequestMeter) -> Response<B>,
) -> (RequestMeter, ResponseBody<B>) {
    let handle = Mutex::new(RequestMeter::default());
    let service = service_fn(|request: Request<()>| {
        let meter = RequestMeter::of(&request);
        let response = serve(&meter);
        *handle.lock().unwrap() = meter;
        ready(Ok::<_, Infallible>(response))
    });
    let response = layer.layer(service).oneshot(request).now_or_never().unwrap().unwrap();
    (handle.into_inner().unwrap(), response.into_body())
}

/// The same, and reads the whole answer.
fn complete<B: Body>(meter: &Meter, serve: impl Fn(&RequestMeter) -> Response<B>) {
    let (_, body) = send(InferenceLayer::new(meter.clone()), request(), serve);
    drain(body);
}

/// `outcome reason code` of the one request that ended; nothing is left in flight.
fn ended(meter: &Meter) -> String {
    let scrape = Scrape::of(meter);
    scrape.assert_identities();
    assert_eq!(scrape.in_flight(), 0);
    let all = scrape.counted("infermeter_requests_total").join(" ");
    let words: Vec<&str> = all.split(' ').collect();
    let [_model, _endpoint, outcome, reason, code, "1"] = words[..] else { panic!("{all}") };
    format!("{outcome} {reason} {code}")
}

/// The sum over all series of a family.
fn sum(meter: &Meter, name: &str) -> u64 {
    Scrape::of(meter).sum(name, &[])
}
