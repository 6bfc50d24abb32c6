//! Triton's generate extension: what a model puts out, as the members of an object.
//!
//! An event with text in its `text_output` is content. How many tokens it has is told where the
//! request asked the vLLM or the TensorRT-LLM backend for `num_output_tokens`.
//!
//! NB: that is the number of this event and not the one so far, as both backends write it: Triton's
//! own OpenAI frontend adds them up too. `num_input_tokens` is that of the prompt on each event.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    Event, Facts, Finish, Progress, Usage, Varying, WireFormat,
    counts::Counts,
    error,
    json::{Raw, for_each, is_filled, number, parse, word},
};
use crate::outcome::{FinishReason, TokenSource};

/// Reads them.
#[derive(Debug, Default)]
pub(super) struct Triton {
    counts: Counts,
    /// An event with content did not tell how many tokens it has.
    is_estimate: bool,
    /// Several sequences are generated at once.
    has_several: bool,
}

/// One event, or a whole answer. Where several sequences are generated, each output is a list.
#[derive(Deserialize)]
struct Outputs<'a> {
    #[serde(borrow)]
    text_output: Raw<'a>,
    #[serde(borrow)]
    finish_reason: Raw<'a>,
    #[serde(borrow)]
    num_input_tokens: Raw<'a>,
    #[serde(borrow)]
    num_output_tokens: Raw<'a>,
    #[serde(borrow)]
    error: Raw<'a>,
}

/// Sequences whose counts are read; those of the others are estimates.
const MAX_SEQUENCES: usize = 128;

impl WireFormat for Triton {
    fn event<'a>(
        &mut self,
        event: Event<'a>,
        content: &mut dyn FnMut(Progress),
    ) -> Option<Varying<'a>> {
        let outputs: Outputs<'_> = parse(event.data)?;
        let mut told = Vec::new();
        each(outputs.num_output_tokens, |raw| {
            if told.len() < MAX_SEQUENCES {
                told.push(number(Some(raw)));
            }
        });
        let mut place = 0;
        each(outputs.text_output, |text| {
            let tokens = told.get(place).copied().flatten();
            if is_filled(text) || tokens.is_some_and(|tokens| tokens > 0) {
                self.is_estimate |= tokens.is_none();
                let tokens = self.counts.content(tokens.unwrap_or(1));
                content(Progress { choice: place, tokens });
            }
            place += 1;
        });
        self.has_several |= place > 1;
        self.counts.events_are_exact = !self.is_estimate;
        self.read(&outputs);
        self.counts.done |= self.counts.finish.is_some();
        // Outputs that a model of its own adds may differ as well.
        None
    }

    fn whole(&mut self, body: &[u8]) {
        let Some(outputs) = parse::<Outputs<'_>>(body) else { return };
        self.read(&outputs);
        let mut sum = outputs.num_output_tokens.map(|_| 0_u64);
        let mut places = 0;
        each(outputs.num_output_tokens, |raw| {
            places += 1;
            sum = sum.zip(number(Some(raw))).and_then(|(sum, tokens)| sum.checked_add(tokens));
        });
        self.has_several = places > 1;
        self.counts.generated(sum.filter(|_| places > 0), TokenSource::Usage);
        self.counts.done = true;
    }

    fn so_far(&self) -> Usage {
        self.counts.so_far()
    }

    fn facts(&self) -> Facts {
        let mut facts = self.counts.facts();
        if self.has_several {
            facts.longest = None;
        }
        facts
    }

    /// A stream just ends.
    fn has_end_marker(&self) -> bool {
        false
    }
}

// === impl Triton ===

impl Triton {
    /// Reads all but the content and its tokens.
    fn read(&mut self, outputs: &Outputs<'_>) {
        let counts = &mut self.counts;
        counts.error.or(|| error::member(outputs.error, None));
        let mut first = None;
        each(outputs.num_input_tokens, |raw| first = first.or_else(|| number(Some(raw))));
        counts.prompt = first.or(counts.prompt);
        let mut first = None;
        each(outputs.finish_reason, |raw| {
            first = first.or_else(|| word(raw));
        });
        counts.finish = match first {
            // The vLLM backend writes Python's `None` while a sequence goes on.
            None | Some("" | "None") => counts.finish,
            Some("abort" | "error") => Some(Finish::Abort),
            Some(word) => Some(Finish::Reason(FinishReason::from_engine(word))),
        };
    }
}

/// An output of one sequence, or a list of one for each.
fn each<'a>(output: Raw<'a>, mut each: impl FnMut(&'a RawValue)) {
    if output.is_some_and(|raw| raw.get().starts_with('[')) {
        for_each(output, each);
    } else if let Some(raw) = output {
        each(raw);
    }
}
