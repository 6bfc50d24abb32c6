//! Anthropic Messages, and the servers that speak them: vLLM, llama.cpp, Ollama.
//!
//! Generated content is text, thinking and the JSON of a tool call, in any non-empty amount. The
//! start of a block is none where it is empty, nor is the name of a tool: nothing of them tells how
//! far generation has come. All blocks of an answer are one choice.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    Event, Facts, Finish, Progress, Usage, Varying, WireFormat,
    counts::Counts,
    error,
    json::{Raw, is_filled, number, object, parse, word},
};
use crate::outcome::{FinishReason, TokenSource};

/// How Anthropic says that a prompt does not fit: it has no code for it.
const TOO_LONG: &str = "prompt is too long";

/// Reads them.
#[derive(Debug, Default)]
pub(super) struct Anthropic {
    counts: Counts,
    input: Input,
    /// The last count of generated tokens.
    output: Option<u64>,
    /// What was told of the prompt is no estimate.
    input_is_certain: bool,
}

/// The parts of the prompt: none of them is in another one.
#[derive(Clone, Copy, Debug, Default)]
struct Input {
    /// Neither read from the cache nor written to it.
    plain: Part,
    cache_read: Part,
    cache_creation: Part,
}

#[derive(Clone, Copy, Debug, Default)]
enum Part {
    #[default]
    Untold,
    Told(u64),
    /// Told, and no number: without it there is no sum.
    Unreadable,
}

/// One event, or a whole answer.
#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow, rename = "type")]
    kind: Raw<'a>,
    /// In `message_start`.
    #[serde(borrow)]
    message: Raw<'a>,
    #[serde(borrow)]
    content_block: Raw<'a>,
    #[serde(borrow)]
    delta: Raw<'a>,
    #[serde(borrow)]
    usage: Raw<'a>,
    /// In a whole answer.
    #[serde(borrow)]
    stop_reason: Raw<'a>,
    #[serde(borrow)]
    error: Raw<'a>,
}

/// A piece of content, or the end of the message.
#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(borrow)]
    text: Raw<'a>,
    #[serde(borrow)]
    thinking: Raw<'a>,
    #[serde(borrow)]
    partial_json: Raw<'a>,
    /// Thinking that nobody may read.
    #[serde(borrow)]
    data: Raw<'a>,
    #[serde(borrow)]
    stop_reason: Raw<'a>,
}

#[derive(Deserialize)]
struct RawUsage<'a> {
    #[serde(borrow)]
    input_tokens: Raw<'a>,
    #[serde(borrow)]
    cache_read_input_tokens: Raw<'a>,
    #[serde(borrow)]
    cache_creation_input_tokens: Raw<'a>,
    #[serde(borrow)]
    output_tokens: Raw<'a>,
    #[serde(borrow)]
    output_tokens_details: Raw<'a>,
}

#[derive(Deserialize)]
struct Details<'a> {
    #[serde(borrow)]
    thinking_tokens: Raw<'a>,
}

impl WireFormat for Anthropic {
    fn event<'a>(
        &mut self,
        event: Event<'a>,
        content: &mut dyn FnMut(Progress),
    ) -> Option<Varying<'a>> {
        let message: Option<Message<'a>> = parse(event.data);
        self.error_in(&event, message.as_ref());
        let message = message?;
        match message.kind.and_then(word).map_or(event.name, str::as_bytes) {
            b"message_start" => {
                let started: Message<'a> = object(message.message)?;
                // NB: its `output_tokens` are those of the first event at best.
                self.input_told(&object(started.usage)?);
                None
            }
            b"content_block_start" => {
                self.came(&object(message.content_block)?, content);
                None
            }
            b"content_block_delta" => {
                let text = self.came(&object(message.delta)?, content)?;
                let is_plain = message.usage.is_none() && self.counts.error.is_none();
                is_plain.then_some(Varying { choice: 0, text })
            }
            b"message_delta" => {
                let delta: Option<Delta<'a>> = object(message.delta);
                let reason = delta.and_then(|delta| delta.stop_reason);
                self.finished(reason);
                let source = match reason {
                    Some(_) => TokenSource::Usage,
                    None => TokenSource::ContinuousUsage,
                };
                self.usage_told(message.usage, source);
                None
            }
            b"message_stop" => {
                self.counts.generated(self.output, TokenSource::Usage);
                self.input_is_certain = true;
                self.counts.done = true;
                None
            }
            _ => None,
        }
    }

    fn again(&mut self, _choice: usize, events: u64) {
        self.counts.content(events);
    }

    fn whole(&mut self, body: &[u8]) {
        let Some(message) = parse::<Message<'_>>(body) else { return };
        self.error_in(&Event { name: b"", data: body }, Some(&message));
        self.finished(message.stop_reason);
        self.usage_told(message.usage, TokenSource::Usage);
        self.counts.done = true;
    }

    fn so_far(&self) -> Usage {
        // NB: what Ollama tells at the start is an estimate.
        let prompt = self.counts.prompt.filter(|_| self.input_is_certain);
        Usage { prompt, ..self.counts.so_far() }
    }

    fn facts(&self) -> Facts {
        self.counts.facts()
    }
}

// === impl Anthropic ===

impl Anthropic {
    /// Takes an error, in Anthropic's shape or in OpenAI's, which llama.cpp keeps to here.
    fn error_in(&mut self, event: &Event<'_>, message: Option<&Message<'_>>) {
        self.counts.error.or(|| error::member(message?.error, Some(TOO_LONG)));
        let is_named = || {
            let kind = message.and_then(|message| message.kind).and_then(word);
            kind == Some("error") || (event.name == b"error" && !event.data.is_empty())
        };
        self.counts.error.or(|| is_named().then(|| error::event(event.data)));
    }

    /// Counts a piece of content; gives its text where it holds nothing else.
    fn came<'a>(
        &mut self,
        delta: &Delta<'a>,
        content: &mut dyn FnMut(Progress),
    ) -> Option<&'a str> {
        let Delta { text, thinking, partial_json, data, stop_reason: _ } = delta;
        let mut filled = [text, thinking, partial_json, data]
            .into_iter()
            .filter_map(|field| field.filter(|raw| is_filled(raw)));
        let (first, second) = (filled.next()?, filled.next());
        content(Progress { choice: 0, tokens: self.counts.content(1) });
        let text = Some(first).filter(|_| second.is_none()).map(RawValue::get)?;
        text.starts_with('"').then_some(text)
    }

    fn finished(&mut self, reason: Raw<'_>) {
        if let Some(reason) = reason {
            let reason = word(reason).map_or(FinishReason::Other, FinishReason::from_engine);
            self.counts.finish = Some(Finish::Reason(reason));
        }
    }

    /// Takes a usage whose counts are those of the whole answer up to it.
    fn usage_told(&mut self, usage: Raw<'_>, source: TokenSource) {
        self.input_is_certain = true;
        let Some(usage) = object::<RawUsage<'_>>(usage) else { return };
        self.input_told(&usage);
        let output = number(usage.output_tokens);
        self.output = output.or(self.output);
        self.counts.generated(output, source);
        let details: Option<Details<'_>> = object(usage.output_tokens_details);
        let reasoning = details.and_then(|details| number(details.thinking_tokens));
        self.counts.reasoning = reasoning.or(self.counts.reasoning);
    }

    fn input_told(&mut self, usage: &RawUsage<'_>) {
        let mut input = Input::default();
        input.told(usage);
        // NB: a prompt has a token: zeros at the start are not known yet, and at the end they stand
        // for what was told before.
        if input.is_zero() && (self.counts.prompt.is_some() || !self.input_is_certain) {
            return;
        }
        self.input.told(usage);
        self.counts.prompt = self.input.sum();
        self.counts.cached = self.input.cache_read.count();
    }
}

// === impl Input ===

impl Input {
    /// Each part takes the place of what was told of it before.
    fn told(&mut self, usage: &RawUsage<'_>) {
        self.plain.told(usage.input_tokens);
        self.cache_read.told(usage.cache_read_input_tokens);
        self.cache_creation.told(usage.cache_creation_input_tokens);
    }

    fn is_zero(&self) -> bool {
        let Self { plain, cache_read, cache_creation } = self;
        [plain, cache_read, cache_creation].iter().all(|part| part.or_zero() == Some(0))
    }

    fn sum(&self) -> Option<u64> {
        let Self { plain, cache_read, cache_creation } = self;
        Some(plain.count()? + cache_read.or_zero()? + cache_creation.or_zero()?)
    }
}

// === impl Part ===

impl Part {
    fn told(&mut self, raw: Raw<'_>) {
        match (number(raw), *self) {
            (Some(count), _) => *self = Self::Told(count),
            (None, Self::Untold) if raw.is_some() => *self = Self::Unreadable,
            (None, _) => {}
        }
    }

    fn count(&self) -> Option<u64> {
        match *self {
            Self::Told(count) => Some(count),
            Self::Untold | Self::Unreadable => None,
        }
    }

    /// What is not told is not there.
    fn or_zero(&self) -> Option<u64> {
        match *self {
            Self::Untold => Some(0),
            Self::Told(count) => Some(count),
            Self::Unreadable => None,
        }
    }
}
