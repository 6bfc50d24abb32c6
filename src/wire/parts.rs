//! What a response has told of several answers in it, each of which is counted by itself: the
//! prompts of a batch, or several choices for one prompt.

use super::{Facts, Finish, Longest, Progress, Usage, counts::Counts};
use crate::outcome::TokenSource;

/// Parts told apart; those beyond share one place, in which their events are counted.
const MAX_PARTS: usize = 128;

/// The parts of a stream, by the index that the engine gives them.
#[derive(Debug, Default)]
pub(super) struct Parts {
    parts: Vec<(u64, Counts)>,
    beyond: Option<Counts>,
}

/// What is told of all the parts together.
#[derive(Debug, Default)]
pub(super) struct Sum {
    facts: Facts,
    parts: usize,
    /// The index of the part whose finish reason is that of the request.
    finish_of: Option<u64>,
}

// === impl Parts ===

impl Parts {
    /// The part with this index.
    pub(super) fn part(&mut self, index: u64) -> &mut Counts {
        let slot = self.slot(index);
        match self.parts.get_mut(slot) {
            Some((_, counts)) => counts,
            None => self.beyond.get_or_insert_default(),
        }
    }

    /// Takes how many tokens a part has by now; says what came, if that `is_content`.
    ///
    /// NB: totals of parts that share one place are no total.
    pub(super) fn generated(
        &mut self,
        index: u64,
        total: Option<u64>,
        is_content: impl FnOnce(Option<u64>) -> bool,
    ) -> Option<Progress> {
        let choice = self.slot(index);
        let total = total.filter(|_| choice < MAX_PARTS);
        let part = self.part(index);
        let more = part.grown(total, TokenSource::EngineFrame);
        is_content(more)
            .then(|| Progress { choice, tokens: more.unwrap_or_else(|| part.content(1)) })
    }

    /// Whether each part that came has also come to its end.
    pub(super) fn are_done(&self) -> bool {
        !self.parts.is_empty() && self.all().all(|(_, counts)| counts.done)
    }

    pub(super) fn are_several(&self) -> bool {
        self.parts.len() > 1
    }

    /// The longest prompt only: whether others are added to it shows at the end.
    pub(super) fn so_far(&self) -> Usage {
        Usage {
            prompt: self.parts.iter().filter_map(|(_, counts)| counts.prompt).max(),
            completion: Some(self.all().fold(0, |sum, (_, c)| c.live().saturating_add(sum))),
            ..Usage::default()
        }
    }

    pub(super) fn facts(&self) -> Facts {
        let mut sum = Sum::default();
        for (slot, (index, counts)) in self.all().enumerate() {
            sum.add(slot, index, &counts.facts());
        }
        let mut facts = sum.facts();
        if self.beyond.is_some() {
            // Some of their prompts are missing.
            let completion = facts.usage.completion;
            facts.usage = Usage { completion, ..Usage::default() };
        }
        facts
    }

    /// Its place, which the parts beyond share.
    fn slot(&mut self, index: u64) -> usize {
        let known = self.parts.iter().position(|(known, _)| *known == index);
        known.unwrap_or_else(|| {
            if self.parts.len() < MAX_PARTS {
                self.parts.push((index, Counts::default()));
                self.parts.len() - 1
            } else {
                MAX_PARTS
            }
        })
    }

    fn all(&self) -> impl Iterator<Item = (u64, &Counts)> {
        let beyond = self.beyond.iter().map(|counts| (u64::MAX, counts));
        self.parts.iter().map(|(index, counts)| (*index, counts)).chain(beyond)
    }
}

// === impl Sum ===

impl Sum {
    /// Adds what one part has told.
    pub(super) fn add(&mut self, choice: usize, index: u64, part: &Facts) {
        let Self { facts, parts, finish_of } = self;
        *parts += 1;
        let add = |sum: &mut Option<u64>, more: Option<u64>| {
            *sum = more.map(|more| sum.unwrap_or(0).saturating_add(more)).or(*sum);
        };
        add(&mut facts.usage.prompt, part.usage.prompt);
        add(&mut facts.usage.cached, part.usage.cached);
        add(&mut facts.usage.completion, part.usage.completion);
        add(&mut facts.usage.reasoning, part.usage.reasoning);
        // One estimate makes the sum one.
        if facts.source != Some(TokenSource::Counted) {
            facts.source = part.source.or(facts.source);
        }
        if let Some(Longest { tokens, exact, .. }) = part.longest {
            if facts.longest.is_none_or(|longest| longest.tokens < tokens) {
                facts.longest = Some(Longest { choice, tokens, exact });
            }
        }
        let is_lower = finish_of.is_none_or(|lowest| index <= lowest);
        match (facts.finish, part.finish) {
            (Some(Finish::Abort), _) | (_, None) => {}
            (_, Some(Finish::Abort)) => facts.finish = Some(Finish::Abort),
            (_, reason) if is_lower => (facts.finish, *finish_of) = (reason, Some(index)),
            _ => {}
        }
        facts.error = facts.error.or(part.error);
        facts.queue_time = part.queue_time;
        facts.prefill_time = part.prefill_time;
    }

    pub(super) fn facts(self) -> Facts {
        let mut facts = self.facts;
        // Which of several began first is not told.
        if self.parts > 1 {
            (facts.queue_time, facts.prefill_time) = (None, None);
        }
        facts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prompt_so_far_does_not_fall() {
        let mut parts = Parts::default();
        parts.part(0).prompt = Some(6);
        parts.part(1).prompt = Some(6);
        assert_eq!(parts.so_far().prompt, Some(6));
        // The first one ends last, and another has told of their prompt.
        parts.part(0).prompt = Some(0);
        assert_eq!(parts.so_far().prompt, Some(6));
        assert_eq!(parts.facts().usage.prompt, Some(6));
    }
}
