//! What Gemini tells, in the ways that it is written.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]

mod support;

use infermeter::{
    outcome::{FailureReason, FinishReason, Outcome, Phase, TokenSource},
    stream::Summary,
    wire::Wire,
};

use self::support::told::{Recorded, assert_folder, assert_told, events, gist, left, read};

const WIRE: Wire = Wire::gemini();
const FAILED: Outcome = Outcome::Failure(FailureReason::StreamError);

const A: &str = r#"{"candidates":[{"content":{"parts":[{"text":"a"}]},"index":0}]}"#;
const STOP: &str = r#"{"candidates":[{"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":24,"candidatesTokenCount":9}}"#;

fn stream(data: &[&str]) -> Summary {
    read(&WIRE, &events(data))
}

/// An event with content and counts.
fn running(counts: &str) -> String {
    format!(r#"{},"usageMetadata":{{{counts}}}}}"#, &A[..A.len() - 1])
}

#[test]
fn recordings_tell_what_their_index_says_however_they_are_split() {
    assert_folder("gemini", &WIRE);
}

#[test]
fn cached_tokens_and_thoughts_are_parts_of_the_others() {
    for (file, cached, reasoning) in [
        ("handmade-thoughts-cached.http", Some(2048), Some(20)),
        ("handmade-whole.http", Some(32), Some(20)),
        ("handmade-list.http", None, None),
    ] {
        let all = Recorded::all("gemini");
        let recorded = all.iter().find(|recorded| recorded.entry["file"] == file).unwrap();
        let usage = recorded.read(&WIRE, &[&recorded.body]).usage;
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
        let summary = stream(&[&event, &event]);
        assert!(summary.first_token.is_some(), "{part}");
        assert_told(&summary, [None, None, Some(2), None], TokenSource::Counted);
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
        assert!(stream(&[event]).first_token.is_none(), "{event}");
    }
    assert!(read(&WIRE, ": a comment\n\n").first_token.is_none());
}

// === usage ===

#[test]
fn the_last_counts_are_right_and_each_by_itself() {
    let summary = stream(&[
        &running(r#""promptTokenCount":5,"candidatesTokenCount":2,"thoughtsTokenCount":7"#),
        &running(r#""promptTokenCount":6,"candidatesTokenCount":4"#),
    ]);
    assert_told(&summary, [Some(6), None, Some(11), Some(7)], TokenSource::ContinuousUsage);
    assert_eq!(summary.longest_choice, Some(11));
    let summary = stream(&[&running(r#""candidatesTokenCount":2"#), STOP]);
    assert_told(&summary, [Some(24), None, Some(9), None], TokenSource::Usage);
    // The counts may come after the end.
    let end = r#"{"candidates":[{"finishReason":"STOP"}]}"#;
    let counts = r#"{"usageMetadata":{"promptTokenCount":5,"candidatesTokenCount":3}}"#;
    let summary = stream(&[A, end, counts]);
    assert_told(&summary, [Some(5), None, Some(3), None], TokenSource::Usage);
}

#[test]
fn a_count_that_stood_still_while_content_came_is_not_the_last_word() {
    let thoughts = running(r#""promptTokenCount":5,"thoughtsTokenCount":2"#);
    let summary = stream(&[&thoughts, A, A]);
    assert_told(&summary, [Some(5), None, Some(4), Some(2)], TokenSource::Counted);
    let zero = running(r#""candidatesTokenCount":0"#);
    let summary = stream(&[&zero, &zero]);
    assert_told(&summary, [None, None, Some(2), None], TokenSource::Counted);
}

#[test]
fn an_explicit_zero_at_the_end_is_a_value() {
    let summary = stream(&[&STOP.replace('9', "0")]);
    assert_told(&summary, [Some(24), None, Some(0), None], TokenSource::Usage);
}

#[test]
fn odd_counts_leave_no_sum() {
    for odd in ["-1", "1e400", "99999999999999999999999", "4294967296", "\"9\"", "2.5", "{}"] {
        let summary = stream(&[A, A, &STOP.replace(":9", &format!(":{odd}"))]);
        assert_told(&summary, [Some(24), None, Some(2), None], TokenSource::Counted);
        let counts = format!(r#""promptTokenCount":5,"toolUsePromptTokenCount":{odd}"#);
        assert_told(
            &stream(&[&running(&counts)]),
            [None, None, Some(1), None],
            TokenSource::Counted,
        );
        let counts = format!(r#""candidatesTokenCount":5,"thoughtsTokenCount":{odd}"#);
        assert_told(
            &stream(&[&running(&counts)]),
            [None, None, Some(1), None],
            TokenSource::Counted,
        );
    }
    let summary = stream(&[A, &STOP.replace(":9", ":3.0")]);
    assert_told(&summary, [Some(24), None, Some(3), None], TokenSource::Usage);
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
    let summary = stream(&[
        &candidate(1, ""),
        &candidate(0, ""),
        &candidate(1, stop[1]),
        &candidate(0, stop[0]),
    ]);
    assert_told(&summary, [None, None, Some(30), None], TokenSource::Usage);
    assert_eq!(summary.longest_choice, None, "the sum only is told");
    assert_eq!(summary.outcome, Outcome::Success(FinishReason::Stop), "of the lowest index");
    let summary = stream(&[&candidate(1, ""), &candidate(0, stop[0])]);
    assert_told(&summary, [None, None, Some(30), None], TokenSource::ContinuousUsage);
}

#[test]
fn candidates_without_end_are_bounded() {
    let event = |i: u64| A.replace("\"index\":0", &format!("\"index\":{i}"));
    let data: Vec<String> = (0..10_000).map(event).collect();
    let data: Vec<&str> = data.iter().map(String::as_str).collect();
    assert_told(&stream(&data), [None, None, Some(10_000), None], TokenSource::Counted);
}

// === ends ===

#[test]
fn finish_reasons() {
    for (word, reason) in [
        ("STOP", FinishReason::Stop),
        ("MAX_TOKENS", FinishReason::Length),
        ("SAFETY", FinishReason::ContentFilter),
        ("RECITATION", FinishReason::ContentFilter),
        ("SPII", FinishReason::ContentFilter),
        ("IMAGE_SAFETY", FinishReason::ContentFilter),
        ("MALFORMED_FUNCTION_CALL", FinishReason::Other),
        ("LANGUAGE", FinishReason::Other),
        ("FINISH_REASON_UNSPECIFIED", FinishReason::Other),
        ("", FinishReason::Other),
    ] {
        let summary = stream(&[A, &STOP.replace("STOP", word)]);
        assert_eq!(summary.outcome, Outcome::Success(reason), "{word}");
    }
    // It is said again and again that nothing is said.
    let unsaid = A.replace("\"index\":0", "\"finishReason\":\"FINISH_REASON_UNSPECIFIED\"");
    assert_eq!(stream(&[&unsaid, STOP, &unsaid]).outcome, Outcome::Success(FinishReason::Stop));
}

#[test]
fn a_blocked_prompt_ends_by_a_filter() {
    let feedback = |reason: &str| format!(r#"{{"promptFeedback":{{"blockReason":{reason}}}}}"#);
    for (reason, finish) in [
        ("\"SAFETY\"", FinishReason::ContentFilter),
        ("\"OF_TOMORROW\"", FinishReason::ContentFilter),
        ("\"BLOCK_REASON_UNSPECIFIED\"", FinishReason::Other),
        ("null", FinishReason::Other),
    ] {
        for body in [events(&[&feedback(reason)]), feedback(reason)] {
            assert_eq!(read(&WIRE, &body).outcome, Outcome::Success(finish), "{reason}");
        }
    }
}

#[test]
fn a_clean_end_is_the_end() {
    assert_eq!(stream(&[A]).outcome, Outcome::Success(FinishReason::Other));
    assert_eq!(left(&WIRE, &events(&[A])).outcome, Outcome::Aborted(Phase::Decode));
    let usage = r#"{"usageMetadata":{"promptTokenCount":5}}"#;
    assert_eq!(left(&WIRE, &events(&[usage])).outcome, Outcome::Aborted(Phase::Prefill));
}

#[test]
fn errors() {
    for event in
        [r#"{"error":{"code":503,"message":"x","status":"UNAVAILABLE"}}"#, r#"{"error":"died"}"#]
    {
        assert_eq!(stream(&[A, event, STOP]).outcome, FAILED, "{event}");
        assert_eq!(read(&WIRE, event).outcome, FAILED, "{event}");
        assert_eq!(read(&WIRE, &format!("[{A},{event}]")).outcome, FAILED, "{event}");
    }
    assert_eq!(
        stream(&[A, r#"{"error":null}"#, STOP]).outcome,
        Outcome::Success(FinishReason::Stop)
    );
    assert_eq!(read(&WIRE, "event: error\ndata: no JSON\n\n").outcome, FAILED);
}

// === whole answers ===

#[test]
fn a_list_tells_what_its_events_tell() {
    let data = [&running(r#""promptTokenCount":5,"candidatesTokenCount":2"#), A, STOP];
    let (mut list, stream) = (read(&WIRE, &format!(" [{}]\n", data.join(",\r\n"))), stream(&data));
    assert_eq!(list.first_token, None);
    list.first_token = stream.first_token;
    assert_eq!(gist(&list), gist(&stream));
    // One that is no list, or is cut, tells nothing.
    for body in ["[", "{ this is no JSON", "{}", "[]", "[1,null,[]]", &format!("[{STOP}")] {
        let summary = read(&WIRE, body);
        assert_told(&summary, [None; 4], TokenSource::Unknown);
        assert_eq!(summary.outcome, Outcome::Success(FinishReason::Other), "{body}");
    }
    assert_told(&read(&WIRE, A), [None; 4], TokenSource::Unknown);
}

#[test]
fn hostile_bytes_do_no_harm() {
    let deep = "[".repeat(10_000);
    let cut = format!(r#"{{"candidates":{deep}"#);
    let closed = A.replace("\"index\":0", &format!("\"x\":{deep}{}", "]".repeat(10_000)));
    let summary = stream(&[&cut, A, &closed]);
    assert_told(&summary, [None, None, Some(2), None], TokenSource::Counted);
    for body in [deep.clone(), format!("{deep}{}", "]".repeat(10_000)), closed] {
        assert_told(&read(&WIRE, &body), [None; 4], TokenSource::Unknown);
    }

    let mut broken = Recorded {
        entry: serde_json::json!({"status": 200, "kind": "stream"}),
        body: events(&[A, A, A]).into_bytes(),
    };
    let text = broken.body.windows(6).rposition(|window| window == b"text\":").unwrap();
    broken.body[text + 7] = 0xff;
    let summary = broken.read(&WIRE, &[&broken.body]);
    assert_told(&summary, [None, None, Some(2), None], TokenSource::Counted);
}
