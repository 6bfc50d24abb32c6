//! OpenAI chat completions and completions, and the servers that speak them.
//!
//! Which events count as generated content: text, reasoning, a refusal, a tool call, in any
//! non-empty amount; in completions also an empty `text` that does not finish the choice, since a
//! completions stream has no prelude and an engine sends one event a step (a token whose bytes are
//! held back shows as empty text). A role prelude, `usage` and finish events without text do not.

mod chunk;
mod tokens;

use std::time::Duration;

use self::{
    chunk::{Choice, Chunk},
    tokens::{Scope, Tokens},
};
use super::{
    Event, Facts, Finish, Progress, Usage, Varying, WireFormat,
    error::{self, FirstError},
};
use crate::outcome::FinishReason;

/// Reads OpenAI-shaped answers.
#[derive(Debug, Default)]
pub(super) struct OpenAi {
    tokens: Tokens,
    /// The finish reason of the choice with the lowest index so far.
    finish: Option<(u64, FinishReason)>,
    /// Any choice was given up by the engine.
    abort: bool,
    error: FirstError,
    done: bool,
    queue_time: Option<Duration>,
    prefill_time: Option<Duration>,
}

impl WireFormat for OpenAi {
    fn event<'a>(
        &mut self,
        event: Event<'a>,
        content: &mut dyn FnMut(Progress),
    ) -> Option<Varying<'a>> {
        if event.data.trim_ascii() == b"[DONE]" {
            self.done = true;
            return None;
        }
        // NB: older llama.cpp builds send an error in a field of that name, with no `data:` at all.
        if event.name == b"error" && !event.data.is_empty() {
            self.error.or(|| Some(error::event(event.data)));
        }
        self.chunk(&Chunk::parse(event.data)?, content)
    }

    fn again(&mut self, choice: usize, events: u64) {
        self.tokens.again(choice, events);
    }

    fn whole(&mut self, body: &[u8]) {
        let Some(chunk) = Chunk::parse(body) else { return };
        self.error.or(|| chunk.error());
        chunk.choices(|choice| {
            self.choice(choice);
        });
        // The content of a whole answer stands in one place: no event of it is a token.
        self.tokens.forget_events();
        self.tokens.told(&chunk, Scope::Request);
        self.times(&chunk);
        self.done = true;
    }

    fn so_far(&self) -> Usage {
        self.tokens.so_far()
    }

    fn facts(&self) -> Facts {
        // Whose time it is of several choices is not told.
        let is_one = !self.tokens.has_several_choices();
        let (usage, source) = self.tokens.usage(self.done);
        self.error.told_in(Facts {
            usage,
            source,
            longest: self.tokens.longest(usage.completion),
            finish: match self.finish {
                _ if self.abort => Some(Finish::Abort),
                finish => finish.map(|(_, reason)| Finish::Reason(reason)),
            },
            done: self.done,
            queue_time: self.queue_time.filter(|_| is_one),
            prefill_time: self.prefill_time.filter(|_| is_one),
            ..Facts::default()
        })
    }
}

// === impl OpenAi ===

impl OpenAi {
    fn chunk<'a>(
        &mut self,
        chunk: &Chunk<'a>,
        content: &mut dyn FnMut(Progress),
    ) -> Option<Varying<'a>> {
        self.error.or(|| chunk.error());

        let (mut choices, mut scope, mut varying) = (0_usize, Scope::Request, None);
        let mut last: Option<Progress> = None;
        chunk.choices(|choice| {
            choices += 1;
            let (slot, progress) = self.choice(choice);
            scope = match choices {
                1 => Scope::Choice { slot, finished: self.tokens.is_finished(slot) },
                _ => Scope::Several,
            };
            varying =
                progress.and_then(|_| choice.varying()).map(|text| Varying { choice: slot, text });
            if let Some(before) = std::mem::replace(&mut last, progress) {
                content(before);
            }
        });
        let before = last.map_or(0, |progress| self.tokens.told_before(progress));
        self.tokens.told(chunk, scope);
        if !chunk.is_plain() {
            self.times(chunk);
        }
        if let Some(progress) = last {
            // A running usage counts best how many tokens the event has.
            let told = self.tokens.told_usage(scope).filter(|_| !chunk.is_plain());
            let tokens = told.map_or(progress.tokens, |now| now.saturating_sub(before));
            content(Progress { tokens, ..progress });
        }

        varying.filter(|_| choices == 1 && chunk.is_plain() && self.error.is_none())
    }

    fn times(&mut self, chunk: &Chunk<'_>) {
        self.queue_time = chunk.queue_time().or(self.queue_time);
        self.prefill_time = chunk.prefill_time().or(self.prefill_time);
    }

    /// Reads one choice of an event; says which place it has, and which tokens it got.
    fn choice(&mut self, choice: &Choice<'_>) -> (usize, Option<Progress>) {
        let index = choice.index();
        let slot = self.tokens.slot(index);
        match choice.finish_word() {
            None => {}
            Some("abort" | "error") => {
                self.abort = true;
                self.tokens.finished(slot);
            }
            Some(word) => {
                self.tokens.finished(slot);
                if self.finish.is_none_or(|(lowest, _)| index <= lowest) {
                    self.finish = Some((index, FinishReason::from_engine(word)));
                }
            }
        }
        let progress = if let Some(tokens) = choice.token_ids().filter(|tokens| *tokens > 0) {
            self.tokens.content_with_ids(slot, tokens);
            Some(tokens)
        } else if choice.has_content() {
            let tokens = choice.logprobs().unwrap_or(1);
            self.tokens.content(slot, tokens);
            Some(tokens)
        } else {
            None
        };
        (slot, progress.map(|tokens| Progress { choice: slot, tokens }))
    }
}
