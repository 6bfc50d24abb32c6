//! What the answers of llama.cpp's own `/completion` tell.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]

mod support;

use std::time::Duration;

use infermeter::{
    outcome::{FailureReason, FinishReason, Outcome, TokenSource},
    stream::Summary,
    wire::Wire,
};
use support::pieces::{assert_told, events, read};

const OK: Outcome = Outcome::Success(FinishReason::Stop);
const FAILED: Outcome = Outcome::Failure(FailureReason::StreamError);
const CUT: Outcome = Outcome::Failure(FailureReason::Truncated);

const WIRE: Wire = Wire::llamacpp();

fn part(index: u64, n: u64) -> String {
    format!(
        r#"{{"index":{index},"content":"a","tokens":[7],"stop":false,"tokens_predicted":{n},"tokens_evaluated":6}}"#
    )
}

/// The last event of a prompt or choice.
fn last(index: u64, n: u64, rest: &str) -> String {
    format!(
        r#"{{"index":{index},"content":"","tokens":[],"stop":true,"prompt":"p{index}","tokens_predicted":{n},"tokens_evaluated":6,"tokens_cached":9,"timings":{{"cache_n":4,"prompt_n":2,"prompt_ms":12.5}},{rest}}}"#
    )
}

const EOS: &str = r#""stop_type":"eos""#;

async fn stream(parts: &[&str]) -> Summary {
    events(&WIRE, parts).await
}

fn engine(completion: u64) -> ([Option<u64>; 4], TokenSource) {
    ([Some(6), Some(4), Some(completion), None], TokenSource::EngineFrame)
}

#[tokio::test]
async fn the_running_count_is_the_count_and_the_stop_is_the_end() {
    // The end token has no event of its own.
    let parts = [part(0, 1), part(0, 3), last(0, 4, EOS)];
    let summary = stream(&parts.each_ref().map(String::as_str)).await;
    let (counts, source) = engine(4);
    assert_told(&summary, counts, source);
    assert_eq!((summary.outcome, summary.longest_choice), (OK, Some(4)));
    assert_eq!(summary.prefill_time, Some(Duration::from_micros(12_500)));
    assert_eq!(summary.queue_time, None);

    let summary = stream(&[&parts[0], &parts[1]]).await;
    assert_told(&summary, [Some(6), None, Some(3), None], source);
    assert_eq!(summary.outcome, CUT);

    let whole = parts[2].replace(r#""content":"""#, r#""content":"a b c""#);
    let summary = read(&WIRE, whole).await;
    assert_told(&summary, counts, source);
    assert_eq!((summary.outcome, summary.longest_choice), (OK, Some(4)));
    assert_eq!(summary.prefill_time, Some(Duration::from_micros(12_500)));
}

#[tokio::test]
async fn what_is_the_first_token() {
    let progress = r#","prompt_progress":{"total":6,"cache":0,"processed":4,"time_ms":3}}"#;
    for (part, is_token) in [
        (part(0, 1), true),
        (part(0, 1).replace("\"a\"", "\"\""), true),
        (part(0, 1).replace("\"a\"", "\"\"").replace("[7]", "[]"), true),
        (part(0, 0).replace("\"a\"", "\"\"").replace("[7]", "[]"), false),
        (part(0, 0).replace("\"a\"", "\"\"").replace("[7]", "[]").replace('}', progress), false),
        (last(0, 1, EOS), false),
        (r#"{"content":"a","stop":false}"#.to_owned(), true),
        (r#"{"content":"","stop":false}"#.to_owned(), false),
        ("{}".to_owned(), false),
        ("null".to_owned(), false),
        ("[1]".to_owned(), false),
        (r#"{"content":"cut"#.to_owned(), false),
    ] {
        let summary = stream(&[&part]).await;
        assert_eq!(summary.first_token.is_some(), is_token, "{part}");
    }
}

#[tokio::test]
async fn older_builds_tell_counts_at_the_end_only() {
    let part = r#"{"content":"a","stop":false,"slot_id":0}"#;
    let summary = stream(&[part, part]).await;
    assert_told(&summary, [None, None, Some(2), None], TokenSource::Counted);
    let end = r#"{"content":"","stop":true,"tokens_predicted":3,"tokens_evaluated":6,"stopped_eos":true,"stopped_limit":false}"#;
    let summary = stream(&[part, part, end]).await;
    assert_told(&summary, [Some(6), None, Some(3), None], TokenSource::EngineFrame);
    assert_eq!(summary.outcome, OK);
}

#[tokio::test]
async fn reasons() {
    let length = Outcome::Success(FinishReason::Length);
    for (rest, outcome) in [
        (EOS, OK),
        (r#""stop_type":"word","stopping_word":"x""#, OK),
        (r#""stop_type":"limit""#, length),
        (r#""stop_type":"limit","truncated":true"#, length),
        (r#""stop_type":"none""#, Outcome::Success(FinishReason::Other)),
        (r#""stopped_word":true,"stopped_limit":false"#, OK),
        (r#""stopped_eos":false,"stopped_limit":true"#, length),
        (r#""truncated":true"#, length),
        (r#""stop_type":7"#, Outcome::Success(FinishReason::Other)),
    ] {
        assert_eq!(stream(&[&last(0, 1, rest)]).await.outcome, outcome, "{rest}");
        assert_eq!(read(&WIRE, last(0, 1, rest)).await.outcome, outcome, "{rest}");
    }
}

#[tokio::test]
async fn odd_values_cost_only_themselves() {
    for (written, read) in [
        ("3.0", Some(3)),
        ("-1", None),
        ("1e400", None),
        ("99999999999999999999999", None),
        ("\"3\"", None),
        ("{}", None),
        ("null", None),
    ] {
        let end = last(0, 2, EOS).replace("evaluated\":6", &format!("evaluated\":{written}"));
        let summary = stream(&[&end]).await;
        assert_told(&summary, [read, Some(4), Some(2), None], TokenSource::EngineFrame);
    }
    for written in ["-1", "null", "\"1\"", "1e300", "[]"] {
        let end = last(0, 2, EOS).replace("12.5", written);
        assert_eq!(stream(&[&end]).await.prefill_time, None, "{written}");
    }
    let summary = stream(&[&part(0, 3), &last(0, 0, EOS)]).await;
    assert_eq!(summary.usage.completion, Some(3), "a zero takes nothing back");
}

#[tokio::test]
async fn errors() {
    let error = r#"{"error":{"code":500,"message":"x","type":"server_error"}}"#;
    let summary = stream(&[&part(0, 2), error]).await;
    assert_told(&summary, [Some(6), None, Some(2), None], TokenSource::EngineFrame);
    assert_eq!(summary.outcome, FAILED);
    assert_eq!(read(&WIRE, error).await.outcome, FAILED);
    let old = format!("data: {}\n\nerror: {{\"code\":500,\"message\":\"x\"}}\n\n", part(0, 1));
    assert_eq!(read(&WIRE, old).await.outcome, FAILED);
    assert_eq!(read(&WIRE, "{ no JSON").await.outcome, Outcome::Success(FinishReason::Other));
}

#[tokio::test]
async fn several_prompts_are_added_up_and_end_one_by_one() {
    let parts = [part(1, 1), part(0, 1), last(0, 3, EOS), part(1, 2)];
    let parts = parts.each_ref().map(String::as_str);
    let counts = [Some(12), Some(8), Some(5), None];
    // The other one goes on still, and whether it is of the same prompt shows at its end.
    let summary = stream(&parts).await;
    assert_told(&summary, [None, None, Some(5), None], TokenSource::EngineFrame);
    assert_eq!(summary.outcome, CUT);
    let end = last(1, 2, r#""stop_type":"limit""#);
    let summary = stream(&[&parts[..], &[&end]].concat()).await;
    assert_told(&summary, counts, TokenSource::EngineFrame);
    assert_eq!((summary.outcome, summary.longest_choice), (OK, Some(3)));
    assert_eq!(summary.prefill_time, None, "whose is not told");

    let summary = read(&WIRE, format!("[{end},{}]", last(0, 3, EOS))).await;
    assert_told(&summary, counts, TokenSource::EngineFrame);
    assert_eq!((summary.outcome, summary.longest_choice), (OK, Some(3)));
}

#[tokio::test]
async fn several_choices_have_one_prompt() {
    let end = |index| last(index, 2, EOS).replace(&format!("p{index}"), "same");
    let counts = [Some(6), Some(4), Some(4), None];
    let summary = stream(&[&part(0, 1), &part(1, 1), &end(1), &end(0)]).await;
    assert_told(&summary, counts, TokenSource::EngineFrame);
    let summary = read(&WIRE, format!("[{},{}]", end(0), end(1))).await;
    assert_told(&summary, counts, TokenSource::EngineFrame);
}

#[tokio::test]
async fn prompts_without_end_are_bounded() {
    let parts: Vec<String> = (0..1000).map(|index| part(index, 2)).collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let summary = stream(&parts).await;
    assert_told(&summary, [None, None, Some(128 * 2 + 872), None], TokenSource::Counted);
}

#[tokio::test]
async fn deep_nesting_and_broken_text_do_no_harm() {
    let deep = format!(r#"{{"content":{},"stop":"#, "[".repeat(10_000));
    let end = last(0, 2, EOS);
    let (counts, source) = engine(2);
    assert_told(&stream(&[&deep, &end]).await, counts, source);
    let mut body = b"data: {\"content\":\"\xff\xfe\"}\n\n".to_vec();
    body.extend(format!("data: {end}\n\n").bytes());
    assert_told(&read(&WIRE, body).await, counts, source);
    for body in [&b"[[[[[["[..], b"[\xff]", b"{\"timings\":[[[[", b"\xff"] {
        assert_told(&read(&WIRE, body).await, [None; 4], TokenSource::Unknown);
    }
}
