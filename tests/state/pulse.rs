//! Signs of life: when the last token came.

use std::{convert::Infallible, time::Duration};

use http::{Request, Response};
use http_body_util::BodyExt;
use infermeter::{
    InferenceLayer, Meter, Start, layer::Endpoint, names, record::Collect, wire::Wire,
};
use tokio::{task::JoinHandle, time::sleep};
use tower::{Layer, ServiceExt, service_fn};

use super::support::*;

/// Sends a request whose answer is these events after so many seconds, and reads all of it.
fn send(
    meter: &Meter,
    start: Start,
    head_after: u64,
    answer: impl IntoIterator<Item = (u64, &'static str), IntoIter: Send + 'static>
    + Clone
    + Send
    + Sync
    + 'static,
) -> JoinHandle<()> {
    send_to("/v1/completions", meter, start, head_after, answer)
}

fn send_to(
    path: &'static str,
    meter: &Meter,
    start: Start,
    head_after: u64,
    answer: impl IntoIterator<Item = (u64, &'static str), IntoIter: Send + 'static>
    + Clone
    + Send
    + Sync
    + 'static,
) -> JoinHandle<()> {
    let service = service_fn(move |_: Request<()>| {
        let answer = answer.clone();
        async move {
            sleep(SECOND * u32::try_from(head_after).unwrap()).await;
            Ok::<_, Infallible>(events(answer))
        }
    });
    let layer = InferenceLayer::new(meter.clone()).start(start);
    let service = layer.endpoint("/unread", Endpoint::new("unread", Wire::opaque())).layer(service);
    tokio::spawn(async move {
        let request = Request::post(path).body(()).unwrap();
        service.oneshot(request).await.unwrap().into_body().collect().await.unwrap();
    })
}

fn last_token(meter: &Meter) -> Option<f64> {
    gauge(meter, &names::LAST_TOKEN_AGE_SECONDS)
}

fn oldest(meter: &Meter) -> Option<f64> {
    gauge(meter, &names::QUEUE_OLDEST_AGE_SECONDS)
}

/// Nothing runs, nothing waits.
fn assert_idle(meter: &Meter) {
    assert_eq!(last_token(meter), None);
    assert_eq!(oldest(meter), Some(0.0));
}

#[track_caller]
fn assert_about(found: Option<f64>, expected: f64) {
    // The counters of a stream may be a quarter of a second behind.
    let found = found.unwrap();
    assert!((expected - 0.001..expected + 0.26).contains(&found), "{found} is not {expected}");
}

async fn gone(requests: impl IntoIterator<Item = JoinHandle<()>>) {
    for request in requests {
        request.abort();
        assert!(request.await.unwrap_err().is_cancelled());
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_service_has_no_last_token() {
    let meter = Meter::new().model("m");
    assert_idle(&meter);
    send(&meter, Start::Call, 0, [(100, CONTENT), (100, DONE)]).await.unwrap();
    assert_idle(&meter);
    sleep(SECOND * 1000).await;
    assert_idle(&meter);
}

#[tokio::test(start_paused = true)]
async fn of_a_body_that_is_not_read_any_data_is_a_sign_of_life() {
    let meter = Meter::new().model("m");
    let data = [(1000, "a"), (1000, "b"), (1000, "c"), (50_000, "d")];
    let request = send_to("/unread", &meter, Start::Call, 0, data);
    sleep(SECOND / 2).await;
    assert_about(last_token(&meter), 0.5);
    for _ in 0..3 {
        sleep(SECOND).await;
        assert_about(last_token(&meter), 0.5);
    }
    sleep(SECOND * 40).await;
    assert_about(last_token(&meter), 40.5);
    request.await.unwrap();
    assert_idle(&meter);
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_hangs_before_its_head_and_before_its_first_token() {
    let meter = Meter::new().model("m");
    // What was long ago does not count.
    send(&meter, Start::Call, 0, [(100, CONTENT), (100, DONE)]).await.unwrap();
    sleep(SECOND * 1000).await;

    let no_head = send(&meter, Start::Call, NEVER, []);
    sleep(SECOND * 30).await;
    assert_eq!(last_token(&meter), Some(30.0));
    assert_eq!(oldest(&meter), Some(0.0), "it was called, it does not wait");
    let no_token = send(&meter, Start::Call, 0, [(NEVER * 1000, CONTENT)]);
    sleep(SECOND * 30).await;
    assert_eq!(last_token(&meter), Some(60.0), "a start is no sign while another one hangs");
    gone([no_head]).await;
    assert_eq!(last_token(&meter), Some(60.0));
    gone([no_token]).await;
    assert_idle(&meter);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_stalls() {
    let meter = Meter::new().model("m");
    let stalls = (0..37).map(|_| (100, CONTENT)).chain([(40_000, CONTENT), (100, DONE)]);
    let request = send(&meter, Start::Call, 0, stalls);
    for _ in 0..36 {
        sleep(Duration::from_millis(100)).await;
        let age = last_token(&meter).unwrap();
        assert!(age < 0.36, "{age}");
    }
    sleep(Duration::from_millis(100) + SECOND * 20).await;
    assert_about(last_token(&meter), 20.0);
    sleep(SECOND * 19).await;
    assert_about(last_token(&meter), 39.0);
    sleep(Duration::from_millis(1050)).await;
    let age = last_token(&meter).unwrap();
    assert!(age < 0.31, "it goes on: {age}");
    request.await.unwrap();
    assert_idle(&meter);
}

#[tokio::test(start_paused = true)]
async fn a_stall_after_the_first_token() {
    let meter = Meter::new().model("m");
    let request = send(&meter, Start::Call, 2, [(3000, CONTENT), (NEVER, CONTENT)]);
    sleep(SECOND * 4).await;
    assert_eq!(last_token(&meter), Some(4.0));
    sleep(SECOND * 8).await;
    assert_eq!(last_token(&meter), Some(7.0));
    gone([request]).await;
    assert_idle(&meter);
}

#[tokio::test(start_paused = true)]
async fn as_long_as_any_stream_goes_on_the_engine_lives() {
    let meter = Meter::new().model("m");
    let stuck: Vec<_> = (0..20).map(|_| send(&meter, Start::Call, 0, [(NEVER, CONTENT)])).collect();
    let lively = (0..100).map(|_| (100, CONTENT)).chain([(0, DONE)]);
    let lively = send(&meter, Start::Call, 0, lively);
    sleep(SECOND * 9).await;
    let age = last_token(&meter).unwrap();
    assert!(age < 0.36, "{age}");
    lively.await.unwrap();
    sleep(SECOND * 10).await;
    assert_about(last_token(&meter), 10.0);
    gone(stuck).await;
    assert_idle(&meter);
}

#[tokio::test(start_paused = true)]
async fn each_model_has_its_own() {
    let meter = Meter::new();
    let [a, b] = ["a", "b"].map(|model| meter.model(model));
    let hung = send(&a, Start::Call, NEVER, []);
    sleep(SECOND * 5).await;
    let other = send(&b, Start::Call, NEVER, []);
    sleep(SECOND * 2).await;
    assert_eq!(shown(&meter, &names::LAST_TOKEN_AGE_SECONDS), ["a 0 7", "b 0 2"]);
    gone([hung]).await;
    assert_eq!(shown(&meter, &names::LAST_TOKEN_AGE_SECONDS), ["b 0 2"]);
    gone([other]).await;
    assert_eq!(shown(&meter, &names::LAST_TOKEN_AGE_SECONDS), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn steps_that_an_engine_tells_are_signs() {
    let meter = Meter::new().model("m");
    let engine = meter.engine("0");
    let request = send(&meter, Start::Call, NEVER, []);
    sleep(SECOND * 5).await;
    engine.iteration(0);
    assert_eq!(last_token(&meter), Some(5.0), "a step without tokens is none");
    engine.iteration(1);
    assert_eq!(last_token(&meter), Some(0.0));
    gone([request]).await;
    engine.iteration(1);
    assert_idle(&meter);
}

/// Requests of all kinds at once, ended in all ways: nothing of them is left.
#[tokio::test(start_paused = true)]
async fn after_all_have_ended_nothing_is_left() {
    let meter = Meter::new().model("m");
    let mut requests = Vec::new();
    for i in 0..300_u64 {
        let start = if i % 2 == 0 { Start::Call } else { Start::Reported };
        let tokens = (0..i % 7).map(move |_| (1 + i * 13 % 400, CONTENT));
        let end = match i % 3 {
            0 => vec![(5, FINISH), (5, USAGE), (5, DONE)],
            1 => vec![(NEVER, CONTENT)],
            _ => vec![],
        };
        requests.push(send(&meter, start, i % 4, tokens.chain(end).collect::<Vec<_>>()));
        if i % 10 == 0 {
            sleep(Duration::from_millis(70)).await;
        }
    }
    sleep(SECOND * 20).await;
    let waiting = shown(&meter, &names::NUM_REQUESTS_WAITING);
    assert_ne!(waiting, ["m 0 0"], "some have not said that they started");
    assert!(oldest(&meter).unwrap() > 10.0 && last_token(&meter).unwrap() > 10.0);
    for request in requests {
        request.abort();
        // Some had ended.
        request.await.ok();
    }
    assert_idle(&meter);
    assert_eq!(shown(&meter, &names::REQUEST_TOTAL), ["m 300"]);
    sleep(SECOND).await;
    assert_idle(&meter);
    assert_eq!(meter.collect().series(&names::LAST_TOKEN_AGE_SECONDS).len(), 0);
}

/// A comment keeps the connection open, and is no token: what came before it came before it.
#[tokio::test(start_paused = true)]
async fn a_comment_is_no_sign_of_life() {
    let meter = Meter::new().model("m");
    let comment = (30_000, ": still here\n\n");
    let stalls = [(100, CONTENT), (100, CONTENT), comment, (NEVER, CONTENT)];
    let request = send(&meter, Start::Call, 0, stalls);
    sleep(SECOND * 31).await;
    assert_about(last_token(&meter), 30.8);
    gone([request]).await;
}

/// What is not streamed comes at its end, all at once.
#[tokio::test(start_paused = true)]
async fn whole_answers_are_signs_of_life() {
    const WHOLE: &str = r#"{"choices":[{"index":0,"text":"a","finish_reason":"stop"}],
        "usage":{"prompt_tokens":3,"completion_tokens":4}}"#;
    for path in ["/v1/completions", "/v1/embeddings"] {
        let meter = Meter::new().model("m");
        let service = service_fn(async |_: Request<()>| {
            sleep(SECOND * 3).await;
            Ok::<_, Infallible>(Response::new(WHOLE.to_owned()))
        });
        let service = InferenceLayer::new(meter.clone()).layer(service);
        let send = || {
            let (service, request) = (service.clone(), Request::post(path).body(()).unwrap());
            tokio::spawn(async {
                service.oneshot(request).await.unwrap().into_body().collect().await.unwrap();
            })
        };
        // There is always one that runs.
        let mut requests = Vec::new();
        for _ in 0..50 {
            requests.push(send());
            sleep(SECOND).await;
            assert!(last_token(&meter).unwrap() <= 3.0, "{path}: {:?}", last_token(&meter));
        }
        for request in requests {
            request.await.unwrap();
        }
        assert_idle(&meter);
    }
}
