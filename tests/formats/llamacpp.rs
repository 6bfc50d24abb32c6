//! What the answers of llama.cpp's own `/completion` tell.

use std::time::Duration;

use crate::support::answers::{Answer, Told, assert_folder};
use infermeter::{outcome::TokenSource, wire::Wire};

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

fn stream(events: &[&str]) -> Told {
    Answer::events(&WIRE, events).read()
}

fn read(body: impl Into<Vec<u8>>) -> Told {
    Answer::unsaid(&WIRE, body).read()
}

fn engine(completion: u64) -> ([Option<u64>; 4], TokenSource) {
    ([Some(6), Some(4), Some(completion), None], TokenSource::EngineFrame)
}

#[test]
fn recordings() {
    assert_folder("llamacpp-native", &WIRE);
}

#[test]
fn the_running_count_is_the_count_and_the_stop_is_the_end() {
    // The end token has no event of its own.
    let parts = [part(0, 1), part(0, 3), last(0, 4, EOS)];
    let told = stream(&parts.each_ref().map(String::as_str));
    let (counts, source) = engine(4);
    told.assert(counts, source);
    told.assert_end("success/stop");
    assert_eq!(told.summary.longest_choice, Some(4));
    assert_eq!(told.summary.prefill_time, Some(Duration::from_micros(12_500)));
    assert_eq!(told.summary.queue_time, None);

    let told = stream(&[&parts[0], &parts[1]]);
    told.assert([Some(6), None, Some(3), None], source);
    told.assert_end("failure/truncated");

    let whole = parts[2].replace(r#""content":"""#, r#""content":"a b c""#);
    let told = read(whole);
    told.assert(counts, source);
    told.assert_end("success/stop");
    assert_eq!(told.summary.longest_choice, Some(4));
    assert_eq!(told.summary.prefill_time, Some(Duration::from_micros(12_500)));
}

#[test]
fn what_is_the_first_token() {
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
        let told = stream(&[&part]);
        assert_eq!(told.has_first_token(), is_token, "{part}");
    }
}

#[test]
fn older_builds_tell_counts_at_the_end_only() {
    let part = r#"{"content":"a","stop":false,"slot_id":0}"#;
    let told = stream(&[part, part]);
    told.assert([None, None, Some(2), None], TokenSource::Counted);
    let end = r#"{"content":"","stop":true,"tokens_predicted":3,"tokens_evaluated":6,"stopped_eos":true,"stopped_limit":false}"#;
    let told = stream(&[part, part, end]);
    told.assert([Some(6), None, Some(3), None], TokenSource::EngineFrame);
    told.assert_end("success/stop");
}

#[test]
fn reasons() {
    let length = "success/length";
    for (rest, outcome) in [
        (EOS, "success/stop"),
        (r#""stop_type":"word","stopping_word":"x""#, "success/stop"),
        (r#""stop_type":"limit""#, length),
        (r#""stop_type":"limit","truncated":true"#, length),
        (r#""stop_type":"none""#, "success/other"),
        (r#""stopped_word":true,"stopped_limit":false"#, "success/stop"),
        (r#""stopped_eos":false,"stopped_limit":true"#, length),
        (r#""truncated":true"#, length),
        (r#""stop_type":7"#, "success/other"),
    ] {
        stream(&[&last(0, 1, rest)]).assert_end(outcome);
        read(last(0, 1, rest)).assert_end(outcome);
    }
}

#[test]
fn odd_values_cost_only_themselves() {
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
        let told = stream(&[&end]);
        told.assert([read, Some(4), Some(2), None], TokenSource::EngineFrame);
    }
    for written in ["-1", "null", "\"1\"", "1e300", "[]"] {
        let end = last(0, 2, EOS).replace("12.5", written);
        assert_eq!(stream(&[&end]).summary.prefill_time, None, "{written}");
    }
    let told = stream(&[&part(0, 3), &last(0, 0, EOS)]);
    assert_eq!(told.summary.usage.completion, Some(3), "a zero takes nothing back");
}

#[test]
fn errors() {
    let error = r#"{"error":{"code":500,"message":"x","type":"server_error"}}"#;
    let told = stream(&[&part(0, 2), error]);
    told.assert([Some(6), None, Some(2), None], TokenSource::EngineFrame);
    told.assert_end("failure/stream_error");
    read(error).assert_end("failure/stream_error");
    let old = format!("data: {}\n\nerror: {{\"code\":500,\"message\":\"x\"}}\n\n", part(0, 1));
    read(old).assert_end("failure/stream_error");
    read("{ no JSON").assert_end("success/other");
}

#[test]
fn several_prompts_are_added_up_and_end_one_by_one() {
    let parts = [part(1, 1), part(0, 1), last(0, 3, EOS), part(1, 2)];
    let parts = parts.each_ref().map(String::as_str);
    let counts = [Some(12), Some(8), Some(5), None];
    // The other one goes on still, and whether it is of the same prompt shows at its end.
    let told = stream(&parts);
    told.assert([None, None, Some(5), None], TokenSource::EngineFrame);
    told.assert_end("failure/truncated");
    let end = last(1, 2, r#""stop_type":"limit""#);
    let told = stream(&[&parts[..], &[&end]].concat());
    told.assert(counts, TokenSource::EngineFrame);
    told.assert_end("success/stop");
    assert_eq!(told.summary.longest_choice, Some(3));
    assert_eq!(told.summary.prefill_time, None, "whose is not told");

    let told = read(format!("[{end},{}]", last(0, 3, EOS)));
    told.assert(counts, TokenSource::EngineFrame);
    told.assert_end("success/stop");
    assert_eq!(told.summary.longest_choice, Some(3));
}

#[test]
fn several_choices_have_one_prompt() {
    let end = |index| last(index, 2, EOS).replace(&format!("p{index}"), "same");
    let counts = [Some(6), Some(4), Some(4), None];
    let told = stream(&[&part(0, 1), &part(1, 1), &end(1), &end(0)]);
    told.assert(counts, TokenSource::EngineFrame);
    let told = read(format!("[{},{}]", end(0), end(1)));
    told.assert(counts, TokenSource::EngineFrame);
}

#[test]
fn prompts_without_end_are_bounded() {
    let parts: Vec<String> = (0..1000).map(|index| part(index, 2)).collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let told = stream(&parts);
    told.assert([None, None, Some(128 * 2 + 872), None], TokenSource::Counted);
}

#[test]
fn deep_nesting_and_broken_text_do_no_harm() {
    let deep = format!(r#"{{"content":{},"stop":"#, "[".repeat(10_000));
    let end = last(0, 2, EOS);
    let (counts, source) = engine(2);
    stream(&[&deep, &end]).assert(counts, source);
    let mut body = b"data: {\"content\":\"\xff\xfe\"}\n\n".to_vec();
    body.extend(format!("data: {end}\n\n").bytes());
    read(body).assert(counts, source);
    for body in [&b"[[[[[["[..], b"[\xff]", b"{\"timings\":[[[[", b"\xff"] {
        read(body).assert([None; 4], TokenSource::Unknown);
    }
}
