//! What OpenAI-shaped answers tell, in the many ways that engines write them.

use std::time::Duration;

use crate::support::answers::{Answer, Told};
use infermeter::{outcome::TokenSource, wire::Wire};

const WIRE: Wire = Wire::openai();

/// A stream of events and its end marker.
fn stream(events: &[&str]) -> Told {
    Answer::events(&WIRE, &[events, &["[DONE]"]].concat()).read()
}

/// The same without it.
fn cut(events: &[&str]) -> Told {
    Answer::events(&WIRE, events).read()
}

fn read(body: impl Into<Vec<u8>>) -> Told {
    Answer::unsaid(&WIRE, body).read()
}

// === what is content ===

#[test]
fn content_is_text_reasoning_refusal_or_a_tool_call() {
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
        let told = stream(&[&event, &event, &event]);
        assert!(told.has_first_token(), "{delta}");
        told.assert([None, None, Some(3), None], TokenSource::Counted);
    }
}

#[test]
fn a_prelude_is_no_content() {
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
        let told = stream(&[event]);
        assert!(!told.has_first_token(), "{event}");
        told.assert([None; 4], TokenSource::Unknown);
    }
}

#[test]
fn in_completions_an_empty_text_is_a_token_that_is_held_back() {
    let told = stream(&[
        r#"{"choices":[{"index":0,"text":"a","finish_reason":null}]}"#,
        r#"{"choices":[{"index":0,"text":"","finish_reason":null}]}"#,
        r#"{"choices":[{"index":0,"text":"b","finish_reason":""}]}"#,
        r#"{"choices":[{"index":0,"text":"","finish_reason":"stop"}]}"#,
    ]);
    told.assert([None, None, Some(3), None], TokenSource::Counted);
}

#[test]
fn content_with_escapes_and_look_alikes_is_counted_once() {
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
    let told = stream(&events.each_ref().map(String::as_str));
    told.assert([None, None, Some(6), None], TokenSource::Counted);
}

// === usage, wherever it stands ===

const A: &str =
    r#"{"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}],"usage":null}"#;
const STOP: &str = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;

#[test]
fn usage_in_a_chunk_of_its_own() {
    let usage = r#"{"choices":[],"usage":{"prompt_tokens":24,"completion_tokens":20,
        "prompt_tokens_details":{"cached_tokens":16},
        "completion_tokens_details":{"reasoning_tokens":7}}}"#
        .replace('\n', "");
    let told = stream(&[A, STOP, &usage]);
    told.assert([Some(24), Some(16), Some(20), Some(7)], TokenSource::Usage);
    told.assert_end("success/stop");
    assert_eq!(told.summary.longest_choice, Some(20));
}

#[test]
fn usage_in_the_finish_chunk() {
    let finish = r#"{"choices":[{"index":0,"text":"","finish_reason":"stop"}],
        "usage":{"prompt_tokens":6,"completion_tokens":8,"reasoning_tokens":3}}"#
        .replace('\n', "");
    let told = stream(&[A, &finish]);
    told.assert([Some(6), None, Some(8), Some(3)], TokenSource::Usage);
}

#[test]
fn a_running_usage_counts_where_the_stream_is_cut() {
    let running = |n: u64| {
        format!(
            r#"{{"choices":[{{"index":0,"delta":{{"content":"a"}}}}],
            "usage":{{"prompt_tokens":5,"completion_tokens":{n}}}}}"#
        )
        .replace('\n', "")
    };
    let told = cut(&[&running(3), &running(7)]);
    told.assert([Some(5), None, Some(7), None], TokenSource::ContinuousUsage);
    told.assert_end("failure/truncated");

    let end = r#"{"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":9}}"#;
    let told = stream(&[&running(3), &running(7), STOP, end]);
    told.assert([Some(5), None, Some(9), None], TokenSource::Usage);
}

#[test]
fn zeros_before_the_end_are_not_values() {
    let zero =
        r#"{"choices":[{"index":0,"text":"a"}],"usage":{"prompt_tokens":0,"completion_tokens":0}}"#;
    let last = r#"{"choices":[{"index":0,"text":"","finish_reason":"stop"}],"usage":{"prompt_tokens":4,"completion_tokens":2}}"#;
    let told = stream(&[zero, zero, last]);
    told.assert([Some(4), None, Some(2), None], TokenSource::Usage);
    // Cut before the real one: the events are all there is.
    let told = cut(&[zero, zero]);
    told.assert([None, None, Some(2), None], TokenSource::Counted);
}

#[test]
fn an_explicit_zero_at_the_end_is_a_value() {
    let last = r#"{"choices":[],"usage":{"prompt_tokens":4,"completion_tokens":0}}"#;
    let told = stream(&[STOP, last]);
    told.assert([Some(4), None, Some(0), None], TokenSource::Usage);
}

#[test]
fn odd_numbers_cost_only_themselves() {
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
        let told = stream(&[A, STOP, &usage(written)]);
        told.assert([read, None, Some(2), None], TokenSource::Usage);
    }
}

// === other counts ===

#[test]
fn timings_of_llamacpp_count_without_usage() {
    let finish = r#"{"choices":[{"finish_reason":"stop","index":0,"delta":{}}],"timings":{"cache_n":7,"prompt_n":1,"predicted_n":8}}"#;
    let told = stream(&[A, finish]);
    told.assert([Some(8), Some(7), Some(8), None], TokenSource::EngineFrame);
}

#[test]
fn token_ids_and_logprobs_tell_how_many_tokens_an_event_has() {
    let ids = r#"{"choices":[{"index":0,"text":"ab","token_ids":[1,2,3]}]}"#;
    stream(&[ids, ids]).assert([None, None, Some(6), None], TokenSource::EngineFrame);
    let chat =
        r#"{"choices":[{"index":0,"delta":{"content":"ab"},"logprobs":{"content":[{},{}]}}]}"#;
    stream(&[chat, chat]).assert([None, None, Some(4), None], TokenSource::Counted);
    let text = r#"{"choices":[{"index":0,"text":"ab","logprobs":{"tokens":["a","b"]}}]}"#;
    stream(&[text, text]).assert([None, None, Some(4), None], TokenSource::Counted);
}

// === how long it waited ===

#[test]
fn vllm_tells_the_queue_time_where_it_is_told_to() {
    let with = |metrics: &str| {
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
        let told = stream(&[&plain_null, A, STOP, &with(metrics)]);
        assert_eq!(
            (told.summary.queue_time, told.summary.prefill_time),
            (expected, None),
            "{metrics}"
        );
        told.assert([Some(4), None, Some(1), None], TokenSource::Usage);
        let whole = with(metrics).replace("[]", r#"[{"index":0,"message":{}}]"#);
        assert_eq!(read(whole).summary.queue_time, expected, "{metrics}");
    }
    let whole = with(r#"{"queue_time_ms":1}"#).replace("[]", r#"[{"index":0},{"index":1}]"#);
    assert_eq!(read(whole).summary.queue_time, None, "of two choices");
}

#[test]
fn llamacpp_tells_the_prefill_time() {
    let finish = r#"{"choices":[{"finish_reason":"stop","index":0,"delta":{}}],"timings":{"prompt_n":1,"prompt_ms":12.5,"predicted_n":8}}"#;
    let expected = Some(Duration::from_micros(12_500));
    let told = stream(&[A, finish]);
    assert_eq!((told.summary.queue_time, told.summary.prefill_time), (None, expected));
    let two = finish.replace("\"index\":0", "\"index\":1");
    assert_eq!(stream(&[A, finish, &two]).summary.prefill_time, None, "of two choices");
    assert_eq!(read(finish).summary.prefill_time, expected);
    // A build that does not tell what came from the cache tells no prompt.
    told.assert([None, None, Some(8), None], TokenSource::EngineFrame);
    let cached = finish.replace("\"prompt_n\"", "\"cache_n\":6,\"prompt_n\"");
    stream(&[A, &cached]).assert([Some(7), Some(6), Some(8), None], TokenSource::EngineFrame);
}

// === several choices ===

fn choice(index: u64, rest: &str) -> String {
    format!(r#"{{"choices":[{{"index":{index},"delta":{{"content":"a"}}{rest}}}]}}"#)
}

#[test]
fn usage_of_several_choices_is_their_sum_already() {
    let (zero, one) = (choice(0, ""), choice(1, ""));
    let ends = [0, 1].map(|i| choice(i, r#","finish_reason":"stop""#).replace("\"a\"", "\"\""));
    let usage = r#"{"choices":[],"usage":{"prompt_tokens":24,"completion_tokens":30}}"#;
    let told = stream(&[&zero, &one, &one, &ends[0], &ends[1], usage]);
    told.assert([Some(24), None, Some(30), None], TokenSource::Usage);
    assert_eq!(told.summary.longest_choice, None, "the engine told the sum only");
}

#[test]
fn llamacpp_tells_the_usage_of_each_choice_in_turn() {
    let (zero, one) = (choice(0, ""), choice(1, ""));
    let ends = [0, 1].map(|i| choice(i, r#","finish_reason":"length""#).replace("\"a\"", "\"\""));
    let usage = r#"{"choices":[],"usage":{"prompt_tokens":8,"completion_tokens":3}}"#;
    for order in [
        [&one, &zero, &ends[1], &usage.to_owned(), &ends[0], &usage.to_owned()],
        [&one, &zero, &ends[1], &ends[0], &usage.to_owned(), &usage.to_owned()],
    ] {
        let told = stream(&order.map(String::as_str));
        told.assert([Some(8), None, Some(6), None], TokenSource::Usage);
    }
    // Cut after the usage of one of them: it is not that of both.
    let events = [&one, &ends[1], &usage.to_owned(), &zero, &zero, &zero];
    cut(&events.map(String::as_str)).assert([Some(8), None, Some(4), None], TokenSource::Counted);
}

#[test]
fn running_usage_of_vllm_is_that_of_its_choice() {
    let running = |index: u64, n: u64| {
        choice(index, "")
            .replace("]}", &format!(r#"],"usage":{{"prompt_tokens":5,"completion_tokens":{n}}}}}"#))
    };
    let events = [running(0, 1), running(1, 1), running(0, 4), running(1, 2)];
    let told = cut(&events.each_ref().map(String::as_str));
    told.assert([Some(5), None, Some(6), None], TokenSource::ContinuousUsage);
    assert_eq!(told.summary.longest_choice, Some(4));
}

#[test]
fn the_reason_is_that_of_the_first_choice_and_an_abort_is_one_of_all() {
    let end = |index, reason| {
        format!(r#"{{"choices":[{{"index":{index},"text":"","finish_reason":"{reason}"}}]}}"#)
    };
    let told = stream(&[&end(1, "length"), &end(0, "stop")]);
    told.assert_end("success/stop");
    for reason in ["abort", "error"] {
        let told = stream(&[&end(1, reason), &end(0, "stop")]);
        told.assert_end("failure/stream_error");
    }
}

#[test]
fn choices_without_end_are_bounded() {
    let events: Vec<String> = (0..10_000).map(|i| choice(i, "")).collect();
    let events: Vec<&str> = events.iter().map(String::as_str).collect();
    stream(&events).assert([None, None, Some(10_000), None], TokenSource::Counted);
}

// === errors ===

#[test]
fn error_events() {
    for (event, outcome) in [
        (r#"{"error":{"message":"died","code":500}}"#, "failure/stream_error"),
        (r#"{"error":"died"}"#, "failure/stream_error"),
        (r#"{"error":null}"#, "success/stop"),
        (r#"{"error":""}"#, "success/stop"),
    ] {
        stream(&[A, STOP, event]).assert_end(outcome);
    }
    let old_llamacpp = format!("data: {A}\n\nerror: {{\"code\":500,\"message\":\"x\"}}\n\n");
    read(old_llamacpp).assert_end("failure/stream_error");
}

// === whole answers ===

#[test]
fn whole_answers() {
    let told = read(
        r#" {"choices":[{"index":0,"message":{"content":"a b"},"finish_reason":"tool_calls"}],
        "usage":{"prompt_tokens":8,"completion_tokens":5}}"#,
    );
    told.assert([Some(8), None, Some(5), None], TokenSource::Usage);
    told.assert_end("success/tool_calls");
    assert!(!told.has_first_token());
    assert_eq!(told.summary.longest_choice, Some(5));

    let told = read(r#"{"choices":[{"index":0,"text":"a b"}]}"#);
    told.assert([None; 4], TokenSource::Unknown);
    let told = read(r#"{"error":{"message":"in a 200"}}"#);
    told.assert_end("failure/stream_error");
    let told = read("{ this is no JSON");
    told.assert_end("success/other");
    told.assert([None; 4], TokenSource::Unknown);
}

#[test]
fn deep_nesting_does_no_harm() {
    let deep = "[".repeat(10_000);
    let told = stream(&[A, &format!(r#"{{"choices":{deep}"#), A, STOP]);
    told.assert([None, None, Some(2), None], TokenSource::Counted);
    let deep =
        format!(r#"{{"x":{deep}{},"choices":[{{"index":0,"text":"a"}}]}}"#, "]".repeat(10_000));
    stream(&[&deep]).assert([None, None, Some(1), None], TokenSource::Counted);
    let told = read(deep);
    told.assert([None; 4], TokenSource::Unknown);
    told.assert_end("success/other");
}
