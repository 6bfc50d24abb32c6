//! What the service itself says.

use std::time::Duration;

use infermeter::{Meter, RequestMeter, names, record::Collect};
use tokio::time::sleep;

use super::support::*;

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

/// Cached and reasoning tokens are parts, so that what is divided by the whole is at most 1.
#[tokio::test(start_paused = true)]
async fn a_part_is_never_more_than_the_whole() {
    let meter = Meter::new();
    complete(&meter, |request| async move {
        let handle = RequestMeter::of(&request);
        handle.cached_tokens(6);
        handle.reasoning_tokens(9);
        events([(10, CONTENT), (60, CONTENT), (0, FINISH), (0, DONE)])
    })
    .await;
    assert_eq!(counter(&meter, &names::PROMPT_TOKENS_TOTAL), 0, "nobody told");
    assert_eq!(counter(&meter, &names::PROMPT_TOKENS_CACHED_TOTAL), 0);
    assert_eq!(counter(&meter, &names::GENERATION_TOKENS_TOTAL), 2, "they were counted");
    assert_eq!(counter(&meter, &names::REASONING_TOKENS_TOTAL), 2);
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
