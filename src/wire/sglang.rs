//! SGLang's `/generate`, which LMDeploy speaks too.
//!
//! Every event, and the whole answer, has `meta_info` with running counts: `completion_tokens` says
//! how many tokens came, also where their text is held back or repeats what came before (`text` is
//! all of the text so far, unless the server was told to send it in pieces).
//!
//! Several answers, a list or events with an `index`, are added up, their prompts too. NB: n > 1
//! looks like a batch of prompts, so that its prompt counts for each choice, as it does in the
//! engine's own counter.

use serde::Deserialize;

use super::{
    Event, Facts, Finish, Progress, Usage, Varying, WireFormat,
    counts::Counts,
    error::{self, FirstError},
    json::{Raw, for_each_object, is_filled, number, object, parse, time, word},
    parts::{Parts, Sum},
};
use crate::outcome::{FinishReason, TokenSource};

/// Reads them.
#[derive(Debug, Default)]
pub(super) struct SgLang {
    parts: Parts,
    /// A whole answer.
    whole: Option<Facts>,
    error: FirstError,
    done: bool,
}

/// One event, or one answer.
#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    index: Raw<'a>,
    #[serde(borrow)]
    text: Raw<'a>,
    #[serde(borrow)]
    output_ids: Raw<'a>,
    #[serde(borrow)]
    meta_info: Raw<'a>,
    #[serde(borrow)]
    error: Raw<'a>,
}

#[derive(Default, Deserialize)]
struct Meta<'a> {
    #[serde(borrow)]
    prompt_tokens: Raw<'a>,
    #[serde(borrow)]
    completion_tokens: Raw<'a>,
    #[serde(borrow)]
    cached_tokens: Raw<'a>,
    #[serde(borrow)]
    reasoning_tokens: Raw<'a>,
    #[serde(borrow)]
    finish_reason: Raw<'a>,
    /// Seconds; with `--enable-metrics` only, and no time at all before the start.
    #[serde(borrow)]
    queue_time: Raw<'a>,
}

#[derive(Deserialize)]
struct Reason<'a> {
    #[serde(borrow, rename = "type")]
    kind: Raw<'a>,
}

impl WireFormat for SgLang {
    fn event<'a>(
        &mut self,
        event: Event<'a>,
        content: &mut dyn FnMut(Progress),
    ) -> Option<Varying<'a>> {
        if event.data.trim_ascii() == b"[DONE]" {
            self.done = true;
            return None;
        }
        let answer: Answer<'_> = parse(event.data)?;
        self.error.or(|| error::member(answer.error, None));
        let meta: Meta<'_> = object(answer.meta_info).unwrap_or_default();
        if answer.is_empty() && meta.is_empty() {
            return None;
        }
        let index = number(answer.index).unwrap_or(0);
        let counts = self.parts.part(index);
        meta.told(counts);
        let ends = counts.finish.is_some();
        let progress = self.parts.generated(index, number(meta.completion_tokens), |more| {
            // A lone end token is no content.
            more != Some(0) && (!answer.is_empty() || (more.is_some() && !ends))
        });
        if let Some(progress) = progress {
            content(progress);
        }
        None
    }

    fn whole(&mut self, body: &[u8]) {
        let (mut sum, mut place) = (Sum::default(), 0);
        self.done = for_each_object(body, |answer: Answer<'_>| {
            self.error.or(|| error::member(answer.error, None));
            if let Some(meta) = object::<Meta<'_>>(answer.meta_info) {
                let mut counts = Counts::default();
                meta.told(&mut counts);
                counts.generated(number(meta.completion_tokens), TokenSource::EngineFrame);
                sum.add(place, place as u64, &counts.facts());
                place += 1;
            }
        });
        self.whole = Some(sum.facts());
    }

    fn so_far(&self) -> Usage {
        self.parts.so_far()
    }

    fn facts(&self) -> Facts {
        let facts = self.whole.clone().unwrap_or_else(|| self.parts.facts());
        self.error.told_in(Facts { done: self.done, ..facts })
    }
}

// === impl Answer ===

impl Answer<'_> {
    /// It has no text and no token ids.
    fn is_empty(&self) -> bool {
        ![self.text, self.output_ids].into_iter().flatten().any(is_filled)
    }
}

// === impl Meta ===

impl Meta<'_> {
    fn is_empty(&self) -> bool {
        self.completion_tokens.is_none()
            && self.prompt_tokens.is_none()
            && self.finish_reason.is_none()
    }

    /// Tells everything but the generated tokens; what is missing was told before.
    fn told(&self, counts: &mut Counts) {
        counts.prompt = number(self.prompt_tokens).or(counts.prompt);
        counts.cached = number(self.cached_tokens).or(counts.cached);
        counts.reasoning = number(self.reasoning_tokens).or(counts.reasoning);
        counts.queue_time = time(self.queue_time, 1.0).or(counts.queue_time);
        counts.finish = self.finish().or(counts.finish);
    }

    fn finish(&self) -> Option<Finish> {
        let reason = object::<Reason<'_>>(self.finish_reason).map(|reason| reason.kind);
        Some(match reason.unwrap_or(self.finish_reason).and_then(word)? {
            "abort" | "error" => Finish::Abort,
            word => Finish::Reason(FinishReason::from_engine(word)),
        })
    }
}
