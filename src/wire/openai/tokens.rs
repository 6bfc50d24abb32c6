//! Which token count to believe.
//!
//! Best first: a final `usage`, a running one, other counts of the engine, counted events. Of one
//! source the last value counts and never the sum, but for llama.cpp, which tells the usage of each
//! of several choices in an event of its own.

use super::chunk::{Chunk, Told};
use crate::{
    outcome::TokenSource,
    wire::{Longest, Progress, Usage},
};

/// Choices told apart; those beyond share the last place.
const MAX_CHOICES: usize = 128;

/// What the counts of one event are about.
#[derive(Clone, Copy, Debug)]
pub(super) enum Scope {
    /// The whole request: a whole answer, or an event without choices.
    Request,
    /// The whole request so far: the event has several choices.
    Several,
    /// The one choice in the event; `finished` where it ends there, so that its counts are final.
    Choice { slot: usize, finished: bool },
}

#[derive(Debug, Default)]
pub(super) struct Tokens {
    choices: Vec<ChoiceTokens>,
    prompt: Option<u64>,
    cached: Option<u64>,
    reasoning: Option<u64>,
    /// Completion tokens of the whole request, and how many events told them.
    total: Option<u64>,
    totals: usize,
    /// The total came while choices went on.
    total_is_running: bool,
    /// Events without choices told the usage of one choice each.
    is_told_apart: bool,
}

#[derive(Debug, Default)]
struct ChoiceTokens {
    index: u64,
    /// Content events, each for as many tokens as it told of itself.
    counted: u64,
    /// Content events that came without token ids.
    without_ids: u64,
    usage: Option<u64>,
    usage_is_final: bool,
    /// llama.cpp `timings`.
    engine: Option<u64>,
    finished: bool,
}

// === impl Tokens ===

impl Tokens {
    /// The place of a choice, by its index.
    pub(super) fn slot(&mut self, index: u64) -> usize {
        if let Some(slot) = self.choices.iter().position(|choice| choice.index == index) {
            return slot;
        }
        if self.choices.len() < MAX_CHOICES {
            self.choices.push(ChoiceTokens { index, ..ChoiceTokens::default() });
        }
        self.choices.len() - 1
    }

    pub(super) fn has_several_choices(&self) -> bool {
        self.choices.len() > 1
    }

    pub(super) fn content(&mut self, slot: usize, tokens: u64) {
        let choice = &mut self.choices[slot];
        choice.counted = choice.counted.saturating_add(tokens);
        choice.without_ids += 1;
    }

    /// So many events came that carry one token each.
    pub(super) fn again(&mut self, slot: usize, events: u64) {
        let choice = &mut self.choices[slot];
        choice.counted = choice.counted.saturating_add(events);
        choice.without_ids += events;
    }

    pub(super) fn content_with_ids(&mut self, slot: usize, tokens: u64) {
        let choice = &mut self.choices[slot];
        choice.counted = choice.counted.saturating_add(tokens);
    }

    pub(super) fn finished(&mut self, slot: usize) {
        self.choices[slot].finished = true;
    }

    pub(super) fn is_finished(&self, slot: usize) -> bool {
        self.choices[slot].finished
    }

    pub(super) fn forget_events(&mut self) {
        for choice in &mut self.choices {
            choice.counted = 0;
        }
    }

    /// Takes the counts that the engine put into an event.
    pub(super) fn told(&mut self, chunk: &Chunk<'_>, scope: Scope) {
        if let Some(usage) = chunk.usage() {
            self.usage_told(usage, scope);
        }
        if let Some(timings) = chunk.timings() {
            self.prompt = self.prompt.or(timings.prompt);
            self.cached = self.cached.or(timings.cached);
            let slot = match scope {
                Scope::Choice { slot, .. } => Some(slot),
                Scope::Request | Scope::Several => (!self.choices.is_empty()).then_some(0),
            };
            if let Some(slot) = slot {
                self.choices[slot].engine = timings.completion.or(self.choices[slot].engine);
            }
        }
    }

    /// Tokens of a choice before the content that came just now.
    pub(super) fn told_before(&self, content: Progress) -> u64 {
        let choice = &self.choices[content.choice];
        choice.usage.unwrap_or_else(|| choice.counted.saturating_sub(content.tokens))
    }

    /// What `usage` has told of a choice alone so far.
    pub(super) fn told_usage(&self, scope: Scope) -> Option<u64> {
        match scope {
            Scope::Choice { slot, .. } => self.choices[slot].usage,
            Scope::Request | Scope::Several => None,
        }
    }

    fn usage_told(&mut self, usage: Told, scope: Scope) {
        // NB: Ollama puts zeros into every event but the last, the finish event included.
        let is_final = match scope {
            Scope::Request => true,
            Scope::Several => self.all(|choice| choice.finished),
            Scope::Choice { slot, finished } => {
                finished && (usage.completion != Some(0) || self.choices[slot].counted == 0)
            }
        };
        let take = |old: &mut Option<u64>, new: Option<u64>| {
            *old = new.filter(|new| is_final || *new > 0).or(*old);
        };
        take(&mut self.prompt, usage.prompt);
        take(&mut self.cached, usage.cached);
        take(&mut self.reasoning, usage.reasoning);
        match (scope, usage.completion) {
            (Scope::Choice { slot, .. }, completion) => {
                let choice = &mut self.choices[slot];
                take(&mut choice.usage, completion);
                choice.usage_is_final |= is_final && completion.is_some();
            }
            (Scope::Several, completion) => {
                take(&mut self.total, completion);
                self.total_is_running = !is_final;
            }
            (Scope::Request, Some(completion)) => self.total_told(completion),
            (Scope::Request, None) => {}
        }
    }

    /// Takes the completion tokens of an event without choices.
    ///
    /// NB: they are those of the whole request, but for llama.cpp: with n > 1 it tells those of
    /// each choice after its end, in any order with the other choices' ends. Which of the ended
    /// ones it is about makes no difference to the sum.
    fn total_told(&mut self, completion: u64) {
        self.total_is_running = false;
        let ended = self.choices.iter().filter(|choice| choice.finished).count();
        let untold = self.choices.iter().position(|c| c.finished && !c.usage_is_final);
        match untold {
            Some(slot) if ended < self.choices.len() || self.is_told_apart => {
                let choice = &mut self.choices[slot];
                (choice.usage, choice.usage_is_final) = (Some(completion), true);
                self.is_told_apart = true;
            }
            _ => {
                let is_another_choice = (1..ended).contains(&self.totals);
                let before = self.total.filter(|_| is_another_choice).unwrap_or(0);
                self.total = Some(before.saturating_add(completion));
                self.totals += 1;
            }
        }
    }

    /// What is known while the stream runs.
    pub(super) fn so_far(&self) -> Usage {
        Usage { prompt: self.prompt, completion: Some(self.live()), ..Usage::default() }
    }

    /// Generated tokens so far: what the engine tells of a choice, else its events.
    fn live(&self) -> u64 {
        self.choices.iter().fold(0, |sum: u64, choice| sum.saturating_add(choice.live()))
    }

    /// What to believe; `is_done` where the stream came to its end.
    pub(super) fn usage(&self, is_done: bool) -> (Usage, Option<TokenSource>) {
        let (completion, source) = self.completion(is_done).unzip();
        let usage = Usage {
            prompt: self.prompt,
            cached: self.cached,
            completion,
            reasoning: self.reasoning,
        };
        (usage, source)
    }

    fn completion(&self, is_done: bool) -> Option<(u64, TokenSource)> {
        let sum = |of: fn(&ChoiceTokens) -> u64| {
            self.choices.iter().fold(0_u64, |sum, choice| sum.saturating_add(of(choice)))
        };
        let counted = sum(|choice| choice.counted);
        let any = |is: fn(&ChoiceTokens) -> bool| self.choices.iter().any(is);

        if let Some(total) = self.total {
            // Cut before the end: it may be that of some choices only, or a zero that was to be
            // filled in.
            let is_whole = is_done || total >= counted || (self.choices.len() <= 1 && total > 0);
            return Some(match (is_whole, self.total_is_running && !is_done) {
                (true, false) => (total, TokenSource::Usage),
                (true, true) => (total, TokenSource::ContinuousUsage),
                (false, _) => (counted, TokenSource::Counted),
            });
        }
        if any(|choice| choice.usage.is_some()) {
            let source = match self.all(|choice| choice.usage_is_final) {
                true => TokenSource::Usage,
                false => TokenSource::ContinuousUsage,
            };
            return Some((sum(|choice| choice.usage.unwrap_or(choice.counted)), source));
        }
        if any(|choice| choice.engine.is_some()) {
            let tokens = sum(|choice| choice.engine.unwrap_or(choice.counted));
            return Some((tokens, TokenSource::EngineFrame));
        }
        let source = match self.all(|choice| choice.without_ids == 0) {
            true => TokenSource::EngineFrame,
            false => TokenSource::Counted,
        };
        // Events that never came say nothing: a token may have had no text.
        (counted > 0).then_some((counted, source))
    }

    fn all(&self, is: fn(&ChoiceTokens) -> bool) -> bool {
        self.choices.iter().all(is)
    }

    /// The choice with the most tokens; `completion` is the sum over all choices.
    pub(super) fn longest(&self, completion: Option<u64>) -> Option<Longest> {
        let completion = completion?;
        if self.choices.len() <= 1 {
            return Some(Longest { choice: 0, tokens: completion, exact: true });
        }
        let (choice, most) =
            self.choices.iter().map(ChoiceTokens::live).enumerate().max_by_key(|(_, n)| *n)?;
        let seen = self.live();
        if seen == 0 {
            return None;
        }
        let share = u128::from(completion) * u128::from(most) / u128::from(seen);
        let tokens = u64::try_from(share).unwrap_or(u64::MAX);
        Some(Longest { choice, tokens, exact: seen == completion })
    }
}

// === impl ChoiceTokens ===

impl ChoiceTokens {
    fn live(&self) -> u64 {
        self.usage.unwrap_or(0).max(self.counted)
    }
}
