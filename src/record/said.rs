//! What the service itself has said of a request.

use crate::outcome::{FailureReason, FinishReason, Outcome, Phase};

#[derive(Debug, Default)]
pub(super) struct Said {
    /// By [`Count`]. NB: small, since every request has them and hardly any says one.
    counts: [Option<u32>; 5],
    pub(super) generated: Option<u64>,
    pub(super) finish: Option<FinishReason>,
    pub(super) failure: Option<FailureReason>,
    pub(super) client_left: bool,
}

/// A count that the service says once.
#[derive(Clone, Copy, Debug)]
pub(super) enum Count {
    Prompt,
    Cached,
    Reasoning,
    MaxTokens,
    Choices,
}

// === impl Said ===

impl Said {
    pub(super) fn count(&self, count: Count) -> Option<u64> {
        self.counts[count as usize].map(u64::from)
    }

    /// Takes a count, unless it was said before; says which one holds.
    pub(super) fn say(&mut self, count: Count, tokens: u64) -> u64 {
        // NB: what is above is no count that a request can have.
        let tokens = u32::try_from(tokens).unwrap_or(u32::MAX);
        u64::from(*self.counts[count as usize].get_or_insert(tokens))
    }

    /// What the service said of the end goes before what was seen.
    pub(super) fn outcome(&self, phase: Phase, seen: Outcome) -> Outcome {
        if self.client_left {
            return Outcome::Aborted(phase);
        }
        match (self.failure, self.finish, seen) {
            (Some(failure), _, _) => Outcome::Failure(failure),
            (None, Some(finish), Outcome::Success(_) | Outcome::Aborted(_))
            | (None, Some(finish), Outcome::Failure(FailureReason::Truncated)) => {
                Outcome::Success(finish)
            }
            (None, None, Outcome::Aborted(_)) => Outcome::Aborted(phase),
            (None, _, seen) => seen,
        }
    }
}
