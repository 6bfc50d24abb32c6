//! Families that are either recorded here or told by a source.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::names::{self, Family};

/// Those that an engine may tell better than it can be recorded beside it.
pub(super) static EITHER: [&Family; 3] = [
    &names::TIME_IN_QUEUE_SECONDS,
    &names::REQUEST_PREFILL_TIME_SECONDS,
    &names::REQUEST_INFERENCE_TIME_SECONDS,
];

/// Those in which the page of an engine has every request, whatever model it was sent for.
static OF_ALL_MODELS: [&Family; 2] = [&names::NUM_REQUESTS_WAITING, &names::NUM_REQUESTS_RUNNING];

/// What a source of an upstream tells in place of what is seen here.
#[derive(Debug, Default)]
pub(super) struct Owners {
    /// For each of [`EITHER`], whether it is told by a source.
    ///
    /// NB: the two are never mixed. Where one took over from the other for a while, its counts would
    /// look like a restart, and the way back like thousands of requests at once.
    pub(super) either: [AtomicBool; EITHER.len()],
    /// Whether the page of an engine is watched.
    pub(super) has_page: AtomicBool,
}

// === impl Owners ===

impl Owners {
    /// Whether a source tells it, in place of what is recorded.
    pub(super) fn is_told(&self, family: &Family) -> bool {
        let mut all = EITHER.iter().zip(&self.either);
        all.any(|(known, is_told)| std::ptr::eq(*known, family) && is_told.load(Relaxed))
    }

    /// Whether what is told of one model is told of all.
    ///
    /// NB: an engine counts its adapters, and its second names, under the name of its model. Seen
    /// from outside as well, they would be in a sum twice.
    pub(super) fn tells_of_all_models(&self, family: &Family) -> bool {
        let is_it = |known: &&Family| std::ptr::eq(*known, family);
        self.has_page.load(Relaxed) && OF_ALL_MODELS.iter().any(is_it)
    }
}
