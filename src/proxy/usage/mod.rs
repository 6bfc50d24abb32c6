//! Exact token counts of streams whose clients did not ask for them.
//!
//! An engine tells the tokens of a stream only when it is asked to. Where the client does not ask,
//! the proxy does ([`splice()`]), and takes out of the answer what came because of that
//! ([`Hidden`]), so that the client sees the bytes that it would have seen.
//!
//! Two things cannot be hidden. Where an engine is set up to tell usage unasked, the last event is
//! taken for one that was asked for. And where one of several choices ends before others go on, vLLM
//! would have written its `system_fingerprint` there, and told it only at the end.

mod body;
mod chunk;
mod ends;
mod held;
mod request;
mod splice;
mod strip;
#[cfg(test)]
mod tests;

use std::ops::Range;

pub(super) use self::{
    body::Hidden,
    request::Request,
    splice::{Spliced, Wanted, splice},
};

/// What is taken out of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hide {
    /// The event that has `usage` and no choices.
    pub(super) event: bool,
    /// The `usage` of events that have choices. By itself where a running usage was asked for; to be
    /// set for an engine that puts zeros there when it is asked for the final one (Ollama's
    /// `/v1/completions`).
    pub(super) members: bool,
}

/// Where `part` lies in `whole`; `None` where it is a copy.
fn place(whole: &str, part: &str) -> Option<Range<usize>> {
    let start = (part.as_ptr() as usize).checked_sub(whole.as_ptr() as usize)?;
    let end = start.checked_add(part.len())?;
    (end <= whole.len()).then_some(start..end)
}
