//! How many tokens there were, where an engine tells it in an unusual place or way.

use std::{pin::Pin, time::Duration};

use infermeter::{
    InferenceLayer, Meter,
    exporter::Prometheus,
    outcome::{Outcome, TokenSource},
    stream::Summary,
};
use tokio::time::sleep;

use super::{
    A, DONE, STOP, Text, complete, events, observe, request, running, send, sum,
    support::{
        frames::{drain, poll},
        scrape::Scrape,
    },
    usage,
};

fn told(summary: &Summary) -> (Option<u64>, TokenSource) {
    (summary.usage.completion, summary.source)
}

// === which usage ===

#[test]
fn a_usage_of_its_own_is_final_also_where_no_choice_has_finished() {
    let summary = observe([A, A, A, &usage(1, 2), DONE].map(str::to_owned));
    assert_eq!(told(&summary), (Some(2), TokenSource::Usage));
}

#[test]
fn a_usage_after_the_finish_is_final_also_where_it_comes_with_a_choice() {
    let usage = running(1, 5).replace("\"a\"", "\"\"");
    let summary = observe([A, STOP, &usage, DONE].map(str::to_owned));
    assert_eq!(told(&summary), (Some(5), TokenSource::Usage));
}

/// An event of two choices.
fn two(completion: u64, text: &str, finish: &str) -> String {
    let choice =
        |index| format!("{{\"index\":{index},\"text\":\"{text}\",\"finish_reason\":{finish}}}");
    usage(4, completion).replace("[]", &format!("[{},{}]", choice(0), choice(1)))
}

#[test]
fn a_usage_that_comes_with_several_choices_is_that_of_all() {
    let finish = two(8, "", "\"stop\"");
    let summary = observe([two(2, "a", "null"), two(4, "a", "null"), finish, DONE.to_owned()]);
    assert_eq!(told(&summary), (Some(8), TokenSource::Usage));
    let cut = observe([two(2, "a", "null"), two(4, "a", "null")]);
    assert_eq!(told(&cut), (Some(4), TokenSource::ContinuousUsage));
}

#[test]
fn a_usage_that_is_told_with_the_finishes_and_once_more_counts_once() {
    let stream = [A.to_owned(), two(6, "", "\"stop\""), usage(4, 6), DONE.to_owned()];
    assert_eq!(told(&observe(stream)), (Some(6), TokenSource::Usage));
}

// === events ===

#[test]
fn an_empty_list_of_token_ids_is_no_first_token() {
    let prelude = "data: {\"choices\":[{\"index\":0,\
        \"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"token_ids\":[]}]}\n\n";
    let summary = observe([prelude, DONE]);
    assert!(summary.first_token.is_none());
    assert_eq!(told(&summary), (None, TokenSource::Unknown));
}

#[test]
fn choices_that_take_turns_are_counted_each_for_itself() {
    let events: String = (0..50).map(|n| A.replace(":0,", &format!(":{},", n % 8))).collect();
    let summary = observe([events, DONE.to_owned()]);
    assert_eq!(told(&summary), (Some(50), TokenSource::Counted));
    assert_eq!(summary.longest_choice, Some(7));
    assert!(matches!(summary.outcome, Outcome::Success(_)), "{:?}", summary.outcome);
}

// === what no request can have ===

#[test]
fn a_usage_that_cannot_be_was_not_told() {
    let meter = Meter::new();
    for told in [10, u64::MAX - 5, u64::MAX] {
        let stream = [A, STOP, &usage(told, told), DONE].concat();
        complete(&meter, |_| events(Text::data([stream.clone()])));
    }
    assert_eq!(sum(&meter, "vllm:prompt_tokens_total"), 10);
    assert_eq!(sum(&meter, "vllm:generation_tokens_total"), 10 + 1 + 1, "events were counted");
    assert_eq!(sum(&meter, "vllm:request_generation_tokens_sum"), 12);
}

#[tokio::test(start_paused = true)]
async fn a_running_usage_that_cannot_be_leaves_the_page_readable() {
    let exporter = Prometheus::builder().build().unwrap();
    let layer = InferenceLayer::new(exporter.meter().clone());
    for next in [u64::MAX, 5] {
        let frames = [running(1, 1), running(1, next), DONE.to_owned()];
        let (_, mut body) = send(layer.clone(), request(), |_| events(Text::data(frames.clone())));
        for _ in 0..2 {
            sleep(Duration::from_secs(1)).await;
            assert!(poll(Pin::new(&mut body)).is_ready());
        }
        drain(body);
    }
    let page = Scrape::parse(&exporter.render());
    page.assert_identities();
    // The four tokens after the first one of the other stream.
    assert_eq!(page.sum("vllm:inter_token_latency_seconds_count", &[]), 4);
    assert_eq!(page.sum("vllm:inter_token_latency_seconds_sum", &[]), 1);
}
