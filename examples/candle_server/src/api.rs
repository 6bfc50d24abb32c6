//! The routes of OpenAI's API.

use std::sync::mpsc::Sender;

use axum::{
    Json, Router,
    body::Bytes,
    extract::{State, rejection::BytesRejection},
    http::{StatusCode, Uri},
    response::Response,
    routing::{get, post},
};
use infermeter::RequestMeter;
use serde_json::{Value, json};
use tokio::sync::mpsc::unbounded_channel;

use crate::{
    MODEL,
    answer::{Answer, stopped},
    ask::{Ask, Kind, Refusal},
    sampling::Sampler,
    scheduler::Job,
};

type Body = Result<Bytes, BytesRejection>;

pub(crate) fn router(jobs: Sender<Job>) -> Router {
    let chat = async |State(jobs): State<Sender<Job>>, meter: RequestMeter, body: Body| {
        answer(Kind::Chat, &jobs, meter, body).await
    };
    let text = async |State(jobs): State<Sender<Job>>, meter: RequestMeter, body: Body| {
        answer(Kind::Text, &jobs, meter, body).await
    };
    Router::new()
        .route("/v1/chat/completions", post(chat))
        .route("/v1/completions", post(text))
        .route("/v1/models", get(models))
        .fallback(async |uri: Uri| {
            let allowed = "/v1/chat/completions, /v1/completions and /v1/models";
            let message = format!("there is no {}; allowed are {allowed}", uri.path());
            Refusal::other(StatusCode::NOT_FOUND, message)
        })
        .method_not_allowed_fallback(async || {
            let message = "allowed are POST for completions and GET for models";
            Refusal::other(StatusCode::METHOD_NOT_ALLOWED, message)
        })
        .with_state(jobs)
}

async fn models() -> Json<Value> {
    let model = json!({"id": MODEL, "object": "model", "created": 0, "owned_by": "nobody"});
    Json(json!({"object": "list", "data": [model]}))
}

async fn answer(
    kind: Kind,
    jobs: &Sender<Job>,
    meter: RequestMeter,
    body: Body,
) -> Result<Response, Refusal> {
    let body = body.map_err(|error| Refusal::other(error.status(), error.body_text()))?;
    let Ask { prompt, max_tokens, temperature, seed, stream, include_usage } =
        Ask::read(kind, &body)?;
    // The layer reads the tokens from the answer, but a stream has none without `include_usage`.
    meter.prompt_tokens(prompt.len() as u64);
    meter.max_tokens(max_tokens as u64);

    let answer = Answer::new(kind, prompt.len(), include_usage);
    let (sender, tokens) = unbounded_channel();
    let sampler = Sampler::new(temperature, seed);
    let job = Job { prompt, max_tokens, sampler, meter, answer: sender };
    jobs.send(job).map_err(|_| stopped())?;
    if stream { Ok(answer.stream(tokens)) } else { answer.whole(tokens).await }
}
