//! What a client asks for.

use axum::http::StatusCode;
use serde_json::{Map, Value};

use super::{CONTEXT, Error, Kind, MODELS, MOST_CHOICES, Model};
use crate::demo::engine::{Token, hash, tokens};

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Request {
    pub(crate) kind: Kind,
    pub(crate) model: Model,
    pub(crate) prompt: Vec<Token>,
    pub(crate) max_tokens: Option<usize>,
    /// How many answers.
    pub(crate) n: usize,
    pub(crate) stream: bool,
    pub(crate) include_usage: bool,
    /// Usage so far in every event; only together with the final one.
    pub(crate) running_usage: bool,
    pub(crate) seed: u64,
    /// How much of a chat's answer it thinks first, in quarters.
    pub(crate) effort: usize,
}

/// Words for it, each a quarter more.
const EFFORTS: [&str; 4] = ["none", "low", "medium", "high"];

// === impl Request ===

impl Request {
    pub(crate) fn read(kind: Kind, body: &[u8]) -> Result<Self, Error> {
        let fields: Value = serde_json::from_slice(body)
            .map_err(|error| Error::invalid(None, format!("the body is no JSON: {error}")))?;
        let Value::Object(fields) = fields else {
            return Err(Error::invalid(None, "the body is no JSON object".to_owned()));
        };
        let fields = Fields(&fields);
        let model = model(fields)?;
        let prompt = match kind {
            Kind::Chat => chat(fields)?,
            Kind::Completion => completion(fields)?,
        };
        let most = CONTEXT * 1024; // What is too long for the context has an error of its own.
        let max_tokens = match fields.number("max_completion_tokens", 1, most)? {
            Some(newer) => Some(newer),
            None => fields.number("max_tokens", 1, most)?,
        };
        let options = match fields.get("stream_options") {
            None => None,
            Some(Value::Object(options)) => Some(Fields(options)),
            Some(other) => return Err(Error::field("stream_options", other, "an object")),
        };
        let option = |key| options.map_or(Ok(false), |options| options.flag(key));
        let include_usage = option("include_usage")?;
        Ok(Self {
            kind,
            model,
            prompt,
            max_tokens,
            n: fields.number("n", 1, MOST_CHOICES)?.unwrap_or(1),
            stream: fields.flag("stream")?,
            include_usage,
            running_usage: include_usage && option("continuous_usage_stats")?,
            seed: fields.get("seed").map_or(0, |seed| hash(seed.to_string())),
            effort: effort(fields)?,
        })
    }

    /// How many tokens each answer may have.
    pub(crate) fn room(&self) -> Result<usize, Error> {
        let prompt = self.prompt.len();
        let asked = self.max_tokens.unwrap_or(1);
        if prompt + asked <= CONTEXT {
            return Ok(self.max_tokens.unwrap_or(CONTEXT - prompt));
        }
        let param = if self.kind == Kind::Chat { "messages" } else { "prompt" };
        let message = format!(
            "the prompt has {prompt} tokens and the answer may have {asked}; allowed are \
             {CONTEXT} together"
        );
        Err(Error { code: Some("context_length_exceeded"), ..Error::invalid(param, message) })
    }
}

fn model(fields: Fields<'_>) -> Result<Model, Error> {
    let names = MODELS.map(|model| model.name).join(", ");
    let name = match fields.get("model") {
        None => return Ok(MODELS[0]),
        Some(Value::String(name)) => name,
        Some(other) => return Err(Error::field("model", other, &names)),
    };
    MODELS.into_iter().find(|model| model.name == name).ok_or_else(|| Error {
        status: StatusCode::NOT_FOUND,
        code: Some("model_not_found"),
        ..Error::field("model", &name.as_str().into(), &names)
    })
}

fn effort(fields: Fields<'_>) -> Result<usize, Error> {
    let Some(asked) = fields.get("reasoning_effort") else { return Ok(0) };
    let effort = EFFORTS.iter().position(|effort| asked == effort);
    effort.ok_or_else(|| Error::field("reasoning_effort", asked, &EFFORTS.join(", ")))
}

/// The words of all messages; the role of each is a token too.
fn chat(fields: Fields<'_>) -> Result<Vec<Token>, Error> {
    let allowed = "a list of messages, at least one";
    let messages = fields.required("messages", allowed)?;
    let Some(messages) = messages.as_array().filter(|messages| !messages.is_empty()) else {
        return Err(Error::field("messages", messages, allowed));
    };
    let mut prompt = Vec::new();
    for message in messages {
        let Some(role) = message.get("role").and_then(Value::as_str) else {
            return Err(Error::field("messages", message, "an object with a role"));
        };
        prompt.push(hash(("role", role)));
        match message.get("content") {
            Some(Value::String(text)) => prompt.extend(tokens(text)),
            Some(Value::Array(parts)) => {
                for part in parts {
                    let Some(text) = part.get("text").and_then(Value::as_str) else {
                        return Err(Error::field("messages", part, "a part with a text"));
                    };
                    prompt.extend(tokens(text));
                }
            }
            // Said by tool calls alone.
            None | Some(Value::Null) => {}
            Some(other) => {
                return Err(Error::field("messages", other, "a text or a list of parts"));
            }
        }
    }
    if prompt.len() == messages.len() {
        return Err(Error::invalid("messages", "messages are empty; allowed is a text".to_owned()));
    }
    Ok(prompt)
}

fn completion(fields: Fields<'_>) -> Result<Vec<Token>, Error> {
    let allowed = "a text that is not empty, or a list with one";
    let prompt = fields.required("prompt", allowed)?;
    let text = match prompt {
        Value::String(text) => Some(text),
        Value::Array(list) => match &list[..] {
            [Value::String(text)] => Some(text),
            _ => None,
        },
        _ => None,
    };
    let prompt_tokens: Vec<Token> =
        text.map_or("", String::as_str).split_whitespace().map(hash).collect();
    if prompt_tokens.is_empty() {
        return Err(Error::field("prompt", prompt, allowed));
    }
    Ok(prompt_tokens)
}

/// The fields of an object; `null` is as good as absent.
#[derive(Clone, Copy)]
struct Fields<'a>(&'a Map<String, Value>);

// === impl Fields ===

impl<'a> Fields<'a> {
    fn get(self, key: &str) -> Option<&'a Value> {
        self.0.get(key).filter(|value| !value.is_null())
    }

    fn required(self, key: &'static str, allowed: &str) -> Result<&'a Value, Error> {
        let missing = || Error::invalid(key, format!("{key} is missing; allowed is {allowed}"));
        self.get(key).ok_or_else(missing)
    }

    fn flag(self, key: &'static str) -> Result<bool, Error> {
        match self.get(key) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(other) => Err(Error::field(key, other, "true or false")),
        }
    }

    fn number(self, key: &'static str, least: usize, most: usize) -> Result<Option<usize>, Error> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let number = value.as_u64().and_then(|number| usize::try_from(number).ok());
        match number.filter(|number| (least..=most).contains(number)) {
            Some(number) => Ok(Some(number)),
            None => {
                Err(Error::field(key, value, &format!("a whole number from {least} to {most}")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(kind: Kind, body: Value) -> Result<Request, Error> {
        Request::read(kind, body.to_string().as_bytes())
    }

    #[test]
    fn a_word_is_a_token_and_so_is_a_role() {
        let parts = json!([{"type": "text", "text": "three  small\nwords"}]);
        let messages = json!([
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": parts},
        ]);
        let body = json!({"messages": messages, "n": 2, "max_tokens": 9, "max_completion_tokens": 7,
            "stream": true, "stream_options": {"include_usage": true}, "model": "demo-40b-sql"});
        let request = read(Kind::Chat, body).unwrap();
        assert_eq!((request.prompt.len(), request.n, request.room()), (7, 2, Ok(7)));
        assert!(request.stream && request.include_usage && !request.running_usage);
        for (options, running) in [
            (json!({"include_usage": true, "continuous_usage_stats": true}), true),
            (json!({"continuous_usage_stats": true}), false),
        ] {
            let body = json!({"prompt": "a", "stream": true, "stream_options": options});
            assert_eq!(read(Kind::Completion, body).unwrap().running_usage, running);
        }
        assert_eq!(request.model.adapter, Some("demo-40b-sql"));

        let request = read(Kind::Completion, json!({"prompt": ["one two"], "n": null})).unwrap();
        assert_eq!((request.prompt.len(), request.n, request.room()), (2, 1, Ok(CONTEXT - 2)));
        assert_eq!(request.model.name, "demo-40b");
    }

    #[test]
    fn wrong_requests_say_what_is_allowed() {
        let user = |content: Value| json!([{"role": "user", "content": content}]);
        for (kind, body, says) in [
            (Kind::Chat, json!([]), "no JSON object"),
            (Kind::Chat, json!({}), "messages is missing; allowed is a list"),
            (Kind::Chat, json!({"messages": []}), "messages is []; allowed is a list"),
            (Kind::Chat, json!({"messages": [{"content": "x"}]}), "with a role"),
            (Kind::Chat, json!({"messages": user(json!(" "))}), "messages are empty"),
            (Kind::Chat, json!({"messages": user(json!(3))}), "is 3; allowed is a text"),
            (Kind::Chat, json!({"messages": user(json!([{"type": "image"}]))}), "with a text"),
            (Kind::Completion, json!({"prompt": ""}), "prompt is \"\"; allowed is a text"),
            (Kind::Completion, json!({"prompt": ["a", "b"]}), "a list with one"),
            (Kind::Completion, json!({"prompt": "a", "n": 0}), "n is 0; allowed is a whole number"),
            (Kind::Completion, json!({"prompt": "a", "max_tokens": -1}), "max_tokens is -1"),
            (Kind::Completion, json!({"prompt": "a", "max_tokens": "9"}), "max_tokens is \"9\""),
            (Kind::Completion, json!({"prompt": "a", "stream": "yes"}), "true or false"),
            (Kind::Completion, json!({"prompt": "a", "reasoning_effort": "all"}), "none, low,"),
            (Kind::Completion, json!({"prompt": "a", "stream_options": 1}), "an object"),
            (Kind::Completion, json!({"prompt": "a", "model": 4}), "demo-40b, demo-40b-sql"),
        ] {
            let error = read(kind, body).unwrap_err();
            assert!(error.message.contains(says), "{says:?}: {error:?}");
            assert_eq!(error.status, StatusCode::BAD_REQUEST);
        }
        let error = Request::read(Kind::Chat, b"{").unwrap_err();
        assert!(error.message.contains("no JSON: EOF"), "{error:?}");
        let error = read(Kind::Completion, json!({"prompt": "a", "model": "gpt"})).unwrap_err();
        assert_eq!((error.status.as_u16(), error.code), (404, Some("model_not_found")));
        assert!(error.message.starts_with("model is \"gpt\"; allowed is demo-40b,"), "{error:?}");
    }

    #[test]
    fn what_does_not_fit_the_context_has_a_code_of_its_own() {
        for (words, max_tokens) in
            [(CONTEXT, Value::Null), (10, json!(CONTEXT)), (1, json!(1e5 as u32))]
        {
            let body = json!({"prompt": "a ".repeat(words), "max_tokens": max_tokens});
            let error = read(Kind::Completion, body).unwrap().room().unwrap_err();
            assert_eq!((error.status.as_u16(), error.code), (400, Some("context_length_exceeded")));
        }
    }
}
