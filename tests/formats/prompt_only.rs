//! What answers tell that generate nothing.

use crate::support::answers::{Answer, Told, assert_folder};
use infermeter::{
    outcome::{TokenSource, Unread},
    wire::Wire,
};

const WIRE: Wire = Wire::prompt_only();

fn read(body: impl Into<Vec<u8>>) -> Told {
    Answer::unsaid(&WIRE, body).read()
}

#[test]
fn recordings() {
    assert_folder("prompt_only", &WIRE);
}

#[test]
fn usage_in_its_shapes() {
    use TokenSource::{Unknown, Usage};
    for (usage, prompt, generated, source) in [
        // OpenAI, and vLLM.
        (r#"{"prompt_tokens":8,"total_tokens":8}"#, Some(8), Some(0), Usage),
        (r#"{"prompt_tokens":8,"total_tokens":8,"completion_tokens":0}"#, Some(8), Some(0), Usage),
        // Jina, Voyage.
        (r#"{"total_tokens":38}"#, Some(38), None, Unknown),
        (r#"{"prompt_tokens":8}"#, Some(8), None, Unknown),
        // What is more than the prompt is no proof of anything.
        (r#"{"prompt_tokens":8,"total_tokens":9}"#, Some(8), None, Unknown),
        (r#"{"prompt_tokens":0,"total_tokens":0}"#, Some(0), Some(0), Usage),
        ("{}", None, None, Unknown),
        ("null", None, None, Unknown),
        ("[8]", None, None, Unknown),
        (r#"{"prompt_tokens":-1,"total_tokens":"8"}"#, None, None, Unknown),
        (r#"{"prompt_tokens":1e300}"#, None, None, Unknown),
        (r#"{"prompt_tokens":8.0}"#, Some(8), None, Unknown),
        (r#"{"prompt_tokens":99999999999999999999}"#, None, None, Unknown),
    ] {
        let body = format!(
            r#" {{"object":"list","data":[{{"index":0,"embedding":[0.1,-2e-3]}}],"usage":{usage}}}"#
        );
        let told = read(body);
        told.assert([prompt, None, generated, None], source);
        told.assert_end("success/other");
        assert!(!told.has_first_token());
    }
    let cached = r#"{"usage":{"prompt_tokens":8,"prompt_tokens_details":{"cached_tokens":4}}}"#;
    read(cached).assert([Some(8), Some(4), None, None], Unknown);
}

#[test]
fn answers_that_tell_nothing() {
    for body in [
        // Cohere.
        r#"{"results":[{"index":0,"relevance_score":0.9}],"meta":{"billed_units":{"search_units":1},"tokens":{"input_tokens":9}}}"#,
        // TEI.
        "[[0.1,0.2],[0.3,0.4]]",
        r#"[{"index":0,"score":0.9}]"#,
        "{\"usage\":",
        "{ no JSON",
        "",
    ] {
        let told = read(body);
        told.assert([None; 4], TokenSource::Unknown);
        told.assert_end("success/other");
    }
    let told = read(b"{\"x\":\"\xff\",\"usage\":{\"prompt_tokens\":1}}");
    told.assert([None; 4], TokenSource::Unknown);
    let deep = format!(r#"{{"data":{}"#, "[".repeat(10_000));
    read(deep).assert([None; 4], TokenSource::Unknown);
}

#[test]
fn errors_in_a_success() {
    for body in [
        r#"{"error":{"message":"x","type":"BadRequestError","code":400}}"#,
        r#"{"error":"Batch size error","error_type":"Validation"}"#,
    ] {
        read(body).assert_end("failure/stream_error");
    }
}

#[test]
fn a_large_answer_is_read_up_to_the_limit() {
    let embeddings = |n: usize| {
        let floats = vec!["-0.012345678"; n].join(",");
        format!(r#"{{"data":[{{"embedding":[{floats}]}}],"usage":{{"prompt_tokens":3}}}}"#)
    };
    let told = read(embeddings(600_000));
    told.assert([Some(3), None, None, None], TokenSource::Unknown);
    assert_eq!(told.summary.unread, None);
    let told = read(embeddings(800_000));
    assert_eq!(told.summary.unread, Some(Unread::TooLong));
}
