//! The JSON of an answer: event by event, or whole.

use std::fmt::Write;

use serde_json::{Value, json};

use super::{Error, Kind, Model};

/// What every part of an answer tells.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heading {
    pub(crate) kind: Kind,
    /// Makes its id.
    pub(crate) number: u64,
    /// Unix time.
    pub(crate) created: u64,
    pub(crate) model: Model,
}

/// Writes the parts of one answer.
#[derive(Clone, Debug)]
pub(crate) struct Chunks {
    kind: Kind,
    /// What all events of it begin with.
    head: String,
    /// Tokens of the prompt, where every event tells what its choice took so far.
    running: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finish {
    Stop,
    Length,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) prompt: usize,
    pub(crate) cached: usize,
    pub(crate) completion: usize,
    /// The part of the completion that was thought, not said.
    pub(crate) reasoning: usize,
}

/// What one choice of an answer will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// How many words it will have.
    pub(crate) words: usize,
    /// How many of them are thoughts: the first ones.
    pub(crate) thoughts: usize,
    /// Why it ends there.
    pub(crate) finish: Finish,
}

/// The words of one choice that is not streamed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Text {
    pub(crate) thoughts: String,
    pub(crate) words: String,
}

/// The end of every stream that came to its end.
pub(crate) const DONE: &str = "data: [DONE]\n\n";

// === impl Heading ===

impl Heading {
    fn id(self) -> String {
        match self.kind {
            Kind::Chat => format!("chatcmpl-{}", self.number),
            Kind::Completion => format!("cmpl-{}", self.number),
        }
    }
}

// === impl Chunks ===

impl Chunks {
    pub(crate) fn new(heading: Heading, running: Option<usize>) -> Self {
        let Heading { kind, number: _, created, model } = heading;
        let id = heading.id();
        let object = match kind {
            Kind::Chat => "chat.completion.chunk",
            Kind::Completion => "text_completion",
        };
        let model = model.name;
        let head = format!(
            r#"data: {{"id":"{id}","object":"{object}","created":{created},"model":"{model}","choices":["#
        );
        Self { kind, head, running }
    }

    /// Says who speaks, before the first word; completions have no such thing.
    pub(crate) fn prelude(&self, choice: usize) -> Option<String> {
        let delta = r#""delta":{"role":"assistant","content":""}"#;
        (self.kind == Kind::Chat).then(|| self.event(choice, delta, "null", 0))
    }

    /// The word at a place of a choice. NB: words need no escapes.
    pub(crate) fn word(&self, choice: usize, shape: Shape, place: usize, word: &str) -> String {
        let is_thought = place < shape.thoughts;
        let space = if place == 0 || place == shape.thoughts { "" } else { " " };
        let content = match self.kind {
            Kind::Chat if is_thought => {
                format!(r#""delta":{{"reasoning_content":"{space}{word}"}}"#)
            }
            Kind::Chat => format!(r#""delta":{{"content":"{space}{word}"}}"#),
            Kind::Completion => format!(r#""text":"{space}{word}""#),
        };
        self.event(choice, &content, "null", place + 1)
    }

    pub(crate) fn finish(&self, choice: usize, shape: Shape) -> String {
        let content = match self.kind {
            Kind::Chat => r#""delta":{}"#,
            Kind::Completion => r#""text":"""#,
        };
        let reason = match shape.finish {
            Finish::Stop => r#""stop""#,
            Finish::Length => r#""length""#,
        };
        self.event(choice, content, reason, shape.words)
    }

    /// For those who ask for it: no choices, but what it took.
    pub(crate) fn usage(&self, usage: Usage, metrics: Option<Value>) -> String {
        let (head, usage) = (&self.head, usage.json());
        let metrics = metrics.map(|metrics| format!(",\"metrics\":{metrics}")).unwrap_or_default();
        format!("{head}],\"usage\":{usage}{metrics}}}\n\n")
    }

    pub(crate) fn error(error: &Error) -> String {
        format!("data: {}\n\n", error.json())
    }

    fn event(&self, choice: usize, content: &str, finish: &str, words: usize) -> String {
        let Self { kind: _, head, running } = self;
        let mut event = String::with_capacity(head.len() + content.len() + 160);
        // A String takes all.
        let _ = write!(
            event,
            r#"{head}{{"index":{choice},{content},"logprobs":null,"finish_reason":{finish}}}]"#
        );
        if let Some(prompt) = running {
            let total = prompt + words;
            let _ = write!(
                event,
                r#","usage":{{"prompt_tokens":{prompt},"total_tokens":{total},"completion_tokens":{words}}}"#
            );
        }
        event.push_str("}\n\n");
        event
    }
}

// === impl Finish ===

impl Finish {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
        }
    }
}

// === impl Text ===

impl Text {
    pub(crate) fn push(&mut self, shape: Shape, place: usize, word: &str) {
        let text = if place < shape.thoughts { &mut self.thoughts } else { &mut self.words };
        text.push_str(if text.is_empty() { "" } else { " " });
        text.push_str(word);
    }
}

// === impl Usage ===

impl Usage {
    fn json(self) -> Value {
        let Self { prompt, cached, completion, reasoning } = self;
        json!({
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
            "prompt_tokens_details": { "cached_tokens": cached },
            "completion_tokens_details": { "reasoning_tokens": reasoning },
        })
    }
}

/// An answer that is not streamed.
pub(crate) fn whole(
    heading: Heading,
    choices: &[(Text, Shape)],
    usage: Usage,
    metrics: Option<Value>,
) -> String {
    let Heading { kind, number: _, created, model } = heading;
    let choice = |(index, (text, shape)): (usize, &(Text, Shape))| {
        let reason = shape.finish.as_str();
        let Text { thoughts, words: text } = text;
        let thoughts = Some(thoughts).filter(|thoughts| !thoughts.is_empty());
        match kind {
            Kind::Chat => json!({
                "index": index,
                "message": {
                    "role": "assistant",
                    "content": text,
                    "reasoning_content": thoughts,
                    "refusal": null,
                },
                "logprobs": null,
                "finish_reason": reason,
            }),
            Kind::Completion => json!({
                "index": index, "text": text, "logprobs": null, "finish_reason": reason,
            }),
        }
    };
    let object = match kind {
        Kind::Chat => "chat.completion",
        Kind::Completion => "text_completion",
    };
    json!({
        "id": heading.id(),
        "object": object,
        "created": created,
        "model": model.name,
        "choices": choices.iter().enumerate().map(choice).collect::<Vec<_>>(),
        "usage": usage.json(),
        "metrics": metrics,
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::openai::MODELS;

    fn chunks(kind: Kind, running: Option<usize>) -> Chunks {
        Chunks::new(Heading { kind, number: 7, created: 1, model: MODELS[0] }, running)
    }

    fn parse(event: &str) -> Value {
        let data = event.strip_prefix("data: ").and_then(|rest| rest.strip_suffix("\n\n"));
        serde_json::from_str(data.unwrap()).unwrap()
    }

    #[test]
    fn every_event_is_json_as_clients_expect_it() {
        let chat = chunks(Kind::Chat, None);
        let shape = Shape { words: 3, thoughts: 1, finish: Finish::Length };
        let word = parse(&chat.word(1, shape, 2, "river"));
        let choice = json!([{"index": 1, "delta": {"content": " river"}, "logprobs": null,
            "finish_reason": null}]);
        assert_eq!(
            word,
            json!({"id": "chatcmpl-7", "object": "chat.completion.chunk", "created": 1,
                "model": "demo-40b", "choices": choice})
        );
        let thought = parse(&chat.word(0, shape, 0, "hm"));
        assert_eq!(thought["choices"][0]["delta"], json!({"reasoning_content": "hm"}));
        let first = parse(&chat.word(0, shape, 1, "the"));
        assert_eq!(first["choices"][0]["delta"], json!({"content": "the"}));
        let prelude = parse(&chat.prelude(0).unwrap());
        assert_eq!(prelude["choices"][0]["delta"], json!({"role": "assistant", "content": ""}));
        assert_eq!(parse(&chat.finish(0, shape))["choices"][0]["finish_reason"], "length");
        let usage = Usage { prompt: 5, cached: 2, completion: 3, reasoning: 1 };
        assert!(parse(&chat.usage(usage, None)).get("metrics").is_none());
        let usage = parse(&chat.usage(usage, Some(json!({"queue_time_ms": 0.5}))));
        assert_eq!(usage["metrics"]["queue_time_ms"], 0.5);
        assert_eq!((&usage["choices"], &usage["usage"]["total_tokens"]), (&json!([]), &json!(8)));
        assert_eq!(usage["usage"]["prompt_tokens_details"]["cached_tokens"], 2);

        let completion = chunks(Kind::Completion, None);
        let shape = Shape { words: 3, thoughts: 0, finish: Finish::Stop };
        let word = parse(&completion.word(0, shape, 0, "river"));
        assert_eq!((&word["choices"][0]["text"], &word["id"]), (&json!("river"), &json!("cmpl-7")));
        assert!(word.get("usage").is_none() && completion.prelude(0).is_none());
        assert_eq!(parse(&completion.finish(0, shape))["choices"][0]["text"], "");
        let error = parse(&Chunks::error(&Error::fault("no luck")));
        assert_eq!(error["error"]["type"], "server_error");
    }

    #[test]
    fn a_running_usage_is_that_of_a_choice() {
        let (chat, shape) =
            (chunks(Kind::Chat, Some(5)), Shape { words: 3, thoughts: 0, finish: Finish::Stop });
        let told = |event: &str| parse(event)["usage"]["completion_tokens"].clone();
        let words = [0, 1].map(|choice| told(&chat.word(choice, shape, 1, "sea")));
        assert_eq!(words, [2, 2]);
        assert_eq!(
            (told(&chat.prelude(0).unwrap()), told(&chat.finish(0, shape))),
            (0.into(), 3.into())
        );
        let event = parse(&chat.word(0, shape, 0, "sea"));
        assert_eq!(
            (&event["usage"]["prompt_tokens"], &event["usage"]["total_tokens"]),
            (&json!(5), &json!(6))
        );
    }
}
