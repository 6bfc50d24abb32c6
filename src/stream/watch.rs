//! The state of one body while it goes by; no I/O, no polling.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    thread,
};

use http::{HeaderMap, StatusCode};
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
    wire::{self, ErrorDetails, Facts, MOST_TOKENS, Progress, Usage, Wire, WireFormat},
};

pub(super) struct Watch {
    status: Option<StatusCode>,
    content: Content,
    reader: Reader,
    timing: Timing,
    bytes: u64,
    /// How many bytes the body will have, where that is known.
    length: Option<u64>,
    /// A part of the body could not be looked at: what came before it still counts.
    is_blind: bool,
}

/// Times the tokens of one frame.
pub(super) struct Tokens<'a> {
    timing: &'a mut Timing,
    observer: &'a mut dyn Observer,
    now: Instant,
}

// === impl Watch ===

impl Watch {
    #[inline]
    pub(super) fn new(wire: &Wire, head: &Head, headers: Option<&HeaderMap>) -> Self {
        let Head { status, content, length } = *head;
        let (reader, timing) = (Reader::new(wire, head, headers), Timing::default());
        Self { status, content, reader, timing, bytes: 0, length, is_blind: false }
    }

    /// Takes what the body itself says of its length.
    pub(super) fn expect(&mut self, exact: Option<u64>) {
        self.length = self.length.or(exact);
    }

    pub(super) fn read(&mut self, bytes: &[u8], now: Instant, observer: &mut dyn Observer) {
        self.bytes += bytes.len() as u64;
        self.reading(now, observer, |reader, tokens| reader.read(bytes, tokens));
    }

    /// Bytes passed that cannot be looked at in one piece.
    pub(super) fn skip(&mut self, bytes: u64) {
        self.bytes += bytes;
        self.is_blind = true;
    }

    /// What is known so far; nothing of a body that is not read.
    pub(super) fn so_far(&mut self) -> Usage {
        self.settle();
        if matches!(self.reader, Reader::Unread(..)) {
            return Usage::default();
        }
        self.ask(|format| format.so_far()).unwrap_or_default().believable()
    }

    /// Whether all bytes have passed.
    ///
    /// NB: after the last byte of a gRPC answer comes what tells how it ended.
    pub(super) fn is_full(&self) -> bool {
        !self.is_grpc() && self.length.is_some_and(|length| self.bytes >= length)
    }

    /// Whether the status allows no body.
    pub(super) fn is_bodiless(&self) -> bool {
        self.status.is_some_and(|status| matches!(status.as_u16(), 101 | 204 | 304))
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
        if let Reader::Unread(_, None) = self.reader {
            return self.summary(Facts::default(), end, now);
        }
        // NB: also of a body of which a part could not be looked at.
        self.settle();
        if !matches!(end, BodyEnd::Dropped | BodyEnd::Panicked) {
            self.reading(now, observer, |reader, tokens| reader.end(tokens));
        }
        let facts = self.ask(|format| format.facts()).unwrap_or_default();
        self.summary(facts, end, now)
    }

    #[expect(clippy::inline_always, reason = "of a body that is not read, most of it is nothing")]
    #[inline(always)]
    fn summary(&self, mut facts: Facts, end: BodyEnd, now: Instant) -> Summary {
        let error = facts.error_details.take().or_else(|| self.refusal());
        let usage = facts.usage.believable();
        let longest = usage.completion.and(facts.longest);
        let unread = match self.reader {
            _ if self.is_blind => Some(Unread::UnknownFormat),
            // Nothing was there to be read.
            Reader::Unread(..) if self.bytes == 0 => None,
            Reader::Unread(reason, _) => Some(reason),
            // What was skipped may have been its end.
            _ if self.reader.has_skipped() && !facts.done => Some(Unread::TooLong),
            _ => None,
        };
        let (status, end) = (self.status, self.grpc_end(end));
        let got_tokens = self.timing.first.is_some();
        Summary {
            outcome: summary::outcome(
                status,
                end,
                &facts,
                self.is_complete(end, &facts),
                got_tokens,
            ),
            end,
            status,
            usage,
            queue_time: facts.queue_time,
            prefill_time: facts.prefill_time,
            source: usage.completion.and(facts.source).unwrap_or(TokenSource::Unknown),
            longest_choice: longest.filter(|longest| longest.exact).map(|l| l.tokens),
            first_token: self.timing.first,
            last_token: self.timing.last,
            time_per_output_token: longest.and_then(|l| self.timing.per_output_token(l)),
            error,
            ended: now,
            bytes: self.bytes,
            unread,
        }
    }

    /// What the body of an error says where the format does not know its shape: what refuses a
    /// request is often not the engine.
    fn refusal(&self) -> Option<Box<ErrorDetails>> {
        self.status.filter(|status| status.as_u16() >= 400)?;
        wire::of_body(self.reader.whole()?)
    }

    fn is_grpc(&self) -> bool {
        matches!(self.content, Content::Grpc { .. })
    }

    /// A gRPC answer without a body has its status in the head.
    fn grpc_end(&self, end: BodyEnd) -> BodyEnd {
        match (self.content, end) {
            (Content::Grpc { status: Some(ok) }, BodyEnd::NeverPolled | BodyEnd::Eof) => {
                BodyEnd::Trailers { grpc: Some(ok) }
            }
            (_, end) => end,
        }
    }

    /// Whether everything is there that a proper body of its kind has.
    #[inline]
    fn is_complete(&self, end: BodyEnd, facts: &Facts) -> bool {
        let is_short = self.length.is_some_and(|length| self.bytes < length);
        if self.is_bodiless() || self.is_blind {
            return true;
        }
        match &self.reader {
            Reader::Events(..) | Reader::Lines(..) => {
                facts.done
                    || self.reader.has_skipped()
                    || self.ask(|f| !f.has_end_marker()).unwrap_or(true)
            }
            Reader::Unread(..) if self.is_grpc() => {
                matches!(end, BodyEnd::Trailers { grpc: Some(_) })
            }
            _ => !is_short,
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
        if self.is_blind || matches!(reader, Reader::Unread(..)) {
            return;
        }
        let mut tokens = Tokens { timing, observer, now };
        let read = catch_unwind(AssertUnwindSafe(|| read(reader, &mut tokens)));
        self.give_up_after(read);
    }

    /// Has the format told of all that has come.
    fn settle(&mut self) {
        let settled = catch_unwind(AssertUnwindSafe(|| self.reader.settle()));
        self.give_up_after(settled);
    }

    fn give_up_after(&mut self, read: thread::Result<()>) {
        if read.is_err() {
            self.reader = Reader::Unread(Unread::UnknownFormat, None);
        }
    }
}

// === impl Tokens ===

impl Tokens<'_> {
    pub(super) fn came(&mut self, progress: Progress) {
        let Self { timing, observer, now } = self;
        let Progress { choice, tokens } = progress;
        let tokens = tokens.min(MOST_TOKENS);
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

#[cfg(test)]
mod tests {
    use super::*;

    struct Unmoved;

    impl Observer for Unmoved {
        fn end(&mut self, _summary: Summary) {}
    }

    #[test]
    fn what_came_before_something_that_could_not_be_looked_at_counts() {
        let event = "data: {\"choices\":[{\"index\":0,\"text\":\"a\",\"finish_reason\":null}]}\n\n";
        for end in [BodyEnd::Eof, BodyEnd::Dropped] {
            let head = Head { content: Content::Events, ..Head::default() };
            let mut watch = Watch::new(&Wire::completions(), &head, None);
            let now = Instant::now();
            // The first one is parsed, the others are known by their bytes.
            (0..3).for_each(|_| watch.read(event.as_bytes(), now, &mut Unmoved));
            watch.skip(9);
            assert_eq!(watch.end(end, now, &mut Unmoved).usage.completion, Some(3));
        }
    }
}
