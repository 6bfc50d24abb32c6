//! What Ollama's own endpoints tell.

use std::time::Duration;

use crate::support::{
    answers::{Answer, Told, assert_folder},
    frames::{Script, drain},
    scrape::Scrape,
};
use bytes::Bytes;
use futures_util::FutureExt;
use http::{Request, Response};
use infermeter::{InferenceLayer, Meter, outcome::TokenSource, wire::Wire};
use tower::{Layer, ServiceExt, service_fn};

const WIRE: Wire = Wire::ollama();

const A: &str = r#"{"model":"m","response":"a","done":false}"#;
const DONE: &str = r#"{"model":"m","response":"","done":true,"done_reason":"stop","prompt_eval_count":7,"eval_count":4}"#;

fn stream(lines: &[&str]) -> Told {
    Answer::lines(&WIRE, lines).read()
}

#[test]
fn recordings() {
    assert_folder("ollama", &WIRE);
}

#[test]
fn content_is_text_thinking_or_a_tool_call() {
    for content in [
        r#""response":"a""#,
        r#""response":" ""#,
        r#""response":"","thinking":"hm""#,
        r#""response":"","tool_calls":[{"function":{"name":"f","arguments":{}}}]"#,
        r#""message":{"role":"assistant","content":"a"}"#,
        r#""message":{"role":"assistant","content":"","thinking":"hm"}"#,
        r#""message":{"role":"assistant","content":"","tool_calls":[{"function":{"name":"f"}}]}"#,
        r#""response":"","logprobs":[{"token":"a","logprob":-1.0}]"#,
    ] {
        let line = format!(r#"{{"model":"m",{content},"done":false}}"#);
        let told = stream(&[&line, &line]);
        assert!(told.has_first_token(), "{content}");
        told.assert([None, None, Some(2), None], TokenSource::Counted);
        told.assert_end("failure/truncated");
    }
}

#[test]
fn a_line_without_content_is_none() {
    for line in [
        r#"{"model":"m","response":"","done":false}"#,
        r#"{"message":{"role":"assistant","content":""},"done":false}"#,
        r#"{"message":{"role":"assistant","content":null,"tool_calls":[]},"done":false}"#,
        r#"{"message":"text","response":5,"done":"true"}"#,
        r#"{"completed":3,"total":8,"done":false}"#,
        ": a comment",
        "[1]",
        "null",
        "{\"response\":\"cut",
    ] {
        let told = stream(&[line]);
        assert!(!told.has_first_token(), "{line}");
        told.assert([None; 4], TokenSource::Unknown);
        told.assert_end("failure/truncated");
    }
}

#[test]
fn the_last_line_tells_the_counts() {
    let told = stream(&[A, A, DONE]);
    told.assert([Some(7), None, Some(4), None], TokenSource::Usage);
    told.assert_end("success/stop");
    assert_eq!(told.summary.longest_choice, Some(4));
    assert_eq!(told.gaps, [1]);
    // A client that is gone after it has everything.
    let answer = Answer::lines(&WIRE, &[A, DONE]);
    answer.left().assert_end("success/stop");
    answer.left_at(A.len() + 1).assert_end("aborted/decode");
}

#[test]
fn a_line_stands_for_as_many_tokens_as_are_told() {
    let two = r#"{"response":"ab","done":false,"logprobs":[{"token":"a"},{"token":"b"}]}"#;
    let told = stream(&[two, two]);
    told.assert([None, None, Some(4), None], TokenSource::Counted);
    assert_eq!(told.gaps, [2]);
    // The tool call that comes at the end is all that is missing.
    let call = r#"{"message":{"content":"","tool_calls":[{"function":{"name":"f"}}]},"done":true,"done_reason":"stop","eval_count":9}"#;
    let told = stream(&[A, A, call]);
    told.assert([None, None, Some(9), None], TokenSource::Usage);
    assert_eq!(told.gaps, [1, 7]);
    // Unless the line itself says what it has.
    let two = call.replace("\"done\"", "\"logprobs\":[{},{}],\"done\"");
    assert_eq!(stream(&[A, A, &two]).gaps, [1, 2]);
}

#[test]
fn reasons() {
    for (reason, end) in [
        (r#""stop""#, "success/stop"),
        (r#""length""#, "success/length"),
        (r#""load""#, "success/other"),
        (r#""unload""#, "success/other"),
        (r#""something new""#, "success/other"),
        (r#""""#, "success/other"),
        ("null", "success/other"),
        ("5", "success/other"),
    ] {
        let done = DONE.replace(r#""stop""#, reason);
        stream(&[A, &done]).assert_end(end);
    }
}

#[test]
fn a_count_that_is_left_out_is_not_told() {
    let done = r#"{"response":"","done":true,"done_reason":"stop"}"#;
    stream(&[A, A, done]).assert([None, None, Some(2), None], TokenSource::Counted);
    stream(&[done]).assert([None; 4], TokenSource::Unknown);
    // Certain, since nothing was asked for but the model.
    for reason in ["load", "unload"] {
        let done = done.replace("stop", reason);
        let told = Answer::whole(&WIRE, done.as_str()).read();
        told.assert([None, None, Some(0), None], TokenSource::Usage);
        told.assert_end("success/other");
        let done = done.replace("}", ",\"eval_count\":3}");
        stream(&[&done]).assert([None, None, Some(3), None], TokenSource::Usage);
    }
}

#[test]
fn odd_numbers_cost_only_themselves() {
    for (written, read) in [
        ("3.0", Some(3)),
        ("0", Some(0)),
        ("-1", None),
        ("1e400", None),
        ("99999999999999999999999", None),
        ("\"3\"", None),
        ("2.5", None),
        ("[]", None),
        ("null", None),
    ] {
        let prompt = DONE.replace(":7", &format!(":{written}"));
        stream(&[A, &prompt]).assert([read, None, Some(4), None], TokenSource::Usage);
        let generated = DONE.replace(":4", &format!(":{written}"));
        let source = read.map_or(TokenSource::Counted, |_| TokenSource::Usage);
        stream(&[A, &generated]).assert([Some(7), None, read.or(Some(1)), None], source);
    }
}

#[test]
fn the_time_of_the_prefill_is_told_where_it_is_all_that_came_before_the_first_token() {
    let done = DONE.replace("\"done\":true", "\"done\":true,\"prompt_eval_duration\":5000000000");
    let told = stream(&[A, &done]).summary;
    assert_eq!((told.prefill_time, told.queue_time), (Some(Duration::from_secs(5)), None));
    // Here a part of the answer was held back.
    let thinking = r#"{"response":"","thinking":"hm","done":false}"#;
    assert_eq!(stream(&[thinking, A, &done]).summary.prefill_time, None);
    for odd in ["-1", "\"5\"", "1e9", "99999999999999999999999"] {
        let told = stream(&[A, &done.replace("5000000000", odd)]).summary;
        assert_eq!(told.prefill_time, None, "{odd}");
    }
}

#[test]
fn errors() {
    for (line, end) in [
        (r#"{"error":"died"}"#, "failure/stream_error"),
        (r#"{"error":{"message":"died"}}"#, "failure/stream_error"),
        (r#"{"error":""}"#, "failure/truncated"),
        (r#"{"error":null}"#, "failure/truncated"),
    ] {
        let told = stream(&[A, line]);
        told.assert([None, None, Some(1), None], TokenSource::Counted);
        told.assert_end(end);
    }
    let error = r#"{"error":"model 'm' not found"}"#;
    Answer::whole(&WIRE, error).status(404).read().assert_end("failure/not_found");
    Answer::whole(&WIRE, error).read().assert_end("failure/stream_error");
}

#[test]
fn whole_answers() {
    let told = Answer::whole(&WIRE, format!(" {}", DONE.replace("\"\"", "\"a b c\""))).read();
    told.assert([Some(7), None, Some(4), None], TokenSource::Usage);
    told.assert_end("success/stop");
    assert!(!told.has_first_token());
    for broken in ["{ this is no JSON", "", "[]", "{}"] {
        let told = Answer::whole(&WIRE, broken).read();
        told.assert([None; 4], TokenSource::Unknown);
        told.assert_end("success/other");
    }
}

#[test]
fn lines_of_a_body_of_which_nothing_is_known() {
    let body = format!("{A}\r\n\r\n{A}\r\n{DONE}");
    let told = Answer::new(&WIRE, "application/ndjson", body.as_str()).read();
    told.assert([Some(7), None, Some(4), None], TokenSource::Usage);
    // NB: not `read`, which takes the first byte for that of a whole answer.
    let unsaid = Answer::unsaid(&WIRE, body);
    let bytes: Vec<&[u8]> = unsaid.body().chunks(1).collect();
    assert_eq!(unsaid.in_pieces(&[unsaid.body()]).gist(), told.gist());
    assert_eq!(unsaid.in_pieces(&bytes).gist(), told.gist());
}

#[test]
fn nesting_and_bytes_that_are_no_text_do_no_harm() {
    let deep = format!(r#"{{"x":{}"#, "[".repeat(10_000));
    let nested = format!(r#"{{"x":{}{},{}"#, "[".repeat(200), "]".repeat(200), &A[1..]);
    stream(&[A, &deep, &nested, DONE]).assert([Some(7), None, Some(4), None], TokenSource::Usage);
    let mut body = format!("{A}\n{A}\n").into_bytes();
    let at = body.iter().position(|byte| *byte == b'a').unwrap();
    body[at] = 0xff;
    let told = Answer::new(&WIRE, "application/x-ndjson", body).read();
    told.assert([None, None, Some(1), None], TokenSource::Counted);
}

#[test]
fn a_line_over_the_limit_passes_and_is_not_read() {
    let meter = Meter::new();
    let long = A.replace("\"a\"", &format!("\"{}\"", "a".repeat(1024 * 1024)));
    let body = format!("{A}\n{long}\n{A}\n{}\n", DONE.replace(",\"eval_count\":4", ""));
    let frames: Vec<Bytes> = body.as_bytes().chunks(16_384).map(Bytes::copy_from_slice).collect();
    let layer = InferenceLayer::new(meter.clone());
    let service = layer.layer(service_fn(|_: Request<()>| {
        let body: Script<Bytes, ()> = Script::data(frames.clone());
        let response = Response::builder().header("content-type", "application/x-ndjson");
        std::future::ready(response.body(body))
    }));
    let request = Request::post("/api/generate").body(()).unwrap();
    let response = service.oneshot(request).now_or_never().unwrap().unwrap();
    assert_eq!(drain(response.into_body()).data, body.as_bytes());
    let scrape = Scrape::of(&meter);
    scrape.assert_identities();
    assert_eq!(scrape.sum("vllm:generation_tokens_total", &[]), 2);
    assert_eq!(scrape.sum("vllm:prompt_tokens_total", &[]), 7);
    let accounted = scrape.counted("infermeter_token_accounting_total").join(" ");
    assert!(accounted.contains("counted 1"), "{accounted}");
}
