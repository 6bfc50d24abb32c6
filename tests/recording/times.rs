//! When things happened, and what shows while a stream runs.

use std::time::Duration;

use infermeter::{Meter, RequestMeter, names};
use tokio::time::{Instant, sleep};

use super::support::*;

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
