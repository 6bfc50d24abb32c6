//! The bytes of answers, as vLLM writes them.

use infermeter_proxy_bench::{
    mark::{BLANK, Template},
    model,
};
use serde_json::json;

/// Tokens of every prompt.
const PROMPT_TOKENS: u32 = 12;
const CREATED: u64 = 1_764_000_000;

pub(crate) const VERSION: &str = r#"{"version":"0.11.0"}"#;

pub(crate) const STREAM_HEAD: &[u8] = b"HTTP/1.1 200 OK\r\n\
    date: Mon, 24 Nov 2025 16:00:00 GMT\r\n\
    server: uvicorn\r\n\
    content-type: text/event-stream; charset=utf-8\r\n\
    transfer-encoding: chunked\r\n\r\n";

/// One of the two endpoints, and who asks.
#[derive(Clone, Copy)]
pub(crate) struct Shape<'a> {
    pub(crate) is_chat: bool,
    pub(crate) model: &'a str,
    /// Of the request; no two have the same.
    pub(crate) number: u64,
}

// === impl Shape ===

impl Shape<'_> {
    /// What comes before all content: only chats have it.
    pub(crate) fn role(&self) -> Option<String> {
        let choice = r#"{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}"#;
        self.is_chat.then(|| self.event(choice, ""))
    }

    /// Every content event but the last.
    pub(crate) fn chunk(&self) -> Option<Template> {
        Template::new(&self.content("null"))
    }

    /// The last content event.
    pub(crate) fn last_chunk(&self) -> Option<Template> {
        Template::new(&self.content(r#""length""#))
    }

    /// What follows the content.
    pub(crate) fn end(&self, tokens: u32, has_usage: bool) -> String {
        let usage = if has_usage { self.event("", &usage(tokens)) } else { String::new() };
        format!("{usage}{}0\r\n\r\n", framed("data: [DONE]\n\n"))
    }

    /// An answer that is no stream.
    pub(crate) fn whole(&self, tokens: u32) -> Option<Template> {
        let Self { is_chat, model, number } = self;
        let (prefix, object, text) = if *is_chat {
            let message = format!(
                r#""message":{{"role":"assistant","content":"{BLANK}","refusal":null,"tool_calls":[],"reasoning_content":null}}"#
            );
            ("chatcmpl", "chat.completion", message)
        } else {
            ("cmpl", "text_completion", format!(r#""text":"{BLANK}""#))
        };
        let body = format!(
            r#"{{"id":"{prefix}-{number:032x}","object":"{object}","created":{CREATED},"model":"{model}","choices":[{{"index":0,{text},"logprobs":null,"finish_reason":"length","stop_reason":null}}]{},"prompt_logprobs":null}}"#,
            usage(tokens)
        );
        Template::new(&whole("200 OK", &body))
    }

    fn content(&self, reason: &str) -> String {
        let choice = if self.is_chat {
            format!(
                r#"{{"index":0,"delta":{{"content":"{BLANK}"}},"logprobs":null,"finish_reason":{reason},"token_ids":null}}"#
            )
        } else {
            format!(
                r#"{{"index":0,"text":"{BLANK}","logprobs":null,"finish_reason":{reason},"stop_reason":null}}"#
            )
        };
        self.event(&choice, "")
    }

    fn event(&self, choices: &str, more: &str) -> String {
        let Self { is_chat, model, number } = self;
        let (prefix, object) = match is_chat {
            true => ("chatcmpl", "chat.completion.chunk"),
            false => ("cmpl", "text_completion"),
        };
        framed(&format!(
            "data: {{\"id\":\"{prefix}-{number:032x}\",\"object\":\"{object}\",\"created\":{CREATED},\
             \"model\":\"{model}\",\"choices\":[{choices}]{more}}}\n\n"
        ))
    }
}

/// The list of so many.
pub(crate) fn models(count: u64) -> String {
    let model = |number| {
        let name = model::name(number);
        json!({
            "id": name, "object": "model", "created": CREATED, "owned_by": "vllm", "root": name, "parent": null,
            "max_model_len": 32_768,
        })
    };
    json!({ "object": "list", "data": (0..count).map(model).collect::<Vec<_>>() }).to_string()
}

/// An answer that is all there at once.
pub(crate) fn whole(status: &str, json: &str) -> String {
    let length = json.len();
    format!(
        "HTTP/1.1 {status}\r\n\
         date: Mon, 24 Nov 2025 16:00:00 GMT\r\n\
         server: uvicorn\r\n\
         content-type: application/json\r\n\
         content-length: {length}\r\n\r\n{json}"
    )
}

pub(crate) fn error(status: &str, message: &str) -> String {
    let error = json!({
        "error": { "message": message, "type": "BadRequestError", "param": null, "code": 400 }
    });
    whole(status, &error.to_string())
}

fn usage(tokens: u32) -> String {
    format!(
        r#","usage":{{"prompt_tokens":{PROMPT_TOKENS},"total_tokens":{},"completion_tokens":{tokens},"prompt_tokens_details":null}}"#,
        PROMPT_TOKENS + tokens
    )
}

/// A chunk of HTTP.
fn framed(event: &str) -> String {
    format!("{:x}\r\n{event}\r\n", event.len())
}
