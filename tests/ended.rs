//! Who asks is told of each measured request that has ended, once, and of all that is known of it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]

mod support;

use std::{
    convert::Infallible,
    future::{pending, ready},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderValue, Request, Response, StatusCode, header};
use infermeter::{
    InferenceLayer, Meter, RequestMeter, Start, names,
    outcome::{FailureReason, FinishReason, Outcome, Phase, TokenSource},
    record::{Collect, Ended, Value},
    wire::ErrorDetails,
};
use support::frames::{Script, Step, drain, poll};
use tower::{Layer, Service, ServiceExt, service_fn};

type Body = Script<Bytes, &'static str>;

/// What was told.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<Ended>>>);

const CONTENT: &str = "data: {\"choices\":[{\"index\":0,\"text\":\"a\"}]}\n\n";
const LAST: &str =
    "data: {\"choices\":[{\"index\":0,\"text\":\"\",\"finish_reason\":\"length\"}]}\n\n";
const USAGE: &str = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":3,\
    \"prompt_tokens_details\":{\"cached_tokens\":4},\
    \"completion_tokens_details\":{\"reasoning_tokens\":1}}}\n\n";
const DONE: &str = "data: [DONE]\n\n";
const EVENTS: &str = "text/event-stream";
const JSON: &str = "application/json";

// === impl Told ===

impl Told {
    fn layer(&self, meter: &Meter) -> InferenceLayer {
        let told = Arc::clone(&self.0);
        InferenceLayer::new(meter.clone())
            .on_end(move |ended: &Ended| told.lock().unwrap().push(ended.clone()))
    }

    /// The only one, taken out.
    fn only(&self) -> Ended {
        let mut all = self.0.lock().unwrap();
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }

    fn nothing(&self) {
        let all = self.0.lock().unwrap();
        assert!(all.is_empty(), "{all:?}");
    }
}

fn request() -> Request<()> {
    Request::post("/v1/completions").body(()).unwrap()
}

fn answer(status: u16, content_type: &'static str, body: Body) -> Response<Body> {
    let mut answer = Response::new(body);
    *answer.status_mut() = StatusCode::from_u16(status).unwrap();
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}

/// Answers the first request so.
fn answering(
    answer: Response<Body>,
) -> impl Service<Request<()>, Response = Response<Body>, Error = Infallible, Future: Send> + Clone + Send
{
    let answer = Arc::new(Mutex::new(Some(answer)));
    service_fn(move |_: Request<()>| ready(Ok(answer.lock().unwrap().take().unwrap())))
}

/// What is told of a request that is answered so, and read as far as it goes.
async fn told_of(status: u16, content_type: &'static str, body: Body) -> Ended {
    let told = Told::default();
    let service = told.layer(&Meter::new()).layer(answering(answer(status, content_type, body)));
    let response = service.oneshot(request()).await.unwrap();
    let _ = catch_unwind(AssertUnwindSafe(|| drain(response.into_body())));
    told.only()
}

fn error(ended: &Ended) -> [&str; 4] {
    let Some(error) = ended.error.as_deref() else { return [""; 4] };
    let ErrorDetails { r#type, code, param, message, .. } = error;
    [r#type, code, param, message].map(|text| text.as_deref().unwrap_or_default())
}

/// How many requests a meter has counted.
fn counted(meter: &Meter) -> f64 {
    let readings = meter.collect();
    let counts = readings.series(&names::REQUEST_TOTAL).iter().map(|series| match series.value {
        Value::Counter(n) => n as f64,
        _ => panic!("no counter"),
    });
    counts.sum()
}

#[tokio::test(start_paused = true)]
async fn a_success_with_all_that_is_known() {
    let told = Told::default();
    let layer = told
        .layer(&Meter::new().model("tiny"))
        .tenant_from(|head| Some(head.headers.get("x-tenant")?.to_str().ok()?.to_owned()))
        .start(Start::Reported);
    let frames = [CONTENT, CONTENT, LAST, USAGE, DONE];
    let body = answer(200, EVENTS, Script::data(frames));
    let answer = Arc::new(Mutex::new(Some(body)));
    let service = layer.layer(service_fn(move |request: Request<()>| {
        let answer = answer.lock().unwrap().take().unwrap();
        async move {
            tokio::time::sleep(Duration::from_secs(2)).await;
            RequestMeter::of(&request).started();
            tokio::time::sleep(Duration::from_secs(3)).await;
            Ok::<_, Infallible>(answer)
        }
    }));
    let mut asked = request();
    for (name, value) in [("x-tenant", "me"), ("x-request-id", "r-1"), ("traceparent", "00-a-b-01")]
    {
        asked.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    let before = SystemTime::now();
    let mut body = pin!(service.oneshot(asked).await.unwrap().into_body());
    assert!(poll(body.as_mut()).is_ready());
    tokio::time::sleep(Duration::from_secs(4)).await;
    told.nothing();
    while poll(body.as_mut()).map(|frame| frame.is_some()) == std::task::Poll::Ready(true) {}

    let ended = told.only();
    assert_eq!(ended.request_id.as_deref(), Some("r-1"));
    assert_eq!(ended.traceparent.as_deref(), Some("00-a-b-01"));
    assert_eq!((&*ended.endpoint, &*ended.model), ("completions", "tiny"));
    assert_eq!(ended.tenant.as_deref(), Some("me"));
    assert_eq!(ended.outcome, Outcome::Success(FinishReason::Length));
    assert_eq!((ended.phase, ended.status), (Phase::Decode, Some(StatusCode::OK)));
    assert_eq!(ended.error, None);
    assert_eq!(ended.queue, Some(Duration::from_secs(2)));
    assert_eq!(ended.time_to_first_token, Some(Duration::from_secs(5)));
    assert_eq!(ended.duration, Duration::from_secs(9));
    let usage = ended.usage;
    assert_eq!((usage.prompt, usage.cached), (Some(7), Some(4)));
    assert_eq!((usage.completion, usage.reasoning), (Some(3), Some(1)));
    assert_eq!(ended.source, TokenSource::Usage);
    assert!(before <= ended.arrived && ended.arrived <= SystemTime::now());
}

#[tokio::test]
async fn a_refusal_with_its_error() {
    let body =
        r#"{"error":{"message":"a\nb","type":"t","param":"p","code":"context_length_exceeded"}}"#;
    let ended = told_of(400, JSON, Script::data([body])).await;
    assert_eq!(ended.outcome, Outcome::Failure(FailureReason::ContextLength));
    assert_eq!((ended.phase, ended.status), (Phase::Prefill, Some(StatusCode::BAD_REQUEST)));
    assert_eq!(error(&ended), ["t", "context_length_exceeded", "p", "a b"]);
    assert_eq!((ended.usage.prompt, ended.usage.completion), (None, None));
    assert_eq!((ended.tenant, ended.request_id), (None, None));
    // What is in front of an engine speaks otherwise.
    let ended = told_of(404, JSON, Script::data([r#"{"detail":"Not Found"}"#])).await;
    assert_eq!(ended.outcome, Outcome::Failure(FailureReason::NotFound));
    assert_eq!(error(&ended), ["", "", "", "Not Found"]);
    // An answer is no error because it has such a member.
    let ended = told_of(200, JSON, Script::data([r#"{"detail":"of an answer"}"#])).await;
    assert_eq!((ended.outcome.label(), ended.error), ("success", None));
}

#[tokio::test]
async fn a_stream_that_breaks_off_or_is_cut() {
    let event =
        "data: {\"error\":{\"message\":\"m\",\"type\":\"InternalServerError\",\"code\":500}}\n\n";
    let ended = told_of(200, EVENTS, Script::data([CONTENT, event, DONE])).await;
    assert_eq!(ended.outcome, Outcome::Failure(FailureReason::StreamError));
    assert_eq!((ended.phase, ended.status), (Phase::Decode, Some(StatusCode::OK)));
    assert_eq!(error(&ended), ["InternalServerError", "500", "", "m"]);
    assert_eq!((ended.usage.completion, ended.source), (Some(1), TokenSource::Counted));

    let ended = told_of(200, EVENTS, Script::data([CONTENT])).await;
    assert_eq!(ended.outcome, Outcome::Failure(FailureReason::Truncated));
    let ended = told_of(200, EVENTS, Script::data([CONTENT]).then(Step::Error("broken"))).await;
    assert_eq!(ended.outcome, Outcome::Failure(FailureReason::StreamError));
    let ended = told_of(200, EVENTS, Script::data([CONTENT]).then(Step::Panic)).await;
    assert_eq!(ended.outcome, Outcome::Failure(FailureReason::ServerError));
    assert_eq!(ended.error, None);
}

#[tokio::test]
async fn a_service_that_fails_or_panics() {
    let told = Told::default();
    let fails = service_fn(|_: Request<()>| ready(Err::<Response<Body>, _>("broken")));
    let service = told.layer(&Meter::new()).layer(fails);
    assert!(service.oneshot(request()).await.is_err());
    let ended = told.only();
    assert_eq!(ended.outcome, Outcome::Failure(FailureReason::ServerError));
    assert_eq!((ended.status, ended.source), (None, TokenSource::Unknown));

    let panics = service_fn(|_: Request<()>| async {
        std::panic::resume_unwind(Box::new("the handler panics"));
        #[allow(unreachable_code)]
        Ok::<Response<Body>, Infallible>(unreachable!())
    });
    let future = told.layer(&Meter::new()).layer(panics).oneshot(request());
    assert!(catch_unwind(AssertUnwindSafe(|| future.now_or_never())).is_err());
    assert_eq!(told.only().outcome, Outcome::Failure(FailureReason::ServerError));
}

#[tokio::test]
async fn a_client_that_leaves() {
    let told = Told::default();
    let works = service_fn(|_: Request<()>| pending::<Result<Response<Body>, Infallible>>());
    for (start, phase) in [(Start::Reported, Phase::Queue), (Start::Call, Phase::Prefill)] {
        let mut future =
            Box::pin(told.layer(&Meter::new()).start(start).layer(works).oneshot(request()));
        assert!((&mut future).now_or_never().is_none());
        drop(future);
        let ended = told.only();
        assert_eq!((ended.outcome, ended.phase), (Outcome::Aborted(phase), phase));
        assert_eq!(ended.queue.is_some(), phase == Phase::Prefill);
    }
    let body = Script::data([CONTENT, CONTENT]).then(Step::Hang);
    let service = told.layer(&Meter::new()).layer(answering(answer(200, EVENTS, body)));
    let mut body = Box::pin(service.oneshot(request()).await.unwrap().into_body());
    assert!(poll(body.as_mut()).is_ready());
    drop(body);
    let ended = told.only();
    assert_eq!((ended.outcome, ended.phase), (Outcome::Aborted(Phase::Decode), Phase::Decode));
    assert_eq!((ended.usage.completion, ended.usage.prompt), (Some(1), None));
}

#[tokio::test]
async fn ids_are_cut_and_hold_no_control_characters() {
    let long = "x".repeat(500);
    for (id, expected) in [
        (b"a\tb".as_slice(), Some("a b")),
        (b"\xc3\xa9\xff", Some("\u{e9}\u{fffd}")),
        (b"\xc2\x85a", Some(" a")),
        (long.as_bytes(), Some(&long[..128])),
        (&[0xff; 200], Some(&"\u{fffd}".repeat(42)[..])),
        (b" ", None),
        (b"", None),
    ] {
        let told = Told::default();
        let answer = answer(200, JSON, Script::data(["{}"]));
        let service = told.layer(&Meter::new()).layer(answering(answer));
        let mut request = request();
        request.headers_mut().insert("x-request-id", HeaderValue::from_bytes(id).unwrap());
        request.headers_mut().append("x-request-id", HeaderValue::from_static("another"));
        drain(service.oneshot(request).await.unwrap().into_body());
        assert_eq!(told.only().request_id.as_deref(), expected, "{id:?}");
    }
}

/// Whatever is said and dropped after the end, in whatever number of clones.
#[tokio::test]
async fn each_is_told_once_and_what_is_not_measured_never() {
    let (told, meter) = (Told::default(), Meter::new());
    let kept = Arc::new(Mutex::new(Vec::new()));
    let handles = Arc::clone(&kept);
    let service = service_fn(move |request: Request<()>| {
        let handle = RequestMeter::of(&request);
        handles.lock().unwrap().extend([handle.clone(), handle]);
        ready(Ok::<_, Infallible>(answer(200, JSON, Script::data(["{}"]))))
    });
    let layer = told.layer(&meter);
    // The outer layer measures; a clone of a service is the same one.
    let service = layer.layer(layer.layer(service)).clone();
    let mut body = Box::pin(service.clone().oneshot(request()).await.unwrap().into_body());
    while poll(body.as_mut()).map(|frame| frame.is_some()) == std::task::Poll::Ready(true) {}
    assert!(poll(body.as_mut()).is_ready());
    for handle in kept.lock().unwrap().drain(..) {
        handle.generated_tokens(5);
        handle.fail(FailureReason::Timeout);
    }
    drop(body);
    assert_eq!(told.only().outcome.label(), "success");

    let get = Request::get("/v1/completions").body(()).unwrap();
    drain(service.oneshot(get).await.unwrap().into_body());
    let unmeasured = answering(answer(200, JSON, Script::data(["{}"])));
    let service = told.layer(&Meter::disabled()).layer(unmeasured);
    drain(service.oneshot(request()).await.unwrap().into_body());
    told.nothing();
}

/// It may ask the meter, which has counted the request, and the request itself.
#[tokio::test]
async fn who_is_told_may_do_anything() {
    let (meter, kept) = (Meter::new(), Arc::new(Mutex::new(RequestMeter::default())));
    let (asked, handle, seen) = (meter.clone(), Arc::clone(&kept), Arc::new(Mutex::new(0.0)));
    let count = Arc::clone(&seen);
    let layer = InferenceLayer::new(meter.clone()).on_end(move |_: &Ended| {
        let handle = handle.lock().unwrap().clone();
        handle.started();
        handle.generated_tokens(7);
        *count.lock().unwrap() = counted(&asked);
    });
    let service = layer.layer(service_fn(move |request: Request<()>| {
        *kept.lock().unwrap() = RequestMeter::of(&request);
        ready(Ok::<_, Infallible>(answer(200, JSON, Script::data(["{}"]))))
    }));
    drain(service.oneshot(request()).await.unwrap().into_body());
    assert_eq!(*seen.lock().unwrap(), 1.0);
}

#[tokio::test]
async fn a_panic_costs_its_own_work_only() {
    let (told, meter) = (Told::default(), Meter::new());
    let panics = |_: &Ended| std::panic::resume_unwind(Box::new("who is told panics"));
    let first = InferenceLayer::new(meter.clone()).on_end(panics);
    let others = Arc::clone(&told.0);
    let layer = first.on_end(move |ended: &Ended| others.lock().unwrap().push(ended.clone()));

    let body = Script::data([CONTENT, LAST, DONE]);
    let service = layer.layer(answering(answer(200, EVENTS, body)));
    let drained = drain(service.oneshot(request()).await.unwrap().into_body());
    assert_eq!(drained.data, [CONTENT, LAST, DONE].concat().into_bytes());
    assert_eq!(told.only().outcome, Outcome::Success(FinishReason::Length));

    // While the body panics already, in a drop.
    let body = Script::data([CONTENT]).then(Step::Panic);
    let service = layer.layer(answering(answer(200, EVENTS, body)));
    let body = service.oneshot(request()).await.unwrap().into_body();
    assert!(catch_unwind(AssertUnwindSafe(|| drain(body))).is_err());
    assert_eq!(told.only().outcome, Outcome::Failure(FailureReason::ServerError));
    assert_eq!(counted(&meter), 2.0);
}
