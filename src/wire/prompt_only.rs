//! Answers that generate nothing: embeddings, rerank, score, classify, pooling.
//!
//! Only `usage` is read, of OpenAI's shape; what is embedded is skipped. Jina and Voyage tell
//! `total_tokens` alone, which is the prompt then. Generated tokens are told where the engine says
//! 0, or that all tokens are those of the prompt, and are not known elsewhere. TEI answers by a list
//! and tells nothing; the units that Cohere bills are not tokens.

use serde::Deserialize;

use super::{
    Event, Facts, Progress, Usage, Varying, WireFormat,
    counts::Counts,
    error,
    json::{Raw, number, object, parse},
};
use crate::outcome::TokenSource;

/// Reads them.
#[derive(Debug, Default)]
pub(super) struct PromptOnly {
    counts: Counts,
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    usage: Raw<'a>,
    #[serde(borrow)]
    error: Raw<'a>,
}

#[derive(Deserialize)]
struct RawUsage<'a> {
    #[serde(borrow)]
    prompt_tokens: Raw<'a>,
    #[serde(borrow)]
    completion_tokens: Raw<'a>,
    #[serde(borrow)]
    total_tokens: Raw<'a>,
    #[serde(borrow)]
    prompt_tokens_details: Raw<'a>,
}

#[derive(Deserialize)]
struct Details<'a> {
    #[serde(borrow)]
    cached_tokens: Raw<'a>,
}

impl WireFormat for PromptOnly {
    fn event<'a>(
        &mut self,
        event: Event<'a>,
        _content: &mut dyn FnMut(Progress),
    ) -> Option<Varying<'a>> {
        self.answer(event.data);
        None
    }

    fn whole(&mut self, body: &[u8]) {
        self.counts.done = self.answer(body).is_some();
    }

    fn so_far(&self) -> Usage {
        self.counts.so_far()
    }

    fn facts(&self) -> Facts {
        self.counts.facts()
    }

    fn has_end_marker(&self) -> bool {
        false
    }
}

// === impl PromptOnly ===

impl PromptOnly {
    /// `None` for what is no object.
    fn answer(&mut self, bytes: &[u8]) -> Option<()> {
        let answer: Answer<'_> = parse(bytes)?;
        let Self { counts } = self;
        counts.error.or(|| error::member(answer.error, None));
        let Some(usage) = object::<RawUsage<'_>>(answer.usage) else { return Some(()) };
        let (prompt, total) = (number(usage.prompt_tokens), number(usage.total_tokens));
        counts.prompt = prompt.or(total).or(counts.prompt);
        let cached = object::<Details<'_>>(usage.prompt_tokens_details)
            .and_then(|details| number(details.cached_tokens));
        counts.cached = cached.or(counts.cached);
        let nothing = prompt.zip(total).filter(|(prompt, total)| prompt == total).map(|_| 0);
        let generated = number(usage.completion_tokens).or(nothing);
        counts.generated(generated, TokenSource::Usage);
        Some(())
    }
}
