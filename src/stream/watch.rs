//! The state of one body while it goes by; no I/O, no polling.

use std::panic::{AssertUnwindSafe, catch_unwind};

use http::HeaderMap;
use tokio::time::Instant;

use super::{
    body::Observer,
    head::{Content, Head, grpc_status},
    reader::Reader,
    summary::{self, BodyEnd, Summary},
    timing::Timing,
};
use crate::{
    outcome::{TokenSource, Unread},
    wire::{Facts, Progress, Wire, WireFormat},
};

pub(super) struct Watch {
    head: Head,
    reader: Reader,
    timing: Timing,
    bytes: u64,
    /// How many bytes the body will have, where that is known.
    length: Option<u64>,
}

/// Times the tokens of one frame.
pub(super) struct Tokens<'a> {
    timing: &'a mut Timing,
    observer: &'a mut dyn Observer,
    now: Instant,
}

// === impl Watch ===

impl Watch {
    /// `exact` is what the body itself says of its length.
    pub(super) fn new(wire: &Wire, head: Head, exact: Option<u64>) -> Self {
        let length = match head.content {
            // NB: after the last byte of a gRPC answer comes what tells how it ended.
            Content::Grpc { .. } => None,
            _ => head.length.or(exact),
        };
        let (reader, timing) = (Reader::new(wire, &head), Timing::default());
        Self { head, reader, timing, bytes: 0, length }
    }

    pub(super) fn read(&mut self, bytes: &[u8], now: Instant, observer: &mut dyn Observer) {
        self.bytes += bytes.len() as u64;
        self.reading(now, observer, |reader, tokens| reader.read(bytes, tokens));
    }

    /// Bytes passed that cannot be looked at in one piece.
    pub(super) fn skip(&mut self, bytes: u64) {
        self.bytes += bytes;
        self.reader = Reader::Unread(Unread::UnknownFormat);
    }

    /// Generated tokens so far.
    pub(super) fn generated(&self) -> u64 {
        self.ask(|format| format.generated()).unwrap_or(0)
    }

    /// Whether all bytes have passed.
    pub(super) fn is_full(&self) -> bool {
        self.length.is_some_and(|length| self.bytes >= length)
    }

    pub(super) fn trailers(&self, trailers: &HeaderMap) -> BodyEnd {
        BodyEnd::Trailers { grpc: self.is_grpc().then(|| grpc_status(trailers)).flatten() }
    }

    pub(super) fn end(
        &mut self,
        end: BodyEnd,
        now: Instant,
        observer: &mut dyn Observer,
    ) -> Summary {
        if !matches!(end, BodyEnd::Dropped | BodyEnd::Panicked) {
            self.reading(now, observer, |reader, tokens| reader.end(tokens));
        }
        let facts: Facts = self.ask(|format| format.facts()).unwrap_or_default();
        let unread = match self.reader {
            // Nothing was there to be read.
            Reader::Unread(Unread::UnknownFormat) if self.bytes == 0 => None,
            Reader::Unread(reason) => Some(reason),
            _ => None,
        };
        let (status, end) = (self.head.status, self.grpc_end(end));
        let got_tokens = self.timing.first.is_some();
        Summary {
            outcome: summary::outcome(status, end, &facts, self.needs_end_marker(end), got_tokens),
            end,
            status,
            usage: facts.usage,
            source: facts.source.unwrap_or(TokenSource::Unknown),
            longest_choice: facts.longest.filter(|longest| longest.exact).map(|l| l.tokens),
            first_token: self.timing.first,
            last_token: self.timing.last,
            time_per_output_token: facts.longest.and_then(|l| self.timing.per_output_token(l)),
            ended: now,
            bytes: self.bytes,
            unread,
        }
    }

    fn is_grpc(&self) -> bool {
        matches!(self.head.content, Content::Grpc { .. })
    }

    /// A gRPC answer without a body has its status in the head.
    fn grpc_end(&self, end: BodyEnd) -> BodyEnd {
        match (self.head.content, end) {
            (Content::Grpc { status: Some(ok) }, BodyEnd::NeverPolled | BodyEnd::Eof) => {
                BodyEnd::Trailers { grpc: Some(ok) }
            }
            (_, end) => end,
        }
    }

    fn needs_end_marker(&self, end: BodyEnd) -> bool {
        match &self.reader {
            Reader::Events(_, format) => format.has_end_marker(),
            Reader::Undecided(_) | Reader::Whole(..) => false,
            Reader::Unread(_) => {
                self.is_grpc() && !matches!(end, BodyEnd::Trailers { grpc: Some(_) })
            }
        }
    }

    /// Asks the format, if there is one and it does not panic.
    fn ask<T>(&self, ask: impl FnOnce(&dyn WireFormat) -> T) -> Option<T> {
        let format = self.reader.format()?;
        catch_unwind(AssertUnwindSafe(|| ask(format))).ok()
    }

    /// A panic of a format costs the reading of this body, never the body.
    fn reading(
        &mut self,
        now: Instant,
        observer: &mut dyn Observer,
        read: impl FnOnce(&mut Reader, &mut Tokens<'_>),
    ) {
        let Self { reader, timing, .. } = self;
        if let Reader::Unread(_) = reader {
            return;
        }
        let mut tokens = Tokens { timing, observer, now };
        if catch_unwind(AssertUnwindSafe(|| read(reader, &mut tokens))).is_err() {
            self.reader = Reader::Unread(Unread::UnknownFormat);
        }
    }
}

// === impl Tokens ===

impl Tokens<'_> {
    pub(super) fn came(&mut self, progress: Progress) {
        let Self { timing, observer, now } = self;
        let Progress { choice, tokens } = progress;
        if timing.first.is_none() {
            observer.first_token(*now);
        }
        if tokens == 0 {
            timing.first.get_or_insert(*now);
        } else if let Some(gap) = timing.token(choice, *now) {
            observer.gap(gap, tokens);
        }
    }
}
