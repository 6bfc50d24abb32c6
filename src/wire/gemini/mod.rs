//! Gemini `generateContent` and `streamGenerateContent`: one answer, a stream of them, or a list.
//!
//! Each part that the model made is content: text, thoughts, a call, code, an image. An answer with
//! an empty text, or with what a tool put out, is none. Nothing marks the end of a stream but its
//! end.

mod answer;

use serde_json::value::RawValue;

use self::answer::{Answer, Content, Feedback, Part, RawCandidate, RawUsage, latest, said};
use super::{
    Event, Facts, Finish, Longest, Progress, Usage, Varying, WireFormat,
    counts::Counts,
    error,
    json::{for_each, for_each_object, is_filled, number, object, parse},
};
use crate::outcome::{FinishReason, TokenSource};

/// How Gemini says that a prompt does not fit: it has no code for it.
const TOO_LONG: &str = "The input token count";

/// Candidates told apart, which are as many as can be asked for; those beyond share the last place.
const MAX_CANDIDATES: usize = 8;

/// Reads them.
#[derive(Debug, Default)]
pub(super) struct Gemini {
    counts: Counts,
    /// The counts as each was told last.
    told: Told,
    candidates: Vec<Candidate>,
    /// The finish reason of the candidate with the lowest index so far.
    finish: Option<(u64, FinishReason)>,
    /// Why the prompt was not answered.
    is_blocked: bool,
    /// Events with content since the last count.
    since: u64,
    /// The count has not grown with the content that came last: what it grows by is not of one
    /// event.
    is_behind: bool,
}

/// What an answer brought.
#[derive(Clone, Copy)]
struct Brought {
    /// Which candidates got content: a bit for each.
    content: u32,
    /// By how much the count of generated tokens has grown, where it has.
    grown: Option<u64>,
    /// It counts the content that came with it.
    is_counted: bool,
}

#[derive(Debug, Default)]
struct Candidate {
    index: u64,
    /// Its content, each event for one token.
    events: u64,
    calls_tools: bool,
    finished: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Told {
    prompt: Option<u64>,
    tools: Option<u64>,
    /// Without the thoughts.
    candidates: Option<u64>,
    thoughts: Option<u64>,
}

impl WireFormat for Gemini {
    fn event<'a>(
        &mut self,
        event: Event<'a>,
        content: &mut dyn FnMut(Progress),
    ) -> Option<Varying<'a>> {
        let answer: Option<Answer<'a>> = parse(event.data);
        if event.name == b"error" && !event.data.is_empty() {
            self.counts.error.or(|| error::member(answer.as_ref()?.error, Some(TOO_LONG)));
            self.counts.error.or(|| Some(error::event(event.data)));
        }
        let Brought { content: got, grown, is_counted } =
            self.answer(&answer?, TokenSource::ContinuousUsage);
        let single = (got.count_ones() == 1 && !self.is_behind).then_some(grown).flatten();
        for choice in (0..self.candidates.len()).filter(|place| got & (1 << place) > 0) {
            self.candidates[choice].events += 1;
            content(Progress { choice, tokens: single.unwrap_or(1) });
        }
        self.since = if is_counted { 0 } else { self.since + u64::from(got.count_ones()) };
        self.is_behind = grown.is_none() && (self.is_behind || got > 0);
        // NB: the counts differ from event to event.
        None
    }

    fn whole(&mut self, body: &[u8]) {
        // Without `alt=sse` a stream is a list.
        self.counts.done = for_each_object(body, |answer: Answer<'_>| {
            self.answer(&answer, TokenSource::Usage);
        });
    }

    fn so_far(&self) -> Usage {
        Usage { completion: Some(self.live()), ..self.counts.so_far() }
    }

    fn facts(&self) -> Facts {
        let mut facts = self.counts.facts();
        if facts.source != Some(TokenSource::Usage) && self.since > 0 {
            (facts.usage.completion, facts.source) =
                (Some(self.live()), Some(TokenSource::Counted));
        } else if facts.source == Some(TokenSource::ContinuousUsage) && self.is_over() {
            facts.source = Some(TokenSource::Usage);
        }
        facts.longest = facts.usage.completion.and_then(|tokens| self.longest(tokens));
        facts.finish = match self.finish {
            None if self.is_blocked => Some(Finish::Reason(FinishReason::ContentFilter)),
            finish => finish.map(|(_, reason)| Finish::Reason(reason)),
        };
        facts
    }

    fn has_end_marker(&self) -> bool {
        false
    }
}

// === impl Gemini ===

impl Gemini {
    fn answer(&mut self, answer: &Answer<'_>, source: TokenSource) -> Brought {
        self.counts.error.or(|| error::member(answer.error, Some(TOO_LONG)));
        let feedback: Option<Feedback<'_>> = object(answer.prompt_feedback);
        let reason = feedback.and_then(|feedback| feedback.block_reason);
        self.is_blocked |= reason.and_then(said).is_some();

        let mut content = 0_u32;
        for_each(answer.candidates, |candidate: &RawValue| {
            if let Some(candidate) = object(Some(candidate)) {
                let (place, has_content) = self.candidate(&candidate);
                content |= u32::from(has_content) << place;
            }
        });
        let usage: Option<RawUsage<'_>> = object(answer.usage);
        let told = usage.and_then(|usage| self.usage_told(&usage, source));
        let (grown, is_counted) = told.unwrap_or((None, false));
        Brought { content, grown, is_counted }
    }

    /// Every candidate has come to its end.
    fn is_over(&self) -> bool {
        !self.candidates.is_empty() && self.candidates.iter().all(|candidate| candidate.finished)
    }

    /// Generated tokens as far as they are known.
    fn live(&self) -> u64 {
        self.told.generated().unwrap_or(0).saturating_add(self.since)
    }

    /// Reads one candidate; says its place, and whether content came with it.
    fn candidate(&mut self, candidate: &RawCandidate<'_>) -> (usize, bool) {
        let index = number(candidate.index).unwrap_or(0);
        let place = self.place(index);
        let slot = &mut self.candidates[place];
        let mut has_content = false;
        let content: Option<Content<'_>> = object(candidate.content);
        for_each(content.and_then(|content| content.parts), |part: &RawValue| {
            let Some(part) = object::<Part<'_>>(Some(part)) else { return };
            let Part { text, function_call, code, data } = part;
            has_content |= [text, function_call, code, data].into_iter().flatten().any(is_filled);
            slot.calls_tools |= function_call.is_some_and(is_filled);
        });
        if let Some(word) = candidate.finish_reason.and_then(said) {
            slot.finished = true;
            let reason = match FinishReason::from_engine(word) {
                // It has no word of its own for that.
                FinishReason::Stop if slot.calls_tools => FinishReason::ToolCalls,
                reason => reason,
            };
            if self.finish.is_none_or(|(lowest, _)| index <= lowest) {
                self.finish = Some((index, reason));
            }
        }
        (place, has_content)
    }

    fn place(&mut self, index: u64) -> usize {
        if let Some(place) = self.candidates.iter().position(|known| known.index == index) {
            return place;
        }
        if self.candidates.len() < MAX_CANDIDATES {
            self.candidates.push(Candidate { index, ..Candidate::default() });
        }
        self.candidates.len() - 1
    }

    /// Takes the counts, each of which is that of the whole answer up to here.
    ///
    /// Says by how much the generated tokens have grown, where they have, and whether what came
    /// with them is counted; `None` where they are not told.
    fn usage_told(
        &mut self,
        usage: &RawUsage<'_>,
        source: TokenSource,
    ) -> Option<(Option<u64>, bool)> {
        let Told { mut prompt, mut tools, mut candidates, mut thoughts } = self.told;
        latest(&mut self.counts.cached, usage.cached);
        latest(&mut self.counts.reasoning, usage.thoughts);
        // NB: a sum that lacks a part is none, so what cannot be read costs both.
        if latest(&mut prompt, usage.prompt) & latest(&mut tools, usage.tools) {
            self.told = Told { prompt, tools, ..self.told };
            self.counts.prompt = prompt.map(|prompt| prompt + tools.unwrap_or(0));
        }
        let are_read =
            latest(&mut candidates, usage.candidates) & latest(&mut thoughts, usage.thoughts);
        if !are_read || (usage.candidates.is_none() && usage.thoughts.is_none()) {
            return None;
        }
        let before = self.told.generated().unwrap_or(0);
        self.told = Told { candidates, thoughts, ..self.told };
        let now = self.told.generated()?;
        self.counts.generated(Some(now), source);
        let grown = now.checked_sub(before).filter(|grown| *grown > 0);
        // NB: a zero before the end is to be filled in.
        let count = number(usage.candidates);
        let is_counted = grown.is_some() || count.is_some_and(|n| n > 0 || self.is_over());
        Some((grown, is_counted))
    }

    /// The candidate with the most events; `completion` is the sum over all of them.
    fn longest(&self, completion: u64) -> Option<Longest> {
        if self.candidates.len() <= 1 {
            return Some(Longest { choice: 0, tokens: completion, exact: true });
        }
        let events = self.candidates.iter().map(|candidate| candidate.events);
        let seen = events.clone().sum::<u64>();
        let (choice, most) = events.enumerate().max_by_key(|(_, events)| *events)?;
        let share = u128::from(completion) * u128::from(most) / u128::from(seen.max(1));
        let tokens = u64::try_from(share).unwrap_or(u64::MAX);
        Some(Longest { choice, tokens, exact: false })
    }
}

// === impl Told ===

impl Told {
    fn generated(&self) -> Option<u64> {
        match (self.candidates, self.thoughts) {
            (None, None) => None,
            (candidates, thoughts) => Some(candidates.unwrap_or(0) + thoughts.unwrap_or(0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many tokens each event of a stream is told to carry.
    fn tokens(events: &[(&str, &str)]) -> Vec<u64> {
        let (mut gemini, mut tokens) = (Gemini::default(), Vec::new());
        for (text, counts) in events {
            let data = format!(
                r#"{{"candidates":[{{"content":{{"parts":[{{"text":"{text}"}}]}}}}],"usageMetadata":{{{counts}}}}}"#
            );
            let event = Event { name: b"", data: data.as_bytes() };
            gemini.event(event, &mut |progress| tokens.push(progress.tokens));
        }
        tokens
    }

    #[test]
    fn an_event_has_the_tokens_by_which_the_count_has_grown() {
        let (n4, n10) = (r#""candidatesTokenCount":4"#, r#""candidatesTokenCount":10"#);
        assert_eq!(tokens(&[("a", n4), ("b", n10)]), [4, 6]);
        // Thoughts are not among the candidates' tokens.
        let thought = r#""thoughtsTokenCount":7"#;
        let both = r#""thoughtsTokenCount":7,"candidatesTokenCount":2"#;
        assert_eq!(tokens(&[("a", thought), ("b", both)]), [7, 2]);
        // What came without content is in no event.
        assert_eq!(tokens(&[("a", n4), ("", n10), ("b", r#""candidatesTokenCount":11"#)]), [4, 1]);
        // A count that stands still says nothing, nor does what grew over several events.
        assert_eq!(tokens(&[("a", n4), ("b", n4), ("c", n10), ("d", n10)]), [4, 1, 1, 1]);
        assert_eq!(tokens(&[("a", ""), ("b", n10)]), [1, 1]);
        assert_eq!(tokens(&[("a", n10), ("b", n4)]), [10, 1]);
        assert_eq!(tokens(&[("a", r#""candidatesTokenCount":"x""#), ("b", n4)]), [1, 1]);
    }
}
