//! How a request ended, where what comes last is unusual.

use http::Response;
use http_body_util::BodyExt;
use infermeter::{
    InferenceLayer, Meter, RequestMeter,
    outcome::{FailureReason, FinishReason, Outcome},
};

use super::{
    A, DONE, STOP, Text, complete, ended, events, observe, request, send, sum,
    support::frames::{Step, poll},
};

#[test]
fn what_a_stream_tells_while_it_is_dropped_counts() {
    struct TellsLate(RequestMeter);

    impl Drop for TellsLate {
        fn drop(&mut self) {
            self.0.generated_tokens(7);
        }
    }

    let meter = Meter::new();
    let (_, body) = send(InferenceLayer::new(meter.clone()), request(), |handle| {
        let late = TellsLate(handle.clone());
        let body = Text::data([A]).then(Step::Hang);
        // Dropped together with the frames.
        events(body.map_frame(move |frame| {
            let _kept = &late;
            frame
        }))
    });
    let mut body = Box::pin(body);
    assert!(poll(body.as_mut()).is_ready());
    drop(body);
    assert_eq!(ended(&meter), "aborted decode 200");
    assert_eq!(sum(&meter, "vllm:generation_tokens_total"), 7);
}

#[test]
fn an_answer_that_ends_before_its_content_length_is_truncated() {
    let meter = Meter::new();
    complete(&meter, |_| {
        let response = Response::builder().header("content-type", "application/json");
        let response = response.header("content-length", 500);
        response.body(Text::data(["{\"choices\":[{\"ind"])).unwrap()
    });
    assert_eq!(ended(&meter), "failure truncated 200");
}

#[test]
fn a_failure_that_comes_after_finished_is_a_failure() {
    type Serve = fn() -> Response<Text>;
    let serve: [(Serve, &str); 3] = [
        (|| events(Text::data([A]).then(Step::Error("broke"))), "failure stream_error 200"),
        (
            || events(Text::data([A, "data: {\"error\":{\"message\":\"died\"}}\n\n", DONE])),
            "failure stream_error 200",
        ),
        (
            || {
                let response = Response::builder().status(503);
                response.body(Text::data(["{}"])).unwrap()
            },
            "failure overloaded 503",
        ),
    ];
    for (serve, expected) in serve {
        let meter = Meter::new();
        complete(&meter, |handle| {
            handle.finished(FinishReason::Stop);
            serve()
        });
        assert_eq!(ended(&meter), expected);
    }
}

#[test]
fn an_end_marker_with_white_space_around_it_is_one() {
    for marker in ["data: [DONE] \n\n", "data:  [DONE]\t\n\n"] {
        let summary = observe([A, STOP, marker]);
        assert_eq!(summary.outcome, Outcome::Success(FinishReason::Stop), "{marker:?}");
    }
}

#[test]
fn an_event_named_error_is_one_although_it_looks_like_content() {
    let summary = observe([A, A, &format!("event: error\n{A}"), DONE].map(str::to_owned));
    assert_eq!(summary.outcome, Outcome::Failure(FailureReason::StreamError));
}
