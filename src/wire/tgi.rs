//! TGI's `/generate` and `/generate_stream`.
//!
//! Each event with a `token` is one token, special ones included. The last one has the
//! `generated_text`, and the counts where the request asked for `details`. There is no `[DONE]`, and
//! an error comes under status 200. A whole answer has its counts in its head, the wait in TGI's
//! queue too.
//!
//! NB: an error has a type but no code, and `validation` is more than a prompt that does not fit.

use std::time::Duration;

use http::HeaderMap;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    Event, Facts, Finish, Longest, MOST_TOKENS, Progress, Usage, Varying, WireFormat,
    counts::Counts,
    error,
    json::{Raw, for_each, for_each_object, length, number, object, parse, word},
};
use crate::outcome::{FinishReason, TokenSource};

/// Reads them.
#[derive(Debug, Default)]
pub(super) struct Tgi {
    counts: Counts,
    /// Tokens of the longest of several sequences (`best_of`).
    longest: Option<u64>,
}

/// One event, or a whole answer.
#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(borrow)]
    token: Raw<'a>,
    #[serde(borrow)]
    generated_text: Raw<'a>,
    #[serde(borrow)]
    details: Raw<'a>,
    #[serde(borrow)]
    error: Raw<'a>,
    #[serde(borrow)]
    error_type: Raw<'a>,
}

#[derive(Deserialize)]
struct Details<'a> {
    #[serde(borrow)]
    finish_reason: Raw<'a>,
    #[serde(borrow)]
    generated_tokens: Raw<'a>,
    #[serde(borrow)]
    input_length: Raw<'a>,
    /// The tokens of the prompt, where they were asked for.
    #[serde(borrow)]
    prefill: Raw<'a>,
    /// The sequences that were generated and not chosen.
    #[serde(borrow)]
    best_of_sequences: Raw<'a>,
}

#[derive(Deserialize)]
struct Sequence<'a> {
    #[serde(borrow)]
    generated_tokens: Raw<'a>,
}

impl WireFormat for Tgi {
    fn event<'a>(
        &mut self,
        event: Event<'a>,
        content: &mut dyn FnMut(Progress),
    ) -> Option<Varying<'a>> {
        let frame: Frame<'_> = parse(event.data)?;
        if frame.token.is_some_and(|token| token.get().starts_with('{')) {
            self.counts.events_are_exact = true;
            content(Progress { choice: 0, tokens: self.counts.content(1) });
        }
        self.read(&frame);
        self.counts.done |= frame.generated_text.is_some_and(|text| text.get().starts_with('"'));
        // The id of the token differs too.
        None
    }

    fn whole(&mut self, body: &[u8]) {
        // One object, or a list of one, as `/` answers.
        let (mut first, mut frames) = (None, 0);
        for_each_object(body, |frame: Frame<'_>| {
            first.get_or_insert(frame);
            frames += 1;
        });
        let (Some(frame), 1) = (first, frames) else { return };
        self.read(&frame);
        self.counts.done = true;
    }

    fn so_far(&self) -> Usage {
        self.counts.so_far()
    }

    fn facts(&self) -> Facts {
        let mut facts = self.counts.facts();
        if let Some(tokens) = self.longest {
            facts.longest = Some(Longest { choice: 0, tokens, exact: true });
        }
        facts
    }

    fn head(&mut self, headers: &HeaderMap) {
        self.counts.prompt = header(headers, PROMPT_TOKENS);
        self.counts.generated(header(headers, GENERATED_TOKENS), TokenSource::Header);
        self.counts.queue_time = header(headers, QUEUE_TIME).map(Duration::from_millis);
    }
}

const PROMPT_TOKENS: &str = "x-prompt-tokens";
const GENERATED_TOKENS: &str = "x-generated-tokens";
/// In milliseconds.
const QUEUE_TIME: &str = "x-queue-time";

// === impl Tgi ===

impl Tgi {
    /// Whether a head is one of TGI: it tells of tokens.
    pub(super) fn wrote(headers: &HeaderMap) -> bool {
        [PROMPT_TOKENS, GENERATED_TOKENS].iter().any(|name| headers.contains_key(*name))
    }

    /// Reads all but the content.
    fn read(&mut self, frame: &Frame<'_>) {
        let counts = &mut self.counts;
        counts.error.or(|| error::member_beside(frame.error, frame.error_type));
        let Some(details) = object::<Details<'_>>(frame.details) else { return };
        let reason = details.finish_reason.and_then(word).map(FinishReason::from_engine);
        counts.finish = reason.map(Finish::Reason).or(counts.finish);
        let prefill = || details.prefill.and_then(length).filter(|n| *n > 0);
        counts.prompt = number(details.input_length).or(counts.prompt).or_else(prefill);
        let Some(chosen) = number(details.generated_tokens) else { return };
        let (mut sum, mut longest) = (Some(chosen), chosen);
        let has_others = for_each(details.best_of_sequences, |raw: &RawValue| {
            let sequence = object::<Sequence<'_>>(Some(raw));
            let tokens = sequence.and_then(|sequence| number(sequence.generated_tokens));
            sum = sum.zip(tokens).and_then(|(sum, tokens)| sum.checked_add(tokens));
            longest = longest.max(tokens.unwrap_or(0));
        });
        counts.generated(sum, TokenSource::Usage);
        self.longest = has_others.then_some(longest);
    }
}

/// A whole number in the head. What no request can have was not told.
fn header(headers: &HeaderMap, name: &str) -> Option<u64> {
    let number = headers.get(name)?.to_str().ok()?.trim().parse().ok()?;
    (number <= MOST_TOKENS).then_some(number)
}
