//! Ollama's `/api/chat` and `/api/generate`: lines of JSON, or one object of the same shape.
//!
//! Content is text, thinking, a tool call, or log-probabilities of tokens whose text is held back.
//! The line that is `done` tells the counts. They are left out there where they are 0, but a prompt
//! is never empty and an answer has at least its end token, so what is left out was not told; only
//! a model that was merely loaded or unloaded has certainly generated nothing.
//!
//! NB: `queue_time` stays empty. `load_duration` has the wait for the model in it, but not the one
//! for a slot, and `total_duration` less its parts has the time in it that the client took to read.

use std::time::Duration;

use serde::Deserialize;

use super::{
    Event, Facts, Finish, Progress, Usage, Varying, WireFormat,
    counts::Counts,
    error,
    json::{Raw, is_filled, length, number, object, parse, word},
};
use crate::outcome::{FinishReason, TokenSource};

/// Reads them.
#[derive(Debug, Default)]
pub(super) struct Ollama {
    counts: Counts,
    /// What came first.
    first: Option<Content>,
    calls_tools: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    Text,
    /// Comes after tokens that are not shown, a few or all of a tool call.
    Parsed,
}

/// One line, or a whole answer.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    message: Raw<'a>,
    #[serde(borrow)]
    response: Raw<'a>,
    #[serde(borrow)]
    thinking: Raw<'a>,
    #[serde(borrow)]
    tool_calls: Raw<'a>,
    #[serde(borrow)]
    logprobs: Raw<'a>,
    #[serde(borrow)]
    done: Raw<'a>,
    #[serde(borrow)]
    done_reason: Raw<'a>,
    #[serde(borrow)]
    prompt_eval_count: Raw<'a>,
    #[serde(borrow)]
    prompt_eval_duration: Raw<'a>,
    #[serde(borrow)]
    eval_count: Raw<'a>,
    #[serde(borrow)]
    error: Raw<'a>,
}

/// What `/api/chat` puts its content into.
#[derive(Default, Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    content: Raw<'a>,
    #[serde(borrow)]
    thinking: Raw<'a>,
    #[serde(borrow)]
    tool_calls: Raw<'a>,
}

impl WireFormat for Ollama {
    fn event<'a>(
        &mut self,
        event: Event<'a>,
        content: &mut dyn FnMut(Progress),
    ) -> Option<Varying<'a>> {
        let line: Line<'_> = parse(event.data)?;
        let logprobs = line.logprobs.and_then(length).filter(|n| *n > 0);
        let came = self.content(&line).is_some() || logprobs.is_some();
        let grown = self.read(&line);
        if came {
            let tokens = self.counts.content(logprobs.or(grown).unwrap_or(1));
            content(Progress { choice: 0, tokens });
        }
        // Each line has a time of its own.
        None
    }

    fn whole(&mut self, body: &[u8]) {
        let Some(line) = parse::<Line<'_>>(body) else { return };
        self.content(&line);
        self.read(&line);
        self.counts.done = true;
    }

    fn so_far(&self) -> Usage {
        self.counts.so_far()
    }

    fn facts(&self) -> Facts {
        self.counts.facts()
    }

    fn streams_lines(&self) -> bool {
        true
    }
}

// === impl Ollama ===

impl Ollama {
    /// Takes note of the content of a line.
    fn content(&mut self, line: &Line<'_>) -> Option<Content> {
        let Message { content, thinking, tool_calls } = object(line.message).unwrap_or_default();
        let any = |fields: [Raw<'_>; 2]| fields.into_iter().flatten().any(is_filled);
        let calls_tools = any([tool_calls, line.tool_calls]);
        self.calls_tools |= calls_tools;
        let found = if calls_tools || any([thinking, line.thinking]) {
            Content::Parsed
        } else if any([content, line.response]) {
            Content::Text
        } else {
            return None;
        };
        self.first.get_or_insert(found);
        Some(found)
    }

    /// Reads all but the content; says how many tokens are new, where that is told.
    fn read(&mut self, line: &Line<'_>) -> Option<u64> {
        let Self { counts, first, calls_tools } = self;
        counts.error.or(|| error::member(line.error, None));
        if line.done.is_none_or(|done| done.get() != "true") {
            return None;
        }
        counts.done = true;
        let reason = line.done_reason.and_then(word).filter(|word| !word.is_empty());
        counts.finish = reason.map(|word| {
            Finish::Reason(match FinishReason::from_engine(word) {
                // Ollama's own OpenAI endpoint says the same.
                FinishReason::Stop if *calls_tools => FinishReason::ToolCalls,
                reason => reason,
            })
        });
        counts.prompt = number(line.prompt_eval_count);
        if *first == Some(Content::Text) {
            // What is left of the time to the first token is the wait for the model and for a slot.
            counts.prefill_time = line.prompt_eval_duration.and_then(nanoseconds);
        }
        let nothing = matches!(reason, Some("load" | "unload")) && line.eval_count.is_none();
        let generated = if nothing { Some(0) } else { number(line.eval_count) };
        counts.grown(generated, TokenSource::Usage)
    }
}

fn nanoseconds(raw: &serde_json::value::RawValue) -> Option<Duration> {
    raw.get().parse().ok().map(Duration::from_nanos)
}
