//! Hands the bytes of a body to its format, framed as the format wants them.

use super::{
    head::{Content, Head},
    sse::Sse,
    whole::Whole,
};
use crate::{
    outcome::Unread,
    wire::{Event, Progress, Wire, WireFormat},
};

pub(super) enum Reader {
    /// The first byte that is not white space decides.
    Undecided(Box<dyn WireFormat>),
    Events(Sse, Box<dyn WireFormat>),
    Whole(Whole, Box<dyn WireFormat>),
    Unread(Unread),
}

// === impl Reader ===

impl Reader {
    pub(super) fn new(wire: &Wire, head: &Head) -> Self {
        let format = match head.content {
            Content::Compressed => return Self::Unread(Unread::Compressed),
            Content::Grpc { .. } | Content::Other => None,
            Content::Unsaid | Content::Events | Content::Json => wire.format(),
        };
        let Some(format) = format else {
            return Self::Unread(Unread::UnknownFormat);
        };
        match head.content {
            Content::Events => Self::Events(Sse::default(), format),
            Content::Json => Self::Whole(Whole::default(), format),
            _ => Self::Undecided(format),
        }
    }

    /// Reads on; tells `content` of every token that came.
    pub(super) fn read(&mut self, bytes: &[u8], content: &mut dyn FnMut(Progress)) {
        match self {
            Self::Events(sse, format) => sse.read(bytes, |event| format.event(event, content)),
            Self::Whole(whole, _) => whole.read(bytes),
            Self::Undecided(_) => self.decide(bytes, content),
            Self::Unread(_) => {}
        }
    }

    /// The body has come to its proper end.
    pub(super) fn end(&mut self, content: &mut dyn FnMut(Progress)) {
        match self {
            Self::Events(sse, format) => sse.end(|event: Event<'_>| format.event(event, content)),
            Self::Whole(whole, format) => match whole.bytes() {
                Some(bytes) => format.whole(bytes),
                None => *self = Self::Unread(Unread::TooLong),
            },
            Self::Undecided(_) | Self::Unread(_) => {}
        }
    }

    pub(super) fn format(&self) -> Option<&dyn WireFormat> {
        match self {
            Self::Undecided(format) | Self::Events(_, format) | Self::Whole(_, format) => {
                Some(format.as_ref())
            }
            Self::Unread(_) => None,
        }
    }

    fn decide(&mut self, bytes: &[u8], content: &mut dyn FnMut(Progress)) {
        let bytes = bytes.trim_ascii_start();
        let Some(first) = bytes.first() else { return };
        let Self::Undecided(format) = std::mem::replace(self, Self::Unread(Unread::UnknownFormat))
        else {
            return;
        };
        *self = match first {
            b'{' | b'[' => Self::Whole(Whole::default(), format),
            _ => Self::Events(Sse::default(), format),
        };
        self.read(bytes, content);
    }
}
