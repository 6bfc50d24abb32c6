//! Which model label a request is counted under, where the service names it late.

use std::{
    hint,
    sync::{
        atomic::{AtomicU64, Ordering::SeqCst},
        mpsc,
    },
    thread,
    time::Duration,
};

use futures_util::FutureExt;
use http::Response;
use http_body_util::BodyExt;
use infermeter::{InferenceLayer, Meter, RequestMeter, Start};

use super::{
    Text, request, send,
    support::{frames::drain, scrape::Scrape},
};

/// Requests, prompt tokens, generated tokens and queue times under a label.
fn under(meter: &Meter, model: &str) -> [u64; 4] {
    let scrape = Scrape::of(meter);
    [
        "vllm:request_total",
        "vllm:prompt_tokens_total",
        "vllm:generation_tokens_total",
        "vllm:time_in_queue_seconds_count",
    ]
    .map(|name| scrape.sum(name, &[("model_name", model)]))
}

/// One request that arrives as `a`, and says this.
fn say(start: Start, say: impl Fn(&RequestMeter)) -> Meter {
    let meter = Meter::new().model("a");
    let layer = InferenceLayer::new(meter.clone()).start(start);
    let (_, body) = send(layer, request(), |handle| {
        say(handle);
        Response::new(Text::data(["words"]))
    });
    drain(body);
    meter
}

#[test]
fn a_prompt_that_is_told_before_a_rename_goes_to_the_new_label() {
    let meter = say(Start::Reported, |handle| {
        handle.prompt_tokens(10);
        handle.model("b");
        handle.started();
        handle.generated_tokens(1);
    });
    assert_eq!(under(&meter, "a"), [0, 0, 0, 0]);
    assert_eq!(under(&meter, "b"), [1, 10, 1, 1]);
}

#[test]
fn a_queue_time_goes_along_with_a_rename_before_the_first_wait() {
    let meter = say(Start::Call, |handle| {
        handle.prompt_tokens(10);
        handle.model("b");
        handle.generated_tokens(1);
    });
    assert_eq!(under(&meter, "a"), [0, 0, 0, 0]);
    assert_eq!(under(&meter, "b"), [1, 10, 1, 1]);
}

#[test]
fn a_queue_time_that_was_taken_before_a_rename_stays() {
    let meter = say(Start::Reported, |handle| {
        handle.started();
        handle.prompt_tokens(10);
        handle.model("b");
        handle.generated_tokens(1);
    });
    assert_eq!(under(&meter, "a"), [0, 0, 0, 1]);
    assert_eq!(under(&meter, "b"), [1, 10, 1, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_prompt_that_the_body_tells_before_its_first_token_waits_for_the_label() {
    let meter = Meter::new().model("a");
    let layer = InferenceLayer::new(meter.clone());
    let prelude = "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\"}}],\
        \"usage\":{\"prompt_tokens\":5,\"completion_tokens\":0}}\n\n";
    let content = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n";
    let (tell, told) = mpsc::channel();
    let (_, body) = send(layer, request(), |handle| {
        tell.send(handle.clone()).unwrap();
        Response::new(Text::data([prelude, content, "data: [DONE]\n\n"]))
    });
    // Longer than what is known may stay with its stream.
    tokio::time::advance(Duration::from_millis(300)).await;
    let mut body = std::pin::pin!(body);
    body.as_mut().frame().now_or_never().unwrap().unwrap().unwrap();
    told.recv().unwrap().model("b");
    while body.as_mut().frame().now_or_never().unwrap().is_some() {}
    assert_eq!(under(&meter, "a")[..3], [0, 0, 0]);
    assert_eq!(under(&meter, "b")[..3], [1, 5, 1]);
}

#[test]
fn a_rename_is_ignored_once_tokens_were_told() {
    let tell: [fn(&RequestMeter); 3] = [
        |handle| handle.generated_tokens(3),
        |handle| handle.add_generated_tokens(3),
        |handle| {
            handle.first_token();
            handle.generated_tokens(3);
        },
    ];
    for (start, tell) in
        [Start::Call, Start::Reported].into_iter().flat_map(|start| tell.map(|tell| (start, tell)))
    {
        let meter = say(start, |handle| {
            // None at all is nothing that was told.
            handle.generated_tokens(0);
            handle.model("b");
            tell(handle);
            handle.model("c");
        });
        assert_eq!(under(&meter, "b")[..3], [1, 0, 3], "{start:?}");
        assert_eq!(under(&meter, "c"), [0, 0, 0, 0], "{start:?}");
    }
}

#[test]
fn a_request_and_its_tokens_have_one_label_also_where_a_rename_comes_at_the_same_moment() {
    const TIMES: u64 = 300;
    let meter = Meter::new().model("a");
    let layer = InferenceLayer::new(meter.clone()).start(Start::Reported);
    // NB: by a `Barrier`, or with a pause, the one who comes last would go first every time.
    let steps = AtomicU64::new(0);
    let step = |until| {
        steps.fetch_add(1, SeqCst);
        while steps.load(SeqCst) < until {
            hint::spin_loop();
        }
    };
    thread::scope(|scope| {
        let (tell, told) = mpsc::channel::<RequestMeter>();
        let step = &step;
        scope.spawn(move || {
            for (n, handle) in (0..).zip(told) {
                step(4 * n + 2);
                handle.add_generated_tokens(1);
                step(4 * n + 4);
            }
        });
        for n in 0..TIMES {
            let (_, body) = send(layer.clone(), request(), |handle| {
                tell.send(handle.clone()).unwrap();
                step(4 * n + 2);
                handle.model("b");
                step(4 * n + 4);
                Response::new(Text::data(["words"]))
            });
            drain(body);
        }
    });
    let [a, b] = ["a", "b"].map(|model| under(&meter, model));
    assert_eq!(a[0] + b[0], TIMES);
    assert_eq!([a[0], b[0]], [a[2], b[2]], "one token for each request");
}
