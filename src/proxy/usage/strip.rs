//! Takes out of a stream of server-sent events what came because the proxy asked for it.

use std::collections::VecDeque;

use bytes::Bytes;

use super::{
    Hide,
    chunk::{Chunk, Kind, Prefilter},
    ends::Ends,
    held::{Held, TakenOut},
};

/// The longest event that is looked at.
const MAX_EVENT: usize = 1024 * 1024;

/// Reads the bytes of a stream and gives those that the client shall have.
///
/// Only two kinds of bytes wait: those of an event that is not whole yet, up to a limit beyond which
/// it passes as it is; and, where the usage event is taken out, the end of a choice until the event
/// after it has come. All others pass at once, and whole events are not copied.
#[derive(Debug)]
pub(super) struct Strip {
    hide: Hide,
    prefilter: Prefilter,
    ends: Ends,
    /// The beginning of an event whose end has not come yet.
    partial: Vec<u8>,
    /// The event at hand is too long.
    passing: bool,
    /// Ends of choices, one right after the other.
    held: Vec<Held>,
}

// === impl Strip ===

impl Strip {
    pub(super) fn new(hide: Hide) -> Self {
        Self {
            hide,
            prefilter: Prefilter::default(),
            ends: Ends::default(),
            partial: Vec::new(),
            passing: false,
            held: Vec::new(),
        }
    }

    pub(super) fn read(&mut self, bytes: &Bytes, out: &mut VecDeque<Bytes>) {
        // Where what is to be passed on begins, and the event at hand.
        let (mut pass, mut at) = (0, 0);
        while let Some(length) = self.ends.find(&bytes[at..]) {
            let end = at + length;
            if std::mem::take(&mut self.passing) {
                at = end;
                continue;
            }
            let is_whole = self.partial.is_empty();
            let event = if is_whole {
                bytes.slice(at..end)
            } else {
                self.partial.extend_from_slice(&bytes[at..end]);
                Bytes::from(std::mem::take(&mut self.partial))
            };
            match self.chunk(&event) {
                None if is_whole => self.release(out),
                chunk => {
                    give(bytes.slice(pass..at), out);
                    self.event(event, chunk, out);
                    pass = end;
                }
            }
            at = end;
        }
        if !self.passing {
            if self.partial.len() + bytes.len() - at <= MAX_EVENT {
                self.partial.extend_from_slice(&bytes[at..]);
                return give(bytes.slice(pass..at), out);
            }
            self.passing = true;
            self.release(out);
            give(Bytes::from(std::mem::take(&mut self.partial)), out);
        }
        give(bytes.slice(pass..), out);
    }

    /// Nothing more comes.
    pub(super) fn end(&mut self, out: &mut VecDeque<Bytes>) {
        let event = Bytes::from(std::mem::take(&mut self.partial));
        let chunk = self.chunk(&event);
        self.event(event, chunk, out);
        self.release(out);
    }

    /// Whether no bytes wait.
    pub(super) fn is_empty(&self) -> bool {
        self.partial.is_empty() && self.held.is_empty()
    }

    /// `None` for an event that passes as it is: most do, and are not parsed.
    fn chunk(&self, event: &[u8]) -> Option<Chunk> {
        let Self { hide, prefilter, .. } = self;
        let may_finish = hide.event && prefilter.may_finish(event);
        let is_looked_at = may_finish || prefilter.has_usage(event);
        if !is_looked_at || event.len() > MAX_EVENT {
            return None;
        }
        let chunk = Chunk::read(event, may_finish)?;
        let changes = match &chunk.kind {
            Kind::Usage => hide.event,
            Kind::Choices { usage, finishes } => (hide.members && usage.is_some()) || *finishes,
        };
        changes.then_some(chunk)
    }

    fn event(&mut self, event: Bytes, chunk: Option<Chunk>, out: &mut VecDeque<Bytes>) {
        let Some(mut chunk) = chunk else {
            self.release(out);
            return give(event, out);
        };
        match &mut chunk.kind {
            Kind::Usage => {
                let taken_out = TakenOut { event, chunk };
                out.extend(self.held.drain(..).map(|held| held.release_with(&taken_out)));
            }
            Kind::Choices { usage, finishes } => {
                let (cut, finishes) = (usage.take().filter(|_| self.hide.members), *finishes);
                let waits: usize = self.held.iter().map(Held::len).sum();
                if !finishes || waits + event.len() > MAX_EVENT {
                    self.release(out);
                }
                self.held.push(Held::new(event, chunk, cut));
                if !finishes {
                    self.release(out);
                }
            }
        }
    }

    fn release(&mut self, out: &mut VecDeque<Bytes>) {
        out.extend(self.held.drain(..).map(Held::release));
    }
}

fn give(bytes: Bytes, out: &mut VecDeque<Bytes>) {
    if !bytes.is_empty() {
        out.push_back(bytes);
    }
}
