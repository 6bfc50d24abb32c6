//! Families that are either recorded here or told by a source.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::names::{self, Family};

/// Those that an engine may tell better than it can be recorded beside it.
pub(super) static EITHER: [&Family; 3] = [
    &names::TIME_IN_QUEUE_SECONDS,
    &names::REQUEST_PREFILL_TIME_SECONDS,
    &names::REQUEST_INFERENCE_TIME_SECONDS,
];

/// For each of [`EITHER`], whether it is told by a source.
///
/// NB: the two are never mixed. Where one took over from the other for a while, its counts would
/// look like a restart, and the way back like thousands of requests at once.
#[derive(Debug, Default)]
pub(super) struct Owners(pub(super) [AtomicBool; EITHER.len()]);

// === impl Owners ===

impl Owners {
    /// Whether a source tells it, in place of what is recorded.
    pub(super) fn is_told(&self, family: &Family) -> bool {
        let mut all = EITHER.iter().zip(&self.0);
        all.any(|(known, is_told)| std::ptr::eq(*known, family) && is_told.load(Relaxed))
    }
}
