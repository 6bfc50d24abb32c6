//! The views that users' own tests are written with.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]

use std::{convert::Infallible, panic::catch_unwind};

use http::{Request, Response};
use infermeter::{
    InferenceLayer, Meter, RequestMeter, names,
    outcome::{FailureReason, FinishReason, Outcome, Phase},
};
use tower::{Layer, ServiceExt, service_fn};

/// A service that says of each request what its body says.
async fn send(meter: &Meter, says: &str) {
    let service = InferenceLayer::new(meter.clone()).layer(service_fn(async |request| {
        let handle = RequestMeter::of(&request);
        match request.into_body() {
            "tool" => handle.finished(FinishReason::ToolCalls),
            "slow" => handle.fail(FailureReason::Timeout),
            tokens => handle.generated_tokens(tokens.parse().unwrap()),
        }
        Ok::<_, Infallible>(Response::new(String::new()))
    }));
    let request = Request::post("/v1/completions").body(says.to_owned()).unwrap();
    service.oneshot(request.map(|text| &*text.leak())).await.unwrap();
}

#[tokio::test]
async fn it_tells_what_happened() {
    let meter = Meter::new().model("tiny");
    for says in ["3", "40", "tool", "slow"] {
        send(&meter, says).await;
    }
    let snapshot = meter.snapshot();
    snapshot.assert_conserved();
    assert_eq!(snapshot.ended(Outcome::Success(FinishReason::ToolCalls)), 1);
    assert_eq!(snapshot.ended(Outcome::Failure(FailureReason::Timeout)), 1);
    assert_eq!(snapshot.ended(Outcome::Aborted(Phase::Queue)), 0);

    let sizes = snapshot.histogram(&names::REQUEST_GENERATION_TOKENS, &[("model_name", "tiny")]);
    assert_eq!(sizes.map(|sizes| (sizes.count(), sizes.sum)), Some((2, 43.0)));
    let success = [("finished_reason", "stop")];
    assert_eq!(snapshot.value(&names::REQUEST_SUCCESS_TOTAL, &success), Some(0.0));
    assert_eq!(snapshot.value(&names::GENERATION_TOKENS_TOTAL, &[]), Some(43.0));
    assert_eq!(snapshot.value(&names::GENERATION_TOKENS_TOTAL, &[("model_name", "x")]), None);
    assert_eq!(snapshot.value(&names::NUM_BLOCKS_USED, &[]), None);
    // Not a histogram.
    assert_eq!(snapshot.histogram(&names::GENERATION_TOKENS_TOTAL, &[]), None);
}

#[test]
fn a_label_that_the_family_does_not_have_is_a_mistake() {
    let snapshot = Meter::new().model("tiny").snapshot();
    let panic = catch_unwind(|| snapshot.value(&names::REQUEST_TOTAL, &[("model", "tiny")]));
    let panic = panic.unwrap_err().downcast::<String>().unwrap();
    assert_eq!(*panic, "request_total has no label \"model\"; it has [\"model_name\"]");
}

#[test]
fn one_histogram_is_not_chosen_among_several() {
    let snapshot = Meter::new().model("tiny").snapshot();
    let one = [("outcome", "failure")];
    assert!(snapshot.histogram(&names::REQUEST_DURATION_SECONDS, &one).is_some());
    catch_unwind(|| snapshot.histogram(&names::REQUEST_DURATION_SECONDS, &[]).is_some())
        .unwrap_err();
}

#[test]
fn sources_are_sampled_first() {
    let meter = Meter::new().model("tiny");
    meter.engine("0").watch("engine", || {
        let kv = infermeter::engine::KvUsage {
            used_blocks: 3,
            total_blocks: 4,
            block_size: 16,
            tokens: None,
        };
        Ok(infermeter::engine::EngineState { kv: Some(kv), ..Default::default() })
    });
    assert_eq!(meter.snapshot().value(&names::NUM_BLOCKS_USED, &[("engine", "0")]), Some(3.0));
}
