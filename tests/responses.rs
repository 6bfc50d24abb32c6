//! What OpenAI Responses tell, in the many ways that servers write them.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]

mod support;

use infermeter::{
    outcome::{FailureReason, FinishReason, Outcome, Phase, TokenSource},
    stream::Summary,
    wire::Wire,
};

use self::support::told::{Recorded, assert_folder, assert_told, events, left, read};

const WIRE: Wire = Wire::responses();
const FAILED: Outcome = Outcome::Failure(FailureReason::StreamError);

const CREATED: &str =
    r#"{"type":"response.created","response":{"status":"in_progress","usage":null}}"#;
const A: &str = r#"{"type":"response.output_text.delta","item_id":"m","delta":"a"}"#;
const END: &str = r#"{"type":"response.completed","response":{"status":"completed","error":null,"usage":{"input_tokens":24,"output_tokens":9}}}"#;

fn stream(data: &[&str]) -> Summary {
    read(&WIRE, &events(data))
}

#[test]
fn recordings_tell_what_their_index_says_however_they_are_split() {
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
        let all = Recorded::all("responses");
        let recorded = all.iter().find(|recorded| recorded.entry["file"] == file).unwrap();
        let usage = recorded.read(&WIRE, &[&recorded.body]).usage;
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
            let summary = stream(&data.each_ref().map(String::as_str));
            assert!(summary.first_token.is_some(), "{kind}");
            assert_told(&summary, [None, None, Some(3), None], TokenSource::Counted);
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
        assert!(stream(&[event]).first_token.is_none(), "{event}");
    }
    assert!(read(&WIRE, ": a comment\n\n").first_token.is_none());
}

#[test]
fn log_probabilities_tell_how_many_tokens_an_event_has() {
    let event = r#"{"type":"response.output_text.delta","delta":"ab","logprobs":[{},{}]}"#;
    assert_told(&stream(&[event, event]), [None, None, Some(4), None], TokenSource::Counted);
}

#[test]
fn an_event_without_type_is_known_by_its_name() {
    let body = "event: response.output_text.delta\ndata: {\"delta\":\"a\"}\n\n";
    let summary = read(&WIRE, &format!("{body}{body}event: response.completed\ndata: {{}}\n\n"));
    assert_told(&summary, [None, None, Some(2), None], TokenSource::Counted);
    assert_eq!(summary.outcome, Outcome::Success(FinishReason::Other));
}

// === usage ===

#[test]
fn the_last_event_tells_the_usage() {
    let summary = stream(&[CREATED, A, A, END]);
    assert_told(&summary, [Some(24), None, Some(9), None], TokenSource::Usage);
    let summary = stream(&[CREATED, A, A]);
    assert_told(&summary, [None, None, Some(2), None], TokenSource::Counted);
    assert_eq!(summary.outcome, Outcome::Failure(FailureReason::Truncated));
    let summary = stream(&[CREATED, &END.replace('9', "0")]);
    assert_told(&summary, [Some(24), None, Some(0), None], TokenSource::Usage);
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
        let summary = stream(&[A, A, &END.replace("24", odd)]);
        assert_told(&summary, [count, None, Some(9), None], TokenSource::Usage);
        let summary = stream(&[A, A, &END.replace('9', odd)]);
        let (completion, source) = match count {
            Some(_) => (count, TokenSource::Usage),
            None => (Some(2), TokenSource::Counted),
        };
        assert_told(&summary, [Some(24), None, completion, None], source);
        assert_eq!(summary.outcome, Outcome::Success(FinishReason::Stop), "{odd}");
    }
}

// === ends ===

fn ended(event: &str, response: &str) -> Outcome {
    stream(&[A, &format!(r#"{{"type":"response.{event}","response":{{{response}}}}}"#)]).outcome
}

#[test]
fn the_status_of_the_answer_counts_more_than_the_event() {
    let success = Outcome::Success;
    for (event, response, outcome) in [
        ("completed", r#""status":"completed""#, success(FinishReason::Stop)),
        ("completed", r#""output":[]"#, success(FinishReason::Stop)),
        (
            "completed",
            r#""status":"incomplete","incomplete_details":{"reason":"max_output_tokens"}"#,
            success(FinishReason::Length),
        ),
        (
            "incomplete",
            r#""incomplete_details":{"reason":"content_filter"}"#,
            success(FinishReason::ContentFilter),
        ),
        ("incomplete", r#""incomplete_details":null"#, success(FinishReason::Other)),
        ("incomplete", r#""incomplete_details":[1]"#, success(FinishReason::Other)),
        ("completed", r#""status":"of tomorrow""#, success(FinishReason::Other)),
        ("completed", r#""status":7"#, success(FinishReason::Stop)),
        ("completed", r#""status":"cancelled""#, FAILED),
        ("completed", r#""status":"failed""#, FAILED),
        ("failed", r#""error":{"code":"server_error","message":"x"}"#, FAILED),
        ("failed", "", FAILED),
    ] {
        assert_eq!(ended(event, response), outcome, "{event} {response}");
    }
}

#[test]
fn an_answer_ends_in_tool_calls_where_the_client_is_to_run_them() {
    for (kind, reason) in [
        ("function_call", FinishReason::ToolCalls),
        ("custom_tool_call", FinishReason::ToolCalls),
        ("web_search_call", FinishReason::Stop),
        ("mcp_call", FinishReason::Stop),
        ("message", FinishReason::Stop),
    ] {
        let output = format!(r#""status":"completed","output":[{{"type":"{kind}"}}]"#);
        assert_eq!(ended("completed", &output), Outcome::Success(reason), "{kind}");
        let item = format!(r#"{{"type":"response.output_item.done","item":{{"type":"{kind}"}}}}"#);
        assert_eq!(stream(&[&item, END]).outcome, Outcome::Success(reason), "{kind}");
    }
}

#[test]
fn a_client_that_leaves_after_the_last_event_has_all() {
    let body = events(&[CREATED, A, END]);
    assert_eq!(left(&WIRE, &body).outcome, Outcome::Success(FinishReason::Stop));
    assert_eq!(left(&WIRE, &events(&[CREATED, A])).outcome, Outcome::Aborted(Phase::Decode));
    assert_eq!(left(&WIRE, &events(&[CREATED])).outcome, Outcome::Aborted(Phase::Prefill));
}

#[test]
fn error_events() {
    for event in [
        r#"{"type":"error","code":"server_error","message":"x","param":null}"#,
        r#"{"type":"error","error":{"type":"server_error","message":"x"}}"#,
        r#"{"error":{"code":500,"message":"x","type":"server_error"}}"#,
        r#"{"error":"died"}"#,
    ] {
        assert_eq!(stream(&[A, event]).outcome, FAILED, "{event}");
        assert_eq!(stream(&[A, event, END, "[DONE]"]).outcome, FAILED, "{event}");
    }
    let summary = stream(&[A, r#"{"error":null}"#, END]);
    assert_eq!(summary.outcome, Outcome::Success(FinishReason::Stop));
    assert_eq!(read(&WIRE, "event: error\ndata: no JSON\n\n").outcome, FAILED);
    assert_eq!(read(&WIRE, "error: {\"code\":500,\"message\":\"x\"}\n\n").outcome, FAILED);
}

#[test]
fn whole_answers_that_are_none() {
    for body in ["{ this is no JSON", "[1]", "{}", "{\"usage\":7,\"status\":null,\"error\":null}"] {
        let summary = read(&WIRE, body);
        assert_told(&summary, [None; 4], TokenSource::Unknown);
        assert_eq!(summary.outcome, Outcome::Success(FinishReason::Other), "{body}");
    }
    assert_eq!(read(&WIRE, r#"{"error":{"message":"in a 200"}}"#).outcome, FAILED);
}

#[test]
fn hostile_bytes_do_no_harm() {
    let deep = "[".repeat(10_000);
    let cut = format!(r#"{{"type":"response.output_text.delta","delta":{deep}"#);
    let closed = A.replace("\"m\"", &format!("{deep}{}", "]".repeat(10_000)));
    let summary = stream(&[&cut, A, &closed]);
    assert_told(&summary, [None, None, Some(2), None], TokenSource::Counted);
    let output = format!(r#""status":"completed","output":{deep}{}"#, "]".repeat(10_000));
    assert_eq!(ended("completed", &output), Outcome::Success(FinishReason::Stop));

    let mut broken = Recorded {
        entry: serde_json::json!({"status": 200, "kind": "stream"}),
        body: events(&[A, A, A]).into_bytes(),
    };
    let text = broken.body.windows(7).rposition(|window| window == b"delta\":").unwrap();
    broken.body[text + 8] = 0xff;
    let summary = broken.read(&WIRE, &[&broken.body]);
    assert_told(&summary, [None, None, Some(2), None], TokenSource::Counted);
}
