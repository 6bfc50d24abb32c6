//! The JSON of one event, or of a whole answer: borrowed, lenient, and gone through once. (serde_json
//! allocates a few bytes to skip what is nested.)
//!
//! What is an object is read with what it stands in; every other field is kept as raw JSON and read
//! when it is asked for. So one field of an unexpected type costs that field and not the whole event.

use std::time::Duration;

use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;

use crate::wire::{
    error::{self, Error},
    json::{
        First, FirstOf, MILLIS, Object, Raw, Shape, for_each, is_filled, length, nested, number,
        object, parse, time, word,
    },
};

/// One event or one answer.
pub(super) struct Chunk<'a> {
    data: &'a [u8],
    members: Members<'a>,
}

#[derive(Deserialize)]
struct Members<'a> {
    #[serde(borrow)]
    choices: First<Shape<Choice<'a>, IgnoredAny>>,
    #[serde(borrow)]
    usage: Object<RawUsage<'a>>,
    #[serde(borrow)]
    timings: Object<RawTimings<'a>>,
    #[serde(borrow)]
    metrics: Object<RawMetrics<'a>>,
    #[serde(borrow)]
    error: Raw<'a>,
}

/// Of an event with several.
#[derive(Deserialize)]
struct Choices<'a> {
    #[serde(borrow)]
    choices: Raw<'a>,
}

/// One member of `choices`.
#[derive(Deserialize)]
pub(super) struct Choice<'a> {
    #[serde(borrow)]
    index: Raw<'a>,
    #[serde(borrow)]
    delta: Object<Delta<'a>>,
    #[serde(borrow)]
    text: Raw<'a>,
    #[serde(borrow)]
    finish_reason: Raw<'a>,
    #[serde(borrow)]
    logprobs: Raw<'a>,
    #[serde(borrow)]
    token_ids: Raw<'a>,
}

/// Token counts as the engine gives them.
#[derive(Clone, Copy, Default)]
pub(super) struct Told {
    pub(super) prompt: Option<u64>,
    pub(super) cached: Option<u64>,
    pub(super) completion: Option<u64>,
    pub(super) reasoning: Option<u64>,
}

#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(borrow)]
    content: Raw<'a>,
    #[serde(borrow)]
    reasoning_content: Raw<'a>,
    #[serde(borrow)]
    reasoning: Raw<'a>,
    #[serde(borrow)]
    refusal: Raw<'a>,
    #[serde(borrow)]
    tool_calls: Raw<'a>,
    #[serde(borrow)]
    function_call: Raw<'a>,
}

#[derive(Deserialize)]
struct RawUsage<'a> {
    #[serde(borrow)]
    prompt_tokens: Raw<'a>,
    #[serde(borrow)]
    completion_tokens: Raw<'a>,
    #[serde(borrow)]
    prompt_tokens_details: Raw<'a>,
    #[serde(borrow)]
    completion_tokens_details: Raw<'a>,
    /// SGLang puts it here instead of into the details.
    #[serde(borrow)]
    reasoning_tokens: Raw<'a>,
}

#[derive(Deserialize)]
struct Details<'a> {
    #[serde(borrow)]
    cached_tokens: Raw<'a>,
    #[serde(borrow)]
    reasoning_tokens: Raw<'a>,
}

/// llama.cpp's own counts: `prompt_n` leaves out what came from the cache.
#[derive(Deserialize)]
struct RawTimings<'a> {
    #[serde(borrow)]
    cache_n: Raw<'a>,
    #[serde(borrow)]
    prompt_n: Raw<'a>,
    #[serde(borrow)]
    predicted_n: Raw<'a>,
    #[serde(borrow)]
    prompt_ms: Raw<'a>,
}

/// What vLLM tells of a request with one choice, where it is told to.
#[derive(Deserialize)]
struct RawMetrics<'a> {
    #[serde(borrow)]
    queue_time_ms: Raw<'a>,
}

#[derive(Deserialize)]
struct Logprobs<'a> {
    /// Chat.
    #[serde(borrow)]
    content: Raw<'a>,
    /// Completions.
    #[serde(borrow)]
    tokens: Raw<'a>,
}

#[derive(Deserialize)]
struct ToolCall<'a> {
    #[serde(borrow)]
    function: Raw<'a>,
}

#[derive(Deserialize)]
struct Function<'a> {
    #[serde(borrow)]
    arguments: Raw<'a>,
}

// === impl Chunk ===

impl<'a> Chunk<'a> {
    /// `None` for what is not a JSON object.
    pub(super) fn parse(data: &'a [u8]) -> Option<Self> {
        Some(Self { data, members: parse(data)? })
    }

    pub(super) fn choices(&self, mut each: impl FnMut(&Choice<'a>)) {
        let Some(Shape::List(FirstOf { first, are_more })) = &self.members.choices else { return };
        // NB: read again rather than kept: nobody knows how many there are.
        if *are_more {
            let choices = parse(self.data).and_then(|Choices { choices }| choices);
            for_each(choices, |choice| each(&choice));
        } else if let Some(Shape::Object(choice)) = first {
            each(choice);
        }
    }

    /// Nothing but choices.
    pub(super) fn is_plain(&self) -> bool {
        let Members { choices: _, usage, timings, metrics, error } = &self.members;
        usage.is_none() && timings.is_none() && metrics.is_none() && error.is_none()
    }

    pub(super) fn queue_time(&self) -> Option<Duration> {
        time(nested(&self.members.metrics)?.queue_time_ms, MILLIS)
    }

    /// NB: llama.cpp counts it from the start of the request, and tells of no wait.
    pub(super) fn prefill_time(&self) -> Option<Duration> {
        time(nested(&self.members.timings)?.prompt_ms, MILLIS)
    }

    pub(super) fn error(&self) -> Option<Error> {
        error::member(self.members.error, None)
    }

    pub(super) fn usage(&self) -> Option<Told> {
        let usage = nested(&self.members.usage)?;
        let details = |raw| object::<Details<'a>>(raw);
        Some(Told {
            prompt: number(usage.prompt_tokens),
            cached: details(usage.prompt_tokens_details).and_then(|d| number(d.cached_tokens)),
            completion: number(usage.completion_tokens),
            reasoning: details(usage.completion_tokens_details)
                .and_then(|d| number(d.reasoning_tokens))
                .or_else(|| number(usage.reasoning_tokens)),
        })
    }

    pub(super) fn timings(&self) -> Option<Told> {
        let timings = nested(&self.members.timings)?;
        let cached = number(timings.cache_n);
        let evaluated = number(timings.prompt_n);
        Some(Told {
            // NB: builds that do not tell what came from the cache do not tell the prompt either.
            prompt: evaluated.zip(cached).map(|(n, cached)| n.saturating_add(cached)),
            cached,
            completion: number(timings.predicted_n),
            reasoning: None,
        })
    }
}

// === impl Choice ===

impl<'a> Choice<'a> {
    pub(super) fn index(&self) -> u64 {
        number(self.index).unwrap_or(0)
    }

    /// The finish reason; `None` while the choice goes on (TGI says so by an empty text).
    pub(super) fn finish_word(&self) -> Option<&'a str> {
        self.finish_reason.and_then(word).filter(|word| !word.is_empty())
    }

    pub(super) fn has_content(&self) -> bool {
        let text = self.text.is_some_and(|text| {
            is_filled(text) || (text.get() == "\"\"" && self.finish_word().is_none())
        });
        text || nested(&self.delta).is_some_and(|delta| delta.filled().next().is_some())
    }

    /// How many token ids came with it, where the engine sends them.
    pub(super) fn token_ids(&self) -> Option<u64> {
        self.token_ids.and_then(length)
    }

    /// How many tokens the log-probabilities are of.
    pub(super) fn logprobs(&self) -> Option<u64> {
        let logprobs: Logprobs<'a> = object(self.logprobs)?;
        logprobs.content.or(logprobs.tokens).and_then(length).filter(|n| *n > 0)
    }

    /// The one text in which the next event of this choice will differ, quotes included; `None`
    /// where more than that may change.
    pub(super) fn varying(&self) -> Option<&'a str> {
        if self.finish_word().is_some() || self.logprobs.is_some() || self.token_ids.is_some() {
            return None;
        }
        let text = match (self.text, nested(&self.delta)) {
            (Some(text), None) => text,
            (None, Some(delta)) => delta.varying()?,
            _ => return None,
        };
        Some(text.get()).filter(|text| text.starts_with('"'))
    }
}

// === impl Delta ===

impl<'a> Delta<'a> {
    fn filled(&self) -> impl Iterator<Item = &'a RawValue> {
        let Self { content, reasoning_content, reasoning, refusal, tool_calls, function_call } =
            self;
        [content, reasoning_content, reasoning, refusal, tool_calls, function_call]
            .map(|field| *field)
            .into_iter()
            .flatten()
            .filter(|raw| is_filled(raw))
    }

    fn varying(&self) -> Option<&'a RawValue> {
        let mut filled = self.filled();
        let (only, None) = (filled.next()?, filled.next()) else { return None };
        if !only.get().starts_with('[') {
            return Some(only);
        }
        let (mut calls, mut arguments) = (0, None);
        for_each(Some(only), |call: ToolCall<'a>| {
            calls += 1;
            arguments = object::<Function<'a>>(call.function).and_then(|f| f.arguments);
        });
        arguments.filter(|_| calls == 1)
    }
}
