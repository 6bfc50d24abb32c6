//! What OpenAI Responses tell, in the many ways that servers write them.

use crate::support::{
    answers::{Answer, Told, assert_folder},
    recording::Recording,
};
use infermeter::{
    outcome::{TokenSource, Unread},
    wire::Wire,
};

const WIRE: Wire = Wire::responses();

const CREATED: &str =
    r#"{"type":"response.created","response":{"status":"in_progress","usage":null}}"#;
const A: &str = r#"{"type":"response.output_text.delta","item_id":"m","delta":"a"}"#;
const END: &str = r#"{"type":"response.completed","response":{"status":"completed","error":null,"usage":{"input_tokens":24,"output_tokens":9}}}"#;

fn stream(events: &[&str]) -> Told {
    Answer::events(&WIRE, events).read()
}

fn read(body: impl Into<Vec<u8>>) -> Told {
    Answer::unsaid(&WIRE, body).read()
}

#[test]
fn recordings() {
    assert_folder("responses", &WIRE);
}

#[test]
fn cached_and_reasoning_tokens_are_parts_of_the_others() {
    for (file, cached, reasoning) in [
        ("llamacpp-stream.http", Some(0), None),
        ("vllm-stream.http", Some(0), Some(0)),
        ("handmade-reasoning-cached.http", Some(2048), Some(24)),
        ("handmade-whole.http", Some(32), Some(3)),
    ] {
        let recording = Recording::named(&format!("responses/{file}"));
        let usage = Answer::of(&recording, &WIRE).read().summary.usage;
        assert_eq!((usage.cached, usage.reasoning), (cached, reasoning), "{file}");
    }
}

// === what is content ===

#[test]
fn content_is_every_delta_of_the_model() {
    for kind in [
        "output_text",
        "reasoning_text",
        "reasoning_summary_text",
        "refusal",
        "function_call_arguments",
        "mcp_call_arguments",
        "custom_tool_call_input",
        "code_interpreter_call_code",
        "something_of_tomorrow",
    ] {
        // With a number in each event, and without.
        for number in [r#","sequence_number":7"#, ""] {
            let event = |text: &str| {
                format!(r#"{{"type":"response.{kind}.delta"{number},"delta":"{text}"}}"#)
            };
            let data = [event("a"), event(r#"\"b\\"#), event("é"), event("")];
            let told = stream(&data.each_ref().map(String::as_str));
            assert!(told.has_first_token(), "{kind}");
            told.assert([None, None, Some(3), None], TokenSource::Counted);
        }
    }
}

#[test]
fn what_only_announces_content_is_none() {
    for event in [
        CREATED,
        END,
        r#"{"type":"response.queued","response":{}}"#,
        r#"{"type":"response.output_item.added","item":{"type":"message","content":[]}}"#,
        r#"{"type":"response.output_item.added","item":{"type":"function_call","name":"f","arguments":""}}"#,
        r#"{"type":"response.content_part.added","part":{"type":"output_text","text":""}}"#,
        r#"{"type":"response.output_text.delta","delta":""}"#,
        r#"{"type":"response.output_text.delta","delta":null}"#,
        r#"{"type":"response.output_text.delta"}"#,
        r#"{"type":"response.output_text.done","text":"ab"}"#,
        r#"{"type":"response.output_text.annotation.added","annotation":{}}"#,
        r#"{"type":"response.shell_call_output_content.delta","delta":{"stdout":"a"}}"#,
        r#"{"type":"response.web_search_call.searching"}"#,
        r#"{"type":"keepalive","sequence_number":3}"#,
        r#"{"type":"response.output_text.delta","delta":"cut"#,
        "[1]",
        "null",
        "",
        "[DONE]",
    ] {
        assert!(!stream(&[event]).has_first_token(), "{event}");
    }
    assert!(!read(": a comment\n\n").has_first_token());
}

#[test]
fn log_probabilities_tell_how_many_tokens_an_event_has() {
    let event = r#"{"type":"response.output_text.delta","delta":"ab","logprobs":[{},{}]}"#;
    stream(&[event, event]).assert([None, None, Some(4), None], TokenSource::Counted);
}

#[test]
fn an_event_without_type_is_known_by_its_name() {
    let body = "event: response.output_text.delta\ndata: {\"delta\":\"a\"}\n\n";
    let told = read(format!("{body}{body}event: response.completed\ndata: {{}}\n\n"));
    told.assert([None, None, Some(2), None], TokenSource::Counted);
    told.assert_end("success/other");
}

// === usage ===

#[test]
fn the_last_event_tells_the_usage() {
    let told = stream(&[CREATED, A, A, END]);
    told.assert([Some(24), None, Some(9), None], TokenSource::Usage);
    let told = stream(&[CREATED, A, A]);
    told.assert([None, None, Some(2), None], TokenSource::Counted);
    told.assert_end("failure/truncated");
    let told = stream(&[CREATED, &END.replace('9', "0")]);
    told.assert([Some(24), None, Some(0), None], TokenSource::Usage);
}

#[test]
fn odd_counts_cost_only_themselves() {
    for (odd, count) in [
        ("3.0", Some(3)),
        ("-1", None),
        ("1e400", None),
        ("99999999999999999999999", None),
        ("4294967296", None),
        ("\"9\"", None),
        ("2.5", None),
        ("{}", None),
        ("null", None),
    ] {
        let told = stream(&[A, A, &END.replace("24", odd)]);
        told.assert([count, None, Some(9), None], TokenSource::Usage);
        let told = stream(&[A, A, &END.replace('9', odd)]);
        let (completion, source) = match count {
            Some(_) => (count, TokenSource::Usage),
            None => (Some(2), TokenSource::Counted),
        };
        told.assert([Some(24), None, completion, None], source);
        told.assert_end("success/stop");
    }
}

// === ends ===

fn ended(event: &str, response: &str) -> Told {
    stream(&[A, &format!(r#"{{"type":"response.{event}","response":{{{response}}}}}"#)])
}

#[test]
fn the_status_of_the_answer_counts_more_than_the_event() {
    for (event, response, end) in [
        ("completed", r#""status":"completed""#, "success/stop"),
        ("completed", r#""output":[]"#, "success/stop"),
        (
            "completed",
            r#""status":"incomplete","incomplete_details":{"reason":"max_output_tokens"}"#,
            "success/length",
        ),
        (
            "incomplete",
            r#""incomplete_details":{"reason":"content_filter"}"#,
            "success/content_filter",
        ),
        ("incomplete", r#""incomplete_details":null"#, "success/other"),
        ("incomplete", r#""incomplete_details":[1]"#, "success/other"),
        ("completed", r#""status":"of tomorrow""#, "success/other"),
        ("completed", r#""status":7"#, "success/stop"),
        ("completed", r#""status":"cancelled""#, "failure/stream_error"),
        ("completed", r#""status":"failed""#, "failure/stream_error"),
        ("failed", r#""error":{"code":"server_error","message":"x"}"#, "failure/stream_error"),
        ("failed", "", "failure/stream_error"),
    ] {
        ended(event, response).assert_end(end);
    }
}

#[test]
fn an_answer_ends_in_tool_calls_where_the_client_is_to_run_them() {
    for (kind, end) in [
        ("function_call", "success/tool_calls"),
        ("custom_tool_call", "success/tool_calls"),
        ("web_search_call", "success/stop"),
        ("mcp_call", "success/stop"),
        ("message", "success/stop"),
    ] {
        let output = format!(r#""status":"completed","output":[{{"type":"{kind}"}}]"#);
        ended("completed", &output).assert_end(end);
        let item = format!(r#"{{"type":"response.output_item.done","item":{{"type":"{kind}"}}}}"#);
        stream(&[&item, END]).assert_end(end);
    }
}

#[test]
fn a_client_that_leaves_after_the_last_event_has_all() {
    Answer::events(&WIRE, &[CREATED, A, END]).left().assert_end("success/stop");
    Answer::events(&WIRE, &[CREATED, A]).left().assert_end("aborted/decode");
    Answer::events(&WIRE, &[CREATED]).left().assert_end("aborted/prefill");
}

#[test]
fn a_last_event_that_is_too_long_to_be_read_is_no_lack_of_one() {
    // As one with a picture is.
    let picture = format!(r#""output":"{}","#, "a".repeat(1024 * 1024));
    let end = END.replace(r#""error":null,"#, &picture);
    let too_long = Answer::events(&WIRE, &[A, &end]);
    let told = too_long.in_pieces(&[too_long.body()]);
    told.assert([None, None, Some(1), None], TokenSource::Counted);
    told.assert_end("success/other");
    assert_eq!(told.summary.unread, Some(Unread::TooLong));
    too_long.left_at(too_long.body().len()).assert_end("aborted/decode");
    // One before it that was skipped takes nothing away.
    let told = Answer::events(&WIRE, &[A, &end, END]).read();
    told.assert([Some(24), None, Some(9), None], TokenSource::Usage);
    told.assert_end("success/stop");
    assert_eq!(told.summary.unread, None);
}

#[test]
fn error_events() {
    for event in [
        r#"{"type":"error","code":"server_error","message":"x","param":null}"#,
        r#"{"type":"error","error":{"type":"server_error","message":"x"}}"#,
        r#"{"error":{"code":500,"message":"x","type":"server_error"}}"#,
        r#"{"error":"died"}"#,
    ] {
        stream(&[A, event]).assert_end("failure/stream_error");
        stream(&[A, event, END, "[DONE]"]).assert_end("failure/stream_error");
    }
    let told = stream(&[A, r#"{"error":null}"#, END]);
    told.assert_end("success/stop");
    read("event: error\ndata: no JSON\n\n").assert_end("failure/stream_error");
    read("error: {\"code\":500,\"message\":\"x\"}\n\n").assert_end("failure/stream_error");
}

#[test]
fn whole_answers_that_are_none() {
    for body in ["{ this is no JSON", "[1]", "{}", "{\"usage\":7,\"status\":null,\"error\":null}"] {
        let told = read(body);
        told.assert([None; 4], TokenSource::Unknown);
        told.assert_end("success/other");
    }
    read(r#"{"error":{"message":"in a 200"}}"#).assert_end("failure/stream_error");
}

#[test]
fn hostile_bytes_do_no_harm() {
    let deep = "[".repeat(10_000);
    let cut = format!(r#"{{"type":"response.output_text.delta","delta":{deep}"#);
    let closed = A.replace("\"m\"", &format!("{deep}{}", "]".repeat(10_000)));
    let told = stream(&[&cut, A, &closed]);
    told.assert([None, None, Some(2), None], TokenSource::Counted);
    let output = format!(r#""status":"completed","output":{deep}{}"#, "]".repeat(10_000));
    ended("completed", &output).assert_end("success/stop");

    let mut broken = Answer::events(&WIRE, &[A, A, A]).body().to_vec();
    let text = broken.windows(7).rposition(|window| window == b"delta\":").unwrap();
    broken[text + 8] = 0xff;
    let told = read(broken);
    told.assert([None, None, Some(2), None], TokenSource::Counted);
}
