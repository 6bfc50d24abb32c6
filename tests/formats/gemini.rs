//! What Gemini tells, in the ways that it is written.

use crate::support::{
    answers::{Answer, Told, assert_folder},
    recording::Recording,
};
use infermeter::{outcome::TokenSource, wire::Wire};

const WIRE: Wire = Wire::gemini();

const A: &str = r#"{"candidates":[{"content":{"parts":[{"text":"a"}]},"index":0}]}"#;
const STOP: &str = r#"{"candidates":[{"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":24,"candidatesTokenCount":9}}"#;

fn stream(events: &[&str]) -> Told {
    Answer::events(&WIRE, events).read()
}

fn read(body: impl Into<Vec<u8>>) -> Told {
    Answer::unsaid(&WIRE, body).read()
}

/// An event with content and counts.
fn running(counts: &str) -> String {
    format!(r#"{},"usageMetadata":{{{counts}}}}}"#, &A[..A.len() - 1])
}

#[test]
fn recordings() {
    assert_folder("gemini", &WIRE);
}

#[test]
fn cached_tokens_and_thoughts_are_parts_of_the_others() {
    for (file, cached, reasoning) in [
        ("handmade-thoughts-cached.http", Some(2048), Some(20)),
        ("handmade-whole.http", Some(32), Some(20)),
        ("handmade-list.http", None, None),
    ] {
        let recording = Recording::named(&format!("gemini/{file}"));
        let usage = Answer::of(&recording, &WIRE).read().summary.usage;
        assert_eq!((usage.cached, usage.reasoning), (cached, reasoning), "{file}");
    }
}

// === what is content ===

#[test]
fn content_is_every_part_that_the_model_made() {
    for part in [
        r#"{"text":"a"}"#,
        r#"{"text":"\"b\\","thought":true}"#,
        r#"{"functionCall":{"name":"f","args":{}}}"#,
        r#"{"executableCode":{"language":"PYTHON","code":"1"}}"#,
        r#"{"inlineData":{"mimeType":"image/png","data":"aWJt"}}"#,
    ] {
        let event = format!(r#"{{"candidates":[{{"content":{{"parts":[{part}]}}}}]}}"#);
        let told = stream(&[&event, &event]);
        assert!(told.has_first_token(), "{part}");
        told.assert([None, None, Some(2), None], TokenSource::Counted);
    }
}

#[test]
fn what_is_not_generated_is_no_content() {
    for event in [
        STOP,
        r#"{"candidates":[{"content":{"parts":[{"text":""}],"role":"model"}}]}"#,
        r#"{"candidates":[{"content":{"parts":[{"text":"","thoughtSignature":"c2ln"}]}}]}"#,
        r#"{"candidates":[{"content":{"parts":[{"codeExecutionResult":{"output":"1"}}]}}]}"#,
        r#"{"candidates":[{"content":{"role":"model"}}]}"#,
        r#"{"candidates":[{"content":"text"}]}"#,
        r#"{"candidates":[null,7]}"#,
        r#"{"candidates":[]}"#,
        r#"{"usageMetadata":{"promptTokenCount":5}}"#,
        r#"{"candidates":[{"content":{"parts":[{"text":"cut"#,
        "[1]",
        "null",
        "",
        "[DONE]",
    ] {
        assert!(!stream(&[event]).has_first_token(), "{event}");
    }
    assert!(!read(": a comment\n\n").has_first_token());
}

// === usage ===

#[test]
fn the_last_counts_are_right_and_each_by_itself() {
    let told = stream(&[
        &running(r#""promptTokenCount":5,"candidatesTokenCount":2,"thoughtsTokenCount":7"#),
        &running(r#""promptTokenCount":6,"candidatesTokenCount":4"#),
    ]);
    told.assert([Some(6), None, Some(11), Some(7)], TokenSource::ContinuousUsage);
    assert_eq!(told.summary.longest_choice, Some(11));
    let told = stream(&[&running(r#""candidatesTokenCount":2"#), STOP]);
    told.assert([Some(24), None, Some(9), None], TokenSource::Usage);
    // The counts may come after the end.
    let end = r#"{"candidates":[{"finishReason":"STOP"}]}"#;
    let counts = r#"{"usageMetadata":{"promptTokenCount":5,"candidatesTokenCount":3}}"#;
    let told = stream(&[A, end, counts]);
    told.assert([Some(5), None, Some(3), None], TokenSource::Usage);
}

#[test]
fn a_count_that_stood_still_while_content_came_is_not_the_last_word() {
    let thoughts = running(r#""promptTokenCount":5,"thoughtsTokenCount":2"#);
    let told = stream(&[&thoughts, A, A]);
    told.assert([Some(5), None, Some(4), Some(2)], TokenSource::Counted);
    let zero = running(r#""candidatesTokenCount":0"#);
    let told = stream(&[&zero, &zero]);
    told.assert([None, None, Some(2), None], TokenSource::Counted);
}

#[test]
fn an_explicit_zero_at_the_end_is_a_value() {
    let told = stream(&[&STOP.replace('9', "0")]);
    told.assert([Some(24), None, Some(0), None], TokenSource::Usage);
}

#[test]
fn odd_counts_leave_no_sum() {
    for odd in ["-1", "1e400", "99999999999999999999999", "4294967296", "\"9\"", "2.5", "{}"] {
        let told = stream(&[A, A, &STOP.replace(":9", &format!(":{odd}"))]);
        told.assert([Some(24), None, Some(2), None], TokenSource::Counted);
        let counts = format!(r#""promptTokenCount":5,"toolUsePromptTokenCount":{odd}"#);
        stream(&[&running(&counts)]).assert([None, None, Some(1), None], TokenSource::Counted);
        let counts = format!(r#""candidatesTokenCount":5,"thoughtsTokenCount":{odd}"#);
        stream(&[&running(&counts)]).assert([None, None, Some(1), None], TokenSource::Counted);
    }
    let told = stream(&[A, &STOP.replace(":9", ":3.0")]);
    told.assert([Some(24), None, Some(3), None], TokenSource::Usage);
}

// === candidates ===

#[test]
fn counts_are_those_of_all_candidates() {
    let candidate = |index: u64, rest: &str| {
        format!(
            r#"{{"candidates":[{{"index":{index},"content":{{"parts":[{{"text":"a"}}]}}{rest}}}],"usageMetadata":{{"candidatesTokenCount":30}}}}"#
        )
    };
    let stop = [r#","finishReason":"STOP""#, r#","finishReason":"MAX_TOKENS""#];
    let told = stream(&[
        &candidate(1, ""),
        &candidate(0, ""),
        &candidate(1, stop[1]),
        &candidate(0, stop[0]),
    ]);
    told.assert([None, None, Some(30), None], TokenSource::Usage);
    assert_eq!(told.summary.longest_choice, None, "the sum only is told");
    told.assert_end("success/stop");
    let told = stream(&[&candidate(1, ""), &candidate(0, stop[0])]);
    told.assert([None, None, Some(30), None], TokenSource::ContinuousUsage);
}

#[test]
fn candidates_without_end_are_bounded() {
    let event = |i: u64| A.replace("\"index\":0", &format!("\"index\":{i}"));
    let data: Vec<String> = (0..10_000).map(event).collect();
    let data: Vec<&str> = data.iter().map(String::as_str).collect();
    stream(&data).assert([None, None, Some(10_000), None], TokenSource::Counted);
}

// === ends ===

#[test]
fn finish_reasons() {
    for (word, reason) in [
        ("STOP", "success/stop"),
        ("MAX_TOKENS", "success/length"),
        ("SAFETY", "success/content_filter"),
        ("RECITATION", "success/content_filter"),
        ("SPII", "success/content_filter"),
        ("IMAGE_SAFETY", "success/content_filter"),
        ("MALFORMED_FUNCTION_CALL", "success/other"),
        ("LANGUAGE", "success/other"),
        ("FINISH_REASON_UNSPECIFIED", "success/other"),
        ("", "success/other"),
    ] {
        let told = stream(&[A, &STOP.replace("STOP", word)]);
        told.assert_end(reason);
    }
    // It is said again and again that nothing is said.
    let unsaid = A.replace("\"index\":0", "\"finishReason\":\"FINISH_REASON_UNSPECIFIED\"");
    stream(&[&unsaid, STOP, &unsaid]).assert_end("success/stop");
}

#[test]
fn a_blocked_prompt_ends_by_a_filter() {
    let feedback = |reason: &str| format!(r#"{{"promptFeedback":{{"blockReason":{reason}}}}}"#);
    for (reason, finish) in [
        ("\"SAFETY\"", "success/content_filter"),
        ("\"OF_TOMORROW\"", "success/content_filter"),
        ("\"BLOCK_REASON_UNSPECIFIED\"", "success/other"),
        ("null", "success/other"),
    ] {
        stream(&[&feedback(reason)]).assert_end(finish);
        read(feedback(reason)).assert_end(finish);
    }
}

#[test]
fn a_clean_end_is_the_end() {
    stream(&[A]).assert_end("success/other");
    Answer::events(&WIRE, &[A]).left().assert_end("aborted/decode");
    let usage = r#"{"usageMetadata":{"promptTokenCount":5}}"#;
    Answer::events(&WIRE, &[usage]).left().assert_end("aborted/prefill");
}

#[test]
fn errors() {
    for event in
        [r#"{"error":{"code":503,"message":"x","status":"UNAVAILABLE"}}"#, r#"{"error":"died"}"#]
    {
        stream(&[A, event, STOP]).assert_end("failure/stream_error");
        read(event).assert_end("failure/stream_error");
        read(format!("[{A},{event}]")).assert_end("failure/stream_error");
    }
    stream(&[A, r#"{"error":null}"#, STOP]).assert_end("success/stop");
    read("event: error\ndata: no JSON\n\n").assert_end("failure/stream_error");
}

// === whole answers ===

#[test]
fn a_list_tells_what_its_events_tell() {
    let data = [&running(r#""promptTokenCount":5,"candidatesTokenCount":2"#), A, STOP];
    let list = read(format!(" [{}]\n", data.join(",\r\n")));
    assert!(!list.has_first_token());
    let mut stream = stream(&data);
    (stream.summary.first_token, stream.gaps) = (None, Vec::new());
    assert_eq!(list.gist(), stream.gist());
    // One that is no list, or is cut, tells nothing.
    for body in ["[", "{ this is no JSON", "{}", "[]", "[1,null,[]]", &format!("[{STOP}")] {
        let told = read(body);
        told.assert([None; 4], TokenSource::Unknown);
        told.assert_end("success/other");
    }
    read(A).assert([None; 4], TokenSource::Unknown);
}

#[test]
fn hostile_bytes_do_no_harm() {
    let deep = "[".repeat(10_000);
    let cut = format!(r#"{{"candidates":{deep}"#);
    let closed = A.replace("\"index\":0", &format!("\"x\":{deep}{}", "]".repeat(10_000)));
    let told = stream(&[&cut, A, &closed]);
    told.assert([None, None, Some(2), None], TokenSource::Counted);
    for body in [deep.clone(), format!("{deep}{}", "]".repeat(10_000)), closed] {
        read(body.as_str()).assert([None; 4], TokenSource::Unknown);
    }

    let mut broken = Answer::events(&WIRE, &[A, A, A]).body().to_vec();
    let text = broken.windows(6).rposition(|window| window == b"text\":").unwrap();
    broken[text + 7] = 0xff;
    let told = read(broken);
    told.assert([None, None, Some(2), None], TokenSource::Counted);
}
