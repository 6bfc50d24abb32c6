//! What a meter keeps while requests run: times, live counters, labels, what the service says.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use futures_util::stream;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Empty, StreamBody};
use infermeter::{
    InferenceLayer, Meter, RequestMeter, Start,
    names::{self, Family},
    record::{Collect, HistogramReading, MeterBuilder, Value},
};
use tokio::time::{Instant, sleep};
use tower::{Layer, ServiceExt, service_fn};

// === times ===

#[tokio::test(start_paused = true)]
async fn times_of_a_stream() {
    let meter = Meter::new();
    // Arrival, 2 s in the queue, 1 s to the first token, three gaps.
    let gaps = [1000, 10, 20, 30];
    complete(&meter, |request| async move {
        sleep(Duration::from_secs(2)).await;
        RequestMeter::of(&request).started();
        events(gaps.map(|ms| (ms, CONTENT)).into_iter().chain([
            (5, FINISH),
            (0, USAGE_4),
            (0, DONE),
        ]))
    })
    .await;

    for (family, expected) in [
        (&names::TIME_IN_QUEUE_SECONDS, (1, 2.0)),
        (&names::TIME_TO_FIRST_TOKEN_SECONDS, (1, 3.0)),
        (&names::REQUEST_PREFILL_TIME_SECONDS, (1, 1.0)),
        (&names::INTER_TOKEN_LATENCY_SECONDS, (3, 0.06)),
        (&names::REQUEST_DECODE_TIME_SECONDS, (1, 0.06)),
        (&names::TIME_PER_OUTPUT_TOKEN_SECONDS, (1, 0.02)),
        (&names::REQUEST_INFERENCE_TIME_SECONDS, (1, 1.065)),
        (&names::E2E_REQUEST_LATENCY_SECONDS, (1, 3.065)),
        (&names::REQUEST_DURATION_SECONDS, (1, 3.065)),
        (&names::REQUEST_PROMPT_TOKENS, (1, 3.0)),
        (&names::REQUEST_GENERATION_TOKENS, (1, 4.0)),
        (&names::REQUEST_MAX_NUM_GENERATION_TOKENS, (1, 4.0)),
    ] {
        assert_eq!(histogram(&meter, family), expected, "{}", family.name);
    }
}

#[tokio::test(start_paused = true)]
async fn a_gap_before_several_tokens_is_shared_by_them() {
    let meter = Meter::new();
    let three = "data: {\"choices\":[{\"index\":0,\"text\":\"abc\",\"token_ids\":[1,2,3]}]}\n\n";
    complete(&meter, |_| async move { events([(0, three), (300, three), (0, DONE)]) }).await;
    let reading = histograms(&meter, &names::INTER_TOKEN_LATENCY_SECONDS);
    // Three times 100 ms, not once 300 ms.
    let bucket = reading.bounds.iter().position(|bound| *bound == 0.1).unwrap();
    assert_eq!(reading.counts[bucket], 3);
    assert_eq!(histogram(&meter, &names::INTER_TOKEN_LATENCY_SECONDS), (3, 0.3));
}

#[tokio::test(start_paused = true)]
async fn a_running_usage_tells_how_many_tokens_an_event_has() {
    let meter = Meter::new();
    let running = |n: u64| -> &'static str {
        format!(
            "data: {{\"choices\":[{{\"index\":0,\"text\":\"a\"}}],\
             \"usage\":{{\"completion_tokens\":{n}}}}}\n\n"
        )
        .leak()
    };
    // 1 token, then 3, then none that is new, then 1 after 20 ms in all.
    let stream = [(0, running(1)), (60, running(4)), (10, running(4)), (10, running(5)), (0, DONE)];
    complete(&meter, move |_| async move { events(stream) }).await;
    let reading = histograms(&meter, &names::INTER_TOKEN_LATENCY_SECONDS);
    let bucket = reading.bounds.iter().position(|bound| *bound == 0.025).unwrap();
    assert_eq!(reading.counts[bucket], 4);
    assert_eq!(histogram(&meter, &names::INTER_TOKEN_LATENCY_SECONDS), (4, 0.08));
}

#[tokio::test(start_paused = true)]
async fn one_token_has_no_time_per_output_token() {
    let meter = Meter::new();
    complete(&meter, |_| async move { events([(5, CONTENT), (5, FINISH), (0, DONE)]) }).await;
    assert_eq!(histogram(&meter, &names::TIME_PER_OUTPUT_TOKEN_SECONDS), (0, 0.0));
    assert_eq!(histogram(&meter, &names::TIME_TO_FIRST_TOKEN_SECONDS), (1, 0.005));
}

#[tokio::test(start_paused = true)]
async fn a_start_never_moves_back_and_is_taken_once() {
    let meter = Meter::new();
    complete(&meter, |request| async move {
        let handle = RequestMeter::of(&request);
        sleep(Duration::from_secs(1)).await;
        handle.first_token();
        handle.started();
        sleep(Duration::from_secs(1)).await;
        handle.first_token();
        events([(1000, CONTENT), (0, DONE)])
    })
    .await;
    assert_eq!(histogram(&meter, &names::TIME_IN_QUEUE_SECONDS), (1, 1.0));
    assert_eq!(histogram(&meter, &names::TIME_TO_FIRST_TOKEN_SECONDS), (1, 1.0));
}

#[tokio::test(start_paused = true)]
async fn without_a_mark_the_first_content_is_the_start() {
    let meter = Meter::new();
    complete(&meter, |_| async move { events([(700, CONTENT), (0, DONE)]) }).await;
    assert_eq!(histogram(&meter, &names::TIME_IN_QUEUE_SECONDS), (1, 0.7));
    // A whole answer has no content that could be seen coming: nothing is claimed of its queue.
    let meter = Meter::new();
    complete(&meter, |_| async move { events([(700, r#"{"usage":{}}"#)]) }).await;
    assert_eq!(histogram(&meter, &names::TIME_IN_QUEUE_SECONDS), (0, 0.0));
}

// === live ===

#[tokio::test(start_paused = true)]
async fn counters_grow_while_a_stream_runs_and_settle_at_its_end() {
    let meter = Meter::new();
    let long = (0..100).map(|_| (100, CONTENT)).chain([(0, FINISH), (0, USAGE_120), (0, DONE)]);
    let events: Vec<_> = long.collect();
    let request = tokio::spawn({
        let meter = meter.clone();
        async move { complete(&meter, |_| async move { self::events(events) }).await }
    });
    let start = Instant::now();
    let mut before = 0;
    while !request.is_finished() {
        sleep(Duration::from_millis(50)).await;
        let now = counter(&meter, &names::GENERATION_TOKENS_TOTAL);
        assert!(now >= before, "{now} < {before}");
        let came = start.elapsed().as_millis() as u64 / 100;
        assert!(now + 4 >= came.min(100), "{now} tokens shown of {came} that came");
        let gaps = histogram(&meter, &names::INTER_TOKEN_LATENCY_SECONDS).0;
        assert!(gaps + 5 >= came.min(100), "{gaps} gaps shown after {came} tokens");
        before = now;
    }
    request.await.unwrap();
    assert_eq!(counter(&meter, &names::GENERATION_TOKENS_TOTAL), 120);
}

#[tokio::test(start_paused = true)]
async fn an_overshoot_never_makes_a_counter_fall() {
    let meter = Meter::new();
    let ten = || (0..10).map(|_| (100, CONTENT));
    // The engine tells 4, ten events were counted.
    complete(&meter, move |_| async move {
        events(ten().chain([(0, FINISH), (0, USAGE_4), (0, DONE)]))
    })
    .await;
    let shown = counter(&meter, &names::GENERATION_TOKENS_TOTAL);
    assert_eq!(shown, 10, "the last one came when it was time to show them");
    let sizes = histogram(&meter, &names::REQUEST_GENERATION_TOKENS);
    assert_eq!(sizes, (1, 4.0), "the request itself is told right");
    complete(&meter, |_| async { events([(0, CONTENT), (0, FINISH), (0, USAGE_120), (0, DONE)]) })
        .await;
    assert_eq!(counter(&meter, &names::GENERATION_TOKENS_TOTAL), 124);
}

// === what the service says ===

#[tokio::test(start_paused = true)]
async fn what_the_service_counts_goes_before_what_the_bytes_tell() {
    let meter = Meter::new();
    complete(&meter, |request| async move {
        let handle = RequestMeter::of(&request);
        handle.prompt_tokens(10);
        handle.prompt_tokens(99);
        handle.cached_tokens(6);
        handle.generated_tokens(7);
        handle.generated_tokens(5);
        handle.reasoning_tokens(2);
        events([(10, CONTENT), (60, CONTENT), (0, FINISH), (0, USAGE_4), (0, DONE)])
    })
    .await;
    assert_eq!(counter(&meter, &names::PROMPT_TOKENS_TOTAL), 10);
    assert_eq!(counter(&meter, &names::PROMPT_TOKENS_CACHED_TOTAL), 6);
    assert_eq!(counter(&meter, &names::GENERATION_TOKENS_TOTAL), 7);
    assert_eq!(counter(&meter, &names::REASONING_TOKENS_TOTAL), 2);
    assert_eq!(with_label(&meter, &names::TOKEN_ACCOUNTING_TOTAL, "handle"), 1);
    assert_eq!(histogram(&meter, &names::TIME_PER_OUTPUT_TOKEN_SECONDS), (1, 0.01));
}

#[tokio::test(start_paused = true)]
async fn a_service_without_a_known_format_tells_everything_itself() {
    let meter = Meter::new();
    complete(&meter, |request| async move {
        let handle = RequestMeter::of(&request);
        handle.started();
        handle.prompt_tokens(4);
        sleep(Duration::from_millis(500)).await;
        handle.first_token();
        handle.add_generated_tokens(1);
        for _ in 0..4 {
            sleep(Duration::from_millis(10)).await;
            handle.add_generated_tokens(1);
        }
        events([(0, "five words of my own")])
    })
    .await;
    assert_eq!(counter(&meter, &names::GENERATION_TOKENS_TOTAL), 5);
    assert_eq!(histogram(&meter, &names::TIME_TO_FIRST_TOKEN_SECONDS), (1, 0.5));
    assert_eq!(histogram(&meter, &names::REQUEST_DECODE_TIME_SECONDS), (1, 0.04));
    assert_eq!(histogram(&meter, &names::TIME_PER_OUTPUT_TOKEN_SECONDS), (1, 0.01));
    assert_eq!(with_label(&meter, &names::UNREAD_BODIES_TOTAL, "unknown_format"), 0);
}

#[tokio::test(start_paused = true)]
async fn after_the_end_the_handle_does_nothing() {
    let meter = Meter::new();
    let (send, receive) = std::sync::mpsc::channel();
    complete(&meter, |request| async move {
        send.send(RequestMeter::of(&request)).unwrap();
        events([(0, CONTENT), (0, DONE)])
    })
    .await;
    let handle = receive.recv().unwrap();
    let before = format!("{:?}", meter.collect());
    handle.started();
    handle.first_token();
    handle.model("late");
    handle.prompt_tokens(1);
    handle.generated_tokens(100);
    handle.add_generated_tokens(100);
    handle.fail(infermeter::outcome::FailureReason::Timeout);
    assert_eq!(format!("{:?}", meter.collect()), before);
}

#[tokio::test(start_paused = true)]
async fn unread_is_only_what_nobody_told_of() {
    let meter = Meter::new();
    for (tells, body, expected) in [(true, "words", 0), (false, "", 0), (false, "words", 1)] {
        complete(&meter, move |request| async move {
            if tells {
                RequestMeter::of(&request).generated_tokens(1);
            }
            events([(0, body)])
        })
        .await;
        let unread = with_label(&meter, &names::UNREAD_BODIES_TOTAL, "unknown_format");
        assert_eq!(unread, expected, "{body:?}");
    }
}

// === labels ===

#[tokio::test(start_paused = true)]
async fn the_model_label() {
    let meter = Meter::builder().max_models(2).build().unwrap();
    let named = meter.model("a");
    let by_header = |parts: &http::request::Parts| {
        let name = parts.headers.get("model")?.to_str().ok()?;
        assert_ne!(name, "panics");
        Some(name.to_owned())
    };
    let layer = InferenceLayer::new(named).model_from(by_header);
    let service = layer.layer(service_fn(async |request: Request<Empty<Bytes>>| {
        if let Some(said) = request.headers().get("says") {
            RequestMeter::of(&request).model(said.to_str().unwrap());
        }
        Ok::<_, Infallible>(events([(0, CONTENT), (0, DONE)]))
    }));
    for (header, value) in [
        ("x", "y"),
        ("model", "b"),
        ("model", "c"),
        ("model", "d"),
        ("model", "panics"),
        ("says", "b"),
    ] {
        let request = Request::post("/v1/completions").header(header, value);
        let response = service.clone().oneshot(request.body(Empty::new()).unwrap()).await.unwrap();
        response.into_body().collect().await.unwrap();
    }
    let totals = [("a", 2), ("b", 2), ("other", 2)];
    for (model, total) in totals {
        assert_eq!(with_label(&meter, &names::REQUEST_TOTAL, model), total, "{model}");
        assert_eq!(with_label(&meter, &names::GENERATION_TOKENS_TOTAL, model), total, "{model}");
    }
    assert_eq!(with_label(&meter, &names::LABEL_OVERFLOW_TOTAL, "model_name"), 2);
    assert_eq!(meter.model_name().as_deref(), Some("a"));
}

#[test]
fn everything_known_is_there_from_the_start_at_zero() {
    let meter = Meter::new().model("tiny");
    drop(InferenceLayer::new(meter.clone()));
    let readings = meter.collect();
    let published = names::CATALOGUE
        .iter()
        .filter(|family| !matches!(family.presence, names::Presence::Reserved(_)));
    // The page itself knows these two.
    let by_the_page = [&names::SCRAPE_DURATION_SECONDS, &names::SERIES];
    for family in published {
        let series = readings.series(family);
        if std::ptr::eq(*family, &names::REQUESTS_TOTAL)
            || by_the_page.iter().any(|known| std::ptr::eq(*known, *family))
        {
            assert!(series.is_empty(), "{}", family.name);
            continue;
        }
        assert!(!series.is_empty(), "{} is missing", family.name);
        for series in series {
            let is_zero = match &series.value {
                Value::Counter(n) => *n == 0,
                Value::Gauge(value) => *value == 0.0,
                Value::Histogram(reading) => reading.count() == 0,
                other => panic!("{other:?}"),
            };
            assert!(is_zero || std::ptr::eq(*family, &names::BUILD_INFO), "{series:?}");
        }
    }
}

#[test]
fn wrong_settings_are_named() {
    let error = |builder: MeterBuilder| builder.build().unwrap_err().to_string();
    for (builder, expected) in [
        (Meter::builder().label("job", "x"), "\"job\""),
        (Meter::builder().label("model_name", "x"), "\"model_name\""),
        (Meter::builder().label("__x", "x"), "\"__x\""),
        (Meter::builder().label("a", "1").label("a", "2"), "\"a\" is given twice"),
        (
            Meter::builder().buckets(&names::TIME_IN_QUEUE_SECONDS, [2.0, 1.0]),
            "time_in_queue_seconds",
        ),
        (Meter::builder().buckets(&names::REQUEST_TOTAL, [1.0]), "request_total has no buckets"),
    ] {
        let error = error(builder);
        assert!(error.contains(expected), "{error}");
        assert!(error.contains("allowed") || error.contains("must"), "{error}");
    }
    assert!(Meter::builder().label("variant", "thinking").build().is_ok());
}

#[test]
fn buckets_can_be_set() {
    let meter = Meter::builder()
        .buckets(&names::TIME_IN_QUEUE_SECONDS, [0.5, 1.0])
        .context_length(32)
        .build()
        .unwrap()
        .model("m");
    let bounds = |family| histograms(&meter, family).bounds.to_vec();
    assert_eq!(bounds(&names::TIME_IN_QUEUE_SECONDS), [0.5, 1.0]);
    assert_eq!(bounds(&names::REQUEST_PROMPT_TOKENS), [1.0, 2.0, 5.0, 10.0, 20.0, 32.0]);
    assert_eq!(bounds(&names::TIME_TO_FIRST_TOKEN_SECONDS).len(), 22);
}

// === helpers ===

const CONTENT: &str =
    "data: {\"choices\":[{\"index\":0,\"text\":\"a\",\"finish_reason\":null}]}\n\n";
const FINISH: &str =
    "data: {\"choices\":[{\"index\":0,\"text\":\"\",\"finish_reason\":\"stop\"}]}\n\n";
const USAGE_4: &str =
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}\n\n";
const USAGE_120: &str =
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":120}}\n\n";
const DONE: &str = "data: [DONE]\n\n";

type Events = StreamBody<stream::BoxStream<'static, Result<Frame<Bytes>, Infallible>>>;

/// A response that sends each text so many milliseconds after the one before.
fn events(
    events: impl IntoIterator<Item = (u64, &'static str), IntoIter: Send + 'static>,
) -> Response<Events> {
    let mut events = events.into_iter().peekable();
    let kind = match events.peek() {
        Some((_, text)) if text.starts_with("data:") => "text/event-stream",
        Some((_, text)) if text.starts_with('{') => "application/json",
        _ => "text/plain",
    };
    let frames = stream::unfold(events, |mut events| async {
        let (ms, text) = events.next()?;
        sleep(Duration::from_millis(ms)).await;
        Some((Ok(Frame::data(Bytes::from_static(text.as_bytes()))), events))
    });
    let body: Events = StreamBody::new(Box::pin(frames));
    Response::builder().header("content-type", kind).body(body).unwrap()
}

/// Sends one request and reads the whole answer. It is in the queue until something says not.
async fn complete<F>(meter: &Meter, handler: impl FnOnce(Request<Empty<Bytes>>) -> F + Clone)
where
    F: Future<Output = Response<Events>>,
{
    let service = service_fn(|request| {
        let handler = handler.clone();
        async move { Ok::<_, Infallible>(handler(request).await) }
    });
    let service = InferenceLayer::new(meter.clone()).start(Start::Reported).layer(service);
    let request = Request::post("/v1/completions").body(Empty::new()).unwrap();
    service.oneshot(request).await.unwrap().into_body().collect().await.unwrap();
}

/// All models together; every histogram of a family has the same bounds.
fn histograms(meter: &Meter, family: &'static Family) -> HistogramReading {
    let readings = meter.collect();
    let series = readings.series(family).iter().map(|series| match &series.value {
        Value::Histogram(reading) => reading.clone(),
        other => panic!("{other:?}"),
    });
    let sum = series.reduce(|mut sum, next| {
        sum.counts.iter_mut().zip(&next.counts).for_each(|(sum, n)| *sum += n);
        sum.sum += next.sum;
        sum
    });
    sum.unwrap()
}

/// Count, and sum to the microsecond.
fn histogram(meter: &Meter, family: &'static Family) -> (u64, f64) {
    let reading = histograms(meter, family);
    (reading.count(), (reading.sum * 1e6).round() / 1e6)
}

fn counter(meter: &Meter, family: &'static Family) -> u64 {
    sum(meter, family, |_| true)
}

fn with_label(meter: &Meter, family: &'static Family, label: &str) -> u64 {
    sum(meter, family, |labels| labels.iter().any(|value| &**value == label))
}

fn sum(
    meter: &Meter,
    family: &'static Family,
    chosen: impl Fn(&[std::sync::Arc<str>]) -> bool,
) -> u64 {
    let readings = meter.collect();
    let series = readings.series(family).iter().filter(|series| chosen(&series.labels));
    let values = series.map(|series| match series.value {
        Value::Counter(n) => n,
        ref other => panic!("{other:?}"),
    });
    values.sum()
}
