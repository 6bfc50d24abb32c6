//! What is told where it is not known whether TGI or SGLang answers.

use std::time::Duration;

use crate::support::answers::{Answer, assert_folder};
use infermeter::{outcome::TokenSource, wire::Wire};

const WIRE: Wire = Wire::generate();

const TGI: &str = r#"{"index":1,"token":{"id":5,"text":"a"},"generated_text":null}"#;
const SGLANG: &str =
    r#"{"text":"a","meta_info":{"prompt_tokens":7,"completion_tokens":1,"finish_reason":null}}"#;
const SGLANG_END: &str = r#"{"text":"a b","meta_info":{"prompt_tokens":7,"completion_tokens":2,"finish_reason":{"type":"length","length":2}}}"#;

/// Holds that it tells what the format of its engine tells.
#[track_caller]
fn assert_same(answer: impl Fn(&Wire) -> Answer, engine: &Wire) {
    let (both, one) = (answer(&WIRE).read(), answer(engine).read());
    assert_eq!(both.gist(), one.gist(), "{engine:?}");
}

#[test]
fn recordings_of_tgi() {
    assert_folder("tgi", &WIRE);
}

#[test]
fn streams_are_known_by_their_first_event() {
    assert_same(|wire| Answer::events(wire, &[TGI, TGI]), &Wire::tgi());
    let end = r#"{"token":{},"generated_text":"a","details":{"generated_tokens":3}}"#;
    assert_same(|wire| Answer::events(wire, &[TGI, end]), &Wire::tgi());
    // What the other would take for its own comes too late.
    assert_same(|wire| Answer::events(wire, &[TGI, SGLANG, "[DONE]"]), &Wire::tgi());

    assert_same(|wire| Answer::events(wire, &[SGLANG, SGLANG_END]), &Wire::sglang());
    assert_same(|wire| Answer::events(wire, &[SGLANG, SGLANG_END, "[DONE]"]), &Wire::sglang());
    assert_same(|wire| Answer::events(wire, &[SGLANG, TGI, "[DONE]"]), &Wire::sglang());
}

#[test]
fn whole_answers_are_known_by_what_is_in_them() {
    for body in [
        r#"{"generated_text":"a"}"#,
        r#"{"generated_text":"a","details":{"generated_tokens":2,"finish_reason":"length"}}"#,
        r#"[{"generated_text":"a","details":{"generated_tokens":2}}]"#,
        r#"{"error":"x","error_type":"validation"}"#,
    ] {
        assert_same(|wire| Answer::whole(wire, body), &Wire::tgi());
    }
    let list = format!("[{SGLANG_END},{SGLANG_END}]");
    for body in [SGLANG_END, &list] {
        assert_same(|wire| Answer::whole(wire, body), &Wire::sglang());
    }
}

#[test]
fn a_head_that_tells_of_tokens_is_one_of_tgi() {
    let answer = Answer::whole(&WIRE, r#"{"text":"a"}"#)
        .header("x-prompt-tokens", "7")
        .header("x-generated-tokens", "2")
        .header("x-queue-time", "250");
    let told = answer.read();
    told.assert([Some(7), None, Some(2), None], TokenSource::Header);
    assert_eq!(told.summary.queue_time, Some(Duration::from_millis(250)));
    // Others measure their waits too, in units of their own.
    let told = Answer::whole(&WIRE, SGLANG_END).header("x-queue-time", "250").read();
    assert_eq!(told.summary.queue_time, None);
}

#[test]
fn what_tells_neither_is_read_as_both() {
    for (event, end) in [
        (r#"{"error":"x"}"#, "failure/stream_error"),
        (r#"{"error":{"message":"x"}}"#, "failure/stream_error"),
        (r#"{"error":null}"#, "failure/truncated"),
        ("[1]", "failure/truncated"),
        ("{\"token\":", "failure/truncated"),
    ] {
        let told = Answer::events(&WIRE, &[event]).read();
        told.assert_end(end);
        told.assert([None; 4], TokenSource::Unknown);
        assert!(!told.has_first_token(), "{event}");
    }
    // An error first, and then what tells.
    let error = r#"{"error":"x"}"#;
    Answer::events(&WIRE, &[error, TGI]).read().assert_end("failure/stream_error");
    for body in ["", "[]", "{}", "5", "{ this is no JSON", r#"{"text":"a"}"#] {
        let told = Answer::whole(&WIRE, body).read();
        told.assert_end("success/other");
        told.assert([None; 4], TokenSource::Unknown);
    }
    let told = Answer::whole(&WIRE, error).status(400).read();
    told.assert_end("failure/invalid_request");
    Answer::whole(&WIRE, error).read().assert_end("failure/stream_error");
}

#[test]
fn nesting_and_bytes_that_are_no_text_do_no_harm() {
    let deep = format!(r#"{{"token":{}"#, "[".repeat(10_000));
    let told = Answer::events(&WIRE, &[&deep, TGI]).read();
    told.assert([None, None, Some(1), None], TokenSource::EngineFrame);
    let body = [b"data: {\"token\":\"\xff\"}\n\ndata: ", TGI.as_bytes(), b"\n\n"].concat();
    let told = Answer::new(&WIRE, "text/event-stream", body).read();
    told.assert([None, None, Some(1), None], TokenSource::EngineFrame);
    let whole = "[".repeat(10_000) + &"]".repeat(10_000);
    Answer::whole(&WIRE, whole).read().assert([None; 4], TokenSource::Unknown);
}
