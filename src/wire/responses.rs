//! OpenAI Responses, and the servers that speak them: vLLM, llama.cpp, mistral.rs.
//!
//! Generated content is every non-empty `delta`: text, reasoning, a refusal, the arguments of a tool
//! call. What a tool puts out is not the model's. A response that is created, and an item or a part
//! that is added, only announce content.

use serde::Deserialize;

use super::{
    Event, Facts, Finish, Progress, Usage, Varying, WireFormat,
    counts::Counts,
    error::{self, Error},
    json::{Raw, for_each, is_filled, length, number, object, parse, word},
};
use crate::outcome::{FinishReason, TokenSource};

/// Reads them.
#[derive(Debug, Default)]
pub(super) struct Responses {
    counts: Counts,
    /// The client is asked to run a tool.
    calls_tools: bool,
}

/// One event.
#[derive(Deserialize)]
struct Told<'a> {
    #[serde(borrow, rename = "type")]
    kind: Raw<'a>,
    #[serde(borrow)]
    sequence_number: Raw<'a>,
    #[serde(borrow)]
    response: Raw<'a>,
    #[serde(borrow)]
    item: Raw<'a>,
    #[serde(borrow)]
    delta: Raw<'a>,
    #[serde(borrow)]
    logprobs: Raw<'a>,
    #[serde(borrow)]
    error: Raw<'a>,
}

/// The answer: whole, or in the last event of a stream. Also the body of an error.
#[derive(Deserialize)]
struct Response<'a> {
    #[serde(borrow)]
    status: Raw<'a>,
    #[serde(borrow)]
    incomplete_details: Raw<'a>,
    #[serde(borrow)]
    output: Raw<'a>,
    #[serde(borrow)]
    usage: Raw<'a>,
    #[serde(borrow)]
    error: Raw<'a>,
}

#[derive(Deserialize)]
struct Incomplete<'a> {
    #[serde(borrow)]
    reason: Raw<'a>,
}

#[derive(Deserialize)]
struct Item<'a> {
    #[serde(borrow, rename = "type")]
    kind: Raw<'a>,
}

#[derive(Deserialize)]
struct RawUsage<'a> {
    #[serde(borrow)]
    input_tokens: Raw<'a>,
    #[serde(borrow)]
    input_tokens_details: Raw<'a>,
    #[serde(borrow)]
    output_tokens: Raw<'a>,
    #[serde(borrow)]
    output_tokens_details: Raw<'a>,
}

#[derive(Deserialize)]
struct Details<'a> {
    #[serde(borrow)]
    cached_tokens: Raw<'a>,
    #[serde(borrow)]
    reasoning_tokens: Raw<'a>,
}

impl WireFormat for Responses {
    fn event<'a>(
        &mut self,
        event: Event<'a>,
        content: &mut dyn FnMut(Progress),
    ) -> Option<Varying<'a>> {
        let told: Option<Told<'a>> = parse(event.data);
        let kind = told.as_ref().and_then(|told| told.kind).and_then(word);
        let kind = kind.map_or(event.name, str::as_bytes);
        self.error_in(&event, kind, told.as_ref());
        let told = told?;
        match kind {
            b"response.completed" => self.ended(told.response, "completed"),
            b"response.incomplete" => self.ended(told.response, "incomplete"),
            b"response.failed" => self.ended(told.response, "failed"),
            b"response.output_item.added" | b"response.output_item.done" => {
                if let Some(item) = object(told.item) {
                    self.item(&item);
                }
            }
            _ if is_content(kind) => return self.came(&told, content),
            _ => {}
        }
        None
    }

    fn again(&mut self, _choice: usize, events: u64) {
        self.counts.content(events);
    }

    fn whole(&mut self, body: &[u8]) {
        let Some(response) = parse::<Response<'_>>(body) else { return };
        self.told(&response, None);
        self.counts.done = true;
    }

    fn so_far(&self) -> Usage {
        self.counts.so_far()
    }

    fn facts(&self) -> Facts {
        self.counts.facts()
    }
}

/// Whether events of that kind carry what the model generated.
fn is_content(kind: &[u8]) -> bool {
    let kind = kind.strip_prefix(b"response.").and_then(|kind| kind.strip_suffix(b".delta"));
    // NB: what a shell prints comes in pieces too.
    kind.is_some_and(|kind| !kind.ends_with(b"_output_content"))
}

/// Whether an item asks the client to run something: what the server runs itself does not end the
/// answer.
fn is_call(kind: &str) -> bool {
    matches!(
        kind,
        "function_call"
            | "custom_tool_call"
            | "computer_call"
            | "local_shell_call"
            | "shell_call"
            | "apply_patch_call"
    )
}

// === impl Responses ===

impl Responses {
    /// Takes an error that stands in an event of its own.
    fn error_in(&mut self, event: &Event<'_>, kind: &[u8], told: Option<&Told<'_>>) {
        self.counts.error.or(|| error::member(told?.error, None));
        // NB: the event is the error: its code stands at its top.
        let is_named = || kind == b"error" || (event.name == b"error" && !event.data.is_empty());
        self.counts.error.or(|| is_named().then(|| error::event(event.data)));
    }

    fn came<'a>(
        &mut self,
        told: &Told<'a>,
        content: &mut dyn FnMut(Progress),
    ) -> Option<Varying<'a>> {
        let delta = told.delta.filter(|delta| is_filled(delta))?;
        let logprobs = told.logprobs.and_then(length).filter(|tokens| *tokens > 0);
        let tokens = self.counts.content(logprobs.unwrap_or(1));
        content(Progress { choice: 0, tokens });
        // NB: most servers number their events, so that no two are alike.
        let is_plain = told.sequence_number.is_none() && logprobs.is_none();
        let text = Some(delta.get()).filter(|text| text.starts_with('"') && is_plain)?;
        self.counts.error.is_none().then_some(Varying { choice: 0, text })
    }

    /// The stream is over.
    fn ended(&mut self, response: Raw<'_>, status: &str) {
        self.counts.done = true;
        if let Some(response) = object::<Response<'_>>(response) {
            self.told(&response, Some(status));
        }
        // NB: only now, since the response knows more of it.
        if status == "failed" {
            self.counts.error.or(|| Some(Error::untold()));
        }
    }

    /// Takes the answer; `by_event` is its status by the event that it came with.
    ///
    /// NB: vLLM sends an incomplete answer as completed; its own status is right. llama.cpp says
    /// completed even where the token limit was met.
    fn told(&mut self, response: &Response<'_>, by_event: Option<&str>) {
        self.counts.error.or(|| error::member(response.error, None));
        for_each(response.output, |item| self.item(&item));
        let incomplete: Option<Incomplete<'_>> = object(response.incomplete_details);
        let reason = incomplete.and_then(|details| details.reason).and_then(word);
        self.counts.finish = match response.status.and_then(word).or(by_event) {
            Some("completed") if self.calls_tools => Some(Finish::Reason(FinishReason::ToolCalls)),
            Some("cancelled") => Some(Finish::Abort),
            Some("failed") => {
                self.counts.error.or(|| Some(Error::untold()));
                None
            }
            Some("incomplete") => {
                Some(Finish::Reason(reason.map_or(FinishReason::Other, FinishReason::from_engine)))
            }
            status => status.map(FinishReason::from_engine).map(Finish::Reason),
        };
        self.usage_told(response.usage);
    }

    fn item(&mut self, item: &Item<'_>) {
        self.calls_tools |= item.kind.and_then(word).is_some_and(is_call);
    }

    fn usage_told(&mut self, usage: Raw<'_>) {
        let Some(usage) = object::<RawUsage<'_>>(usage) else { return };
        let details = |raw| object::<Details<'_>>(raw);
        self.counts.prompt = number(usage.input_tokens);
        self.counts.cached =
            details(usage.input_tokens_details).and_then(|d| number(d.cached_tokens));
        self.counts.reasoning =
            details(usage.output_tokens_details).and_then(|d| number(d.reasoning_tokens));
        self.counts.generated(number(usage.output_tokens), TokenSource::Usage);
    }
}
