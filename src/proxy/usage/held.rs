//! Events that are changed, and may wait for the next one.

use std::ops::Range;

use bytes::Bytes;

use super::chunk::Chunk;

/// An event with choices.
#[derive(Debug)]
pub(super) struct Held {
    event: Bytes,
    chunk: Chunk,
    /// What is taken out of it.
    cut: Option<Range<usize>>,
}

/// The event that is taken out, for what it has besides usage.
#[derive(Debug)]
pub(super) struct TakenOut {
    pub(super) event: Bytes,
    pub(super) chunk: Chunk,
}

// === impl Held ===

impl Held {
    pub(super) const fn new(event: Bytes, chunk: Chunk, cut: Option<Range<usize>>) -> Self {
        Self { event, chunk, cut }
    }

    pub(super) fn len(&self) -> usize {
        self.event.len()
    }

    pub(super) fn release(self) -> Bytes {
        let Self { event, chunk: _, cut } = self;
        match cut {
            // NB: one event stays one frame; the copy costs less than another frame would.
            Some(cut) => [&event[..cut.start], &event[cut.end..]].concat().into(),
            None => event,
        }
    }

    /// With the members that it lacks of the event behind it.
    ///
    /// Without usage vLLM writes `system_fingerprint` here (and llama.cpp `timings`), with usage
    /// there. What an engine has on every event anyway is not written twice.
    pub(super) fn release_with(self, taken_out: &TakenOut) -> Bytes {
        let TakenOut { event: other, chunk: other_chunk } = taken_out;
        let mut members = other_chunk.further(other);
        if members.is_empty() {
            return self.release();
        }
        let own = self.chunk.further(&self.event);
        members.retain(|member| own.iter().all(|own| own.name != member.name));
        let mut pieces: Vec<&[u8]> = Vec::new();
        for member in members {
            let separator =
                if member.separator.is_empty() { b"," } else { &other[member.separator] };
            pieces.extend([separator, &other[member.text]]);
        }
        let Self { event, chunk, cut } = &self;
        let last = chunk.last(event);
        let cut = cut.clone().unwrap_or(last..last);
        // NB: usage may be the last member itself.
        let last = last.max(cut.end);
        let before = [&event[..cut.start], &event[cut.end..last]];
        [&before[..], &pieces, &[&event[last..]]].concat().concat().into()
    }
}
