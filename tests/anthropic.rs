//! What Anthropic Messages tell, in the many ways that servers write them.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]

mod support;

use infermeter::{
    outcome::{FailureReason, FinishReason, Outcome, Phase, TokenSource},
    stream::Summary,
    wire::Wire,
};

use self::support::told::{Recorded, assert_folder, assert_told, events, left, read};

const WIRE: Wire = Wire::anthropic();
const FAILED: Outcome = Outcome::Failure(FailureReason::StreamError);

const START: &str =
    r#"{"type":"message_start","message":{"usage":{"input_tokens":24,"output_tokens":1}}}"#;
const A: &str =
    r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"}}"#;
const END: &str =
    r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":9}}"#;
const STOP: &str = r#"{"type":"message_stop"}"#;

fn stream(data: &[&str]) -> Summary {
    read(&WIRE, &events(data))
}

#[test]
fn recordings_tell_what_their_index_says_however_they_are_split() {
    assert_folder("anthropic", &WIRE);
}

#[test]
fn cached_and_thinking_tokens_are_parts_of_the_others() {
    for (file, cached, reasoning) in [
        ("llamacpp-stream-cached.http", Some(7), None),
        ("vllm-stream.http", None, None),
        ("handmade-thinking-cached.http", Some(2048), Some(24)),
        ("handmade-whole.http", Some(100), None),
    ] {
        let all = Recorded::all("anthropic");
        let recorded = all.iter().find(|recorded| recorded.entry["file"] == file).unwrap();
        let usage = recorded.read(&WIRE, &[&recorded.body]).usage;
        assert_eq!((usage.cached, usage.reasoning), (cached, reasoning), "{file}");
    }
}

// === what is content ===

#[test]
fn content_is_text_thinking_or_the_json_of_a_tool_call() {
    for (kind, field) in [
        ("text_delta", "text"),
        ("thinking_delta", "thinking"),
        ("input_json_delta", "partial_json"),
        ("some_delta", "text"),
    ] {
        let event = |text: &str| {
            format!(
                r#"{{"type":"content_block_delta","index":0,"delta":{{"type":"{kind}","{field}":"{text}"}}}}"#
            )
        };
        let data = [event("a"), event(r#"\"b\\"#), event("é"), event("")];
        let summary = stream(&data.each_ref().map(String::as_str));
        assert!(summary.first_token.is_some(), "{kind}");
        assert_told(&summary, [None, None, Some(3), None], TokenSource::Counted);
    }
    let start = r#"{"type":"content_block_start","content_block":{"type":"text","text":"a"}}"#;
    assert_told(&stream(&[start]), [None, None, Some(1), None], TokenSource::Counted);
}

#[test]
fn what_only_announces_content_is_none() {
    for event in [
        START,
        END,
        STOP,
        r#"{"type":"ping"}"#,
        r#"{"type":"content_block_start","content_block":{"type":"text","text":""}}"#,
        r#"{"type":"content_block_start","content_block":{"type":"thinking","thinking":"","signature":""}}"#,
        r#"{"type":"content_block_start","content_block":{"type":"tool_use","name":"f","input":{}}}"#,
        r#"{"type":"content_block_delta","delta":{"type":"signature_delta","signature":"c2ln"}}"#,
        r#"{"type":"content_block_delta","delta":{"type":"input_json_delta","partial_json":""}}"#,
        r#"{"type":"content_block_delta","delta":{"type":"text_delta","text":null}}"#,
        r#"{"type":"content_block_delta","delta":"text"}"#,
        r#"{"type":"content_block_stop","index":0}"#,
        r#"{"type":"of_tomorrow","delta":{"text":"a"}}"#,
        r#"{"type":"content_block_delta","delta":{"text":"cut"#,
        "[1]",
        "null",
        "",
    ] {
        assert!(stream(&[event]).first_token.is_none(), "{event}");
    }
    assert!(read(&WIRE, ": a comment\n\nevent: ping\n\n").first_token.is_none());
}

#[test]
fn an_event_without_type_is_known_by_its_name() {
    let body = "event: content_block_delta\ndata: {\"delta\":{\"text\":\"a\"}}\n\n";
    let summary = read(&WIRE, &format!("{body}{body}event: message_stop\ndata: {{}}\n\n"));
    assert_told(&summary, [None, None, Some(2), None], TokenSource::Counted);
    assert_eq!(summary.outcome, Outcome::Success(FinishReason::Other));
}

// === usage ===

#[test]
fn the_start_tells_no_generated_tokens() {
    let summary = stream(&[START, A, A]);
    assert_told(&summary, [Some(24), None, Some(2), None], TokenSource::Counted);
    assert_eq!(summary.outcome, Outcome::Failure(FailureReason::Truncated));
    assert_told(&stream(&[START]), [Some(24), None, None, None], TokenSource::Unknown);
}

#[test]
fn the_prompt_is_the_sum_of_its_parts() {
    let start =
        |usage: &str| format!(r#"{{"type":"message_start","message":{{"usage":{{{usage}}}}}}}"#);
    for (usage, prompt, cached) in [
        (r#""input_tokens":1,"cache_read_input_tokens":7"#, Some(8), Some(7)),
        (
            r#""input_tokens":1,"cache_read_input_tokens":7,"cache_creation_input_tokens":4"#,
            Some(12),
            Some(7),
        ),
        (r#""input_tokens":0,"cache_read_input_tokens":7"#, Some(7), Some(7)),
        (r#""input_tokens":3,"cache_read_input_tokens":null"#, Some(3), None),
        // A sum that lacks a part is none.
        (r#""input_tokens":3,"cache_read_input_tokens":"x""#, None, None),
        (r#""input_tokens":3,"cache_creation_input_tokens":-1"#, None, None),
        (r#""input_tokens":[],"cache_read_input_tokens":7"#, None, Some(7)),
        (r#""input_tokens":99999999999999999999999"#, None, None),
        (
            r#""input_tokens":4294967295,"cache_read_input_tokens":4294967295"#,
            None,
            Some(4294967295),
        ),
        (r#""input_tokens":3.0"#, Some(3), None),
        (r#""input_tokens":2.5"#, None, None),
        ("", None, None),
    ] {
        let summary = stream(&[&start(usage), A, END, STOP]);
        assert_told(&summary, [prompt, cached, Some(9), None], TokenSource::Usage);
    }
}

#[test]
fn the_end_overrides_the_start_but_not_by_zeros() {
    let start = r#"{"type":"message_start","message":{"usage":{"input_tokens":1,"cache_read_input_tokens":7}}}"#;
    let end = |usage: &str| {
        format!(
            r#"{{"type":"message_delta","delta":{{"stop_reason":"end_turn"}},"usage":{{"output_tokens":2{usage}}}}}"#
        )
    };
    for (usage, prompt, cached) in [
        ("", Some(8), Some(7)),
        (r#","input_tokens":5"#, Some(12), Some(7)),
        (r#","input_tokens":2,"cache_read_input_tokens":4"#, Some(6), Some(4)),
        (r#","input_tokens":0"#, Some(8), Some(7)),
        (r#","input_tokens":0,"cache_read_input_tokens":0"#, Some(8), Some(7)),
        (r#","input_tokens":0,"cache_read_input_tokens":8"#, Some(8), Some(8)),
        (r#","input_tokens":"many""#, Some(8), Some(7)),
    ] {
        let summary = stream(&[start, A, &end(usage), STOP]);
        assert_told(&summary, [prompt, cached, Some(2), None], TokenSource::Usage);
    }
}

#[test]
fn a_running_count_is_the_last_word_where_the_stream_is_cut() {
    let running = |n: u64| {
        format!(
            r#"{{"type":"message_delta","delta":{{"stop_reason":null}},"usage":{{"output_tokens":{n}}}}}"#
        )
    };
    let summary = stream(&[START, A, &running(3), A, &running(7)]);
    assert_told(&summary, [Some(24), None, Some(7), None], TokenSource::ContinuousUsage);
    let summary = stream(&[START, A, &running(3), A, &running(7), STOP]);
    assert_told(&summary, [Some(24), None, Some(7), None], TokenSource::Usage);
    let summary = stream(&[START, A, END]);
    assert_told(&summary, [Some(24), None, Some(9), None], TokenSource::Usage);
    assert_eq!(summary.outcome, Outcome::Failure(FailureReason::Truncated));
}

#[test]
fn an_explicit_zero_at_the_end_is_a_value() {
    let summary = stream(&[START, &END.replace('9', "0"), STOP]);
    assert_told(&summary, [Some(24), None, Some(0), None], TokenSource::Usage);
    assert_eq!(summary.first_token, None);
}

#[test]
fn odd_counts_cost_only_themselves() {
    for odd in ["-1", "1e400", "99999999999999999999999", "\"9\"", "2.5", "{}", "[9]", "true"] {
        let summary = stream(&[START, A, A, &END.replace('9', odd), STOP]);
        assert_told(&summary, [Some(24), None, Some(2), None], TokenSource::Counted);
        assert_eq!(summary.outcome, Outcome::Success(FinishReason::Stop), "{odd}");
    }
}

// === ends ===

#[test]
fn stop_reasons() {
    for (word, reason) in [
        ("end_turn", FinishReason::Stop),
        ("stop_sequence", FinishReason::Stop),
        ("max_tokens", FinishReason::Length),
        ("model_context_window_exceeded", FinishReason::Length),
        ("tool_use", FinishReason::ToolCalls),
        ("refusal", FinishReason::ContentFilter),
        ("pause_turn", FinishReason::Other),
        ("", FinishReason::Other),
    ] {
        let summary = stream(&[START, A, &END.replace("end_turn", word), STOP]);
        assert_eq!(summary.outcome, Outcome::Success(reason), "{word}");
    }
    let odd = END.replace("\"end_turn\"", "[7]");
    assert_eq!(stream(&[A, &odd, STOP]).outcome, Outcome::Success(FinishReason::Other));
}

#[test]
fn a_client_that_leaves_after_the_end_marker_has_all() {
    let body = events(&[START, A, END, STOP]);
    assert_eq!(left(&WIRE, &body).outcome, Outcome::Success(FinishReason::Stop));
    let body = events(&[START, A]);
    assert_eq!(left(&WIRE, &body).outcome, Outcome::Aborted(Phase::Decode));
    assert_eq!(left(&WIRE, &events(&[START])).outcome, Outcome::Aborted(Phase::Prefill));
}

#[test]
fn error_events() {
    for event in [
        r#"{"type":"error","error":{"type":"overloaded_error","message":"x"}}"#,
        r#"{"type":"error"}"#,
        r#"{"error":{"code":500,"message":"x","type":"server_error"}}"#,
        r#"{"error":"died"}"#,
    ] {
        assert_eq!(stream(&[START, A, event]).outcome, FAILED, "{event}");
        assert_eq!(stream(&[START, A, event, END, STOP]).outcome, FAILED, "{event}");
    }
    for event in [r#"{"error":null}"#, r#"{"error":{}}"#] {
        let summary = stream(&[START, A, event, END, STOP]);
        assert_eq!(summary.outcome, Outcome::Success(FinishReason::Stop), "{event}");
    }
    assert_eq!(read(&WIRE, "event: error\ndata: no JSON\n\n").outcome, FAILED);
    assert_eq!(read(&WIRE, "error: {\"code\":500,\"message\":\"x\"}\n\n").outcome, FAILED);
}

#[test]
fn whole_answers_that_are_none() {
    for body in
        ["{ this is no JSON", "[1]", "{}", "{\"usage\":7,\"stop_reason\":null,\"error\":null}"]
    {
        let summary = read(&WIRE, body);
        assert_told(&summary, [None; 4], TokenSource::Unknown);
        assert_eq!(summary.outcome, Outcome::Success(FinishReason::Other), "{body}");
    }
    for body in [
        r#"{"type":"error","error":{"type":"api_error","message":"x"}}"#,
        r#"{"type":"error"}"#,
        r#"{"error":{"code":500,"message":"x","type":"server_error"}}"#,
    ] {
        assert_eq!(read(&WIRE, body).outcome, FAILED, "{body}");
    }
}

#[test]
fn hostile_bytes_do_no_harm() {
    let deep = "[".repeat(10_000);
    let cut = format!(r#"{{"type":"content_block_delta","delta":{deep}"#);
    let closed = A.replace("\"index\":0", &format!("\"x\":{deep}{}", "]".repeat(10_000)));
    let summary = stream(&[START, &cut, A, &closed, END, STOP]);
    assert_told(&summary, [Some(24), None, Some(9), None], TokenSource::Usage);

    let mut broken = Recorded {
        entry: serde_json::json!({"status": 200, "kind": "stream"}),
        body: events(&[START, A, A, A]).into_bytes(),
    };
    let at = broken.body.iter().rposition(|byte| *byte == b'a').unwrap();
    broken.body[at] = 0xff;
    let text = broken.body.windows(6).rposition(|window| window == b"text\":").unwrap();
    broken.body[text + 7] = 0xff;
    let summary = broken.read(&WIRE, &[&broken.body]);
    assert_told(&summary, [Some(24), None, Some(2), None], TokenSource::Counted);
}
