//! `/completions`, where llama.cpp speaks its own format and all others OpenAI's.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]

mod support;

use infermeter::{
    outcome::{FailureReason, Outcome, TokenSource},
    wire::Wire,
};
use support::{
    pieces::{assert_told, events, read, read_pieces},
    recording::Recording,
};

const COMPLETIONS: Wire = Wire::completions();

#[tokio::test]
async fn recordings_of_both_tell_what_they_tell_by_themselves() {
    let mut both = [0, 0];
    for recording in Recording::all() {
        let path = recording.entry.path.as_str();
        let (place, alone) = match path {
            "/completion" => (0, Wire::llamacpp()),
            "/v1/completions" | "/v1/chat/completions" => (1, Wire::openai()),
            _ => continue,
        };
        both[place] += 1;
        let body = recording.body();
        for size in [body.len().max(1), 7] {
            let [summary, expected] = [&COMPLETIONS, &alone].map(|wire| {
                let wire = wire.clone();
                let body = body.clone();
                async move { read_pieces(&wire, body.chunks(size)).await }
            });
            let (summary, expected) = (summary.await, expected.await);
            let gist = |s: &infermeter::stream::Summary| {
                let times = (s.prefill_time, s.queue_time, s.first_token.is_some());
                (s.usage, s.source, s.outcome, s.longest_choice, times)
            };
            assert_eq!(gist(&summary), gist(&expected), "{}", recording.entry.file);
        }
    }
    assert!(both.iter().all(|n| *n > 10), "{both:?}");
}

#[tokio::test]
async fn an_error_first_is_an_error() {
    for body in [
        "data: {\"error\":{\"code\":500,\"message\":\"x\"}}\n\n",
        "error: {\"code\":500}\n\n",
        "{\"error\":{\"code\":400}}",
        "[]",
        "[1,{}]",
        "",
    ] {
        let summary = read(&COMPLETIONS, body).await;
        assert_told(&summary, [None; 4], TokenSource::Unknown);
    }
    // Whichever of the two it is that goes on.
    for event in [
        r#"{"choices":[{"index":0,"text":"a"}]}"#,
        r#"{"content":"a","stop":false}"#,
        r#"{"content":"a","stop":false,"tokens_predicted":1}"#,
    ] {
        let summary = events(&COMPLETIONS, &[r#"{"error":{"code":500}}"#, event, "[DONE]"]).await;
        assert_eq!(summary.usage.completion, Some(1), "{event}");
        assert_eq!(summary.outcome, Outcome::Failure(FailureReason::StreamError), "{event}");
    }
}
