//! What is kept where the engine tells in its answer how long a request has waited.

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use infermeter::{
    AdmissionLayer, InferenceLayer, Meter, RequestMeter, Start,
    layer::Endpoint,
    names::{self, Family},
    record::{Collect, Value},
    wire::Wire,
};
use tokio::time::sleep;
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};

use super::{scrape::Scrape, support::*};

const QUEUE: &Family = &names::TIME_IN_QUEUE_SECONDS;
const PREFILL: &Family = &names::REQUEST_PREFILL_TIME_SECONDS;
const INFERENCE: &Family = &names::REQUEST_INFERENCE_TIME_SECONDS;
const TTFT: &Family = &names::TIME_TO_FIRST_TOKEN_SECONDS;
const DECODE: &Family = &names::REQUEST_DECODE_TIME_SECONDS;

const NOTHING: (u64, f64) = (0, 0.0);

/// An event of SGLang, so many tokens of its part.
fn sglang(index: u64, tokens: u64, more: &str) -> &'static str {
    format!(
        "data: {{\"index\":{index},\"text\":\"a\",\"meta_info\":{{\"prompt_tokens\":5,\
         \"completion_tokens\":{tokens}{more}}}}}\n\n"
    )
    .leak()
}

const STOP: &str = ",\"queue_time\":1.25,\"finish_reason\":{\"type\":\"stop\"}";

const LLAMACPP: &str = "data: {\"content\":\"a\",\"stop\":false,\"tokens_predicted\":1}\n\n";
const LLAMACPP_2: &str = "data: {\"content\":\"a\",\"stop\":false,\"tokens_predicted\":2}\n\n";

fn layer(meter: &Meter) -> InferenceLayer {
    InferenceLayer::new(meter.clone())
        .start(Start::Told)
        .endpoint("/generate", Endpoint::new("generate", Wire::sglang()))
}

/// Asks for an answer that begins after `wait`, and reads so many frames of it.
async fn ask<const N: usize>(
    meter: &Meter,
    path: &str,
    answer: [(u64, &'static str); N],
    frames: usize,
) {
    let service = layer(meter)
        .layer(service_fn(|_: Request<_>| async move { Ok::<_, Infallible>(events(answer)) }));
    let response = service.oneshot(request(path)).await.unwrap();
    read(response, frames).await;
}

fn request(path: &str) -> Request<Empty<Bytes>> {
    Request::post(path).body(Empty::new()).unwrap()
}

async fn read<B: http_body::Body + Unpin>(response: Response<B>, frames: usize) {
    let mut body = response.into_body();
    for _ in 0..frames {
        if body.frame().await.is_none() {
            return;
        }
    }
}

const ALL: usize = usize::MAX;

#[track_caller]
fn assert_times(meter: &Meter, expected: [(&'static Family, (u64, f64)); 5]) {
    for (family, expected) in expected {
        assert_eq!(histogram(meter, family), expected, "{}", family.name);
    }
}

/// Requests in flight in each phase: queue, prefill, decode.
fn in_flight(meter: &Meter) -> [f64; 3] {
    let readings = meter.collect();
    ["queue", "prefill", "decode"].map(|phase| {
        let series = readings.series(&names::REQUESTS_IN_FLIGHT).iter();
        let chosen = series.filter(|series| series.labels.iter().any(|label| &**label == phase));
        let values = chosen.map(|series| match series.value {
            Value::Gauge(value) => value,
            ref other => panic!("{other:?}"),
        });
        values.sum()
    })
}

#[tokio::test(start_paused = true)]
async fn a_queue_time_is_kept_as_it_was_told() {
    let meter = Meter::new();
    let answer = [(2000, sglang(0, 1, "")), (100, sglang(0, 3, STOP)), (50, DONE)];
    ask(&meter, "/generate", answer, ALL).await;
    assert_times(
        &meter,
        [
            (QUEUE, (1, 1.25)),
            (PREFILL, (1, 0.75)),
            (INFERENCE, (1, 0.9)),
            (TTFT, (1, 2.0)),
            (DECODE, (1, 0.1)),
        ],
    );
    assert_eq!(with_label(&meter, &names::REQUEST_SUCCESS_TOTAL, "stop"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_prefill_time_ends_with_the_first_token() {
    let meter = Meter::new();
    let end = "data: {\"content\":\"\",\"stop\":true,\"stop_type\":\"eos\",\
               \"timings\":{\"prompt_ms\":500}}\n\n";
    ask(&meter, "/completion", [(2000, LLAMACPP), (100, LLAMACPP_2), (50, end)], ALL).await;
    let expected = [
        (QUEUE, (1, 1.5)),
        (PREFILL, (1, 0.5)),
        (INFERENCE, (1, 0.65)),
        (TTFT, (1, 2.0)),
        (DECODE, (1, 0.1)),
    ];
    assert_times(&meter, expected);

    // The same in OpenAI's words.
    let meter = Meter::new();
    let end = "data: {\"choices\":[{\"index\":0,\"text\":\"\",\"finish_reason\":\"stop\"}],\
               \"timings\":{\"prompt_ms\":500}}\n\n";
    let answer = [(2000, CONTENT), (100, CONTENT), (50, end), (0, DONE)];
    ask(&meter, "/v1/completions", answer, ALL).await;
    assert_times(&meter, expected);
}

#[tokio::test(start_paused = true)]
async fn a_whole_answer_tells_its_queue_time_too() {
    let meter = Meter::new();
    let answer = "{\"choices\":[{\"index\":0}],\"metrics\":{\"queue_time_ms\":250}}";
    ask(&meter, "/v1/completions", [(1000, answer)], ALL).await;
    assert_times(
        &meter,
        [
            (QUEUE, (1, 0.25)),
            (PREFILL, NOTHING),
            (INFERENCE, (1, 0.75)),
            (TTFT, NOTHING),
            (DECODE, NOTHING),
        ],
    );
    assert_eq!(in_flight(&meter), [0.0; 3]);
}

#[tokio::test(start_paused = true)]
async fn where_nothing_is_told_nothing_is_claimed() {
    let meter = Meter::new();
    let answer = [(2000, CONTENT), (100, CONTENT), (50, FINISH), (0, USAGE_4), (0, DONE)];
    let asking = tokio::spawn({
        let meter = meter.clone();
        async move { ask(&meter, "/v1/completions", answer, ALL).await }
    });
    // In the queue until the first content, and never below nothing.
    for (ms, expected) in [
        (1, [1.0, 0.0, 0.0]),
        (1998, [1.0, 0.0, 0.0]),
        (2, [0.0, 0.0, 1.0]),
        (148, [0.0, 0.0, 1.0]),
        (2, [0.0; 3]),
    ] {
        sleep(Duration::from_millis(ms)).await;
        assert_eq!(in_flight(&meter), expected, "after {ms} ms more");
    }
    asking.await.unwrap();
    assert_times(
        &meter,
        [
            (QUEUE, NOTHING),
            (PREFILL, NOTHING),
            (INFERENCE, NOTHING),
            (TTFT, (1, 2.0)),
            (DECODE, (1, 0.1)),
        ],
    );
    Scrape::of(&meter).assert_identities();
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_was_not_told() {
    let queue = |seconds: &str| sglang(0, 2, &format!(",\"queue_time\":{seconds}"));
    for (told, [queue_time, prefill, inference]) in [
        ("2.0", [(1, 2.0), (1, 0.0), (1, 0.1)]),
        ("0", [(1, 0.0), (1, 2.0), (1, 2.1)]),
        // Longer than to the first token, than the request, than anything.
        ("2.05", [NOTHING; 3]),
        ("3", [NOTHING; 3]),
        ("86400", [NOTHING; 3]),
        ("1e18", [NOTHING; 3]),
        ("-1", [NOTHING; 3]),
    ] {
        let meter = Meter::new();
        ask(&meter, "/generate", [(2000, queue(told)), (100, queue(told)), (0, DONE)], ALL).await;
        assert_eq!(histogram(&meter, QUEUE), queue_time, "{told}");
        assert_eq!(histogram(&meter, PREFILL), prefill, "{told}");
        assert_eq!(histogram(&meter, INFERENCE), inference, "{told}");
    }
    // A prefill that began before the request came, and a whole answer that waited for longer than
    // it took.
    let end = "data: {\"content\":\"\",\"stop\":true,\"timings\":{\"prompt_ms\":2001}}\n\n";
    let meter = Meter::new();
    ask(&meter, "/completion", [(2000, LLAMACPP), (0, end)], ALL).await;
    let answer = "{\"choices\":[{\"index\":0}],\"metrics\":{\"queue_time_ms\":1001}}";
    ask(&meter, "/v1/completions", [(1000, answer)], ALL).await;
    for family in [QUEUE, PREFILL, INFERENCE] {
        assert_eq!(histogram(&meter, family), NOTHING, "{}", family.name);
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_ends_badly_keeps_what_was_told() {
    let part = sglang(0, 1, ",\"queue_time\":1.25");
    let error = "data: {\"error\":{\"message\":\"x\"}}\n\n";
    // The client leaves after the first event; the engine fails; the stream is cut.
    let meter = Meter::new();
    ask(&meter, "/generate", [(2000, part), (100, part)], 1).await;
    assert_eq!(with_label(&meter, &names::REQUESTS_TOTAL, "aborted"), 1);
    assert_eq!(with_label(&meter, &names::REQUESTS_TOTAL, "decode"), 1);
    ask(&meter, "/generate", [(2000, part), (100, error), (0, DONE)], ALL).await;
    ask(&meter, "/generate", [(2000, part)], ALL).await;
    assert_eq!(with_label(&meter, &names::REQUESTS_TOTAL, "failure"), 2);
    assert_eq!(histogram(&meter, QUEUE), (3, 3.75));
    assert_eq!(histogram(&meter, PREFILL), (3, 2.25));
    assert_eq!(in_flight(&meter), [0.0; 3]);
    Scrape::of(&meter).assert_identities();
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_before_the_first_content_has_left_the_queue() {
    let meter = Meter::new();
    let wait = ask(&meter, "/v1/completions", [(2000, CONTENT)], 1);
    assert!(tokio::time::timeout(Duration::from_secs(1), wait).await.is_err());
    assert_eq!(with_label(&meter, &names::REQUESTS_TOTAL, "queue"), 1);
    for family in [QUEUE, PREFILL, INFERENCE, TTFT] {
        assert_eq!(histogram(&meter, family), NOTHING, "{}", family.name);
    }
    assert_eq!(in_flight(&meter), [0.0; 3]);
    Scrape::of(&meter).assert_identities();
}

#[tokio::test(start_paused = true)]
async fn of_two_choices_none_is_taken_for_the_request() {
    let meter = Meter::new();
    let answer =
        [(2000, sglang(1, 1, STOP)), (100, sglang(0, 1, "")), (50, sglang(0, 2, STOP)), (0, DONE)];
    ask(&meter, "/generate", answer, ALL).await;
    assert_times(
        &meter,
        [
            (QUEUE, NOTHING),
            (PREFILL, NOTHING),
            (INFERENCE, NOTHING),
            (TTFT, (1, 2.0)),
            (DECODE, (1, 0.15)),
        ],
    );
}

#[tokio::test(start_paused = true)]
async fn a_service_that_says_so_itself_goes_before() {
    let meter = Meter::new();
    let part = sglang(0, 1, STOP);
    let service = layer(&meter).layer(service_fn(|request: Request<_>| async move {
        sleep(Duration::from_secs(1)).await;
        RequestMeter::of(&request).started();
        Ok::<_, Infallible>(events([(1000, part), (0, DONE)]))
    }));
    read(service.oneshot(request("/generate")).await.unwrap(), ALL).await;
    assert_eq!(histogram(&meter, QUEUE), (1, 1.0));
    assert_eq!(histogram(&meter, PREFILL), (1, 1.0));
}

#[tokio::test(start_paused = true)]
async fn the_engine_does_not_know_of_our_own_admission() {
    let meter = Meter::new();
    let part = sglang(0, 1, STOP);
    let admission = AdmissionLayer::new(&meter, 1);
    let service = ServiceBuilder::new().layer(layer(&meter)).layer(admission).service(service_fn(
        |_: Request<_>| async move { Ok::<_, Infallible>(events([(2000, part), (0, DONE)])) },
    ));
    let one = async {
        read(service.clone().oneshot(request("/generate")).await.unwrap(), ALL).await;
    };
    let other = async {
        read(service.clone().oneshot(request("/generate")).await.unwrap(), ALL).await;
    };
    tokio::join!(one, other);
    // The second one waited for 2 s here and 1.25 s there.
    assert_eq!(histogram(&meter, QUEUE), (2, 1.25 + 3.25));
    assert_eq!(histogram(&meter, PREFILL), (2, 1.5));
}
