//! What a response has told so far, for formats whose counts are those of the whole request.
//!
//! Best first: the engine's final count, a running one, counted events. Of one kind the last value
//! counts and never the sum.

use std::time::Duration;

use super::{Facts, Finish, Longest, Usage, error::FirstError};
use crate::outcome::TokenSource;

#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    pub(super) prompt: Option<u64>,
    pub(super) cached: Option<u64>,
    pub(super) reasoning: Option<u64>,
    /// Generated tokens as the engine told them last.
    told: Option<(u64, TokenSource)>,
    /// Tokens of the content events that came.
    counted: u64,
    /// All of these said how many tokens they carry.
    pub(super) events_are_exact: bool,
    pub(super) finish: Option<Finish>,
    pub(super) error: FirstError,
    pub(super) done: bool,
    /// How long the request waited in the engine, where that tells.
    pub(super) queue_time: Option<Duration>,
    /// How long its prefill took, where the engine tells.
    pub(super) prefill_time: Option<Duration>,
}

// === impl Counts ===

impl Counts {
    /// An event with generated content came; says how many tokens it carries.
    pub(super) fn content(&mut self, tokens: u64) -> u64 {
        self.counted = self.counted.saturating_add(tokens);
        tokens
    }

    /// The engine tells how many tokens were generated in all.
    ///
    /// A zero takes the place of a larger count only where it is the final word.
    pub(super) fn generated(&mut self, total: Option<u64>, source: TokenSource) {
        let Some(total) = total else { return };
        let is_final = source == TokenSource::Usage;
        if is_final || total > 0 || self.told.is_none() {
            self.told = Some((total, source));
        }
    }

    /// The same for a running total of a stream; says how many tokens are new with this event.
    pub(super) fn grown(&mut self, total: Option<u64>, source: TokenSource) -> Option<u64> {
        let before = self.live();
        self.generated(total, source);
        total.map(|total| total.saturating_sub(before))
    }

    /// Generated tokens as far as they are known.
    pub(super) fn live(&self) -> u64 {
        self.told.map_or(0, |(told, _)| told).max(self.counted)
    }

    pub(super) fn so_far(&self) -> Usage {
        Usage { prompt: self.prompt, completion: Some(self.live()), ..Usage::default() }
    }

    pub(super) fn facts(&self) -> Facts {
        let Self { prompt, cached, reasoning, finish, done, .. } = *self;
        let by_events = match self.events_are_exact {
            true => TokenSource::EngineFrame,
            false => TokenSource::Counted,
        };
        // Events that never came say nothing: a token may have had no text.
        let counted = (self.counted > 0).then_some((self.counted, by_events));
        let (completion, source) = self.told.or(counted).unzip();
        self.error.told_in(Facts {
            usage: Usage { prompt, cached, completion, reasoning },
            source,
            longest: completion.map(|tokens| Longest { choice: 0, tokens, exact: true }),
            finish,
            done,
            queue_time: self.queue_time,
            prefill_time: self.prefill_time,
            ..Facts::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completion(counts: &Counts) -> (Option<u64>, Option<TokenSource>) {
        let facts = counts.facts();
        (facts.usage.completion, facts.source)
    }

    #[test]
    fn the_best_source_counts_and_of_it_the_last_value() {
        let mut counts = Counts::default();
        assert_eq!(completion(&counts), (None, None));
        counts.content(1);
        counts.content(1);
        assert_eq!(completion(&counts), (Some(2), Some(TokenSource::Counted)));
        assert_eq!(counts.grown(Some(5), TokenSource::ContinuousUsage), Some(3));
        assert_eq!(counts.grown(Some(0), TokenSource::ContinuousUsage), Some(0));
        assert_eq!(completion(&counts), (Some(5), Some(TokenSource::ContinuousUsage)));
        counts.generated(Some(4), TokenSource::Usage);
        assert_eq!(completion(&counts), (Some(4), Some(TokenSource::Usage)));
        counts.generated(None, TokenSource::Usage);
        counts.generated(Some(0), TokenSource::Usage);
        assert_eq!(completion(&counts), (Some(0), Some(TokenSource::Usage)));
    }
}
