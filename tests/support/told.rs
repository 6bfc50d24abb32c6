//! What is told of a body, by format, and the recordings of one format.

use std::{
    fs,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use infermeter::{
    outcome::{Outcome, TokenSource},
    stream::{ObservedBody, Summary},
    wire::Wire,
};
use serde_json::Value;

use super::{
    frames::{Script, Step, drain, poll},
    recording::{find, unchunk},
};

/// A response of `tests/data`: its head and its body, without what frames the body.
#[derive(Debug)]
pub(crate) struct Recorded {
    pub(crate) entry: Value,
    pub(crate) body: Vec<u8>,
}

// === impl Recorded ===

impl Recorded {
    /// All of a folder that has an index of its own.
    pub(crate) fn all(folder: &str) -> Vec<Self> {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(folder);
        let index = fs::read(folder.join("index.json")).unwrap();
        let entries: Vec<Value> = serde_json::from_slice(&index).unwrap();
        let read = |entry: Value| {
            let raw = fs::read(folder.join(entry["file"].as_str().unwrap())).unwrap();
            let head = find(&raw, b"\r\n\r\n").unwrap() + 4;
            let is_chunked = find(&raw[..head].to_ascii_lowercase(), b": chunked").is_some();
            let body = if is_chunked { unchunk(&raw[head..]).0 } else { raw[head..].to_vec() };
            Self { entry, body }
        };
        entries.into_iter().map(read).collect()
    }

    pub(crate) fn is_stream(&self) -> bool {
        self.entry["kind"] == "stream"
    }

    /// Reads the body in pieces, to its end.
    pub(crate) fn read(&self, wire: &Wire, pieces: &[&[u8]]) -> Summary {
        observe(wire, self.entry["status"].as_u64(), self.is_stream(), pieces, true)
    }

    /// The body with CRLF at the end of each line.
    pub(crate) fn crlf(&self) -> Vec<u8> {
        let text: Vec<_> = self.body.split(|byte| *byte == b'\n').collect();
        text.join(&b"\r\n"[..])
    }
}

/// Reads a body to its end; whether it is a stream, its content tells.
pub(crate) fn read(wire: &Wire, body: &str) -> Summary {
    let is_stream = !body.trim_start().starts_with(['{', '[']);
    observe(wire, None, is_stream, &[body.as_bytes()], true)
}

/// Reads a body that the client leaves before its end.
pub(crate) fn left(wire: &Wire, body: &str) -> Summary {
    observe(wire, None, true, &[body.as_bytes()], false)
}

/// A stream of events with data only.
pub(crate) fn events(data: &[&str]) -> String {
    data.iter().map(|data| format!("data: {data}\n\n")).collect()
}

/// Asserts (prompt, cached, completion, reasoning) and where the completion came from.
#[track_caller]
pub(crate) fn assert_told(summary: &Summary, counts: [Option<u64>; 4], source: TokenSource) {
    let usage = summary.usage;
    let found = [usage.prompt, usage.cached, usage.completion, usage.reasoning];
    assert_eq!((found, summary.source), (counts, source), "{summary:?}");
}

/// Everything in a summary that does not depend on the clock.
pub(crate) fn gist(summary: &Summary) -> (Outcome, [Option<u64>; 5], TokenSource, bool) {
    let (usage, longest) = (summary.usage, summary.longest_choice);
    let counts = [usage.prompt, usage.cached, usage.completion, usage.reasoning, longest];
    (summary.outcome, counts, summary.source, summary.first_token.is_some())
}

/// Holds that every recording of a folder tells what its index says, also with CRLF, and however it
/// is split, one with a broken byte too; and that of one that is cut nothing is made up.
pub(crate) fn assert_folder(folder: &str, wire: &Wire) {
    for recorded in Recorded::all(folder) {
        let (entry, body) = (&recorded.entry, &recorded.body);
        let whole = recorded.read(wire, &[body]);
        let label = |source: TokenSource| (source != TokenSource::Unknown).then(|| source.label());
        let tells = &entry["tells"];
        assert_eq!(tells["prompt"].as_u64(), whole.usage.prompt, "{entry}: {whole:?}");
        assert_eq!(tells["completion"].as_u64(), whole.usage.completion, "{entry}: {whole:?}");
        assert_eq!(tells["source"].as_str(), label(whole.source), "{entry}: {whole:?}");
        let end = format!("{}/{}", whole.outcome.label(), whole.outcome.reason());
        assert_eq!(entry["end"], end, "{entry}: {whole:?}");

        let gist_of = |pieces: &[&[u8]]| gist(&recorded.read(wire, pieces));
        let expected = gist(&whole);
        assert_eq!(gist_of(&body.chunks(1).collect::<Vec<_>>()), expected, "{entry} in bytes");
        if recorded.is_stream() {
            let crlf = recorded.crlf();
            assert_eq!(gist_of(&[&crlf]), expected, "{entry} with CRLF");
            assert_eq!(gist_of(&crlf.chunks(1).collect::<Vec<_>>()), expected, "{entry} with CRLF");
        }
        // What is known again by its bytes is what would have been read.
        for at in (0..body.len()).step_by(29) {
            let mut broken = body.clone();
            broken[at] = b"\xff\"\\0\n{,"[at % 7];
            let (whole, bytes) = (gist_of(&[&broken]), broken.chunks(1).collect::<Vec<_>>());
            assert_eq!(gist_of(&bytes), whole, "{entry} broken at {at}");
        }
        for cut in 0..=body.len() {
            let (before, after) = body.split_at(cut);
            assert_eq!(gist_of(&[before, after]), expected, "{entry} split at {cut}");
            let cut_short = recorded.read(wire, &[before]);
            assert_none_made_up(&whole, &cut_short, &format!("{entry} cut at {cut}"));
        }
    }
}

fn assert_none_made_up(whole: &Summary, cut: &Summary, case: &str) {
    let (whole, cut) = (whole.usage, cut.usage);
    for (cut, whole) in [
        (cut.completion, whole.completion),
        (cut.reasoning, whole.reasoning),
        (cut.cached, whole.cached),
    ] {
        assert!(cut.is_none() || cut <= whole, "{case}: {cut:?} of {whole:?}");
    }
}

fn observe(
    wire: &Wire,
    status: Option<u64>,
    is_stream: bool,
    pieces: &[&[u8]],
    to_its_end: bool,
) -> Summary {
    let summaries = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&summaries);
    let frames = pieces.iter().map(|piece| Bytes::copy_from_slice(piece));
    let script: Script<Bytes, ()> = Script::data(frames);
    let script = if to_its_end { script } else { script.then(Step::Hang) };
    let mut response = http::Response::new(script);
    let status = u16::try_from(status.unwrap_or(200)).unwrap();
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
    let content_type = if is_stream { "text/event-stream" } else { "application/json" };
    response.headers_mut().insert(http::header::CONTENT_TYPE, content_type.parse().unwrap());
    let response = ObservedBody::response(response, wire.clone(), move |summary| {
        told.lock().unwrap().push(summary);
    });
    let mut body = Box::pin(response.into_body());
    if to_its_end {
        drain(body);
    } else {
        while poll(body.as_mut()).is_ready() {}
        drop(body);
    }
    let mut summaries = std::mem::take(&mut *summaries.lock().unwrap());
    assert_eq!(summaries.len(), 1, "each body ends once");
    let summary = summaries.pop().unwrap();
    assert_eq!(summary.unread, None, "a format does not panic");
    summary
}
