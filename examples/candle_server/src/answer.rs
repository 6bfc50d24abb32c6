//! An answer in OpenAI's words, whole or as a stream.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response, Sse, sse::Event},
};
use futures_util::{StreamExt, stream};
use infermeter::outcome::FinishReason;
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::{
    MODEL,
    ask::{Kind, Refusal},
    model::END,
    scheduler::Generated,
};

/// What the engine sends.
type Tokens = UnboundedReceiver<Result<Generated, String>>;

/// What the parts of one answer have in common.
pub(crate) struct Answer {
    kind: Kind,
    id: String,
    created: u64,
    prompt_tokens: usize,
    include_usage: bool,
    /// Those so far, with the one that ends it.
    generated: usize,
}

// === impl Answer ===

impl Answer {
    pub(crate) fn new(kind: Kind, prompt_tokens: usize, include_usage: bool) -> Self {
        let created = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
        let id = format!("{}-{:016x}", kind.id(), fastrand::u64(..));
        Self { kind, id, created, prompt_tokens, include_usage, generated: 0 }
    }

    pub(crate) async fn whole(mut self, mut tokens: Tokens) -> Result<Response, Refusal> {
        let mut text = String::new();
        loop {
            let Generated { token, finish } = tokens
                .recv()
                .await
                .ok_or_else(stopped)?
                .map_err(|why| Refusal::other(StatusCode::INTERNAL_SERVER_ERROR, why))?;
            self.generated += 1;
            text.extend(character(token));
            let Some(reason) = finish else { continue };
            let mut choice = match self.kind {
                Kind::Chat => json!({"message": {"role": "assistant", "content": text}}),
                Kind::Text => json!({"text": text}),
            };
            finish_choice(&mut choice, Some(reason));
            let mut body = self.body(self.kind.whole(), json!([choice]));
            body["usage"] = self.usage();
            return Ok(Json(body).into_response());
        }
    }

    /// Dropped with the connection; the engine then sees that `tokens` are closed.
    pub(crate) fn stream(mut self, mut tokens: Tokens) -> Response {
        let first = match self.kind {
            Kind::Chat => {
                Some(self.chunk(json!({"delta": {"role": "assistant", "content": ""}}), None))
            }
            Kind::Text => None,
        };
        let generated = stream::poll_fn(move |context| tokens.poll_recv(context));
        let chunks = generated.flat_map(move |generated| {
            stream::iter(match generated {
                Ok(generated) => self.chunks(generated),
                Err(why) => {
                    let refusal = Refusal::other(StatusCode::INTERNAL_SERVER_ERROR, why);
                    vec![refusal.body().to_string()]
                }
            })
        });
        let events = stream::iter(first).chain(chunks);
        let events = events.map(|data| Ok::<_, axum::Error>(Event::default().data(data)));
        Sse::new(events).into_response()
    }

    /// What a token becomes: no text is no chunk, and the last one brings the end with it.
    fn chunks(&mut self, Generated { token, finish }: Generated) -> Vec<String> {
        self.generated += 1;
        let choice = |text: String| match self.kind {
            Kind::Chat => json!({"delta": {"content": text}}),
            Kind::Text => json!({"text": text}),
        };
        let text = character(token).map(|text| self.chunk(choice(text.into()), None));
        let mut chunks: Vec<String> = text.into_iter().collect();
        if finish.is_some() {
            let end = match self.kind {
                Kind::Chat => json!({"delta": {}}),
                Kind::Text => json!({"text": ""}),
            };
            chunks.push(self.chunk(end, finish));
            if self.include_usage {
                let mut usage = self.body(self.kind.part(), json!([]));
                usage["usage"] = self.usage();
                chunks.push(usage.to_string());
            }
            chunks.push("[DONE]".to_owned());
        }
        chunks
    }

    fn chunk(&self, mut choice: Value, finish: Option<FinishReason>) -> String {
        finish_choice(&mut choice, finish);
        let mut body = self.body(self.kind.part(), json!([choice]));
        if self.include_usage {
            body["usage"] = Value::Null; // it comes in a chunk of its own
        }
        body.to_string()
    }

    fn body(&self, object: &str, choices: Value) -> Value {
        let Self { id, created, .. } = self;
        json!({"id": id, "object": object, "created": created, "model": MODEL, "choices": choices})
    }

    fn usage(&self) -> Value {
        let (prompt, generated) = (self.prompt_tokens, self.generated);
        json!({
            "prompt_tokens": prompt,
            "completion_tokens": generated,
            "total_tokens": prompt + generated,
        })
    }
}

// === impl Kind ===

impl Kind {
    const fn id(self) -> &'static str {
        match self {
            Self::Chat => "chatcmpl",
            Self::Text => "cmpl",
        }
    }

    const fn whole(self) -> &'static str {
        match self {
            Self::Chat => "chat.completion",
            Self::Text => "text_completion",
        }
    }

    const fn part(self) -> &'static str {
        match self {
            Self::Chat => "chat.completion.chunk",
            Self::Text => "text_completion",
        }
    }
}

// === Helpers ===

fn finish_choice(choice: &mut Value, finish: Option<FinishReason>) {
    choice["index"] = json!(0);
    choice["logprobs"] = Value::Null;
    choice["finish_reason"] = match finish {
        None => Value::Null,
        Some(FinishReason::Stop) => json!("stop"),
        Some(_) => json!("length"),
    };
}

fn character(token: u32) -> Option<char> {
    char::from_u32(token).filter(|_| token != END)
}

pub(crate) fn stopped() -> Refusal {
    Refusal::other(StatusCode::INTERNAL_SERVER_ERROR, "the engine has stopped")
}
