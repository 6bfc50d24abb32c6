//! Hands the bytes of a body to its format, framed as the format wants them.

use std::{
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
};

use http::HeaderMap;

use super::{
    head::{Content, Head},
    lines::Lines,
    sse::Sse,
    template::Templates,
    watch::Tokens,
    whole::Whole,
};
use crate::{
    outcome::Unread,
    wire::{Event, Progress, Wire, WireFormat},
};

pub(super) enum Reader {
    /// The first byte that is not white space decides.
    Undecided(Box<dyn WireFormat>),
    Events(Events, Box<dyn WireFormat>),
    Lines(Lines, Box<dyn WireFormat>),
    Whole(Whole, Box<dyn WireFormat>),
    /// The body passes; a format that is kept knows the head.
    Unread(Unread, Option<Box<dyn WireFormat>>),
}

#[derive(Default)]
pub(super) struct Events {
    sse: Sse,
    templates: Templates,
    /// Events that were known by their bytes, which the format has not been told of: of which choice,
    /// and how many. NB: so that most tokens need nothing of it.
    again: (usize, u64),
}

// === impl Reader ===

impl Reader {
    pub(super) fn new(wire: &Wire, head: &Head, headers: Option<&HeaderMap>) -> Self {
        let format = match head.content {
            Content::Grpc { .. } | Content::Other => None,
            _ => begin(wire, headers),
        };
        match (head.content, format) {
            (Content::Compressed, format) => Self::Unread(Unread::Compressed, format),
            (_, None) => Self::Unread(Unread::UnknownFormat, None),
            (Content::Events, Some(format)) => Self::Events(Events::default(), format),
            (Content::Lines, Some(format)) => Self::Lines(Lines::default(), format),
            (Content::Json, Some(format)) => Self::Whole(Whole::default(), format),
            (_, Some(format)) => Self::Undecided(format),
        }
    }

    /// Reads on; tells `content` of every token that came.
    pub(super) fn read(&mut self, bytes: &[u8], tokens: &mut Tokens<'_>) {
        match self {
            Self::Events(events, format) => events.read(bytes, format.as_mut(), tokens),
            Self::Lines(lines, format) => lines.read(bytes, |event| give(event, format, tokens)),
            Self::Whole(whole, _) => whole.read(bytes),
            Self::Undecided(_) => self.decide(bytes, tokens),
            Self::Unread(..) => {}
        }
    }

    /// Tells the format what it was not told yet. Before that it knows of no more than the last time.
    pub(super) fn settle(&mut self) {
        if let Self::Events(events, format) = self {
            events.settle(format.as_mut());
        }
    }

    /// The body has come to its proper end.
    pub(super) fn end(&mut self, tokens: &mut Tokens<'_>) {
        match self {
            Self::Events(events, format) => events.sse.end(|event| give(event, format, tokens)),
            Self::Lines(lines, format) => lines.end(|event| give(event, format, tokens)),
            Self::Whole(whole, format) => match whole.bytes() {
                Some(bytes) => format.whole(bytes),
                None => self.pass(Unread::TooLong),
            },
            Self::Undecided(_) | Self::Unread(..) => {}
        }
    }

    /// Who tells what the answer was; of a body that is not read, by its head alone.
    pub(super) fn format(&self) -> Option<&dyn WireFormat> {
        match self {
            Self::Undecided(format)
            | Self::Events(_, format)
            | Self::Lines(_, format)
            | Self::Whole(_, format)
            | Self::Unread(_, Some(format)) => Some(format.as_ref()),
            Self::Unread(_, None) => None,
        }
    }

    /// The whole answer, where it is one that was read.
    pub(super) fn whole(&self) -> Option<&[u8]> {
        match self {
            Self::Whole(whole, _) => whole.bytes(),
            _ => None,
        }
    }

    /// Whether an event was too long to be read.
    pub(super) fn has_skipped(&self) -> bool {
        match self {
            Self::Events(events, _) => events.sse.has_skipped(),
            Self::Lines(lines, _) => lines.has_skipped(),
            Self::Undecided(_) | Self::Whole(..) | Self::Unread(..) => false,
        }
    }

    /// Leaves a whole answer unread.
    fn pass(&mut self, reason: Unread) {
        if let Self::Whole(_, format) = std::mem::replace(self, Self::Unread(reason, None)) {
            *self = Self::Unread(reason, Some(format));
        }
    }

    fn decide(&mut self, bytes: &[u8], tokens: &mut Tokens<'_>) {
        let bytes = bytes.trim_ascii_start();
        let Some(first) = bytes.first() else { return };
        let Self::Undecided(format) =
            std::mem::replace(self, Self::Unread(Unread::UnknownFormat, None))
        else {
            return;
        };
        *self = match first {
            b'{' if format.streams_lines() => Self::Lines(Lines::default(), format),
            b'{' | b'[' => Self::Whole(Whole::default(), format),
            _ => Self::Events(Events::default(), format),
        };
        self.read(bytes, tokens);
    }
}

// === impl Events ===

impl Events {
    /// Most events are known by their bytes, and neither framed nor parsed.
    fn read(&mut self, mut bytes: &[u8], format: &mut dyn WireFormat, tokens: &mut Tokens<'_>) {
        while !bytes.is_empty() {
            if self.sse.is_between_events() {
                if let Some((choice, length)) = self.templates.find(bytes) {
                    if self.again.0 != choice {
                        self.settle(format);
                        self.again.0 = choice;
                    }
                    self.again.1 += 1;
                    tokens.came(Progress { choice, tokens: 1 });
                    bytes = &bytes[length..];
                    continue;
                }
            }
            self.settle(format);
            let Self { sse, templates, .. } = self;
            let mut plain = None;
            let rest = sse.read(bytes, |event| {
                let varying = format.event(event, &mut |progress| tokens.came(progress));
                plain = varying.and_then(|v| Some((v.choice, place(bytes, v.text)?)));
            });
            if let Some((choice, text)) = plain {
                templates.learn(choice, &bytes[..bytes.len() - rest.len()], text);
            }
            bytes = rest;
        }
    }

    fn settle(&mut self, format: &mut dyn WireFormat) {
        let (choice, events) = self.again;
        if events > 0 {
            // NB: first, so that of one that panics nothing is told twice.
            self.again.1 = 0;
            format.again(choice, events);
        }
    }
}

/// A fresh format that knows the head.
///
/// A panic of a format costs the reading of this answer, never the body.
#[inline]
fn begin(wire: &Wire, headers: Option<&HeaderMap>) -> Option<Box<dyn WireFormat>> {
    let mut format = wire.format()?;
    catch_unwind(AssertUnwindSafe(|| headers.map(|headers| format.head(headers)))).ok()?;
    Some(format)
}

fn give(event: Event<'_>, format: &mut Box<dyn WireFormat>, tokens: &mut Tokens<'_>) {
    format.event(event, &mut |progress| tokens.came(progress));
}

/// Where `text` lies in `bytes`; `None` where it is a copy.
fn place(bytes: &[u8], text: &str) -> Option<Range<usize>> {
    let start = (text.as_ptr() as usize).checked_sub(bytes.as_ptr() as usize)?;
    let end = start.checked_add(text.len())?;
    (end <= bytes.len()).then_some(start..end)
}
