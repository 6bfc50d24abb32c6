//! `/requests`: those that failed, the slowest, the longest; `/failures`: only the first.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{
    Router,
    extract::{Query, State},
    response::Response,
    routing::get,
};
use serde::{Deserialize, Serialize};

use super::{
    json,
    sums::{of_gpu, sum},
};
use crate::{
    exporter::page::Page,
    names::{self, Family, label},
    record::{KeptKind, KeptRequest, Series},
};

/// What is asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    kind: Option<Kind>,
    model: Option<String>,
    /// No more than that of each kind.
    limit: Option<usize>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Failed,
    Slow,
    Long,
}

/// Those of each kind that was asked for.
#[derive(Default, Serialize)]
struct Answer {
    #[serde(skip_serializing_if = "Option::is_none")]
    failed: Option<Vec<Request>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    slow: Option<Vec<Request>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    long: Option<Vec<Request>>,
}

/// A request; what is not known is `null`.
#[derive(Serialize)]
struct Request {
    /// In seconds since 1970.
    ended: f64,
    request_id: Option<Box<str>>,
    traceparent: Option<Box<str>>,
    model: Arc<str>,
    upstream: Option<Arc<str>>,
    endpoint: Arc<str>,
    tenant: Option<Arc<str>>,
    outcome: &'static str,
    reason: &'static str,
    phase: &'static str,
    status: Option<u16>,
    error_type: Option<Box<str>>,
    error_code: Option<Box<str>>,
    error_param: Option<Box<str>>,
    error_message: Option<Box<str>>,
    duration_seconds: f64,
    queue_seconds: Option<f64>,
    prefill_seconds: Option<f64>,
    decode_seconds: Option<f64>,
    time_to_first_token_seconds: Option<f64>,
    prompt_tokens: Option<u64>,
    cached_tokens: Option<u64>,
    generated_tokens: Option<u64>,
    reasoning_tokens: Option<u64>,
    token_source: &'static str,
    engine: Engine,
    gpus: Vec<Gpu>,
}

/// What the engines of its upstream stood at then, all models together.
#[derive(Serialize)]
struct Engine {
    running: Option<f64>,
    waiting: Option<f64>,
    kv_usage: Option<f64>,
}

#[derive(Serialize)]
struct Gpu {
    gpu: Arc<str>,
    utilization: Option<f64>,
    memory_used_bytes: Option<f64>,
    memory_total_bytes: Option<f64>,
}

pub(super) fn router() -> Router<Arc<Page>> {
    Router::new().route("/requests", get(requests)).route("/failures", get(failures))
}

async fn requests(State(page): State<Arc<Page>>, Query(asked): Query<Asked>) -> Response {
    answer(&page, &asked)
}

async fn failures(State(page): State<Arc<Page>>, Query(mut asked): Query<Asked>) -> Response {
    asked.kind = Some(Kind::Failed);
    answer(&page, &asked)
}

fn answer(page: &Page, asked: &Asked) -> Response {
    let most = asked.limit.unwrap_or(KeptKind::MOST);
    let of = |kind| {
        let requests = page.requests(kind, asked.model.as_deref());
        let shown = requests.iter().take(most);
        Some(shown.map(|kept| Request::of(kept, page.has_messages)).collect())
    };
    let answer = match asked.kind {
        Some(Kind::Failed) => Answer { failed: of(KeptKind::Failed), ..Answer::default() },
        Some(Kind::Slow) => Answer { slow: of(KeptKind::Slow), ..Answer::default() },
        Some(Kind::Long) => Answer { long: of(KeptKind::Long), ..Answer::default() },
        None => Answer {
            failed: of(KeptKind::Failed),
            slow: of(KeptKind::Slow),
            long: of(KeptKind::Long),
        },
    };
    json(&answer)
}

// === impl Request ===

impl Request {
    fn of(kept: &KeptRequest, has_messages: bool) -> Self {
        let KeptRequest { ended, at, .. } = kept;
        let error = ended.error.as_deref().cloned().unwrap_or_default();
        let (queue, first) = (ended.queue, ended.time_to_first_token);
        let prefill = first.zip(queue).map(|(first, queue)| first.saturating_sub(queue));
        let decode = first.map(|first| ended.duration.saturating_sub(first));
        let seconds = |time: Option<Duration>| time.map(|time| time.as_secs_f64());
        Self {
            ended: since_1970(*at),
            request_id: ended.request_id.clone(),
            traceparent: ended.traceparent.clone(),
            model: Arc::clone(&ended.model),
            upstream: ended.upstream.clone(),
            endpoint: Arc::clone(&ended.endpoint),
            tenant: ended.tenant.clone(),
            outcome: ended.outcome.label(),
            reason: ended.outcome.reason(),
            phase: ended.phase.label(),
            status: ended.status.map(|status| status.as_u16()),
            error_type: error.r#type,
            error_code: error.code,
            error_param: error.param,
            error_message: error.message.filter(|_| has_messages),
            duration_seconds: ended.duration.as_secs_f64(),
            queue_seconds: seconds(queue),
            prefill_seconds: seconds(prefill),
            decode_seconds: seconds(decode),
            time_to_first_token_seconds: seconds(first),
            prompt_tokens: ended.usage.prompt,
            cached_tokens: ended.usage.cached,
            generated_tokens: ended.usage.completion,
            reasoning_tokens: ended.usage.reasoning,
            token_source: ended.source.label(),
            engine: Engine::of(kept),
            gpus: Gpu::all(kept),
        }
    }
}

fn since_1970(at: SystemTime) -> f64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

// === impl Engine ===

impl Engine {
    fn of(kept: &KeptRequest) -> Self {
        let told = |family: &'static Family| {
            kept.conditions.series(family).iter().filter(move |series| {
                let upstream = series.label(family, label::UPSTREAM);
                kept.ended.upstream.is_none() || kept.ended.upstream.as_ref() == upstream
            })
        };
        let usage = told(&names::GPU_CACHE_USAGE_RATIO).filter_map(Series::gauge);
        Self {
            running: sum(told(&names::NUM_REQUESTS_RUNNING)),
            waiting: sum(told(&names::NUM_REQUESTS_WAITING)),
            kv_usage: usage.reduce(f64::max),
        }
    }
}

// === impl Gpu ===

impl Gpu {
    fn all(kept: &KeptRequest) -> Vec<Self> {
        let total = &names::GPU_MEMORY_TOTAL_BYTES;
        let number = |series: &Series| series.label(total, label::GPU).map(Arc::clone);
        let gpus: BTreeSet<Arc<str>> =
            kept.conditions.series(total).iter().filter_map(number).collect();
        let told = |gpu: Arc<str>| {
            let told = |family| of_gpu(family, kept.conditions.series(family), &gpu);
            Self {
                utilization: told(&names::GPU_UTILIZATION_RATIO),
                memory_used_bytes: told(&names::GPU_MEMORY_USED_BYTES),
                memory_total_bytes: told(total),
                gpu,
            }
        };
        gpus.into_iter().map(told).collect()
    }
}
