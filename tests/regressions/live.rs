//! What shows while a stream still runs, and when tokens came.

use std::{pin::Pin, task::Poll, time::Duration};

use infermeter::{InferenceLayer, Meter};
use tokio::time::sleep;

use super::{
    A, DONE, Text, ended, events, request, running, send, sum,
    support::frames::{Step, drain, poll},
};

/// Reads the frames of a request so many milliseconds one after the other; `then` looks while the
/// stream still runs. The client leaves after that.
async fn read(meter: &Meter, every: u64, frames: &[String], then: impl FnOnce()) {
    let layer = InferenceLayer::new(meter.clone());
    let stream = || events(Text::data(frames.to_vec()).then(Step::Hang));
    let (_, mut body) = send(layer, request(), |_| stream());
    for _ in frames {
        sleep(Duration::from_millis(every)).await;
        assert!(matches!(poll(Pin::new(&mut body)), Poll::Ready(Some(Ok(_)))));
    }
    then();
}

#[tokio::test(start_paused = true)]
async fn the_first_token_shows_at_once_although_the_stream_then_stalls() {
    let meter = Meter::new();
    let frames: Vec<String> = (0..100).map(|_| A.to_owned()).collect();
    read(&meter, 2, &frames, || {
        let shown = sum(&meter, "vllm:generation_tokens_total");
        assert!(shown > 0, "100 tokens came, {shown} are shown");
    })
    .await;
    assert_eq!(sum(&meter, "vllm:generation_tokens_total"), 100);
}

#[tokio::test(start_paused = true)]
async fn the_prompt_of_a_running_usage_shows_while_the_stream_runs() {
    let meter = Meter::new();
    let frames: Vec<String> = (1..10).map(|n| running(5000, n)).collect();
    read(&meter, 100, &frames, || assert_eq!(sum(&meter, "vllm:prompt_tokens_total"), 5000)).await;
    assert_eq!(sum(&meter, "vllm:prompt_tokens_total"), 5000, "once");
}

#[tokio::test(start_paused = true)]
async fn totals_that_the_service_tells_while_it_generates_give_a_decode_time() {
    let meter = Meter::new();
    let layer = InferenceLayer::new(meter.clone());
    let (handle, body) = send(layer, request(), |_| events(Text::data([DONE])));
    handle.first_token();
    for total in 1..=5 {
        sleep(Duration::from_secs(1)).await;
        handle.generated_tokens(total);
    }
    drain(body);
    assert_eq!(ended(&meter), "success other 200");
    assert_eq!(sum(&meter, "vllm:request_decode_time_seconds_sum"), 5);
}

#[tokio::test(start_paused = true)]
async fn tokens_of_one_frame_have_no_time_between_them() {
    let meter = Meter::new();
    read(&meter, 2000, &[A.repeat(10), A.repeat(10)], || ()).await;
    assert_eq!(sum(&meter, "vllm:inter_token_latency_seconds_count"), 19);
    assert_eq!(sum(&meter, "vllm:inter_token_latency_seconds_sum"), 2);
    assert_eq!(sum(&meter, "vllm:request_decode_time_seconds_sum"), 2);
}
