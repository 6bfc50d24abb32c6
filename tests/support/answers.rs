//! Answers of one format, written in a test or in a folder of `tests/data`, and what is told of them.

use std::{
    pin::pin,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Response, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_TYPE},
};
use infermeter::{
    outcome::{Outcome, TokenSource, Unread},
    stream::{ObservedBody, Observer, Summary},
    wire::{Usage, Wire},
};

use super::{
    frames::{Script, Step, drain, poll},
    recording::Recording,
};

const EVENTS: &str = "text/event-stream";
const JSON: &str = "application/json";

/// A body up to this length is cut in two anywhere.
const SHORT: usize = 4096;
/// A body up to this length is read byte by byte, and to its end.
const LONG: usize = 64 * 1024;

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
    /// How the body began, for whoever reads of a failure.
    body: String,
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
    unread: Option<Unread>,
    has_first_token: bool,
    gaps: Vec<u64>,
}

#[derive(Clone, Debug, Default)]
struct Watcher(Arc<Mutex<(Option<Summary>, Vec<u64>)>>);

/// Holds that each recording of a folder tells what its line says, however it is split, and with
/// another byte in it the same in any pieces; and that of one that is cut nothing is made up.
#[track_caller]
pub(crate) fn assert_folder(folder: &str, wire: &Wire) {
    thread::scope(|scope| {
        for recording in Recording::of(folder) {
            scope.spawn(move || assert_recording(&recording, wire));
        }
    });
}

fn assert_recording(recording: &Recording, wire: &Wire) {
    let (entry, answer) = (&recording.entry, Answer::of(recording, wire));
    let (told, body) = (answer.read(), answer.body());
    let Summary { usage, source, .. } = told.summary;
    let source = usage.completion.map(|_| source.label());
    let tells = &entry.tells;
    let expected = (tells.prompt, tells.completion, tells.source.as_deref());
    assert_eq!((usage.prompt, usage.completion, source), expected, "{entry:?} {told:?}");
    told.assert_end(&entry.end);

    for cut in 0..=body.len() {
        let (before, after) = body.split_at(cut);
        let split = answer.in_pieces(&[before, after]);
        assert_eq!(split.gist(), told.gist(), "{entry:?} split at {cut}");
        for short in [answer.in_pieces(&[before]), answer.left_at(cut)] {
            let short = short.summary.usage;
            for (short, whole) in [
                (short.completion, usage.completion),
                (short.reasoning, usage.reasoning),
                (short.cached, usage.cached),
            ] {
                assert!(short <= whole, "{entry:?} cut at {cut}: {short:?} of {whole:?}");
            }
        }
    }
    // What is known again by its bytes is what would have been read.
    for at in (0..body.len()).step_by(29) {
        let mut broken = answer.clone();
        broken.response.body_mut()[at] = b"\xff\"\\0\n{,"[at % 7];
        broken.read_in_bytes();
    }
}

// === impl Answer ===

impl Answer {
    /// A stream of server-sent events that have data only.
    pub(crate) fn events(wire: &Wire, events: &[&str]) -> Self {
        let body = events.iter().map(|event| format!("data: {event}\n\n")).collect::<String>();
        Self::new(wire, EVENTS, body)
    }

    /// A stream of lines.
    pub(crate) fn lines(wire: &Wire, lines: &[&str]) -> Self {
        let body = lines.iter().map(|line| format!("{line}\n")).collect::<String>();
        Self::new(wire, "application/x-ndjson", body)
    }

    /// One document.
    pub(crate) fn whole(wire: &Wire, body: impl Into<Vec<u8>>) -> Self {
        Self::new(wire, JSON, body)
    }

    pub(crate) fn new(wire: &Wire, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let answer = Self::unsaid(wire, body);
        answer.header(CONTENT_TYPE.as_str(), content_type)
    }

    /// A body of which the first byte, and not the head, says whether it is a stream.
    pub(crate) fn unsaid(wire: &Wire, body: impl Into<Vec<u8>>) -> Self {
        Self { wire: wire.clone(), response: Response::new(body.into()) }
    }

    /// A recorded one.
    pub(crate) fn of(recording: &Recording, wire: &Wire) -> Self {
        Self { wire: wire.clone(), response: recording.response(recording.body()) }
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

    pub(crate) fn body(&self) -> &[u8] {
        self.response.body()
    }

    /// Reads it to its end, and holds that it tells the same however it is split and written.
    #[track_caller]
    pub(crate) fn read(&self) -> Told {
        let told = self.read_split();
        for same in self.rewritten() {
            assert_eq!(same.read_split().gist(), told.gist(), "{told:?} as {same:?}");
        }
        told
    }

    /// Holds that it tells the same cut in two.
    #[track_caller]
    fn read_split(&self) -> Told {
        let (told, body) = (self.read_in_bytes(), self.body());
        if body.len() < SHORT {
            for cut in 0..body.len() {
                let (before, after) = body.split_at(cut);
                let split = self.in_pieces(&[before, after]);
                assert_eq!(split.gist(), told.gist(), "{told:?} split at {cut}");
            }
        }
        told
    }

    /// Holds that it tells the same byte by byte.
    #[track_caller]
    fn read_in_bytes(&self) -> Told {
        let told = self.in_pieces(&[self.body()]);
        if self.body().len() < LONG {
            assert_eq!(told.summary.unread, None, "{told:?}");
            let bytes: Vec<&[u8]> = self.body().chunks(1).collect();
            assert_eq!(self.in_pieces(&bytes).gist(), told.gist(), "{told:?} byte by byte");
        }
        told
    }

    /// The same in other words: other line ends, comments, no space after the colon, and a head that
    /// says more or less.
    fn rewritten(&self) -> Vec<Self> {
        let Some(kind) = self.response.headers().get(CONTENT_TYPE) else {
            let kind = match self.body().trim_ascii_start().first() {
                Some(b'{' | b'[') => JSON,
                Some(_) => EVENTS,
                None => return Vec::new(),
            };
            return vec![self.clone().header(CONTENT_TYPE.as_str(), kind)];
        };
        let kind = kind.to_str().unwrap();
        let mut rewritten = Vec::new();
        if !kind.starts_with(JSON) {
            rewritten.push(self.with_lines(|line| [line, b"\r"].concat()));
        }
        if kind.starts_with(EVENTS) {
            let data = |line: &[u8], start: &str| match line.strip_prefix(b"data: ") {
                Some(data) => [start.as_bytes(), data].concat(),
                None => line.to_vec(),
            };
            rewritten.push(self.with_lines(|line| data(line, ": ping\n\ndata: ")));
            rewritten.push(self.with_lines(|line| data(line, "data:")));
            if self.body().starts_with(b"data:") {
                let mut unsaid = self.clone();
                unsaid.response.headers_mut().remove(CONTENT_TYPE);
                rewritten.push(unsaid);
            }
        }
        rewritten
    }

    fn with_lines(&self, line: impl Fn(&[u8]) -> Vec<u8>) -> Self {
        let mut changed = self.clone();
        let mut lines: Vec<&[u8]> = self.body().split(|byte| *byte == b'\n').collect();
        // What follows the last line end is no line.
        let rest = lines.pop().unwrap_or_default();
        let lines = lines.into_iter().map(|text| [&line(text)[..], b"\n"].concat());
        *changed.response.body_mut() = lines.chain([rest.to_vec()]).collect::<Vec<_>>().concat();
        changed.response.headers_mut().remove(CONTENT_LENGTH);
        changed
    }

    /// Reads frames and then a proper end.
    pub(crate) fn in_pieces(&self, pieces: &[&[u8]]) -> Told {
        let frames = pieces.iter().map(|piece| Bytes::copy_from_slice(piece));
        self.watched(Script::data(frames), |body| drop(drain(body)))
    }

    /// Reads all of it and goes away before its end.
    pub(crate) fn left(&self) -> Told {
        self.left_at(self.body().len())
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
        let (parts, body) = self.response.clone().into_parts();
        let watcher = Watcher::default();
        let response = Response::from_parts(parts, script);
        read(ObservedBody::observed_by(response, self.wire.clone(), watcher.clone()).into_body());
        let (summary, gaps) = std::mem::take(&mut *watcher.0.lock().unwrap());
        let body = String::from_utf8_lossy(&body[..body.len().min(300)]).into_owned();
        Told { summary: summary.unwrap(), gaps, body }
    }
}

// === impl Told ===

impl Told {
    pub(crate) fn gist(&self) -> Gist {
        let Self { summary, gaps, body: _ } = self;
        Gist {
            outcome: summary.outcome,
            usage: summary.usage,
            source: summary.source,
            longest: summary.longest_choice,
            queue_time: summary.queue_time,
            prefill_time: summary.prefill_time,
            unread: summary.unread,
            has_first_token: summary.first_token.is_some(),
            gaps: gaps.clone(),
        }
    }

    pub(crate) fn has_first_token(&self) -> bool {
        self.summary.first_token.is_some()
    }

    /// Asserts (prompt, cached, completion, reasoning) and where the completion came from.
    #[track_caller]
    pub(crate) fn assert(&self, counts: [Option<u64>; 4], source: TokenSource) {
        let usage = self.summary.usage;
        let found = [usage.prompt, usage.cached, usage.completion, usage.reasoning];
        assert_eq!((found, self.summary.source), (counts, source), "{self:?}");
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
