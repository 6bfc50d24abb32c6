//! What Triton's generate extension tells.

use crate::support::answers::{Answer, Told, assert_folder};
use infermeter::{outcome::TokenSource, wire::Wire};

const WIRE: Wire = Wire::triton();

const A: &str = r#"{"model_name":"m","model_version":"1","text_output":"a"}"#;

fn stream(events: &[&str]) -> Told {
    Answer::events(&WIRE, events).read()
}

/// An event as the vLLM backend writes it.
fn counted(text: &str, tokens: &str, reason: &str) -> String {
    format!(
        r#"{{"text_output":{text},"num_input_tokens":6,"num_output_tokens":{tokens},"finish_reason":{reason}}}"#
    )
}

#[test]
fn recordings() {
    assert_folder("triton", &WIRE);
}

#[test]
fn text_is_content_and_a_stream_just_ends() {
    let told = stream(&[A, A, A]);
    assert!(told.has_first_token());
    told.assert([None, None, Some(3), None], TokenSource::Counted);
    assert_eq!((told.summary.longest_choice, &told.gaps[..]), (Some(3), &[1, 1][..]));
    told.assert_end("success/other");
    let answer = Answer::events(&WIRE, &[A, A]);
    answer.left().assert_end("aborted/decode");
    answer.left_at(5).assert_end("aborted/prefill");
}

#[test]
fn what_has_no_text_is_no_content() {
    for event in [
        r#"{"model_name":"m","text_output":""}"#,
        r#"{"model_name":"m","text_output":null}"#,
        r#"{"model_name":"m","text_output":5}"#,
        r#"{"model_name":"m","text_output":[]}"#,
        r#"{"model_name":"m","output_ids":[1,2]}"#,
        r#"{"text_output":"","num_output_tokens":0}"#,
        "[1]",
        "null",
        "{\"text_output\":\"cut",
    ] {
        let told = stream(&[event]);
        assert!(!told.has_first_token(), "{event}");
        told.assert([None; 4], TokenSource::Unknown);
        told.assert_end("success/other");
    }
    let comment = Answer::new(&WIRE, "text/event-stream", ": wait\n\n:\n\n").read();
    assert!(!comment.has_first_token());
}

#[test]
fn each_event_tells_its_own_tokens() {
    let (a, ab) = (counted("\"a\"", "1", "\"None\""), counted("\"ab\"", "2", "\"None\""));
    // Its text is held back.
    let held = counted("\"\"", "1", "\"None\"");
    let end = counted("\"a\"", "1", "\"length\"");
    let told = stream(&[&a, &ab, &held, &end]);
    told.assert([Some(6), None, Some(5), None], TokenSource::EngineFrame);
    assert_eq!((told.summary.longest_choice, &told.gaps[..]), (Some(5), &[2, 1, 1][..]));
    told.assert_end("success/length");
    // One that does not tell makes an estimate of the sum.
    stream(&[&a, A, &ab]).assert([Some(6), None, Some(4), None], TokenSource::Counted);
}

#[test]
fn several_sequences() {
    let both = counted(r#"["a","b"]"#, "[1,2]", r#"["None","None"]"#);
    let one = counted(r#"["a",""]"#, "[1,0]", r#"["stop","None"]"#);
    let told = stream(&[&both, &both, &one]);
    told.assert([Some(6), None, Some(7), None], TokenSource::EngineFrame);
    assert_eq!((told.summary.longest_choice, &told.gaps[..]), (None, &[1, 2, 1][..]));
    told.assert_end("success/stop");
    let told = Answer::whole(&WIRE, both).read();
    told.assert([Some(6), None, Some(3), None], TokenSource::Usage);
    assert_eq!(told.summary.longest_choice, None);
    let many = format!("[{}\"a\"]", "\"a\",".repeat(999));
    let told = stream(&[&counted(&many, &many.replace("\"a\"", "1"), "null")]);
    told.assert([Some(6), None, Some(1000), None], TokenSource::Counted);
}

#[test]
fn reasons() {
    for (reason, end) in [
        (r#""stop""#, "success/stop"),
        (r#""length""#, "success/length"),
        (r#""abort""#, "failure/stream_error"),
        (r#""None""#, "success/other"),
        (r#""something new""#, "success/other"),
        (r#""""#, "success/other"),
        ("null", "success/other"),
        ("5", "success/other"),
    ] {
        stream(&[A, &counted("\"a\"", "1", reason)]).assert_end(end);
        Answer::whole(&WIRE, counted("\"a\"", "1", reason)).read().assert_end(end);
    }
    // Whoever has the reason has everything.
    let answer = Answer::events(&WIRE, &[A, &counted("\"a\"", "1", "\"stop\"")]);
    answer.left().assert_end("success/stop");
}

#[test]
fn odd_numbers_cost_only_themselves() {
    for (written, read) in [
        ("3.0", Some(3)),
        ("-1", None),
        ("2.5", None),
        ("1e400", None),
        ("99999999999999999999999", None),
        ("\"3\"", None),
        ("null", None),
        ("{}", None),
    ] {
        let event = counted("\"a\"", written, "null");
        let source = read.map_or(TokenSource::Counted, |_| TokenSource::EngineFrame);
        stream(&[&event]).assert([Some(6), None, read.or(Some(1)), None], source);
        let source = read.map_or(TokenSource::Unknown, |_| TokenSource::Usage);
        Answer::whole(&WIRE, event).read().assert([Some(6), None, read, None], source);
        let event = counted("\"a\"", "1", "null").replace(":6", &format!(":{written}"));
        stream(&[&event]).assert([read, None, Some(1), None], TokenSource::EngineFrame);
    }
    let zero = counted("\"a\"", "0", "null");
    Answer::whole(&WIRE, zero).read().assert([Some(6), None, Some(0), None], TokenSource::Usage);
    let huge = counted("\"a\"", "4294967295", "null");
    stream(&[&huge, &huge]).assert([Some(6), None, None, None], TokenSource::Unknown);
}

#[test]
fn errors() {
    for (event, end) in [
        (r#"{"error":"died"}"#, "failure/stream_error"),
        (r#"{"error":{"message":"died"}}"#, "failure/stream_error"),
        (r#"{"error":""}"#, "success/other"),
        (r#"{"error":null}"#, "success/other"),
    ] {
        let told = stream(&[A, event]);
        told.assert([None, None, Some(1), None], TokenSource::Counted);
        told.assert_end(end);
        Answer::whole(&WIRE, event).read().assert_end(end);
    }
    let error = Answer::whole(&WIRE, r#"{"error":"unknown model"}"#).status(400);
    error.read().assert_end("failure/invalid_request");
}

#[test]
fn whole_answers() {
    for body in [A, "", "[]", "{", "{ this is no JSON", "5"] {
        let told = Answer::whole(&WIRE, body).read();
        told.assert([None; 4], TokenSource::Unknown);
        told.assert_end("success/other");
        assert!(!told.has_first_token());
    }
}

#[test]
fn nesting_and_bytes_that_are_no_text_do_no_harm() {
    let deep = format!(r#"{{"text_output":{}"#, "[".repeat(10_000));
    let nested = format!(r#"{{"x":{}{},{}"#, "[".repeat(200), "]".repeat(200), &A[1..]);
    stream(&[A, &deep, &nested]).assert([None, None, Some(2), None], TokenSource::Counted);
    let mut body = format!("data: {A}\r\n\r\ndata: {A}\n\n").into_bytes();
    let at = body.iter().position(|byte| *byte == b'm').unwrap();
    body[at] = 0xff;
    let told = Answer::new(&WIRE, "text/event-stream; charset=utf-8", body).read();
    told.assert([None, None, Some(1), None], TokenSource::Counted);
}
