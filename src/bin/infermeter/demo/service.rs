//! The simulated service: an OpenAI-compatible API of the engine. It knows nothing of who measures it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{State, rejection::BytesRejection},
    http::{HeaderMap, StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::json;
use tokio::{
    sync::mpsc::{self, unbounded_channel},
    time::sleep,
};

use super::{
    answer::{Answer, Plan},
    engine::{Ask, Event, Job, Lengths, hash},
    fault::{Broken, Fault},
    openai::{Chunks, Error, Finish, Heading, Kind, MODELS, Model, Request, Shape, Text, whole},
    timing::Timing,
};

#[derive(Clone, Debug)]
pub(crate) struct Service {
    jobs: mpsc::Sender<Job>,
    number: Arc<AtomicU64>,
}

/// How long the answers are, where nothing cuts them.
const ANSWERS: Lengths = Lengths { median: 50.0, spread: 0.7, least: 4, most: 400 };

const STOPPED: &str = "the engine has stopped";

/// A whole answer that is to be slow takes so much longer.
const SLOW: Duration = Duration::from_secs(1);

// === impl Service ===

impl Service {
    pub(crate) fn new(jobs: mpsc::Sender<Job>) -> Self {
        Self { jobs, number: Arc::default() }
    }

    pub(crate) fn router(self) -> Router {
        Router::new()
            .route("/v1/chat/completions", post(chat))
            .route("/v1/completions", post(completion))
            .route("/v1/models", get(models))
            .route("/health", get(health))
            .fallback(not_found)
            .method_not_allowed_fallback(not_allowed)
            .with_state(self)
    }

    async fn answer(&self, request: Request, fault: Option<Fault>) -> Result<Response, Error> {
        let mut plan = self.ask(&request).await?;
        // In the queue until the first choice is worked on.
        let Some((_, Event::Started { cached })) = plan.events.recv().await else {
            return Err(Error::fault(STOPPED));
        };
        plan.cached = cached;
        plan.timing.started();
        if fault == Some(Fault::Error) {
            return Err(Error::fault("a fault was asked for"));
        }

        let heading = Heading {
            kind: request.kind,
            number: self.number.fetch_add(1, Relaxed),
            created: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_secs()),
            model: request.model,
        };
        if !request.stream {
            return at_once(plan, heading, fault).await;
        }
        let chunks = Chunks::new(heading, request.running_usage.then_some(plan.prompt));
        let answer = Answer::new(plan, chunks, request.include_usage, fault);
        let headers =
            [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-cache")];
        Ok((headers, Body::new(answer)).into_response())
    }

    /// Puts a sequence for each choice into the engine's queue. The same request always gets the
    /// same answer.
    async fn ask(&self, request: &Request) -> Result<Plan, Error> {
        let room = request.room()?;
        let (timing, (sender, events)) = (Timing::new(), unbounded_channel());
        let mut choices = Vec::with_capacity(request.n);
        for choice in 0..request.n {
            let seed = hash((&request.prompt, request.seed, choice));
            let wanted = ANSWERS.draw(&mut fastrand::Rng::with_seed(seed));
            let finish = if wanted > room { Finish::Length } else { Finish::Stop };
            let length = wanted.min(room);
            let thoughts = if request.kind == Kind::Chat { length * request.effort / 4 } else { 0 };
            choices.push(Shape { words: length, thoughts, finish });
            let adapter = request.model.adapter;
            let ask = Ask { prompt: request.prompt.clone(), adapter, seed, length };
            let job = Job { ask, choice, events: sender.clone() };
            let stopped = |_| Error::fault(STOPPED);
            self.jobs.send(job).await.map_err(stopped)?;
        }
        Ok(Plan { events, choices, prompt: request.prompt.len(), cached: 0, timing })
    }
}

async fn chat(
    State(service): State<Service>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Error> {
    let fault = Fault::of(&headers)?;
    service.answer(Request::read(Kind::Chat, &read(body)?)?, fault).await
}

async fn completion(
    State(service): State<Service>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Error> {
    let fault = Fault::of(&headers)?;
    service.answer(Request::read(Kind::Completion, &read(body)?)?, fault).await
}

fn read(body: Result<Bytes, BytesRejection>) -> Result<Bytes, Error> {
    body.map_err(|rejection| Error {
        status: rejection.status(),
        ..Error::invalid(None, rejection.body_text())
    })
}

/// An answer that is not streamed.
async fn at_once(
    mut plan: Plan,
    heading: Heading,
    fault: Option<Fault>,
) -> Result<Response, Error> {
    let mut choices: Vec<(Text, Shape)> =
        plan.choices.iter().map(|shape| (Text::default(), *shape)).collect();
    let mut words = vec![0; choices.len()];
    let mut open = choices.len();
    while open > 0 {
        match plan.events.recv().await {
            Some((_, Event::Started { .. })) => {}
            Some((choice, Event::Word(word))) => {
                plan.timing.word();
                let (text, shape) = &mut choices[choice];
                text.push(*shape, words[choice], word);
                words[choice] += 1;
            }
            Some((_, Event::Over)) => open -= 1,
            None => return Err(Error::fault(STOPPED)),
        }
    }
    let answer = whole(heading, &choices, plan.usage(), plan.metrics());
    let json = [(header::CONTENT_TYPE, "application/json")];
    match fault {
        Some(Fault::StreamError) => return Err(Error::fault("a fault was asked for")),
        Some(Fault::Cut) => {
            let half = Bytes::copy_from_slice(&answer.as_bytes()[..answer.len() / 2]);
            return Ok((json, Body::new(Broken::after(half))).into_response());
        }
        Some(Fault::Slow) => sleep(SLOW).await,
        Some(Fault::Error) | None => {}
    }
    Ok((json, answer).into_response())
}

async fn models() -> impl IntoResponse {
    let model = |model: Model| json!({ "id": model.name, "object": "model", "created": 0, "owned_by": "infermeter" });
    let list = json!({ "object": "list", "data": MODELS.map(model) });
    ([(header::CONTENT_TYPE, "application/json")], list.to_string())
}

async fn health() -> impl IntoResponse {
    let health = json!({ "status": "ok", "model_name": MODELS[0].name });
    ([(header::CONTENT_TYPE, "application/json")], health.to_string())
}

async fn not_found(uri: Uri) -> Error {
    let message = format!(
        "nothing is at {:?}; allowed is POST /v1/chat/completions, POST /v1/completions, \
         GET /v1/models, GET /health",
        uri.path()
    );
    Error { status: StatusCode::NOT_FOUND, ..Error::invalid(None, message) }
}

async fn not_allowed() -> Error {
    let message = "another method is needed; allowed is POST for completions, GET for all else";
    Error { status: StatusCode::METHOD_NOT_ALLOWED, ..Error::invalid(None, message.to_owned()) }
}
