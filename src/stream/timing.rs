//! When tokens came.

use std::time::Duration;

use tokio::time::Instant;

use crate::wire::Longest;

/// First and last token of each choice. A choice's number is bounded by the format.
#[derive(Debug, Default)]
pub(super) struct Timing {
    /// NB: of nearly all answers it is the only one.
    zeroth: Option<Span>,
    others: Vec<Option<Span>>,
    pub(super) first: Option<Instant>,
    pub(super) last: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Span {
    first: Instant,
    last: Instant,
}

/// Choices that are timed; those beyond are counted only.
const MAX_CHOICES: usize = 128;

// === impl Timing ===

impl Timing {
    /// Tokens of `choice` came; says how long after the ones before them.
    pub(super) fn token(&mut self, choice: usize, now: Instant) -> Option<Duration> {
        self.last = Some(now);
        let span = match choice.checked_sub(1) {
            None => self.zeroth.as_mut(),
            Some(other) => self.others.get_mut(other).and_then(Option::as_mut),
        };
        if let Some(span) = span {
            let gap = now.duration_since(span.last);
            span.last = now;
            return Some(gap);
        }
        self.begin(choice, now);
        None
    }

    /// The first tokens of a choice came.
    fn begin(&mut self, choice: usize, now: Instant) {
        self.first.get_or_insert(now);
        let span = Some(Span { first: now, last: now });
        match choice.checked_sub(1) {
            None => self.zeroth = span,
            Some(other) if choice < MAX_CHOICES => {
                self.others.resize(choice.max(self.others.len()), None);
                self.others[other] = span;
            }
            Some(_) => {}
        }
    }

    /// (last − first token) / (tokens − 1); `None` for fewer than 2 tokens.
    pub(super) fn per_output_token(&self, longest: Longest) -> Option<Duration> {
        let span = match longest.choice.checked_sub(1) {
            None => self.zeroth,
            Some(other) => *self.others.get(other)?,
        }?;
        per_gap(span.last.duration_since(span.first), longest.tokens)
    }
}

/// The mean gap between so many tokens; `None` for fewer than 2.
pub(crate) fn per_gap(first_to_last: Duration, tokens: u64) -> Option<Duration> {
    let gaps = tokens.checked_sub(1).filter(|gaps| *gaps > 0)?;
    Some(first_to_last / u32::try_from(gaps).unwrap_or(u32::MAX))
}
