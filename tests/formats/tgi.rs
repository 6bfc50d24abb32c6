//! What TGI's own endpoints tell.

use std::time::Duration;

use crate::support::answers::{Answer, Told, assert_folder};
use infermeter::{
    outcome::{TokenSource, Unread},
    wire::Wire,
};

const WIRE: Wire = Wire::tgi();

const A: &str = r#"{"index":1,"token":{"id":5,"text":"a","special":false},"generated_text":null,"details":null}"#;
const END: &str = r#"{"index":2,"token":{"id":2,"text":"</s>","special":true},"generated_text":"a","details":{"finish_reason":"eos_token","generated_tokens":2,"input_length":7}}"#;
const WHOLE: &str = r#"{"generated_text":"a b"}"#;

fn stream(events: &[&str]) -> Told {
    Answer::events(&WIRE, events).read()
}

fn details(details: &str) -> String {
    format!(r#"{{"generated_text":"a b","details":{details}}}"#)
}

#[test]
fn recordings() {
    assert_folder("tgi", &WIRE);
}

#[test]
fn a_token_is_content_whatever_it_is() {
    for event in [
        A,
        r#"{"token":{"id":5,"text":"","special":false},"generated_text":null}"#,
        r#"{"token":{"id":2,"text":"</s>","special":true}}"#,
        r#"{"token":{}}"#,
    ] {
        let told = stream(&[event, event, event]);
        assert!(told.has_first_token(), "{event}");
        told.assert([None, None, Some(3), None], TokenSource::EngineFrame);
        assert_eq!(told.gaps, [1, 1]);
        told.assert_end("failure/truncated");
    }
}

#[test]
fn what_has_no_token_is_no_content() {
    for event in [
        r#"{"index":1,"token":null,"generated_text":null}"#,
        r#"{"token":5,"generated_text":6,"details":7}"#,
        r#"{"prefill":{"processed":3}}"#,
        "[1]",
        "null",
        "[DONE]",
        "{\"token\":{\"id\":5",
    ] {
        let told = stream(&[event]);
        assert!(!told.has_first_token(), "{event}");
        told.assert([None; 4], TokenSource::Unknown);
        told.assert_end("failure/truncated");
    }
    let comment = Answer::new(&WIRE, "text/event-stream", ": wait\n\n:\n\n").read();
    assert!(!comment.has_first_token());
}

#[test]
fn the_text_of_the_whole_answer_ends_the_stream() {
    let told = stream(&[A, END]);
    told.assert([Some(7), None, Some(2), None], TokenSource::Usage);
    told.assert_end("success/stop");
    assert_eq!(told.summary.longest_choice, Some(2));
    // Without details, tokens are still counted as they are.
    let end = r#"{"token":{"id":5},"generated_text":"","details":null}"#;
    let told = stream(&[A, end]);
    told.assert([None, None, Some(2), None], TokenSource::EngineFrame);
    told.assert_end("success/other");
    let answer = Answer::events(&WIRE, &[A, END]);
    answer.left().assert_end("success/stop");
    answer.left_at(A.len() + 10).assert_end("aborted/decode");
    answer.left_at(3).assert_end("aborted/prefill");
}

#[test]
fn no_space_after_the_colon() {
    let body = format!("data:{A}\n\ndata:{END}\n\n");
    let told = Answer::new(&WIRE, "text/event-stream", body).read();
    assert_eq!(told.gist(), stream(&[A, END]).gist());
}

#[test]
fn reasons() {
    for (reason, end) in [
        (r#""eos_token""#, "success/stop"),
        (r#""stop_sequence""#, "success/stop"),
        (r#""length""#, "success/length"),
        (r#""something new""#, "success/other"),
        ("null", "success/other"),
        ("{}", "success/other"),
    ] {
        stream(&[A, &END.replace(r#""eos_token""#, reason)]).assert_end(end);
    }
}

#[test]
fn errors() {
    for (event, end) in [
        (r#"{"error":"x","error_type":"generation"}"#, "failure/stream_error"),
        (r#"{"error":"x","error_type":"incomplete_generation"}"#, "failure/stream_error"),
        (
            r#"{"error":"must have less than 9 tokens","error_type":"validation"}"#,
            "failure/stream_error",
        ),
        (r#"{"error":{"message":"x"}}"#, "failure/stream_error"),
        (r#"{"error":""}"#, "failure/truncated"),
        (r#"{"error":null}"#, "failure/truncated"),
    ] {
        let told = stream(&[A, event]);
        told.assert([None, None, Some(1), None], TokenSource::EngineFrame);
        told.assert_end(end);
        let told = stream(&[event]);
        assert!(!told.has_first_token());
        told.assert_end(end);
    }
    let error = r#"{"error":"must have less than 9 tokens","error_type":"validation"}"#;
    for (status, end) in [
        (200, "failure/stream_error"),
        (413, "failure/client_error"),
        (422, "failure/invalid_request"),
        (424, "failure/client_error"),
        (429, "failure/rate_limited"),
        (500, "failure/server_error"),
    ] {
        Answer::whole(&WIRE, error).status(status).read().assert_end(end);
    }
}

#[test]
fn the_head_tells_the_counts_and_the_wait() {
    let head = |answer: Answer| {
        answer
            .header("x-prompt-tokens", "7")
            .header("x-generated-tokens", "20")
            .header("x-queue-time", "1250")
            .header("x-inference-time", "3000")
    };
    let told = head(Answer::whole(&WIRE, WHOLE)).read();
    told.assert([Some(7), None, Some(20), None], TokenSource::Header);
    told.assert_end("success/other");
    let summary = &told.summary;
    assert_eq!(summary.queue_time, Some(Duration::from_millis(1250)));
    assert_eq!((summary.prefill_time, summary.longest_choice), (None, Some(20)));
    // The body is the engine's own word.
    let body = details(r#"{"finish_reason":"length","generated_tokens":21,"input_length":8}"#);
    let told = head(Answer::whole(&WIRE, body)).read();
    told.assert([Some(8), None, Some(21), None], TokenSource::Usage);
    told.assert_end("success/length");
    // What it does not tell, the head still does.
    let body = details(r#"{"generated_tokens":21,"prefill":[{}]}"#);
    head(Answer::whole(&WIRE, body))
        .read()
        .assert([Some(7), None, Some(21), None], TokenSource::Usage);
    let body = details(r#"{"generated_tokens":"many","input_length":-1}"#);
    head(Answer::whole(&WIRE, body))
        .read()
        .assert([Some(7), None, Some(20), None], TokenSource::Header);
    head(Answer::whole(&WIRE, "no JSON"))
        .read()
        .assert([Some(7), None, Some(20), None], TokenSource::Header);
    // Nor does it take a body that can be read.
    let packed = head(Answer::whole(&WIRE, "packed")).header("content-encoding", "gzip");
    for (answer, unread) in [
        (packed, Unread::Compressed),
        (head(Answer::whole(&WIRE, vec![b' '; 9 * 1024 * 1024])), Unread::TooLong),
    ] {
        let told = answer.in_pieces(&[answer.body()]);
        told.assert([Some(7), None, Some(20), None], TokenSource::Header);
        told.assert_end("success/other");
        assert_eq!(told.summary.queue_time, Some(Duration::from_millis(1250)));
        assert_eq!(told.summary.unread, Some(unread));
    }
}

#[test]
fn odd_numbers_cost_only_themselves() {
    for (written, read) in [
        ("0", Some(0)),
        (" 3 ", Some(3)),
        ("3.0", None),
        ("-1", None),
        ("4294967296", None),
        ("99999999999999999999999", None),
        ("three", None),
        ("", None),
    ] {
        let answer = Answer::whole(&WIRE, WHOLE)
            .header("x-prompt-tokens", written)
            .header("x-generated-tokens", "2")
            .header("x-queue-time", written);
        let told = answer.read();
        told.assert([read, None, Some(2), None], TokenSource::Header);
        assert_eq!(told.summary.queue_time, read.map(Duration::from_millis));
    }
    for (written, read) in [
        ("0", Some(0)),
        ("3.0", Some(3)),
        ("-1", None),
        ("2.5", None),
        ("1e400", None),
        ("99999999999999999999999", None),
        ("\"3\"", None),
        ("null", None),
    ] {
        let prompt = END.replace(":7", &format!(":{written}"));
        stream(&[A, &prompt]).assert([read, None, Some(2), None], TokenSource::Usage);
        let generated = END.replace("tokens\":2", &format!("tokens\":{written}"));
        let source = read.map_or(TokenSource::EngineFrame, |_| TokenSource::Usage);
        stream(&[A, &generated]).assert([Some(7), None, read.or(Some(2)), None], source);
    }
}

#[test]
fn whole_answers() {
    let told = Answer::whole(&WIRE, WHOLE).read();
    told.assert([None; 4], TokenSource::Unknown);
    told.assert_end("success/other");
    assert!(!told.has_first_token());
    let one = details(r#"{"finish_reason":"length","generated_tokens":2,"prefill":[{},{},{}]}"#);
    let told = Answer::whole(&WIRE, one.as_str()).read();
    told.assert([Some(3), None, Some(2), None], TokenSource::Usage);
    assert_eq!(Answer::whole(&WIRE, format!(" [{one}]\n")).read().gist(), told.gist());
    // More than one is not what TGI answers: it tells nothing.
    for other in [&format!("[{one},{one}]"), "[]", "[1]", "", "{", "5"] {
        let told = Answer::whole(&WIRE, other).read();
        told.assert([None; 4], TokenSource::Unknown);
        told.assert_end("success/other");
    }
}

#[test]
fn sequences_that_were_not_chosen_were_generated_too() {
    let sequence = r#"{"generated_text":"b","finish_reason":"length","generated_tokens":9}"#;
    let body = |others: &str| {
        details(&format!(
            r#"{{"finish_reason":"eos_token","generated_tokens":2,"best_of_sequences":{others}}}"#
        ))
    };
    let told = Answer::whole(&WIRE, body(&format!("[{sequence},{sequence}]"))).read();
    told.assert([None, None, Some(20), None], TokenSource::Usage);
    told.assert_end("success/stop");
    assert_eq!(told.summary.longest_choice, Some(9));
    // One of them does not tell: neither does the sum.
    let told = Answer::whole(&WIRE, body(&format!("[{sequence},{{}}]"))).read();
    told.assert([None; 4], TokenSource::Unknown);
    let told = Answer::whole(&WIRE, body("null")).read();
    told.assert([None, None, Some(2), None], TokenSource::Usage);
}

#[test]
fn nesting_and_bytes_that_are_no_text_do_no_harm() {
    let deep = format!(r#"{{"token":{}"#, "[".repeat(10_000));
    let nested = format!(r#"{{"x":{}{},{}"#, "[".repeat(200), "]".repeat(200), &A[1..]);
    stream(&[&deep, &nested, END]).assert([Some(7), None, Some(2), None], TokenSource::Usage);
    let whole = "[".repeat(10_000) + &"]".repeat(10_000);
    Answer::whole(&WIRE, whole).read().assert([None; 4], TokenSource::Unknown);
    let mut body = format!("data:{A}\n\ndata:{A}\n\n").into_bytes();
    let at = body.iter().position(|byte| *byte == b'{').unwrap();
    body[at + 3] = 0xff;
    let told = Answer::new(&WIRE, "text/event-stream", body).read();
    told.assert([None, None, Some(1), None], TokenSource::EngineFrame);
}
