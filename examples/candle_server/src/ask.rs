//! What a client asks for, and what it is told where that cannot be.

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use crate::{
    MODEL,
    model::{CONTEXT, END},
};

/// How many tokens are generated where the client does not say.
const DEFAULT_TOKENS: usize = 64;

/// The two ways of asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Chat,
    Text,
}

/// A request that can be answered.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) prompt: Vec<u32>,
    pub(crate) max_tokens: usize,
    pub(crate) temperature: f32,
    pub(crate) seed: Option<u64>,
    pub(crate) stream: bool,
    pub(crate) include_usage: bool,
}

/// An error as OpenAI's clients expect it.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    message: String,
    param: Option<&'static str>,
    code: Option<&'static str>,
}

// === impl Ask ===

impl Ask {
    /// Fields that are not known here are passed over.
    pub(crate) fn read(kind: Kind, body: &[u8]) -> Result<Self, Refusal> {
        let body: Value = serde_json::from_slice(body)
            .map_err(|error| Refusal::bad(None, format!("the body is no JSON: {error}")))?;
        let model = field(&body, "model", "a text", Value::as_str)?;
        if let Some(model) = model.filter(|model| *model != MODEL) {
            let message = format!("model: there is no {model:?}; allowed is {MODEL:?}");
            let (status, code) = (StatusCode::NOT_FOUND, Some("model_not_found"));
            return Err(Refusal { status, message, param: Some("model"), code });
        }
        field(&body, "n", "1", |n| (n.as_u64()? == 1).then_some(()))?;
        let text = match kind {
            Kind::Chat => field(&body, "messages", "a list of {role, content}, texts", messages)?
                .ok_or_else(|| missing("messages"))?,
            Kind::Text => field(&body, "prompt", "one text", Value::as_str)?
                .ok_or_else(|| missing("prompt"))?
                .to_owned(),
        };
        let prompt: Vec<u32> = [END].into_iter().chain(text.bytes().map(u32::from)).collect();

        let allowed = format!("a whole number from 1 to {}", CONTEXT - 1);
        let tokens = |value: &Value| value.as_u64().filter(|n| *n > 0)?.try_into().ok();
        let max_tokens: Option<usize> = match field(&body, "max_tokens", &allowed, tokens)? {
            None => field(&body, "max_completion_tokens", &allowed, tokens)?,
            tokens => tokens,
        };
        let room = CONTEXT.saturating_sub(prompt.len());
        let max_tokens = max_tokens.unwrap_or_else(|| DEFAULT_TOKENS.min(room.max(1)));
        if max_tokens > room {
            return Err(Refusal::too_long(prompt.len(), max_tokens));
        }

        let temperature = field(&body, "temperature", "a number from 0 to 2", |value| {
            value.as_f64().filter(|number| (0.0..=2.0).contains(number))
        })?;
        let seed = field(&body, "seed", "a whole number", |value| {
            value.as_u64().or_else(|| value.as_i64().map(i64::cast_unsigned))
        })?;
        let stream = field(&body, "stream", "true or false", Value::as_bool)?.unwrap_or(false);
        let include_usage = field(&body, "stream_options", "{include_usage}", |options| {
            options.as_object()?.get("include_usage").map_or(Some(false), Value::as_bool)
        })?;
        let temperature = temperature.unwrap_or(0.0) as f32;
        let include_usage = include_usage.unwrap_or(false);
        Ok(Self { prompt, max_tokens, temperature, seed, stream, include_usage })
    }
}

// === impl Refusal ===

impl Refusal {
    pub(crate) fn bad(param: Option<&'static str>, message: String) -> Self {
        Self { status: StatusCode::BAD_REQUEST, message, param, code: None }
    }

    pub(crate) fn other(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), param: None, code: None }
    }

    fn too_long(prompt: usize, max_tokens: usize) -> Self {
        let message = format!(
            "the prompt has {prompt} tokens and max_tokens is {max_tokens}; allowed are {CONTEXT} \
             together"
        );
        let code = Some("context_length_exceeded");
        Self { code, ..Self::bad(None, message) }
    }

    pub(crate) fn body(&self) -> Value {
        let Self { status, message, param, code } = self;
        let kind = if status.is_server_error() { "server_error" } else { "invalid_request_error" };
        json!({"error": {"message": message, "type": kind, "param": param, "code": code}})
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, Json(self.body())).into_response()
    }
}

// === Helpers ===

/// A field of the body, which may be absent.
fn field<'a, T>(
    body: &'a Value,
    name: &'static str,
    allowed: &str,
    read: impl FnOnce(&'a Value) -> Option<T>,
) -> Result<Option<T>, Refusal> {
    let value = body.get(name).filter(|value| !value.is_null());
    let wrong = || Refusal::bad(Some(name), format!("{name}: allowed is {allowed}"));
    value.map(|value| read(value).ok_or_else(wrong)).transpose()
}

fn missing(name: &'static str) -> Refusal {
    Refusal::bad(Some(name), format!("{name}: is needed"))
}

/// One line a message, and the start of the answer. Of `content` as a list, the texts.
fn messages(messages: &Value) -> Option<String> {
    let mut prompt = String::new();
    for message in messages.as_array().filter(|all| !all.is_empty())? {
        let content = match &message["content"] {
            Value::String(text) => text.clone(),
            Value::Array(parts) => {
                parts.iter().map(|part| part["text"].as_str()).collect::<Option<String>>()?
            }
            _ => return None,
        };
        prompt.extend([message["role"].as_str()?, ": ", &content, "\n"]);
    }
    prompt.push_str("assistant: ");
    Some(prompt)
}
