//! One passage of a body, and all that was seen of it.

use std::{
    collections::VecDeque,
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{HeaderMap, Response, header};
use http_body::{Body, Frame};
use tokio::time::Instant;

use super::Sample;
use crate::{
    outcome::{Outcome, Unread},
    stream::{BodyEnd, ObservedBody, Observer, Summary, partial::MAX_EVENT, whole::MAX_WHOLE},
    wire::{Event, Facts, Progress, Usage, Varying, Wire, WireFormat},
};

/// What a passage came to.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) told: Told,
    pub(super) end: BodyEnd,
    /// After each frame.
    pub(super) so_far: Vec<Usage>,
    /// The format was handed events, not a whole answer.
    pub(super) had_events: bool,
    pub(super) has_end_marker: bool,
}

/// What must not depend on how the body was cut.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Told {
    pub(super) outcome: Outcome,
    pub(super) usage: Usage,
    pub(super) facts: Facts,
    pub(super) unread: Option<Unread>,
    pub(super) progress: Vec<Progress>,
    /// Whether there is a first token, a last one, and a mean time between.
    pub(super) times: [bool; 3],
}

/// How a body ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Ending {
    Eof,
    Trailers,
    /// It says of its last frame that it is the last.
    Announced,
    /// The head has a `content-length`.
    Length,
    Error,
    /// The client is gone.
    Dropped,
}

/// A body that is made of these frames.
#[derive(Debug)]
struct Frames {
    left: VecDeque<Bytes>,
    ending: Ending,
    is_over: bool,
}

/// Stands before a format and notes what goes in and out.
struct Spy {
    format: Box<dyn WireFormat>,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Debug, Default)]
struct Seen {
    /// The format is being asked: still so at the end, it panicked.
    asking: bool,
    had_events: bool,
    has_end_marker: bool,
    facts: Option<Facts>,
    progress: Vec<Progress>,
    /// The longest thing that was handed to it.
    longest: usize,
}

#[derive(Debug, Default)]
struct Watched {
    so_far: Vec<Usage>,
    summary: Option<Summary>,
    ends: usize,
}

struct Watching(Arc<Mutex<Watched>>);

// === impl Run ===

impl Run {
    /// Passes the sample's answer with these frames for a body.
    ///
    /// What holds for every body is held here.
    pub(super) fn of(
        wire: &Wire,
        sample: &Sample,
        frames: impl IntoIterator<Item = Bytes>,
        ending: Ending,
    ) -> Self {
        let frames: Vec<Bytes> = frames.into_iter().collect();
        let sent: usize = frames.iter().map(Bytes::len).sum();
        let mut response =
            Response::new(Frames { left: frames.clone().into(), ending, is_over: false });
        *response.status_mut() = sample.status;
        *response.headers_mut() = sample.headers.clone();
        if ending == Ending::Length {
            response.headers_mut().insert(header::CONTENT_LENGTH, sent.into());
        }

        let (seen, watched) = (Arc::default(), Arc::default());
        let (spied, observer) = (Arc::clone(&seen), Watching(Arc::clone(&watched)));
        let plain = wire.clone();
        let wire = match wire.format() {
            Some(_) => Wire::custom(move || spy(&plain, &spied)),
            None => plain,
        };
        let body = ObservedBody::observed_by(response, wire, observer).into_body();
        let passed = drain(body, ending);

        let name = &sample.name;
        let same = passed.concat() == frames.concat();
        assert!(same, "{name}: what passed is not what was sent");
        let (seen, watched) = (lock(&seen), lock(&watched));
        assert!(!seen.asking, "{name}: the format panicked");
        let longest = if seen.had_events { MAX_EVENT } else { MAX_WHOLE };
        assert!(seen.longest <= longest, "{name}: the format was handed more than the limit");
        assert_eq!(watched.ends, 1, "{name}: a body ends once");
        let Some(summary) = &watched.summary else { panic!("{name}: a body ends") };
        assert_eq!(summary.bytes, sent as u64, "{name}: bytes that passed");
        Self {
            told: Told {
                outcome: summary.outcome,
                usage: summary.usage,
                facts: seen.facts.clone().unwrap_or_default(),
                unread: summary.unread,
                progress: seen.progress.clone(),
                times: [
                    summary.first_token.is_some(),
                    summary.last_token.is_some(),
                    summary.time_per_output_token.is_some(),
                ],
            },
            end: summary.end,
            so_far: watched.so_far.clone(),
            had_events: seen.had_events,
            has_end_marker: seen.has_end_marker,
        }
    }

    /// Whether a count went down.
    pub(super) fn falls(&self) -> bool {
        self.so_far
            .windows(2)
            .any(|pair| pair[1].prompt < pair[0].prompt || pair[1].completion < pair[0].completion)
    }
}

// === impl Frames ===

impl Body for Frames {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        if let Some(bytes) = self.left.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        if std::mem::replace(&mut self.is_over, true) {
            return Poll::Ready(None);
        }
        match self.ending {
            Ending::Eof | Ending::Announced | Ending::Length => Poll::Ready(None),
            Ending::Trailers => Poll::Ready(Some(Ok(Frame::trailers(HeaderMap::new())))),
            Ending::Error => Poll::Ready(Some(Err("broken"))),
            Ending::Dropped => {
                self.is_over = false;
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ending == Ending::Announced && self.left.is_empty()
    }
}

/// Polls a body until it ends, or until it has no more for now.
fn drain(body: impl Body<Data = Bytes, Error = &'static str>, ending: Ending) -> Vec<Bytes> {
    let (mut body, mut passed) = (pin!(body), Vec::new());
    loop {
        // NB: hyper does not poll what says that it is over.
        if ending == Ending::Announced && body.is_end_stream() {
            return passed;
        }
        match body.as_mut().poll_frame(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Some(Ok(frame))) => passed.extend(frame.into_data().ok()),
            Poll::Ready(Some(Err(_)) | None) | Poll::Pending => return passed,
        }
    }
}

// === impl Spy ===

fn spy(wire: &Wire, seen: &Arc<Mutex<Seen>>) -> Box<dyn WireFormat> {
    match wire.format() {
        Some(format) => Box::new(Spy { format, seen: Arc::clone(seen) }),
        None => panic!("a format that was made before is not made again"),
    }
}

impl Spy {
    fn ask<T>(&self, ask: impl FnOnce(&dyn WireFormat) -> T) -> T {
        lock(&self.seen).asking = true;
        let answer = ask(self.format.as_ref());
        lock(&self.seen).asking = false;
        answer
    }
}

impl WireFormat for Spy {
    fn event<'a>(
        &mut self,
        event: Event<'a>,
        content: &mut dyn FnMut(Progress),
    ) -> Option<Varying<'a>> {
        let mut seen = lock(&self.seen);
        (seen.asking, seen.had_events) = (true, true);
        seen.longest = seen.longest.max(event.data.len());
        drop(seen);
        let varying = self.format.event(event, &mut |progress| {
            lock(&self.seen).progress.push(progress);
            content(progress);
        });
        lock(&self.seen).asking = false;
        varying
    }

    fn again(&mut self, choice: usize, events: u64) {
        let mut seen = lock(&self.seen);
        seen.asking = true;
        seen.progress.extend((0..events).map(|_| Progress { choice, tokens: 1 }));
        drop(seen);
        self.format.again(choice, events);
        lock(&self.seen).asking = false;
    }

    fn whole(&mut self, body: &[u8]) {
        let mut seen = lock(&self.seen);
        seen.asking = true;
        seen.longest = seen.longest.max(body.len());
        drop(seen);
        self.format.whole(body);
        lock(&self.seen).asking = false;
    }

    fn so_far(&self) -> Usage {
        self.ask(|format| format.so_far())
    }

    fn facts(&self) -> Facts {
        let (facts, has_end_marker) = self.ask(|format| (format.facts(), format.has_end_marker()));
        let mut seen = lock(&self.seen);
        (seen.facts, seen.has_end_marker) = (Some(facts.clone()), has_end_marker);
        facts
    }

    fn head(&mut self, headers: &HeaderMap) {
        lock(&self.seen).asking = true;
        self.format.head(headers);
        lock(&self.seen).asking = false;
    }

    fn has_end_marker(&self) -> bool {
        self.ask(|format| format.has_end_marker())
    }

    fn streams_lines(&self) -> bool {
        self.ask(|format| format.streams_lines())
    }
}

// === impl Watching ===

impl Observer for Watching {
    fn frame(&mut self, _now: Instant, so_far: impl FnOnce() -> Usage) {
        lock(&self.0).so_far.push(so_far());
    }

    fn end(&mut self, summary: Summary) {
        let mut watched = lock(&self.0);
        watched.ends += 1;
        watched.summary = Some(summary);
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
