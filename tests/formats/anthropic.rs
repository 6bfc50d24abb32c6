//! What Anthropic Messages tell, in the many ways that servers write them.

use crate::support::{
    answers::{Answer, Told, assert_folder},
    recording::Recording,
};
use infermeter::{outcome::TokenSource, wire::Wire};

const WIRE: Wire = Wire::anthropic();

const START: &str =
    r#"{"type":"message_start","message":{"usage":{"input_tokens":24,"output_tokens":1}}}"#;
const A: &str =
    r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"}}"#;
const END: &str =
    r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":9}}"#;
const STOP: &str = r#"{"type":"message_stop"}"#;

fn stream(events: &[&str]) -> Told {
    Answer::events(&WIRE, events).read()
}

fn read(body: impl Into<Vec<u8>>) -> Told {
    Answer::unsaid(&WIRE, body).read()
}

#[test]
fn zeros_at_the_start_are_no_prompt_yet() {
    let zeros = START.replace("24", "0");
    stream(&[&zeros, A]).assert([None, None, Some(1), None], TokenSource::Counted);
    let end = END.replace("\"output_tokens\"", "\"input_tokens\":24,\"output_tokens\"");
    stream(&[&zeros, A, &end, STOP]).assert([Some(24), None, Some(9), None], TokenSource::Usage);
}

#[test]
fn recordings() {
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
        let recording = Recording::named(&format!("anthropic/{file}"));
        let usage = Answer::of(&recording, &WIRE).read().summary.usage;
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
        let told = stream(&data.each_ref().map(String::as_str));
        assert!(told.has_first_token(), "{kind}");
        told.assert([None, None, Some(3), None], TokenSource::Counted);
    }
    let start = r#"{"type":"content_block_start","content_block":{"type":"text","text":"a"}}"#;
    stream(&[start]).assert([None, None, Some(1), None], TokenSource::Counted);
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
        assert!(!stream(&[event]).has_first_token(), "{event}");
    }
    assert!(!read(": a comment\n\nevent: ping\n\n").has_first_token());
}

#[test]
fn an_event_without_type_is_known_by_its_name() {
    let body = "event: content_block_delta\ndata: {\"delta\":{\"text\":\"a\"}}\n\n";
    let told = read(format!("{body}{body}event: message_stop\ndata: {{}}\n\n"));
    told.assert([None, None, Some(2), None], TokenSource::Counted);
    told.assert_end("success/other");
}

// === usage ===

#[test]
fn the_start_tells_no_generated_tokens() {
    let told = stream(&[START, A, A]);
    told.assert([Some(24), None, Some(2), None], TokenSource::Counted);
    told.assert_end("failure/truncated");
    stream(&[START]).assert([Some(24), None, None, None], TokenSource::Unknown);
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
        let told = stream(&[&start(usage), A, END, STOP]);
        told.assert([prompt, cached, Some(9), None], TokenSource::Usage);
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
        let told = stream(&[start, A, &end(usage), STOP]);
        told.assert([prompt, cached, Some(2), None], TokenSource::Usage);
    }
}

#[test]
fn a_running_count_is_the_last_word_where_the_stream_is_cut() {
    let running = |n: u64| {
        format!(
            r#"{{"type":"message_delta","delta":{{"stop_reason":null}},"usage":{{"output_tokens":{n}}}}}"#
        )
    };
    let told = stream(&[START, A, &running(3), A, &running(7)]);
    told.assert([Some(24), None, Some(7), None], TokenSource::ContinuousUsage);
    let told = stream(&[START, A, &running(3), A, &running(7), STOP]);
    told.assert([Some(24), None, Some(7), None], TokenSource::Usage);
    let told = stream(&[START, A, END]);
    told.assert([Some(24), None, Some(9), None], TokenSource::Usage);
    told.assert_end("failure/truncated");
}

#[test]
fn an_explicit_zero_at_the_end_is_a_value() {
    let told = stream(&[START, &END.replace('9', "0"), STOP]);
    told.assert([Some(24), None, Some(0), None], TokenSource::Usage);
    assert!(!told.has_first_token());
}

#[test]
fn odd_counts_cost_only_themselves() {
    for odd in ["-1", "1e400", "99999999999999999999999", "\"9\"", "2.5", "{}", "[9]", "true"] {
        let told = stream(&[START, A, A, &END.replace('9', odd), STOP]);
        told.assert([Some(24), None, Some(2), None], TokenSource::Counted);
        told.assert_end("success/stop");
    }
}

// === ends ===

#[test]
fn stop_reasons() {
    for (word, reason) in [
        ("end_turn", "success/stop"),
        ("stop_sequence", "success/stop"),
        ("max_tokens", "success/length"),
        ("model_context_window_exceeded", "success/length"),
        ("tool_use", "success/tool_calls"),
        ("refusal", "success/content_filter"),
        ("pause_turn", "success/other"),
        ("", "success/other"),
    ] {
        let told = stream(&[START, A, &END.replace("end_turn", word), STOP]);
        told.assert_end(reason);
    }
    let odd = END.replace("\"end_turn\"", "[7]");
    stream(&[A, &odd, STOP]).assert_end("success/other");
}

#[test]
fn a_client_that_leaves_after_the_end_marker_has_all() {
    Answer::events(&WIRE, &[START, A, END, STOP]).left().assert_end("success/stop");
    Answer::events(&WIRE, &[START, A]).left().assert_end("aborted/decode");
    Answer::events(&WIRE, &[START]).left().assert_end("aborted/prefill");
}

#[test]
fn error_events() {
    for event in [
        r#"{"type":"error","error":{"type":"overloaded_error","message":"x"}}"#,
        r#"{"type":"error"}"#,
        r#"{"error":{"code":500,"message":"x","type":"server_error"}}"#,
        r#"{"error":"died"}"#,
    ] {
        stream(&[START, A, event]).assert_end("failure/stream_error");
        stream(&[START, A, event, END, STOP]).assert_end("failure/stream_error");
    }
    for event in [r#"{"error":null}"#, r#"{"error":{}}"#] {
        let told = stream(&[START, A, event, END, STOP]);
        told.assert_end("success/stop");
    }
    read("event: error\ndata: no JSON\n\n").assert_end("failure/stream_error");
    read("error: {\"code\":500,\"message\":\"x\"}\n\n").assert_end("failure/stream_error");
}

#[test]
fn whole_answers_that_are_none() {
    for body in
        ["{ this is no JSON", "[1]", "{}", "{\"usage\":7,\"stop_reason\":null,\"error\":null}"]
    {
        let told = read(body);
        told.assert([None; 4], TokenSource::Unknown);
        told.assert_end("success/other");
    }
    for body in [
        r#"{"type":"error","error":{"type":"api_error","message":"x"}}"#,
        r#"{"type":"error"}"#,
        r#"{"error":{"code":500,"message":"x","type":"server_error"}}"#,
    ] {
        read(body).assert_end("failure/stream_error");
    }
}

#[test]
fn hostile_bytes_do_no_harm() {
    let deep = "[".repeat(10_000);
    let cut = format!(r#"{{"type":"content_block_delta","delta":{deep}"#);
    let closed = A.replace("\"index\":0", &format!("\"x\":{deep}{}", "]".repeat(10_000)));
    let told = stream(&[START, &cut, A, &closed, END, STOP]);
    told.assert([Some(24), None, Some(9), None], TokenSource::Usage);

    let mut broken = Answer::events(&WIRE, &[START, A, A, A]).body().to_vec();
    let at = broken.iter().rposition(|byte| *byte == b'a').unwrap();
    broken[at] = 0xff;
    let text = broken.windows(6).rposition(|window| window == b"text\":").unwrap();
    broken[text + 7] = 0xff;
    let told = read(broken);
    told.assert([Some(24), None, Some(2), None], TokenSource::Counted);
}
