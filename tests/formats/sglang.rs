//! What the answers of SGLang's `/generate` tell.

use std::time::Duration;

use crate::support::answers::{Answer, Told, assert_folder};
use infermeter::{outcome::TokenSource, wire::Wire};

const WIRE: Wire = Wire::sglang();

/// An event with the text so far and how many tokens came so far.
fn event(text: &str, tokens: u64, finish: &str) -> String {
    format!(
        r#"{{"text":"{text}","meta_info":{{"id":"x","finish_reason":{finish},"prompt_tokens":5,"completion_tokens":{tokens}}}}}"#
    )
}

const STOP: &str = r#"{"type":"stop","matched":2}"#;

/// A stream of events and its end marker.
fn stream(events: &[&str]) -> Told {
    Answer::events(&WIRE, &[events, &["[DONE]"]].concat()).read()
}

fn read(body: impl Into<Vec<u8>>) -> Told {
    Answer::unsaid(&WIRE, body).read()
}

fn engine(completion: u64) -> ([Option<u64>; 4], TokenSource) {
    ([Some(5), None, Some(completion), None], TokenSource::EngineFrame)
}

#[test]
fn recordings() {
    assert_folder("sglang", &WIRE);
}

#[test]
fn the_running_count_is_the_count() {
    let parts = [event("a", 1, "null"), event("abc", 3, "null"), event("abcd", 5, STOP)];
    let told = stream(&parts.each_ref().map(String::as_str));
    let (counts, source) = engine(5);
    told.assert(counts, source);
    told.assert_end("success/stop");
    assert_eq!(told.summary.longest_choice, Some(5));
    assert!(told.has_first_token());

    // Cut: what was told so far.
    let told = Answer::events(&WIRE, &[&parts[0], &parts[1]]).read();
    let (counts, source) = engine(3);
    told.assert(counts, source);
    told.assert_end("failure/truncated");
}

#[test]
fn the_rest_of_meta_info() {
    let part = r#"{"text":"a","meta_info":{"prompt_tokens":24,"completion_tokens":9,
        "cached_tokens":16,"reasoning_tokens":4,"queue_time":1.25,"finish_reason":
        {"type":"length","length":9}}}"#
        .replace('\n', "");
    let told = stream(&[&part]);
    let counts = [Some(24), Some(16), Some(9), Some(4)];
    told.assert(counts, TokenSource::EngineFrame);
    told.assert_end("success/length");
    assert_eq!(told.summary.queue_time, Some(Duration::from_millis(1250)));
    assert_eq!(told.summary.prefill_time, None);

    let told = read(part.as_str());
    told.assert(counts, TokenSource::EngineFrame);
    told.assert_end("success/length");
    assert_eq!(told.summary.queue_time, Some(Duration::from_millis(1250)));
    assert!(!told.has_first_token());
    assert_eq!(told.summary.longest_choice, Some(9));
}

#[test]
fn what_is_the_first_token() {
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
        let told = stream(&[&part]);
        assert_eq!(told.has_first_token(), is_token, "{part}");
    }
}

#[test]
fn an_engine_that_tells_no_counts_has_its_events_counted() {
    let part = r#"{"text":"a","meta_info":{"finish_reason":null}}"#;
    stream(&[part, part]).assert([None, None, Some(2), None], TokenSource::Counted);
    stream(&[]).assert([None; 4], TokenSource::Unknown);
}

#[test]
fn a_zero_at_the_end_takes_nothing_back() {
    let told = stream(&[&event("a", 3, "null"), &event("", 0, STOP)]);
    assert_eq!(told.summary.usage.completion, Some(3));
    let told = stream(&[&event("", 0, STOP)]);
    let (counts, source) = engine(0);
    told.assert(counts, source);
}

#[test]
fn odd_values_cost_only_themselves() {
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
        let told = stream(&[&part]);
        told.assert([read, None, Some(2), None], TokenSource::EngineFrame);
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
        let queue_time = stream(&[&part]).summary.queue_time;
        assert_eq!(queue_time, millis.map(Duration::from_millis), "{written}");
    }
}

#[test]
fn reasons() {
    let ends = |reason: &str| event("a", 1, reason);
    for (reason, outcome) in [
        (r#"{"type":"stop","matched":"\n"}"#, "success/stop"),
        (r#"{"type":"length","length":1}"#, "success/length"),
        (r#"{"type":"abort","message":"x","status_code":503}"#, "failure/stream_error"),
        (r#"{"type":"new"}"#, "success/other"),
        (r#""stop""#, "success/stop"),
        ("{}", "success/other"),
    ] {
        stream(&[&ends(reason)]).assert_end(outcome);
        read(ends(reason)).assert_end(outcome);
    }
}

#[test]
fn errors() {
    let error = r#"{"error":{"message":"died"}}"#;
    let told = stream(&[&event("a", 2, "null"), error]);
    let (counts, source) = engine(2);
    told.assert(counts, source);
    told.assert_end("failure/stream_error");
    read(error).assert_end("failure/stream_error");
    stream(&[r#"{"error":null}"#]).assert_end("success/other");
    read("{ no JSON").assert_end("success/other");
}

fn of(index: u64, tokens: u64, finish: &str) -> String {
    event("a", tokens, finish).replacen('{', &format!(r#"{{"index":{index},"#), 1)
}

#[test]
fn several_answers_are_added_up() {
    let parts =
        [of(1, 1, "null"), of(0, 2, "null"), of(1, 4, r#"{"type":"length"}"#), of(0, 3, STOP)];
    let told = stream(&parts.each_ref().map(String::as_str));
    let counts = [Some(10), None, Some(7), None];
    told.assert(counts, TokenSource::EngineFrame);
    told.assert_end("success/stop");
    assert_eq!(told.summary.longest_choice, Some(4));

    let list = format!("[{},{}]", parts[2], parts[3]);
    let told = read(list);
    told.assert(counts, TokenSource::EngineFrame);
    assert_eq!(told.summary.longest_choice, Some(4));
    told.assert_end("success/length");

    // One that is given up is one of all; members that are no answers cost themselves.
    let abort = of(1, 1, r#"{"type":"abort"}"#);
    stream(&[&abort, &parts[3]]).assert_end("failure/stream_error");
    let told = read(format!("[7,{},null,[],{{}}]", parts[3]));
    told.assert([Some(5), None, Some(3), None], TokenSource::EngineFrame);
}

#[test]
fn which_of_several_waited_is_not_told() {
    let with_time = |part: &str| part.replace("\"id\"", "\"queue_time\":1,\"id\"");
    let (zero, one) = (with_time(&of(0, 1, STOP)), with_time(&of(1, 1, STOP)));
    assert!(stream(&[&zero]).summary.queue_time.is_some());
    assert_eq!(stream(&[&zero, &one]).summary.queue_time, None);
}

#[test]
fn answers_without_end_are_bounded() {
    let parts: Vec<String> =
        (0..1000).flat_map(|index| [of(index, 2, "null"), of(index, 3, STOP)]).collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let told = stream(&parts);
    // 128 have places; of the others the events are counted and the prompts are not known.
    let counts = [None, None, Some(128 * 3 + 872 * 2), None];
    told.assert(counts, TokenSource::Counted);
    // A whole answer needs no places.
    let list = format!("[{}]", vec![of(0, 3, STOP); 1000].join(","));
    let told = read(list);
    told.assert([Some(5000), None, Some(3000), None], TokenSource::EngineFrame);
}

#[test]
fn deep_nesting_and_broken_text_do_no_harm() {
    let deep = format!(r#"{{"text":{},"meta_info":"#, "[".repeat(10_000));
    let good = event("a", 2, STOP);
    let (counts, source) = engine(2);
    stream(&[&deep, &good]).assert(counts, source);
    let mut body = b"data: {\"text\":\"\xff\xfe\"}\n\n".to_vec();
    body.extend(format!("data: {good}\n\ndata: [DONE]\n\n").bytes());
    read(body).assert(counts, source);
    for body in [&b"[[[[[["[..], b"[\xff]", b"{\"meta_info\":[[[[", b"\xff"] {
        read(body).assert([None; 4], TokenSource::Unknown);
    }
}
