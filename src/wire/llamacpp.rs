//! llama.cpp's own `/completion`.
//!
//! Every event has running counts: `tokens_predicted` says how many tokens came, `tokens_evaluated`
//! is the whole prompt. The last one of each prompt or choice has `stop: true` and `timings`; there
//! is no other end marker. Events with `prompt_progress` are no tokens.
//!
//! Several answers, a list or events with an `index`, are added up. Those that end with the same
//! `prompt` are taken for choices of one request, whose prompt counts once; of a stream that is cut
//! before that, the prompt is not known.

use std::{
    collections::HashSet,
    hash::{DefaultHasher, Hash, Hasher},
};

use serde::Deserialize;

use super::{
    Event, Facts, Finish, Progress, Usage, Varying, WireFormat,
    counts::Counts,
    error::{self, FirstError},
    json::{MILLIS, Raw, for_each_object, is_filled, number, object, parse, time, word},
    parts::{Parts, Sum},
};
use crate::outcome::{FinishReason, TokenSource};

/// Reads them.
#[derive(Debug, Default)]
pub(super) struct LlamaCpp {
    parts: Parts,
    prompts: Prompts,
    /// A whole answer.
    whole: Option<Facts>,
    error: FirstError,
    done: bool,
}

/// The hashes of the prompts that have ended.
#[derive(Debug, Default)]
struct Prompts(HashSet<u64>);

/// One event, or one answer.
#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    index: Raw<'a>,
    #[serde(borrow)]
    content: Raw<'a>,
    #[serde(borrow)]
    tokens: Raw<'a>,
    #[serde(borrow)]
    stop: Raw<'a>,
    #[serde(borrow)]
    tokens_predicted: Raw<'a>,
    #[serde(borrow)]
    tokens_evaluated: Raw<'a>,
    #[serde(borrow)]
    prompt_progress: Raw<'a>,
    #[serde(borrow)]
    stop_type: Raw<'a>,
    #[serde(borrow)]
    stopped_eos: Raw<'a>,
    #[serde(borrow)]
    stopped_word: Raw<'a>,
    #[serde(borrow)]
    stopped_limit: Raw<'a>,
    #[serde(borrow)]
    truncated: Raw<'a>,
    #[serde(borrow)]
    prompt: Raw<'a>,
    #[serde(borrow)]
    timings: Raw<'a>,
    #[serde(borrow)]
    error: Raw<'a>,
}

#[derive(Deserialize)]
struct Timings<'a> {
    #[serde(borrow)]
    cache_n: Raw<'a>,
    #[serde(borrow)]
    prompt_ms: Raw<'a>,
}

impl WireFormat for LlamaCpp {
    fn event<'a>(
        &mut self,
        event: Event<'a>,
        content: &mut dyn FnMut(Progress),
    ) -> Option<Varying<'a>> {
        // NB: older builds send an error in a field of that name, with no `data:` at all.
        if event.name == b"error" && !event.data.is_empty() {
            self.error.or(|| Some(error::event(event.data)));
        }
        let answer: Answer<'_> = parse(event.data)?;
        self.error.or(|| error::member(answer.error, None));
        if answer.is_nothing() {
            return None;
        }
        let index = number(answer.index).unwrap_or(0);
        answer.told(self.parts.part(index), &mut self.prompts);
        let progress = self.parts.generated(index, number(answer.tokens_predicted), |more| {
            // A lone end token is no content; neither is a text that repeats what came before.
            let is_more = more.is_some_and(|more| more > 0);
            match answer.stops() {
                true => answer.has_content() && is_more,
                false => answer.prompt_progress.is_none() && (answer.has_content() || is_more),
            }
        });
        if let Some(progress) = progress {
            content(progress);
        }
        self.done = self.parts.are_done();
        None
    }

    fn whole(&mut self, body: &[u8]) {
        let (mut sum, mut place) = (Sum::default(), 0);
        self.done = for_each_object(body, |answer: Answer<'_>| {
            self.error.or(|| error::member(answer.error, None));
            if !answer.is_nothing() {
                let mut counts = Counts::default();
                answer.told(&mut counts, &mut self.prompts);
                counts.generated(number(answer.tokens_predicted), TokenSource::EngineFrame);
                sum.add(place, number(answer.index).unwrap_or(place as u64), &counts.facts());
                place += 1;
            }
        });
        self.whole = Some(sum.facts());
    }

    fn so_far(&self) -> Usage {
        self.parts.so_far()
    }

    fn facts(&self) -> Facts {
        let mut facts = self.whole.clone().unwrap_or_else(|| self.parts.facts());
        if !self.done && self.parts.are_several() {
            // Whether they are choices of one prompt shows at their ends.
            (facts.usage.prompt, facts.usage.cached) = (None, None);
        }
        self.error.told_in(Facts { done: self.done, ..facts })
    }
}

// === impl Prompts ===

impl Prompts {
    /// Whether this one has ended before.
    fn has(&mut self, prompt: &str) -> bool {
        let mut hasher = DefaultHasher::new();
        prompt.hash(&mut hasher);
        !self.0.insert(hasher.finish())
    }
}

// === impl Answer ===

impl Answer<'_> {
    /// It is no event of a prompt, such as an error.
    fn is_nothing(&self) -> bool {
        let Self { content, tokens, stop, tokens_predicted, tokens_evaluated, .. } = self;
        [content, tokens, stop, tokens_predicted, tokens_evaluated].iter().all(|f| f.is_none())
    }

    fn has_content(&self) -> bool {
        [self.content, self.tokens].into_iter().flatten().any(is_filled)
    }

    fn stops(&self) -> bool {
        is_true(self.stop)
    }

    /// Tells everything but the generated tokens; what is missing was told before.
    fn told(&self, counts: &mut Counts, prompts: &mut Prompts) {
        counts.prompt = number(self.tokens_evaluated).or(counts.prompt);
        if let Some(timings) = object::<Timings<'_>>(self.timings) {
            counts.cached = number(timings.cache_n).or(counts.cached);
            counts.prefill_time = time(timings.prompt_ms, MILLIS).or(counts.prefill_time);
        }
        if self.stops() && !counts.done {
            counts.done = true;
            counts.finish = Some(Finish::Reason(self.reason()));
            if self.prompt.is_some_and(|prompt| prompts.has(prompt.get())) {
                // Another choice has told of it.
                (counts.prompt, counts.cached) = (Some(0), Some(0));
            }
        }
    }

    fn reason(&self) -> FinishReason {
        match self.stop_type.and_then(word) {
            Some("limit") => FinishReason::Length,
            Some("eos" | "word") => FinishReason::Stop,
            // Older builds.
            _ if is_true(self.stopped_eos) || is_true(self.stopped_word) => FinishReason::Stop,
            _ if is_true(self.stopped_limit) || is_true(self.truncated) => FinishReason::Length,
            _ => FinishReason::Other,
        }
    }
}

fn is_true(raw: Raw<'_>) -> bool {
    raw.is_some_and(|raw| raw.get() == "true")
}
