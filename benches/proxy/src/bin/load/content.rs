//! Holds the payload of an answer to what the simulator writes: nothing more, nothing less, and in
//! order.

use infermeter_proxy_bench::mark::Mark;
use memchr::{memchr, memmem};

use crate::failure::Failure;

/// What an answer has to be.
#[derive(Clone, Copy)]
pub(crate) struct Expected {
    pub(crate) chunks: u32,
    pub(crate) is_chat: bool,
    pub(crate) has_usage: bool,
    pub(crate) is_stream: bool,
    /// The chunk at which it is left.
    pub(crate) cut_at: Option<u32>,
}

/// What of an answer has come.
pub(crate) struct Content {
    expected: Expected,
    /// The start of an event whose end has not come; all of an answer that is no stream.
    open: Vec<u8>,
    chunks: u32,
    stage: Stage,
}

/// What has come last. The order is that in which it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Nothing,
    Role,
    Chunk,
    Usage,
    Done,
}

// === impl Content ===

impl Content {
    pub(crate) fn new(expected: Expected) -> Self {
        Self { expected, open: Vec::new(), chunks: 0, stage: Stage::Nothing }
    }

    pub(crate) fn chunks(&self) -> u32 {
        self.chunks
    }

    /// Whether it is left here.
    pub(crate) fn is_cut(&self) -> bool {
        self.expected.cut_at.is_some_and(|at| self.chunks >= at)
    }

    /// Reads on; `chunk` is told of the mark of each.
    pub(crate) fn feed(
        &mut self,
        bytes: &[u8],
        chunk: &mut impl FnMut(Mark),
    ) -> Result<(), Failure> {
        if !self.expected.is_stream {
            self.open.extend_from_slice(bytes);
            return Ok(());
        }
        if self.open.is_empty() {
            let rest = self.events(bytes, chunk)?;
            self.open.extend_from_slice(rest);
        } else {
            let mut open = std::mem::take(&mut self.open);
            open.extend_from_slice(bytes);
            let rest = self.events(&open, chunk)?.len();
            open.drain(..open.len() - rest);
            self.open = open;
        }
        Ok(())
    }

    /// The body has ended, by its framing.
    pub(crate) fn end(&mut self, chunk: &mut impl FnMut(Mark)) -> Result<(), Failure> {
        if !self.expected.is_stream {
            let mark = Mark::read(&self.open).ok_or(Failure::Shape("no mark"))?;
            let usage = self.tokens(&self.open);
            if mark.number != self.expected.chunks || !usage || !self.open.ends_with(b"}") {
                return Err(Failure::Shape("not the whole answer"));
            }
            chunk(mark);
            self.chunks = mark.number;
            return Ok(());
        }
        match self.stage {
            Stage::Done if self.open.is_empty() => Ok(()),
            Stage::Done => Err(Failure::Shape("something after [DONE]")),
            _ => Err(Failure::Shape("no [DONE]")),
        }
    }

    /// Reads whole events; returns the rest. Behind the chunk at which the stream is left nothing is
    /// read.
    fn events<'a>(
        &mut self,
        mut bytes: &'a [u8],
        chunk: &mut impl FnMut(Mark),
    ) -> Result<&'a [u8], Failure> {
        while let Some(end) = memchr(b'\n', bytes).filter(|_| !self.is_cut()) {
            match bytes.get(end + 1) {
                None => break,
                Some(b'\n') => self.event(&bytes[..end], chunk)?,
                Some(_) => return Err(Failure::Shape("an event of two lines")),
            }
            bytes = &bytes[end + 2..];
        }
        Ok(bytes)
    }

    fn event(&mut self, event: &[u8], chunk: &mut impl FnMut(Mark)) -> Result<(), Failure> {
        let data = event.strip_prefix(b"data: ").ok_or(Failure::Shape("a line without data"))?;
        let before = self.stage;
        if let Some(mark) = Mark::read(data) {
            let is_last = mark.number == self.expected.chunks;
            let is_next = mark.number == self.chunks + 1 && mark.number <= self.expected.chunks;
            // Before it is the one that comes before all content, or another chunk.
            if !is_next || before > Stage::Chunk || (self.expected.is_chat && before < Stage::Role)
            {
                return Err(Failure::Sequence);
            }
            let lacks_reason = is_last && has(data, b"\"finish_reason\":null");
            if lacks_reason || !data.ends_with(b"}") {
                return Err(Failure::Shape("a chunk"));
            }
            self.chunks = mark.number;
            self.stage = Stage::Chunk;
            chunk(mark);
            return Ok(());
        }
        self.stage = match data {
            b"[DONE]" => Stage::Done,
            _ if has(data, b"\"role\":\"assistant\"") => Stage::Role,
            _ if self.tokens(data) => Stage::Usage,
            _ => return Err(Failure::Shape("an event that was not sent")),
        };
        let is_complete = self.chunks == self.expected.chunks;
        let in_its_place = match self.stage {
            Stage::Role => self.expected.is_chat && before == Stage::Nothing,
            Stage::Usage => self.expected.has_usage && before == Stage::Chunk && is_complete,
            Stage::Done if self.expected.has_usage => before == Stage::Usage,
            Stage::Done => before == Stage::Chunk && is_complete,
            Stage::Nothing | Stage::Chunk => false,
        };
        if in_its_place { Ok(()) } else { Err(Failure::Sequence) }
    }

    /// Whether it tells as many tokens as there are chunks.
    fn tokens(&self, data: &[u8]) -> bool {
        has(data, format!("\"completion_tokens\":{},", self.expected.chunks).as_bytes())
    }
}

fn has(data: &[u8], what: &[u8]) -> bool {
    memmem::find(data, what).is_some()
}

#[cfg(test)]
mod tests;
