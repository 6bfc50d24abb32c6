//! The endings, seen through the layer.

use std::{
    convert::Infallible,
    future::{pending, ready},
    panic::{AssertUnwindSafe, catch_unwind},
};

use futures_util::FutureExt;
use http::{Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use infermeter::{
    InferenceLayer, Meter, RequestMeter, Start, names,
    outcome::{FailureReason, FinishReason},
    record::{Collect, Value},
};
use tower::{Layer, Service, ServiceExt, service_fn};

use super::scripted::{Scripted, Step};

const CONTENT: &str =
    "data: {\"choices\":[{\"index\":0,\"text\":\"a\",\"finish_reason\":null}]}\n\n";
const FINISH: &str =
    "data: {\"choices\":[{\"index\":0,\"text\":\"\",\"finish_reason\":\"stop\"}]}\n\n";
const DONE: &str = "data: [DONE]\n\n";
const JSON: &str = r#"{"choices":[{"index":0,"text":"a","finish_reason":"length"}],
    "usage":{"prompt_tokens":3,"completion_tokens":2}}"#;

// === before the head ===

#[tokio::test]
async fn response_future_dropped_while_the_service_is_not_ready() {
    let meter = Meter::new();
    let mut service = InferenceLayer::new(meter.clone()).layer(NeverReady);
    let mut future = Box::pin(service.call(request()));
    assert!((&mut future).now_or_never().is_none());
    assert_eq!(in_flight(&meter), [1, 0, 0]);
    drop(future);
    assert_eq!(ended(&meter), "aborted queue none");
}

#[tokio::test]
async fn response_future_dropped_while_the_service_works() {
    let meter = Meter::new();
    let service = service_fn(|_: Request<Full<bytes::Bytes>>| {
        pending::<Result<Response<Scripted>, Infallible>>()
    });
    for (start, phase, flight) in
        [(Start::Call, "prefill", [0, 1, 0]), (Start::Reported, "queue", [1, 0, 0])]
    {
        let meter = meter.clone().model(phase);
        let mut service = InferenceLayer::new(meter.clone()).start(start).layer(service);
        let mut future = Box::pin(service.call(request()));
        assert!((&mut future).now_or_never().is_none());
        assert_eq!(in_flight(&meter), flight);
        drop(future);
        assert!(all_ended(&meter).contains(&format!("aborted {phase} none")));
    }
}

#[tokio::test]
async fn response_future_never_polled() {
    let meter = Meter::new();
    let mut service =
        InferenceLayer::new(meter.clone()).layer(service_fn(|_: Request<Full<bytes::Bytes>>| {
            ready(Ok::<_, Infallible>(Response::new(Scripted::new([]))))
        }));
    drop(service.call(request()));
    assert_eq!(ended(&meter), "aborted queue none");
}

#[tokio::test]
async fn inner_service_returns_err() {
    let meter = Meter::new();
    let service =
        service_fn(|_: Request<Full<bytes::Bytes>>| ready(Err::<Response<Scripted>, _>("broken")));
    let service = InferenceLayer::new(meter.clone()).layer(service);
    assert_eq!(service.oneshot(request()).await.unwrap_err(), "broken");
    assert_eq!(ended(&meter), "failure server_error none");
}

#[tokio::test]
async fn unwinding_while_the_inner_future_is_polled() {
    let meter = Meter::new();
    let service = service_fn(|_: Request<Full<bytes::Bytes>>| async {
        panic!("the handler panics");
        #[allow(unreachable_code)]
        Ok::<Response<Scripted>, Infallible>(unreachable!())
    });
    let mut service = InferenceLayer::new(meter.clone()).layer(service);
    let future = service.call(request());
    let polled = catch_unwind(AssertUnwindSafe(|| future.now_or_never()));
    assert!(polled.is_err());
    assert_eq!(ended(&meter), "failure server_error none");
}

// === of the body ===

#[tokio::test]
async fn body_that_will_never_be_polled() {
    for (status, expected) in [
        (200, "success other 200"),
        (204, "success other 204"),
        (304, "success other 304"),
        (404, "failure not_found 404"),
    ] {
        let body = Scripted::new([]).that_says_its_end();
        assert_eq!(through(status, "text/plain", body, Poll::Never).await, expected);
    }
    // A status without a body, whatever the body and its type say of themselves.
    for kind in ["text/plain", SSE] {
        let body = Scripted::new([]);
        assert_eq!(through(204, kind, body, Poll::Never).await, "success other 204");
    }
}

#[tokio::test]
async fn trailers_frame() {
    let trailers = || Step::Trailers(&[("x-checksum", "1")]);
    let body =
        Scripted::new([Step::Data(CONTENT), Step::Data(FINISH), Step::Data(DONE), trailers()]);
    assert_eq!(through(200, SSE, body, Poll::Frames(4)).await, "success stop 200");
    let body = Scripted::new([Step::Data(CONTENT), trailers()]);
    assert_eq!(through(200, SSE, body, Poll::Frames(2)).await, "failure truncated 200");
}

#[tokio::test]
async fn grpc_status_in_trailers_and_in_the_head() {
    let call = |status| Scripted::new([Step::Data("\0\0\0\0\0"), Step::Trailers(status)]);
    for (trailers, expected) in [
        (&[("grpc-status", "0")], "success other 200"),
        (&[("grpc-status", "13")], "failure stream_error 200"),
        (&[("x-other", "0")], "failure truncated 200"),
    ] {
        let outcome = through(200, "application/grpc", call(trailers), Poll::All).await;
        assert_eq!(outcome, expected);
    }
    for (status, expected) in [("0", "success other 200"), ("5", "failure stream_error 200")] {
        let meter = Meter::new();
        let service = service_fn(move |_: Request<Full<bytes::Bytes>>| {
            let response = Response::builder()
                .header("content-type", "application/grpc+proto")
                .header("grpc-status", status)
                .body(Scripted::new([]).that_says_its_end());
            ready(Ok::<_, Infallible>(response.unwrap()))
        });
        let service = InferenceLayer::new(meter.clone()).layer(service);
        service.oneshot(request()).await.unwrap();
        assert_eq!(ended(&meter), expected);
    }
}

#[tokio::test]
async fn end_stream_after_a_frame() {
    let body = Scripted::new([Step::Data(CONTENT), Step::Data(DONE)]).that_says_its_end();
    assert_eq!(through(200, SSE, body, Poll::Frames(2)).await, "success other 200");
    let body = Scripted::new([Step::Data(JSON)]).that_says_its_end();
    assert_eq!(through(200, "application/json", body, Poll::Frames(1)).await, "success length 200");
}

#[tokio::test]
async fn content_length_reached() {
    let meter = Meter::new();
    let service = service_fn(|_: Request<Full<bytes::Bytes>>| {
        let (one, two) = JSON.split_at(20);
        let body = Scripted::new([Step::Data(one), Step::Data(two), Step::Pending]);
        let response = Response::builder()
            .header("content-type", "application/json")
            .header("content-length", JSON.len())
            .body(body);
        ready(Ok::<_, Infallible>(response.unwrap()))
    });
    let service = InferenceLayer::new(meter.clone()).layer(service);
    let mut response = service.oneshot(request()).await.unwrap();
    response.frame().await.unwrap().unwrap();
    assert_eq!(in_flight(&meter), [0, 1, 0]);
    // hyper does not poll again after this one.
    response.frame().await.unwrap().unwrap();
    assert_eq!(ended(&meter), "success length 200");
}

#[tokio::test]
async fn none() {
    let body = Scripted::new([Step::Data(CONTENT), Step::Data(FINISH), Step::Data(DONE)]);
    assert_eq!(through(200, SSE, body, Poll::All).await, "success stop 200");
    let body = Scripted::new([Step::Data(CONTENT), Step::Data(FINISH)]);
    assert_eq!(through(200, SSE, body, Poll::All).await, "failure truncated 200");
    let body = Scripted::new([]);
    assert_eq!(through(200, SSE, body, Poll::All).await, "failure truncated 200");
    let body = Scripted::new([Step::Data("x")]);
    assert_eq!(through(200, "text/plain", body, Poll::All).await, "success other 200");
    let body = Scripted::new([Step::Data("moved")]);
    assert_eq!(through(307, "text/plain", body, Poll::All).await, "success other 307");
}

#[tokio::test]
async fn err_frame() {
    let body = Scripted::new([Step::Data(CONTENT), Step::Error]);
    assert_eq!(through(200, SSE, body, Poll::All).await, "failure stream_error 200");
    let body = Scripted::new([Step::Error]);
    assert_eq!(through(503, SSE, body, Poll::All).await, "failure overloaded 503");
}

#[tokio::test]
async fn unwinding_while_the_body_is_polled() {
    let body = Scripted::new([Step::Data(CONTENT), Step::Panic]);
    assert_eq!(through(200, SSE, body, Poll::Caught).await, "failure server_error 200");
}

#[tokio::test]
async fn dropped() {
    let stream = || Scripted::new([Step::Data(CONTENT), Step::Data(FINISH), Step::Data(DONE)]);
    for (frames, expected) in [
        (0, "aborted prefill 200"),
        (1, "aborted decode 200"),
        (2, "aborted decode 200"),
        (3, "success stop 200"),
    ] {
        assert_eq!(through(200, SSE, stream(), Poll::Frames(frames)).await, expected);
    }
    let body = Scripted::new([Step::Data("no such model")]);
    assert_eq!(through(404, "text/plain", body, Poll::Never).await, "failure not_found 404");
}

// === inside of a 200 ===

#[tokio::test]
async fn error_event_also_before_a_done() {
    let error = "data: {\"error\":{\"message\":\"engine died\",\"code\":500}}\n\n";
    let body = Scripted::new([Step::Data(CONTENT), Step::Data(error), Step::Data(DONE)]);
    assert_eq!(through(200, SSE, body, Poll::All).await, "failure stream_error 200");
}

#[tokio::test]
async fn finish_reason_abort() {
    let abort = "data: {\"choices\":[{\"index\":0,\"text\":\"\",\"finish_reason\":\"abort\"}]}\n\n";
    let body = Scripted::new([Step::Data(CONTENT), Step::Data(abort), Step::Data(DONE)]);
    assert_eq!(through(200, SSE, body, Poll::All).await, "failure stream_error 200");
}

#[tokio::test]
async fn context_length_only_where_the_error_says_so() {
    for (json, expected) in [
        (r#"{"error":{"code":"context_length_exceeded"}}"#, "failure context_length 400"),
        (
            r#"{"error":{"message":"This model's maximum context length is 9 tokens. So","code":400}}"#,
            "failure context_length 400",
        ),
        (r#"{"error":{"code":"other","message":"no"}}"#, "failure invalid_request 400"),
    ] {
        let body = Scripted::new([Step::Data(json)]);
        assert_eq!(through(400, "application/json", body, Poll::All).await, expected);
    }
}

// === said by the service ===

#[tokio::test]
async fn what_the_service_says_goes_before_what_is_seen() {
    type Say = fn(&RequestMeter);
    let cases: [(Say, Poll, &str); 4] = [
        (|m| m.fail(FailureReason::Timeout), Poll::All, "failure timeout 200"),
        (|m| m.finished(FinishReason::ToolCalls), Poll::All, "success tool_calls 200"),
        (|m| m.finished(FinishReason::Length), Poll::Frames(1), "success length 200"),
        (|_| (), Poll::Frames(1), "aborted decode 200"),
    ];
    for (say, poll, expected) in cases {
        let meter = Meter::new();
        let service = service_fn(move |request: Request<Full<bytes::Bytes>>| {
            say(&RequestMeter::of(&request));
            let body = Scripted::new([Step::Data(CONTENT), Step::Data(CONTENT)]);
            let response = Response::builder().header("content-type", SSE).body(body);
            ready(Ok::<_, Infallible>(response.unwrap()))
        });
        let service = InferenceLayer::new(meter.clone()).layer(service);
        poll_body(service.oneshot(request()).await.unwrap().into_body(), poll).await;
        assert_eq!(ended(&meter), expected);
    }
}

// === helpers ===

const SSE: &str = "text/event-stream";

/// How the body is polled before it is dropped.
#[derive(Clone, Copy)]
enum Poll {
    Never,
    Frames(usize),
    /// Until it yields `None` or an error.
    All,
    /// Until it panics.
    Caught,
}

/// A service that is never ready.
#[derive(Clone)]
struct NeverReady;

impl Service<Request<Full<bytes::Bytes>>> for NeverReady {
    type Response = Response<Scripted>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Response<Scripted>, Infallible>>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Pending
    }

    fn call(&mut self, _: Request<Full<bytes::Bytes>>) -> Self::Future {
        unreachable!("never ready")
    }
}

fn request() -> Request<Full<bytes::Bytes>> {
    Request::post("/v1/completions").body(Full::default()).unwrap()
}

async fn through(status: u16, kind: &'static str, body: Scripted, poll: Poll) -> String {
    let meter = Meter::new();
    let body = std::sync::Mutex::new(Some(body));
    let service = service_fn(|_: Request<Full<bytes::Bytes>>| {
        let response = Response::builder()
            .status(StatusCode::from_u16(status).unwrap())
            .header("content-type", kind)
            .body(body.lock().unwrap().take().unwrap());
        ready(Ok::<_, Infallible>(response.unwrap()))
    });
    let service = InferenceLayer::new(meter.clone()).layer(service);
    poll_body(service.oneshot(request()).await.unwrap().into_body(), poll).await;
    ended(&meter)
}

async fn poll_body(body: impl Body<Error = &'static str>, poll: Poll) {
    let mut body = Box::pin(body);
    match poll {
        Poll::Never => {}
        Poll::Frames(n) => {
            for _ in 0..n {
                body.frame().await.unwrap().unwrap();
            }
        }
        Poll::All => while let Some(Ok(_)) = body.frame().await {},
        Poll::Caught => {
            let all = async { while let Some(Ok(_)) = body.frame().await {} };
            let polled = catch_unwind(AssertUnwindSafe(|| all.now_or_never()));
            assert!(polled.is_err());
        }
    }
}

/// `outcome reason code` of the one request that ended; nothing is left in flight.
fn ended(meter: &Meter) -> String {
    assert_eq!(in_flight(meter), [0, 0, 0]);
    let all = all_ended(meter);
    assert_eq!(all.len(), 1, "{all:?}");
    all[0].clone()
}

fn all_ended(meter: &Meter) -> Vec<String> {
    let readings = meter.collect();
    let series = readings.series(&names::REQUESTS_TOTAL).iter();
    let ended = series.map(|series| {
        assert_eq!(series.value, Value::Counter(1));
        series.labels[2..].join(" ")
    });
    ended.collect()
}

fn in_flight(meter: &Meter) -> [u64; 3] {
    let readings = meter.collect();
    ["queue", "prefill", "decode"].map(|phase| {
        let series = readings.series(&names::REQUESTS_IN_FLIGHT).iter();
        let of_phase = series.filter(|series| &*series.labels[1] == phase);
        let sum = of_phase.map(|series| match series.value {
            Value::Gauge(value) => value as u64,
            ref other => panic!("{other:?}"),
        });
        sum.sum()
    })
}
