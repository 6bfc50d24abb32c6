//! Answers of one format, written in a test or in a folder of `tests/data`, and what is told of them.

use std::{
    fs,
    path::PathBuf,
    pin::pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header::CONTENT_TYPE};
use infermeter::{
    outcome::{Outcome, TokenSource},
    stream::{ObservedBody, Observer, Summary},
    wire::{Usage, Wire},
};
use serde_json::Value;

use super::{
    frames::{Script, Step, drain, poll},
    recording::{find, unchunk},
};

/// A response of which every byte is there.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    wire: Wire,
    response: Response<Vec<u8>>,
}

/// What was told of a body.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) summary: Summary,
    /// How many tokens each gap was before.
    pub(crate) gaps: Vec<u64>,
}

/// Of a summary, what does not depend on the clock.
#[derive(Debug, PartialEq)]
pub(crate) struct Gist {
    outcome: Outcome,
    usage: Usage,
    source: TokenSource,
    longest: Option<u64>,
    queue_time: Option<Duration>,
    prefill_time: Option<Duration>,
    has_first_token: bool,
    gaps: Vec<u64>,
}

#[derive(Clone, Debug, Default)]
struct Watcher(Arc<Mutex<(Option<Summary>, Vec<u64>)>>);

// === impl Answer ===

impl Answer {
    /// A stream of server-sent events.
    pub(crate) fn events(wire: &Wire, events: &[&str]) -> Self {
        let body = events.iter().map(|event| format!("data: {event}\n\n")).collect::<String>();
        Self::new(wire, "text/event-stream", body)
    }

    /// A stream of lines.
    pub(crate) fn lines(wire: &Wire, lines: &[&str]) -> Self {
        let body = lines.iter().map(|line| format!("{line}\n")).collect::<String>();
        Self::new(wire, "application/x-ndjson", body)
    }

    /// One document.
    pub(crate) fn whole(wire: &Wire, body: impl Into<Vec<u8>>) -> Self {
        Self::new(wire, "application/json", body)
    }

    pub(crate) fn new(wire: &Wire, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let response = Response::builder().header(CONTENT_TYPE, content_type);
        Self { wire: wire.clone(), response: response.body(body.into()).unwrap() }
    }

    /// A body without a head.
    pub(crate) fn headless(wire: &Wire, body: impl Into<Vec<u8>>) -> Self {
        Self { wire: wire.clone(), response: Response::new(body.into()) }
    }

    /// The recordings of a folder, with their lines of its index.
    pub(crate) fn recorded(folder: &str, wire: &Wire) -> Vec<(Value, Self)> {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(folder);
        let index = fs::read(folder.join("index.json")).unwrap();
        let entries: Vec<Value> = serde_json::from_slice(&index).unwrap();
        let read = |entry: Value| {
            let raw = fs::read(folder.join(entry["file"].as_str().unwrap())).unwrap();
            (entry, Self::parse(wire, &raw))
        };
        entries.into_iter().map(read).collect()
    }

    fn parse(wire: &Wire, raw: &[u8]) -> Self {
        let (head, body) = raw.split_at(find(raw, b"\r\n\r\n").unwrap() + 4);
        let head = std::str::from_utf8(head).unwrap();
        let mut answer = Self { wire: wire.clone(), response: Response::new(body.to_vec()) };
        *answer.response.status_mut() = head[9..12].parse().unwrap();
        for (name, value) in head.lines().skip(1).filter_map(|line| line.split_once(": ")) {
            if name.eq_ignore_ascii_case("transfer-encoding") {
                *answer.response.body_mut() = unchunk(body).0;
            } else {
                answer = answer.header(name, value);
            }
        }
        answer
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        let name: HeaderName = name.parse().unwrap();
        self.response.headers_mut().append(name, HeaderValue::from_str(value).unwrap());
        self
    }

    pub(crate) fn status(mut self, status: u16) -> Self {
        *self.response.status_mut() = StatusCode::from_u16(status).unwrap();
        self
    }

    /// The same with CRLF at the end of each line.
    pub(crate) fn crlf(mut self) -> Self {
        let lines: Vec<&[u8]> = self.response.body().split(|byte| *byte == b'\n').collect();
        *self.response.body_mut() = lines.join(&b"\r\n"[..]);
        self
    }

    pub(crate) fn body(&self) -> &[u8] {
        self.response.body()
    }

    /// Whether it is written in events or in lines.
    pub(crate) fn is_stream(&self) -> bool {
        !self.response.headers()[CONTENT_TYPE].to_str().unwrap().contains("/json")
    }

    /// Reads it to its end, and holds that it tells the same byte by byte.
    #[track_caller]
    pub(crate) fn read(&self) -> Told {
        let told = self.in_pieces(&[self.body()]);
        let bytes: Vec<&[u8]> = self.body().chunks(1).collect();
        assert_eq!(self.in_pieces(&bytes).gist(), told.gist(), "byte by byte: {self:?}");
        told
    }

    /// Reads frames and then a proper end.
    pub(crate) fn in_pieces(&self, pieces: &[&[u8]]) -> Told {
        let frames = pieces.iter().map(|piece| Bytes::copy_from_slice(piece));
        self.watched(Script::data(frames), |body| drop(drain(body)))
    }

    /// Reads the first bytes and then goes away.
    pub(crate) fn left_at(&self, at: usize) -> Told {
        let frame = Bytes::copy_from_slice(&self.body()[..at]);
        self.watched(Script::data([frame]).then(Step::Hang), |body| {
            let mut body = pin!(body);
            while poll(body.as_mut()).is_ready() {}
        })
    }

    fn watched(
        &self,
        script: Script<Bytes, ()>,
        read: impl FnOnce(ObservedBody<Script<Bytes, ()>, Watcher>),
    ) -> Told {
        let (parts, _) = self.response.clone().into_parts();
        let watcher = Watcher::default();
        let response = Response::from_parts(parts, script);
        read(ObservedBody::observed_by(response, self.wire.clone(), watcher.clone()).into_body());
        let (summary, gaps) = std::mem::take(&mut *watcher.0.lock().unwrap());
        Told { summary: summary.unwrap(), gaps }
    }
}

// === impl Told ===

impl Told {
    pub(crate) fn gist(&self) -> Gist {
        let Self { summary, gaps } = self;
        Gist {
            outcome: summary.outcome,
            usage: summary.usage,
            source: summary.source,
            longest: summary.longest_choice,
            queue_time: summary.queue_time,
            prefill_time: summary.prefill_time,
            has_first_token: summary.first_token.is_some(),
            gaps: gaps.clone(),
        }
    }

    pub(crate) fn has_first_token(&self) -> bool {
        self.summary.first_token.is_some()
    }

    /// Asserts (prompt, completion) and where the completion came from.
    #[track_caller]
    pub(crate) fn assert(&self, [prompt, completion]: [Option<u64>; 2], source: TokenSource) {
        let Usage { prompt: has_prompt, completion: has_completion, .. } = self.summary.usage;
        let found = (has_prompt, has_completion, self.summary.source);
        assert_eq!(found, (prompt, completion, source), "{self:?}");
    }

    /// Asserts how the request ended, as `outcome/reason`.
    #[track_caller]
    pub(crate) fn assert_end(&self, end: &str) {
        let outcome = self.summary.outcome;
        assert_eq!(format!("{}/{}", outcome.label(), outcome.reason()), end, "{self:?}");
    }
}

// === impl Watcher ===

impl Observer for Watcher {
    fn gap(&mut self, _gap: Duration, tokens: u64) {
        self.0.lock().unwrap().1.push(tokens);
    }

    fn end(&mut self, summary: Summary) {
        assert!(self.0.lock().unwrap().0.replace(summary).is_none(), "a body ends once");
    }
}

/// Holds that each recording of a folder tells what its line says, in one piece, byte by byte, split
/// in two anywhere, and with CRLF; and that one that is cut short tells no more.
pub(crate) fn assert_folder(folder: &str, wire: &Wire) {
    for (entry, answer) in Answer::recorded(folder, wire) {
        let (told, body) = (answer.read(), answer.body());
        let summary = &told.summary;
        let found = serde_json::json!({
            "prompt": summary.usage.prompt,
            "completion": summary.usage.completion,
            "source": Some(summary.source.label()).filter(|_| summary.usage.completion.is_some()),
        });
        assert_eq!(found, entry["tells"], "{entry} {summary:?}");
        told.assert_end(entry["end"].as_str().unwrap());
        for cut in 0..=body.len() {
            let (before, after) = body.split_at(cut);
            let split = answer.in_pieces(&[before, after]);
            assert_eq!(split.gist(), told.gist(), "{entry} split at {cut}");
            for short in [answer.in_pieces(&[before]), answer.left_at(cut)] {
                let tells = short.summary.usage.completion;
                assert!(tells <= summary.usage.completion, "{entry} cut at {cut}: {short:?}");
            }
        }
        if answer.is_stream() {
            assert_eq!(answer.crlf().read().gist(), told.gist(), "{entry} with CRLF");
        }
    }
}
