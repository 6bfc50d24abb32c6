//! A second, naive opinion on what the bytes of a stream tell: every event is parsed whole, and
//! the bounds of what may be counted are taken from it.

use std::collections::BTreeMap;

use serde_json::Value;

use super::recording::find;

/// The events of a stream, and what had been told by the end of each.
#[derive(Debug)]
pub(crate) struct Oracle {
    /// By the offset of the last byte of the data.
    told: Vec<(Offsets, Told)>,
}

/// What a part of a stream tells.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    choices: BTreeMap<u64, Choice>,
    /// The last usage of an event without choices, where it was about the whole request.
    total: u64,
    last_finished: u64,
    pub(crate) prompts: Vec<u64>,
    pub(crate) final_usage: bool,
    pub(crate) usage: bool,
    pub(crate) engine_counts: bool,
    /// An error event, or a finish reason that means one.
    pub(crate) broken: bool,
    pub(crate) done: bool,
}

#[derive(Clone, Debug, Default)]
struct Choice {
    content: u64,
    usage: u64,
    timings: u64,
}

/// Where an event counts.
#[derive(Clone, Copy, Debug)]
struct Offsets {
    /// After its data, if that is the end of the body.
    at_end: usize,
    /// After the line end that completes it.
    complete: usize,
}

// === impl Oracle ===

impl Oracle {
    pub(crate) fn new(body: &[u8]) -> Self {
        let line_end: &[u8] = if find(body, b"\r\n").is_some() { b"\r\n" } else { b"\n" };
        let blank = [line_end, line_end].concat();
        let (mut at, mut now, mut told) = (0, Told::default(), Vec::new());
        while let Some(length) = find(&body[at..], &blank) {
            let end = at + length;
            let event = std::str::from_utf8(&body[at..end]).unwrap();
            let mut at_end = end;
            if let Some(data) = event.strip_prefix("data:") {
                now.event(data.trim_start());
            } else if event.starts_with("error: ") {
                now.broken = true;
                // That there is one, its first byte tells.
                at_end = at + "error: {".len();
            }
            // NB: the CR of the blank line ends the event, its LF is not waited for.
            told.push((Offsets { at_end, complete: end + line_end.len() + 1 }, now.clone()));
            at = end + blank.len();
        }
        Self { told }
    }

    /// What a body tells that has ended after `length` bytes.
    pub(crate) fn ended(&self, length: usize) -> Told {
        self.find(|offsets| offsets.at_end <= length)
    }

    /// What a body tells of which `length` bytes have come so far.
    pub(crate) fn so_far(&self, length: usize) -> Told {
        self.find(|offsets| offsets.complete <= length)
    }

    fn find(&self, test: impl Fn(&Offsets) -> bool) -> Told {
        let known = self.told.partition_point(|(offsets, _)| test(offsets));
        known.checked_sub(1).map_or_else(Told::default, |last| self.told[last].1.clone())
    }
}

// === impl Told ===

impl Told {
    /// Events with content: not fewer tokens than that were generated.
    pub(crate) fn at_least(&self) -> u64 {
        self.choices.values().map(|choice| choice.content).sum()
    }

    /// The most that can be made of it.
    pub(crate) fn at_most(&self) -> u64 {
        let best = |choice: &Choice| choice.content.max(choice.usage).max(choice.timings);
        self.choices.values().map(best).sum::<u64>().max(self.total)
    }

    fn event(&mut self, data: &str) {
        if data == "[DONE]" {
            self.done = true;
            return;
        }
        let event: Value = serde_json::from_str(data).unwrap();
        self.broken |= event["error"].is_object();
        let choices = event["choices"].as_array().cloned().unwrap_or_default();
        for choice in &choices {
            self.choice(choice);
        }
        let index = match &choices[..] {
            [choice] => choice["index"].as_u64(),
            _ => None,
        };
        let finished = choices.iter().all(|choice| is_filled(&choice["finish_reason"]));
        let timings = &event["timings"];
        if let Some(predicted) = timings["predicted_n"].as_u64() {
            self.engine_counts = true;
            let index = index.unwrap_or(self.last_finished);
            self.choices.entry(index).or_default().timings = predicted;
            let number = |name| timings[name].as_u64().unwrap();
            self.prompts.push(number("prompt_n") + number("cache_n"));
        }
        let usage = &event["usage"];
        if let Some(completion) = usage["completion_tokens"].as_u64() {
            self.usage = true;
            self.final_usage |= finished;
            self.prompts.push(usage["prompt_tokens"].as_u64().unwrap());
            // llama.cpp tells usage by choice, which its timings give away.
            match index.or_else(|| timings.is_object().then_some(self.last_finished)) {
                Some(index) => self.choices.entry(index).or_default().usage = completion,
                None => self.total = completion,
            }
        }
    }

    fn choice(&mut self, choice: &Value) {
        let finish = &choice["finish_reason"];
        let index = choice["index"].as_u64().unwrap();
        if is_filled(finish) {
            self.last_finished = index;
            self.broken |= finish == "abort";
        }
        let delta = &choice["delta"];
        let has_content = is_filled(&choice["text"])
            || (choice["text"].is_string() && !is_filled(finish))
            || ["content", "reasoning", "reasoning_content"].iter().any(|f| is_filled(&delta[f]))
            || delta["tool_calls"].is_array();
        if has_content {
            self.choices.entry(index).or_default().content += 1;
        }
    }
}

fn is_filled(value: &Value) -> bool {
    value.as_str().is_some_and(|text| !text.is_empty())
}
