//! What the answers of SGLang's `/generate` tell.

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

const WIRE: Wire = Wire::sglang();

/// An event with the text so far and how many tokens came so far.
fn event(text: &str, tokens: u64, finish: &str) -> String {
    format!(
        r#"{{"text":"{text}","meta_info":{{"id":"x","finish_reason":{finish},"prompt_tokens":5,"completion_tokens":{tokens}}}}}"#
    )
}

const STOP: &str = r#"{"type":"stop","matched":2}"#;

async fn stream(parts: &[&str]) -> Summary {
    events(&WIRE, &[parts, &["[DONE]"]].concat()).await
}

fn engine(completion: u64) -> ([Option<u64>; 4], TokenSource) {
    ([Some(5), None, Some(completion), None], TokenSource::EngineFrame)
}

#[tokio::test]
async fn the_running_count_is_the_count() {
    let parts = [event("a", 1, "null"), event("abc", 3, "null"), event("abcd", 5, STOP)];
    let summary = stream(&parts.each_ref().map(String::as_str)).await;
    let (counts, source) = engine(5);
    assert_told(&summary, counts, source);
    assert_eq!((summary.outcome, summary.longest_choice), (OK, Some(5)));
    assert!(summary.first_token.is_some());

    // Cut: what was told so far.
    let summary = events(&WIRE, &[&parts[0], &parts[1]]).await;
    let (counts, source) = engine(3);
    assert_told(&summary, counts, source);
    assert_eq!(summary.outcome, CUT);
}

#[tokio::test]
async fn the_rest_of_meta_info() {
    let part = r#"{"text":"a","meta_info":{"prompt_tokens":24,"completion_tokens":9,
        "cached_tokens":16,"reasoning_tokens":4,"queue_time":1.25,"finish_reason":
        {"type":"length","length":9}}}"#
        .replace('\n', "");
    let summary = stream(&[&part]).await;
    let counts = [Some(24), Some(16), Some(9), Some(4)];
    assert_told(&summary, counts, TokenSource::EngineFrame);
    assert_eq!(summary.outcome, Outcome::Success(FinishReason::Length));
    assert_eq!(summary.queue_time, Some(Duration::from_millis(1250)));
    assert_eq!(summary.prefill_time, None);

    let summary = read(&WIRE, &part).await;
    assert_told(&summary, counts, TokenSource::EngineFrame);
    assert_eq!(summary.outcome, Outcome::Success(FinishReason::Length));
    assert_eq!(summary.queue_time, Some(Duration::from_millis(1250)));
    assert_eq!((summary.first_token, summary.longest_choice), (None, Some(9)));
}

#[tokio::test]
async fn what_is_the_first_token() {
    for (part, is_token) in [
        (event("", 0, "null"), false),
        // Its text is held back.
        (event("", 1, "null"), true),
        (event("", 1, STOP), false),
        (event("a", 1, STOP), true),
        (r#"{"text":"","meta_info":{}}"#.to_owned(), false),
        (r#"{"text":"","output_ids":[7],"meta_info":{"completion_tokens":1}}"#.to_owned(), true),
        (r#"{"meta_info":{"prompt_tokens":5,"completion_tokens":0}}"#.to_owned(), false),
        ("{}".to_owned(), false),
        ("null".to_owned(), false),
        ("[1]".to_owned(), false),
        (r#"{"text":"cut"#.to_owned(), false),
    ] {
        let summary = stream(&[&part]).await;
        assert_eq!(summary.first_token.is_some(), is_token, "{part}");
    }
}

#[tokio::test]
async fn an_engine_that_tells_no_counts_has_its_events_counted() {
    let part = r#"{"text":"a","meta_info":{"finish_reason":null}}"#;
    assert_told(&stream(&[part, part]).await, [None, None, Some(2), None], TokenSource::Counted);
    assert_told(&stream(&[]).await, [None; 4], TokenSource::Unknown);
}

#[tokio::test]
async fn a_zero_at_the_end_takes_nothing_back() {
    let summary = stream(&[&event("a", 3, "null"), &event("", 0, STOP)]).await;
    assert_eq!(summary.usage.completion, Some(3));
    let summary = stream(&[&event("", 0, STOP)]).await;
    let (counts, source) = engine(0);
    assert_told(&summary, counts, source);
}

#[tokio::test]
async fn odd_values_cost_only_themselves() {
    for (written, read) in [
        ("3.0", Some(3)),
        ("-1", None),
        ("1e400", None),
        ("99999999999999999999999", None),
        ("\"3\"", None),
        ("2.5", None),
        ("{}", None),
        ("null", None),
    ] {
        let part = event("a", 2, STOP).replace(":5", &format!(":{written}"));
        let summary = stream(&[&part]).await;
        assert_told(&summary, [read, None, Some(2), None], TokenSource::EngineFrame);
    }
    for (written, millis) in [
        ("0", Some(0)),
        ("0.5", Some(500)),
        ("-3.5", None),
        ("null", None),
        ("\"1\"", None),
        ("1e300", None),
        ("1e400", None),
    ] {
        let part =
            event("a", 2, STOP).replace("\"id\"", &format!("\"queue_time\":{written},\"id\""));
        let queue_time = stream(&[&part]).await.queue_time;
        assert_eq!(queue_time, millis.map(Duration::from_millis), "{written}");
    }
}

#[tokio::test]
async fn reasons() {
    let ends = |reason: &str| event("a", 1, reason);
    for (reason, outcome) in [
        (r#"{"type":"stop","matched":"\n"}"#, OK),
        (r#"{"type":"length","length":1}"#, Outcome::Success(FinishReason::Length)),
        (r#"{"type":"abort","message":"x","status_code":503}"#, FAILED),
        (r#"{"type":"new"}"#, Outcome::Success(FinishReason::Other)),
        (r#""stop""#, OK),
        ("{}", Outcome::Success(FinishReason::Other)),
    ] {
        assert_eq!(stream(&[&ends(reason)]).await.outcome, outcome, "{reason}");
        assert_eq!(read(&WIRE, ends(reason)).await.outcome, outcome, "{reason}");
    }
}

#[tokio::test]
async fn errors() {
    let error = r#"{"error":{"message":"died"}}"#;
    let summary = stream(&[&event("a", 2, "null"), error]).await;
    let (counts, source) = engine(2);
    assert_told(&summary, counts, source);
    assert_eq!(summary.outcome, FAILED);
    assert_eq!(read(&WIRE, error).await.outcome, FAILED);
    assert_eq!(stream(&[r#"{"error":null}"#]).await.outcome, Outcome::Success(FinishReason::Other));
    assert_eq!(read(&WIRE, "{ no JSON").await.outcome, Outcome::Success(FinishReason::Other));
}

fn of(index: u64, tokens: u64, finish: &str) -> String {
    event("a", tokens, finish).replacen('{', &format!(r#"{{"index":{index},"#), 1)
}

#[tokio::test]
async fn several_answers_are_added_up() {
    let parts =
        [of(1, 1, "null"), of(0, 2, "null"), of(1, 4, r#"{"type":"length"}"#), of(0, 3, STOP)];
    let summary = stream(&parts.each_ref().map(String::as_str)).await;
    let counts = [Some(10), None, Some(7), None];
    assert_told(&summary, counts, TokenSource::EngineFrame);
    assert_eq!((summary.outcome, summary.longest_choice), (OK, Some(4)));

    let list = format!("[{},{}]", parts[2], parts[3]);
    let summary = read(&WIRE, list).await;
    assert_told(&summary, counts, TokenSource::EngineFrame);
    assert_eq!(summary.longest_choice, Some(4));
    assert_eq!(summary.outcome, Outcome::Success(FinishReason::Length));

    // One that is given up is one of all; members that are no answers cost themselves.
    let abort = of(1, 1, r#"{"type":"abort"}"#);
    assert_eq!(stream(&[&abort, &parts[3]]).await.outcome, FAILED);
    let summary = read(&WIRE, format!("[7,{},null,[],{{}}]", parts[3])).await;
    assert_told(&summary, [Some(5), None, Some(3), None], TokenSource::EngineFrame);
}

#[tokio::test]
async fn which_of_several_waited_is_not_told() {
    let with_time = |part: &str| part.replace("\"id\"", "\"queue_time\":1,\"id\"");
    let (zero, one) = (with_time(&of(0, 1, STOP)), with_time(&of(1, 1, STOP)));
    assert!(stream(&[&zero]).await.queue_time.is_some());
    assert_eq!(stream(&[&zero, &one]).await.queue_time, None);
}

#[tokio::test]
async fn answers_without_end_are_bounded() {
    let parts: Vec<String> =
        (0..1000).flat_map(|index| [of(index, 2, "null"), of(index, 3, STOP)]).collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let summary = stream(&parts).await;
    // 128 have places; of the others the events are counted and the prompts are not known.
    let counts = [None, None, Some(128 * 3 + 872 * 2), None];
    assert_told(&summary, counts, TokenSource::Counted);
    // A whole answer needs no places.
    let list = format!("[{}]", vec![of(0, 3, STOP); 1000].join(","));
    let summary = read(&WIRE, list).await;
    assert_told(&summary, [Some(5000), None, Some(3000), None], TokenSource::EngineFrame);
}

#[tokio::test]
async fn deep_nesting_and_broken_text_do_no_harm() {
    let deep = format!(r#"{{"text":{},"meta_info":"#, "[".repeat(10_000));
    let good = event("a", 2, STOP);
    let (counts, source) = engine(2);
    assert_told(&stream(&[&deep, &good]).await, counts, source);
    let mut body = b"data: {\"text\":\"\xff\xfe\"}\n\n".to_vec();
    body.extend(format!("data: {good}\n\ndata: [DONE]\n\n").bytes());
    assert_told(&read(&WIRE, body).await, counts, source);
    for body in [&b"[[[[[["[..], b"[\xff]", b"{\"meta_info\":[[[[", b"\xff"] {
        assert_told(&read(&WIRE, body).await, [None; 4], TokenSource::Unknown);
    }
}
