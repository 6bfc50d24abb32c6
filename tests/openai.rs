//! What OpenAI-shaped answers tell, in the many ways that engines write them.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]

use std::{sync::mpsc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use infermeter::{
    outcome::{FailureReason, FinishReason, Outcome, TokenSource},
    stream::{ObservedBody, Summary},
    wire::Wire,
};

const OK: Outcome = Outcome::Success(FinishReason::Stop);
const FAILED: Outcome = Outcome::Failure(FailureReason::StreamError);

/// Reads a body to its end. (Cuts are another test's business.)
async fn read(body: String) -> Summary {
    let (send, receive) = mpsc::channel();
    let full = Full::<Bytes>::from(body);
    let body = ObservedBody::new(full, Wire::openai(), move |summary| {
        send.send(summary).unwrap();
    });
    body.collect().await.unwrap();
    receive.try_recv().unwrap()
}

/// A stream of events, `[DONE]` included.
async fn stream(events: &[&str]) -> Summary {
    let events: String = events.iter().map(|event| format!("data: {event}\n\n")).collect();
    read(events + "data: [DONE]\n\n").await
}

/// Asserts (prompt, cached, completion, reasoning) and where the completion came from.
#[track_caller]
fn assert_told(summary: &Summary, counts: [Option<u64>; 4], source: TokenSource) {
    let usage = summary.usage;
    let found = [usage.prompt, usage.cached, usage.completion, usage.reasoning];
    assert_eq!((found, summary.source), (counts, source), "{summary:?}");
}

// === what is content ===

#[tokio::test]
async fn content_is_text_reasoning_refusal_or_a_tool_call() {
    for delta in [
        r#"{"content":"a"}"#,
        r#"{"role":"assistant","content":"a"}"#,
        r#"{"content":null,"reasoning_content":"hm"}"#,
        r#"{"reasoning":"hm"}"#,
        r#"{"refusal":"no"}"#,
        r#"{"tool_calls":[{"index":0,"function":{"name":"f","arguments":""}}]}"#,
        r#"{"function_call":{"name":"f"}}"#,
    ] {
        let event = format!(r#"{{"choices":[{{"index":0,"delta":{delta}}}]}}"#);
        let summary = stream(&[&event, &event, &event]).await;
        assert!(summary.first_token.is_some(), "{delta}");
        assert_told(&summary, [None, None, Some(3), None], TokenSource::Counted);
    }
}

#[tokio::test]
async fn a_prelude_is_no_content() {
    for event in [
        r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}"#,
        r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":null}}]}"#,
        r#"{"choices":[{"index":0,"delta":{"tool_calls":[]}}]}"#,
        r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
        r#"{"choices":[{"index":0,"text":"","finish_reason":"stop"}]}"#,
        r#"{"choices":[]}"#,
        r#"{"choices":null}"#,
        r#"{"prompt_progress":{"total":10,"processed":5}}"#,
        "[1,2]",
        "null",
        "{\"choices\":[{\"delta\":{\"content\":\"cut",
    ] {
        let summary = stream(&[event]).await;
        assert!(summary.first_token.is_none(), "{event}");
        assert_told(&summary, [None; 4], TokenSource::Unknown);
    }
}

#[tokio::test]
async fn in_completions_an_empty_text_is_a_token_that_is_held_back() {
    let summary = stream(&[
        r#"{"choices":[{"index":0,"text":"a","finish_reason":null}]}"#,
        r#"{"choices":[{"index":0,"text":"","finish_reason":null}]}"#,
        r#"{"choices":[{"index":0,"text":"b","finish_reason":""}]}"#,
        r#"{"choices":[{"index":0,"text":"","finish_reason":"stop"}]}"#,
    ])
    .await;
    assert_told(&summary, [None, None, Some(3), None], TokenSource::Counted);
}

#[tokio::test]
async fn content_with_escapes_and_look_alikes_is_counted_once() {
    let event =
        |text: &str| format!(r#"{{"choices":[{{"index":0,"delta":{{"content":"{text}"}}}}]}}"#);
    let events = [
        event("a"),
        event(r#"\"usage\":{\"completion_tokens\":9}"#),
        event(r#"\\"#),
        event("data: [DONE]"),
        event(r#"\n\n"#),
        event("\u{1f980}"),
    ];
    let summary = stream(&events.each_ref().map(String::as_str)).await;
    assert_told(&summary, [None, None, Some(6), None], TokenSource::Counted);
}

// === usage, wherever it stands ===

const A: &str =
    r#"{"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}],"usage":null}"#;
const STOP: &str = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;

#[tokio::test]
async fn usage_in_a_chunk_of_its_own() {
    let usage = r#"{"choices":[],"usage":{"prompt_tokens":24,"completion_tokens":20,
        "prompt_tokens_details":{"cached_tokens":16},
        "completion_tokens_details":{"reasoning_tokens":7}}}"#
        .replace('\n', "");
    let summary = stream(&[A, STOP, &usage]).await;
    assert_told(&summary, [Some(24), Some(16), Some(20), Some(7)], TokenSource::Usage);
    assert_eq!((summary.outcome, summary.longest_choice), (OK, Some(20)));
}

#[tokio::test]
async fn usage_in_the_finish_chunk() {
    let finish = r#"{"choices":[{"index":0,"text":"","finish_reason":"stop"}],
        "usage":{"prompt_tokens":6,"completion_tokens":8,"reasoning_tokens":3}}"#
        .replace('\n', "");
    let summary = stream(&[A, &finish]).await;
    assert_told(&summary, [Some(6), None, Some(8), Some(3)], TokenSource::Usage);
}

#[tokio::test]
async fn a_running_usage_counts_where_the_stream_is_cut() {
    let running = |n: u64| {
        format!(
            r#"{{"choices":[{{"index":0,"delta":{{"content":"a"}}}}],
            "usage":{{"prompt_tokens":5,"completion_tokens":{n}}}}}"#
        )
        .replace('\n', "")
    };
    let events = format!("data: {}\n\ndata: {}\n\n", running(3), running(7));
    let summary = read(events).await;
    assert_told(&summary, [Some(5), None, Some(7), None], TokenSource::ContinuousUsage);
    assert_eq!(summary.outcome, Outcome::Failure(FailureReason::Truncated));

    let end = r#"{"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":9}}"#;
    let summary = stream(&[&running(3), &running(7), STOP, end]).await;
    assert_told(&summary, [Some(5), None, Some(9), None], TokenSource::Usage);
}

#[tokio::test]
async fn zeros_before_the_end_are_not_values() {
    let zero =
        r#"{"choices":[{"index":0,"text":"a"}],"usage":{"prompt_tokens":0,"completion_tokens":0}}"#;
    let last = r#"{"choices":[{"index":0,"text":"","finish_reason":"stop"}],"usage":{"prompt_tokens":4,"completion_tokens":2}}"#;
    let summary = stream(&[zero, zero, last]).await;
    assert_told(&summary, [Some(4), None, Some(2), None], TokenSource::Usage);
    // Cut before the real one: the events are all there is.
    let summary = read(format!("data: {zero}\n\ndata: {zero}\n\n")).await;
    assert_told(&summary, [None, None, Some(2), None], TokenSource::Counted);
}

#[tokio::test]
async fn an_explicit_zero_at_the_end_is_a_value() {
    let last = r#"{"choices":[],"usage":{"prompt_tokens":4,"completion_tokens":0}}"#;
    let summary = stream(&[STOP, last]).await;
    assert_told(&summary, [Some(4), None, Some(0), None], TokenSource::Usage);
}

#[tokio::test]
async fn odd_numbers_cost_only_themselves() {
    let usage = |n: &str| {
        format!(r#"{{"choices":[],"usage":{{"prompt_tokens":{n},"completion_tokens":2}}}}"#)
    };
    for (written, read) in [
        ("3.0", Some(3)),
        ("-1", None),
        ("1e400", None),
        ("99999999999999999999999", None),
        ("\"3\"", None),
        ("2.5", None),
        ("{}", None),
    ] {
        let summary = stream(&[A, STOP, &usage(written)]).await;
        assert_told(&summary, [read, None, Some(2), None], TokenSource::Usage);
    }
}

// === other counts ===

#[tokio::test]
async fn timings_of_llamacpp_count_without_usage() {
    let finish = r#"{"choices":[{"finish_reason":"stop","index":0,"delta":{}}],"timings":{"cache_n":7,"prompt_n":1,"predicted_n":8}}"#;
    let summary = stream(&[A, finish]).await;
    assert_told(&summary, [Some(8), Some(7), Some(8), None], TokenSource::EngineFrame);
}

#[tokio::test]
async fn token_ids_and_logprobs_tell_how_many_tokens_an_event_has() {
    let ids = r#"{"choices":[{"index":0,"text":"ab","token_ids":[1,2,3]}]}"#;
    assert_told(&stream(&[ids, ids]).await, [None, None, Some(6), None], TokenSource::EngineFrame);
    let chat =
        r#"{"choices":[{"index":0,"delta":{"content":"ab"},"logprobs":{"content":[{},{}]}}]}"#;
    assert_told(&stream(&[chat, chat]).await, [None, None, Some(4), None], TokenSource::Counted);
    let text = r#"{"choices":[{"index":0,"text":"ab","logprobs":{"tokens":["a","b"]}}]}"#;
    assert_told(&stream(&[text, text]).await, [None, None, Some(4), None], TokenSource::Counted);
}

// === how long it waited ===

#[tokio::test]
async fn vllm_tells_the_queue_time_where_it_is_told_to() {
    let told = |metrics: &str| {
        format!(
            r#"{{"choices":[],"usage":{{"prompt_tokens":4,"completion_tokens":1}},"metrics":{metrics}}}"#
        )
    };
    for (metrics, micros) in [
        (r#"{"time_to_first_token_ms":12.0,"queue_time_ms":6087.25}"#, Some(6_087_250)),
        (r#"{"queue_time_ms":0}"#, Some(0)),
        (r#"{"queue_time_ms":null}"#, None),
        (r#"{"queue_time_ms":-1}"#, None),
        (r#"{"queue_time_ms":"1"}"#, None),
        (r#"{"queue_time_ms":1e300}"#, None),
        ("null", None),
        ("[1]", None),
    ] {
        let expected = micros.map(Duration::from_micros);
        let plain_null = A.replace("\"usage\"", "\"metrics\":null,\"usage\"");
        let summary = stream(&[&plain_null, A, STOP, &told(metrics)]).await;
        assert_eq!((summary.queue_time, summary.prefill_time), (expected, None), "{metrics}");
        assert_told(&summary, [Some(4), None, Some(1), None], TokenSource::Usage);
        let whole = told(metrics).replace("[]", r#"[{"index":0,"message":{}}]"#);
        assert_eq!(read(whole).await.queue_time, expected, "{metrics}");
    }
    let whole = told(r#"{"queue_time_ms":1}"#).replace("[]", r#"[{"index":0},{"index":1}]"#);
    assert_eq!(read(whole).await.queue_time, None, "of two choices");
}

#[tokio::test]
async fn llamacpp_tells_the_prefill_time() {
    let finish = r#"{"choices":[{"finish_reason":"stop","index":0,"delta":{}}],"timings":{"prompt_n":1,"prompt_ms":12.5,"predicted_n":8}}"#;
    let expected = Some(Duration::from_micros(12_500));
    let summary = stream(&[A, finish]).await;
    assert_eq!((summary.queue_time, summary.prefill_time), (None, expected));
    let two = finish.replace("\"index\":0", "\"index\":1");
    assert_eq!(stream(&[A, finish, &two]).await.prefill_time, None, "of two choices");
    assert_eq!(read(finish.to_owned()).await.prefill_time, expected);
}

// === several choices ===

fn choice(index: u64, rest: &str) -> String {
    format!(r#"{{"choices":[{{"index":{index},"delta":{{"content":"a"}}{rest}}}]}}"#)
}

#[tokio::test]
async fn usage_of_several_choices_is_their_sum_already() {
    let (zero, one) = (choice(0, ""), choice(1, ""));
    let ends = [0, 1].map(|i| choice(i, r#","finish_reason":"stop""#).replace("\"a\"", "\"\""));
    let usage = r#"{"choices":[],"usage":{"prompt_tokens":24,"completion_tokens":30}}"#;
    let summary = stream(&[&zero, &one, &one, &ends[0], &ends[1], usage]).await;
    assert_told(&summary, [Some(24), None, Some(30), None], TokenSource::Usage);
    assert_eq!(summary.longest_choice, None, "the engine told the sum only");
}

#[tokio::test]
async fn llamacpp_tells_the_usage_of_each_choice_in_turn() {
    let (zero, one) = (choice(0, ""), choice(1, ""));
    let ends = [0, 1].map(|i| choice(i, r#","finish_reason":"length""#).replace("\"a\"", "\"\""));
    let usage = r#"{"choices":[],"usage":{"prompt_tokens":8,"completion_tokens":3}}"#;
    for order in [
        [&one, &zero, &ends[1], &usage.to_owned(), &ends[0], &usage.to_owned()],
        [&one, &zero, &ends[1], &ends[0], &usage.to_owned(), &usage.to_owned()],
    ] {
        let summary = stream(&order.map(String::as_str)).await;
        assert_told(&summary, [Some(8), None, Some(6), None], TokenSource::Usage);
    }
    // Cut after the usage of one of them: it is not that of both.
    let events = [&one, &ends[1], &usage.to_owned(), &zero, &zero, &zero];
    let body: String = events.iter().map(|event| format!("data: {event}\n\n")).collect();
    assert_told(&read(body).await, [Some(8), None, Some(4), None], TokenSource::Counted);
}

#[tokio::test]
async fn running_usage_of_vllm_is_that_of_its_choice() {
    let running = |index: u64, n: u64| {
        choice(index, "")
            .replace("]}", &format!(r#"],"usage":{{"prompt_tokens":5,"completion_tokens":{n}}}}}"#))
    };
    let events = [running(0, 1), running(1, 1), running(0, 4), running(1, 2)];
    let body: String = events.iter().map(|event| format!("data: {event}\n\n")).collect();
    let summary = read(body).await;
    assert_told(&summary, [Some(5), None, Some(6), None], TokenSource::ContinuousUsage);
    assert_eq!(summary.longest_choice, Some(4));
}

#[tokio::test]
async fn the_reason_is_that_of_the_first_choice_and_an_abort_is_one_of_all() {
    let end = |index, reason| {
        format!(r#"{{"choices":[{{"index":{index},"text":"","finish_reason":"{reason}"}}]}}"#)
    };
    let summary = stream(&[&end(1, "length"), &end(0, "stop")]).await;
    assert_eq!(summary.outcome, OK);
    for reason in ["abort", "error"] {
        let summary = stream(&[&end(1, reason), &end(0, "stop")]).await;
        assert_eq!(summary.outcome, FAILED);
    }
}

#[tokio::test]
async fn choices_without_end_are_bounded() {
    let events: Vec<String> = (0..10_000).map(|i| choice(i, "")).collect();
    let events: Vec<&str> = events.iter().map(String::as_str).collect();
    assert_told(&stream(&events).await, [None, None, Some(10_000), None], TokenSource::Counted);
}

// === errors ===

#[tokio::test]
async fn error_events() {
    for (event, outcome) in [
        (r#"{"error":{"message":"died","code":500}}"#, FAILED),
        (r#"{"error":"died"}"#, FAILED),
        (r#"{"error":null}"#, OK),
        (r#"{"error":""}"#, OK),
    ] {
        assert_eq!(stream(&[A, STOP, event]).await.outcome, outcome, "{event}");
    }
    let old_llamacpp = format!("data: {A}\n\nerror: {{\"code\":500,\"message\":\"x\"}}\n\n");
    assert_eq!(read(old_llamacpp).await.outcome, FAILED);
}

// === whole answers ===

#[tokio::test]
async fn whole_answers() {
    let summary = read(
        r#" {"choices":[{"index":0,"message":{"content":"a b"},"finish_reason":"tool_calls"}],
        "usage":{"prompt_tokens":8,"completion_tokens":5}}"#
            .to_owned(),
    )
    .await;
    assert_told(&summary, [Some(8), None, Some(5), None], TokenSource::Usage);
    assert_eq!(summary.outcome, Outcome::Success(FinishReason::ToolCalls));
    assert_eq!((summary.first_token, summary.longest_choice), (None, Some(5)));

    let summary = read(r#"{"choices":[{"index":0,"text":"a b"}]}"#.to_owned()).await;
    assert_told(&summary, [None; 4], TokenSource::Unknown);
    let summary = read(r#"{"error":{"message":"in a 200"}}"#.to_owned()).await;
    assert_eq!(summary.outcome, FAILED);
    let summary = read("{ this is no JSON".to_owned()).await;
    assert_eq!(summary.outcome, Outcome::Success(FinishReason::Other));
    assert_told(&summary, [None; 4], TokenSource::Unknown);
}

#[tokio::test]
async fn deep_nesting_does_no_harm() {
    let deep = "[".repeat(10_000);
    let summary = stream(&[A, &format!(r#"{{"choices":{deep}"#), A, STOP]).await;
    assert_told(&summary, [None, None, Some(2), None], TokenSource::Counted);
    let deep =
        format!(r#"{{"x":{deep}{},"choices":[{{"index":0,"text":"a"}}]}}"#, "]".repeat(10_000));
    assert_told(&stream(&[&deep]).await, [None, None, Some(1), None], TokenSource::Counted);
    let summary = read(deep).await;
    assert_told(&summary, [None; 4], TokenSource::Unknown);
    assert_eq!(summary.outcome, Outcome::Success(FinishReason::Other));
}
