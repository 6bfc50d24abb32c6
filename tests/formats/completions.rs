//! `/completions`, where llama.cpp speaks its own format and all others OpenAI's.

use crate::support::{
    answers::{Answer, Told},
    recording::Recording,
};
use infermeter::{outcome::TokenSource, wire::Wire};

const WIRE: Wire = Wire::completions();

fn read(body: impl Into<Vec<u8>>) -> Told {
    Answer::unsaid(&WIRE, body).read()
}

#[test]
fn recordings_of_both_tell_what_they_tell_by_themselves() {
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
            let [told, expected] = [&WIRE, &alone].map(|wire| {
                let pieces: Vec<&[u8]> = body.chunks(size).collect();
                Answer::unsaid(wire, body.as_slice()).in_pieces(&pieces).gist()
            });
            assert_eq!(told, expected, "{}", recording.entry.file);
        }
    }
    assert!(both.iter().all(|n| *n > 10), "{both:?}");
}

#[test]
fn an_error_first_is_an_error() {
    for body in [
        "data: {\"error\":{\"code\":500,\"message\":\"x\"}}\n\n",
        "error: {\"code\":500}\n\n",
        "{\"error\":{\"code\":400}}",
        "[]",
        "[1,{}]",
        "",
    ] {
        read(body).assert([None; 4], TokenSource::Unknown);
    }
    // Whichever of the two it is that goes on.
    for event in [
        r#"{"choices":[{"index":0,"text":"a"}]}"#,
        r#"{"content":"a","stop":false}"#,
        r#"{"content":"a","stop":false,"tokens_predicted":1}"#,
    ] {
        let told = Answer::events(&WIRE, &[r#"{"error":{"code":500}}"#, event, "[DONE]"]).read();
        assert_eq!(told.summary.usage.completion, Some(1), "{event}");
        told.assert_end("failure/stream_error");
    }
}
