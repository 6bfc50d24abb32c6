//! Streams as engines write them, and any others.

use proptest::{collection::vec, prelude::*, sample::select};

use super::{FINAL, MEMBERS, RUNNING, assert_left, frames, hidden};
use crate::proxy::usage::Hide;

/// Events, one a line, with each line end, without the space, and with comments.
#[track_caller]
fn assert_events_left(hide: Hide, events: &[&str], left: &[&str]) {
    let write = |events: &[&str], start: &str, end: &str| -> String {
        events.iter().map(|event| format!("{start}{event}{end}{end}")).collect()
    };
    for (start, end) in [
        ("data: ", "\n"),
        ("data:", "\n"),
        ("data: ", "\r\n"),
        ("data:", "\r"),
        (": ping\nid: 7\nevent: x\ndata: ", "\n"),
    ] {
        let (events, left) = (write(events, start, end), write(left, start, end));
        assert_left(hide, events.as_bytes(), left.as_bytes());
        let cut = events.trim_end();
        let left = left.strip_suffix(&events[cut.len()..]).unwrap();
        if cut.ends_with("[DONE]") {
            assert_left(hide, cut.as_bytes(), left.as_bytes());
        }
    }
}

const ROLE: &str = r#"{"id":"c","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#;
const TEXT: &str =
    r#"{"id":"c","choices":[{"index":0,"delta":{"content":"\"usage\":{"},"finish_reason":null}]}"#;
const END: &str = r#"{"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
const USAGE: &str = r#"{"id":"c","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}"#;
const DONE: &str = "[DONE]";

#[test]
fn the_usage_event_is_taken_out() {
    assert_events_left(FINAL, &[ROLE, TEXT, END, USAGE, DONE], &[ROLE, TEXT, END, DONE]);
    // One for each choice.
    assert_events_left(FINAL, &[TEXT, END, USAGE, USAGE, DONE], &[TEXT, END, DONE]);
    // Where the client asked for it, it stays.
    assert_events_left(MEMBERS, &[ROLE, TEXT, END, USAGE, DONE], &[ROLE, TEXT, END, USAGE, DONE]);
}

#[test]
fn what_is_no_usage_event_stays() {
    for event in [
        r#"{"choices":[],"prompt_filter_results":[{"usage":{}}]}"#,
        r#"{"choices":[],"usage":null}"#,
        r#"{"choices":[],"usage":7}"#,
        r#"{"choices":[],"usage":{},"error":{"message":"x"}}"#,
        r#"{"choices":[],"usage":{},"usage":{}}"#,
        r#"{"choices":[],"usage":{}"#,
        r#"{"choices":null,"usage":{}}"#,
        r#"{"choices":{},"usage":{}}"#,
        r#"{"usage":{"prompt_tokens":3}}"#,
        r#"[{"choices":[],"usage":{}}]"#,
        r#"{"error":{"message":"\"usage\"","usage":{},"choices":[]}}"#,
        r#""usage""#,
        "\"usage\":{}",
    ] {
        assert_events_left(RUNNING, &[TEXT, END, event, DONE], &[TEXT, END, event, DONE]);
    }
    // Not one line of data.
    let two = "{\"choices\":[],\ndata: \"usage\":{}}";
    assert_events_left(RUNNING, &[END, two, DONE], &[END, two, DONE]);
}

#[test]
fn members_are_taken_out_with_their_comma() {
    for (event, left) in [
        (r#"{"choices":[{}],"usage":{"a":{}}}"#, r#"{"choices":[{}]}"#),
        (r#"{"choices":[{}],"usage":{},"x":1}"#, r#"{"choices":[{}],"x":1}"#),
        (r#"{"usage":{"a":"}"},"choices":[{}]}"#, r#"{"choices":[{}]}"#),
        (r#"{"choices": [{}], "usage": {"a": 1}, "x": 1}"#, r#"{"choices": [{}], "x": 1}"#),
        (r#"{ "usage" : { } , "choices" : [ 1 ] }"#, r#"{ "choices" : [ 1 ] }"#),
        (r#"{ "choices" : [ 1 ] , "usage" : { } }"#, r#"{ "choices" : [ 1 ]  }"#),
        (
            r#"{"choices":[{"usage":{},"text":"\"usage\":{}"}],"usage":{}}"#,
            r#"{"choices":[{"usage":{},"text":"\"usage\":{}"}]}"#,
        ),
    ] {
        assert_events_left(MEMBERS, &[event, USAGE, DONE], &[left, USAGE, DONE]);
        assert_events_left(RUNNING, &[event, USAGE, DONE], &[left, DONE]);
        assert_events_left(FINAL, &[event, USAGE, DONE], &[event, DONE]);
    }
    for event in
        [r#"{"choices":[{}],"usage":null}"#, r#"{"choices":[{}],"us\u0061ge":{},"x":"usage"}"#]
    {
        assert_events_left(RUNNING, &[event, END, USAGE], &[event, END]);
    }
}

#[test]
fn what_only_the_usage_event_has_moves_to_the_end_before_it() {
    let end = r#"{"choices":[{"finish_reason":"stop"}],"x":1,"usage":{}}"#;
    let usage = r#"{"choices":[],"x":2,"usage":{},"model":"m", "y":{"a":[]},"metrics":{},"z":"é"}"#;
    let both = r#"{"choices":[{"finish_reason":"stop"}],"x":1, "y":{"a":[]},"z":"é"}"#;
    assert_events_left(RUNNING, &[TEXT, end, usage, DONE], &[TEXT, both, DONE]);
    let both = r#"{"choices":[{"finish_reason":"stop"}],"x":1,"usage":{}, "y":{"a":[]},"z":"é"}"#;
    assert_events_left(FINAL, &[TEXT, end, usage, DONE], &[TEXT, both, DONE]);
    // Each of the ends that came with it.
    assert_events_left(FINAL, &[end, TEXT, end, end, usage], &[end, TEXT, both, both]);
    assert_events_left(
        MEMBERS,
        &[end, usage, DONE],
        &[r#"{"choices":[{"finish_reason":"stop"}],"x":1}"#, usage, DONE],
    );

    let end = r#"{ "usage": {}, "choices": [{"finish_reason" : "stop"}] }"#;
    let usage = r#"{"y" : 1, "choices": [], "usage": {}}"#;
    let both = r#"{ "choices": [{"finish_reason" : "stop"}],"y" : 1 }"#;
    assert_events_left(RUNNING, &[end, usage], &[both]);
    // A member whose name cannot be read moves nothing.
    let usage = r#"{"choices":[],"usage":{},"\u0079":1}"#;
    assert_events_left(RUNNING, &[end, usage], &[r#"{ "choices": [{"finish_reason" : "stop"}] }"#]);
}

#[test]
fn servers() {
    // OpenAI: null on the other events; the same members on all.
    let event = |choices, usage| {
        format!(
            r#"{{"id":"c","object":"chat.completion.chunk","created":1,"model":"gpt","service_tier":"default","system_fingerprint":null,"choices":{choices},"usage":{usage},"obfuscation":"x"}}"#
        )
    };
    let text = event(
        r#"[{"index":0,"delta":{"content":"a"},"logprobs":null,"finish_reason":null}]"#,
        "null",
    );
    let end = event(r#"[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}]"#, "null");
    let usage = event(
        "[]",
        r#"{"prompt_tokens":3,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":0}}"#,
    );
    assert_events_left(FINAL, &[&text, &end, &usage, DONE], &[&text, &end, DONE]);
    // Azure: what was filtered comes first, without choices.
    let filtered = r#"{"choices":[],"created":0,"id":"","model":"","object":"","prompt_filter_results":[{"prompt_index":0}]}"#;
    assert_events_left(
        FINAL,
        &[filtered, &text, &end, &usage, DONE],
        &[filtered, &text, &end, DONE],
    );

    // SGLang: null stays, a running one goes; an error is no usage.
    let running = r#"{"id":"s","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"a"},"logprobs":null,"finish_reason":null,"matched_stop":null}],"usage":{"prompt_tokens":9,"total_tokens":10,"completion_tokens":1,"reasoning_tokens":1}}"#;
    let null = r#"{"id":"s","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop","matched_stop":2}],"usage":null}"#;
    let usage = r#"{"id":"s","object":"chat.completion.chunk","created":1,"model":"m","choices":[],"usage":{"prompt_tokens":9,"total_tokens":10,"completion_tokens":1}}"#;
    let error = r#"{"error":{"object":"error","message":"no \"usage\"","type":"x","param":null,"code":500}}"#;
    let (before, after) = running.split_once(r#","usage":"#).unwrap();
    let plain = format!("{before}{}", &after[after.len() - 1..]);
    assert_events_left(RUNNING, &[running, null, usage, DONE], &[&plain, null, DONE]);
    assert_events_left(RUNNING, &[running, error, DONE], &[&plain, error, DONE]);

    // TGI: an empty finish reason until the end.
    let text = r#"{"object":"chat.completion.chunk","id":"","created":1,"model":"m","system_fingerprint":"3.0","choices":[{"index":0,"delta":{"role":"assistant","content":"a"},"logprobs":null,"finish_reason":""}],"usage":null}"#;
    let end = text.replace(r#""finish_reason":"""#, r#""finish_reason":"length""#);
    let usage = r#"{"object":"chat.completion.chunk","id":"","created":1,"model":"m","system_fingerprint":"3.0","choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}"#;
    assert_events_left(FINAL, &[text, text, &end, usage, DONE], &[text, text, &end, DONE]);

    // llama.cpp: its timings are at the end of what comes last.
    let end = r#"{"choices":[{"finish_reason":"length","index":0,"delta":{}}],"created":1,"id":"l","model":"m","object":"chat.completion.chunk"}"#;
    let usage = r#"{"choices":[],"created":1,"id":"l","model":"m","object":"chat.completion.chunk","usage":{"completion_tokens":8},"timings":{"cache_n":0}}"#;
    let plain = r#"{"choices":[{"finish_reason":"length","index":0,"delta":{}}],"created":1,"id":"l","model":"m","object":"chat.completion.chunk","timings":{"cache_n":0}}"#;
    assert_events_left(FINAL, &[TEXT, end, usage, DONE], &[TEXT, plain, DONE]);
    // At /v1/completions it tells usage unasked, beside the choice.
    let unasked =
        r#"{"choices":[{"text":"","index":0,"finish_reason":"stop"}],"usage":{"prompt_tokens":1}}"#;
    assert_events_left(FINAL, &[unasked, DONE], &[unasked, DONE]);
}

#[test]
fn recorded_and_written_streams() {
    let body = |raw: &str| {
        let body = raw.split_once("\r\n\r\n").unwrap().1;
        let events: Vec<_> = body.lines().filter(|line| line.starts_with("data:")).collect();
        events.iter().map(|event| format!("{event}\n\n")).collect::<Vec<_>>()
    };
    // The last but one is the usage event.
    let without_usage = |mut events: Vec<String>| {
        let usage = events.remove(events.len() - 2);
        assert!(usage.contains("[]"), "{usage}");
        events.concat()
    };
    let mlx = body(include_str!("../../../../tests/data/mlx/chat-stream-usage.http"));
    assert_left(FINAL, mlx.concat().as_bytes(), without_usage(mlx).as_bytes());
    let lmdeploy = body(include_str!("../../../../tests/data/handmade/lmdeploy-chat-usage.http"));
    assert_left(FINAL, lmdeploy.concat().as_bytes(), without_usage(lmdeploy).as_bytes());
    let ollama =
        body(include_str!("../../../../tests/data/handmade/ollama-completions-zeros.http"));
    let zeros = r#","usage":{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}"#;
    let plain = without_usage(ollama.clone());
    assert!(plain.contains(zeros));
    assert_left(FINAL, ollama.concat().as_bytes(), plain.as_bytes());
    assert_left(RUNNING, ollama.concat().as_bytes(), plain.replace(zeros, "").as_bytes());
}

fn event(data: &str) -> String {
    format!("data: {data}\n\n")
}

#[test]
fn only_what_is_not_whole_waits() {
    let (text, end, usage, done) = (event(TEXT), event(END), event(USAGE), event(DONE));
    let cut = [text.as_str(), &text[..9], &text[9..], &end, ": ping\n\n", &end, &usage, &done];
    let expected: [&[&str]; 9] =
        [&[&text], &[], &[&text], &[], &[&end, ": ping\n\n"], &[], &[&end], &[&done], &[]];
    assert_eq!(frames(FINAL, cut), expected);

    // What need not change is not cut.
    let all = [&text[..], &text, &end, &text, &end].concat();
    let left = [text.clone() + &text, end.clone(), text];
    assert_eq!(frames(FINAL, [&all]), [left.to_vec(), vec![end]]);
}

#[test]
fn a_too_long_event_passes_as_it_is() {
    let limit = 1024 * 1024;
    for (length, passes) in [(limit, false), (limit + 1, true)] {
        let rest = "data: {\"choices\":[],\"usage\":{\"x\":\"\"}}\n\n".len();
        let long =
            event(&format!(r#"{{"choices":[],"usage":{{"x":"{}"}}}}"#, "x".repeat(length - rest)));
        assert_eq!(long.len(), length);
        let stream = [&event(END), &long, &event(USAGE), &event(TEXT), &event(DONE)]
            .map(String::as_str)
            .concat();
        let long = if passes { &long[..] } else { "" };
        let left = [&event(END), long, &event(TEXT), &event(DONE)].concat();
        for size in [stream.len(), 4096, 65_537, 1024 * 1024 - 1] {
            assert!(hidden(FINAL, stream.as_bytes().chunks(size)) == left.as_bytes(), "{size}");
        }
    }
    // Without an end it does not wait for ever.
    let out = frames(FINAL, vec!["x".repeat(limit); 3]);
    assert_eq!(
        out.iter().map(|frames| frames.concat().len()).collect::<Vec<_>>(),
        [0, 2 * limit, limit, 0]
    );
    // Nor do ends of choices that follow one another.
    let end = event(&END.replace("stop", &"x".repeat(limit / 4)));
    let out = frames(FINAL, vec![&end; 15]);
    assert_eq!(out.last().unwrap().len(), 3);
    assert_eq!(out.concat().concat(), end.repeat(15).as_bytes());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn without_usage_nothing_changes(
        bytes in prop_oneof![vec(any::<u8>(), 0..200), pieces(0..12)],
        cuts in vec(0..200_usize, 0..6),
        hide in select(vec![FINAL, RUNNING, MEMBERS]),
    ) {
        prop_assert_eq!(cut_and_hidden(hide, &bytes, cuts), bytes);
    }

    #[test]
    fn framing_changes_nothing(
        bytes in usage_pieces(),
        cuts in vec(0..400_usize, 0..6),
        hide in select(vec![FINAL, RUNNING, MEMBERS]),
    ) {
        prop_assert_eq!(cut_and_hidden(hide, &bytes, cuts), hidden(hide, [&bytes]));
    }
}

fn cut_and_hidden(hide: Hide, bytes: &[u8], mut cuts: Vec<usize>) -> Vec<u8> {
    cuts.sort_unstable();
    let (mut rest, mut at, mut cut_bytes) = (bytes, 0, Vec::new());
    for cut in cuts {
        let (first, second) = rest.split_at((cut - at).min(rest.len()));
        cut_bytes.push(first);
        (rest, at) = (second, cut);
    }
    cut_bytes.push(rest);
    hidden(hide, cut_bytes)
}

const PIECES: [&str; 14] = [
    "data: ",
    "data:",
    ": ",
    "\n",
    "\n\n",
    "\r\n",
    "\r",
    "\r\n\r\n",
    "{\"choices\":[{\"finish_reason\":\"stop\"}]}",
    "{\"choices\":[{\"finish_reason\":null}],\"usage\":null}",
    "{\"choices\":[]}",
    "\"usage\"",
    "[DONE]",
    "\u{feff}",
];

fn pieces(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<u8>> {
    vec(select(PIECES.to_vec()), count).prop_map(|pieces| pieces.concat().into_bytes())
}

fn usage_pieces() -> impl Strategy<Value = Vec<u8>> {
    let usage = [
        USAGE,
        r#"{"choices":[{"finish_reason":"a"}],"usage":{}}"#,
        r#"{"choices":[],"usage":{},"x":1}"#,
    ];
    let events: Vec<String> = [&[END, TEXT][..], &usage].concat().into_iter().map(event).collect();
    let piece =
        prop_oneof![3 => select(events), 1 => select(PIECES.to_vec()).prop_map(str::to_owned)];
    vec(piece, 0..12).prop_map(|pieces| pieces.concat().into_bytes())
}
