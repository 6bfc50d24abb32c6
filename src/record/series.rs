//! The atomics of one model and of one endpoint: resolved once, then plain method calls.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{
            AtomicU64,
            Ordering::{AcqRel, Acquire, Relaxed},
        },
    },
};

use super::{
    histogram::{Histogram, Shape},
    model::ModelId,
    places::Places,
    pulse::Pulse,
    settled::Settled,
    upstream::{MOST_ROWS, Upstream},
};
use crate::{
    names::{self, Buckets, Family, Unit},
    outcome::Outcome,
};

/// What is counted under one model label.
#[derive(Debug)]
pub(super) struct ModelSeries {
    pub(super) label: Arc<str>,
    /// Whose model it is.
    pub(super) upstream: Arc<Upstream>,
    /// Requests that were in flight under this label when they started, and when they came to their
    /// first token.
    pub(super) started: Fact,
    pub(super) first_token: Fact,
    pub(super) prompt: Settled,
    pub(super) cached: Fact,
    pub(super) generation: Settled,
    pub(super) reasoning: Fact,
    pub(super) queue: Histogram,
    pub(super) ttft: Histogram,
    pub(super) itl: Histogram,
    pub(super) tpot: Histogram,
    pub(super) e2e: Histogram,
    /// What `e2e` has as well, where it has other buckets.
    pub(super) success_duration: Option<Histogram>,
    pub(super) failure_duration: Histogram,
    pub(super) aborted_duration: Histogram,
    pub(super) prefill: Histogram,
    pub(super) decode: Histogram,
    pub(super) inference: Histogram,
    pub(super) prompt_size: Histogram,
    pub(super) generation_size: Histogram,
    pub(super) longest_size: Histogram,
    pub(super) max_tokens: Histogram,
    pub(super) choices: Histogram,
    pub(super) admission: Histogram,
    pub(super) iteration: Histogram,
    pub(super) pulse: Pulse,
    /// How many requests admission lets run, and one more; 0 where there is none.
    pub(super) running_limit: AtomicU64,
}

/// What is counted under one endpoint label.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(super) label: Arc<str>,
    /// Place among the meter's endpoints.
    pub(super) id: u16,
    /// Requests received, by the model label they arrived under.
    received: Places<Fact>,
}

/// One fact, counted. Whoever reads a later fact of a request sees its earlier ones too.
#[derive(Debug, Default)]
pub(super) struct Fact(AtomicU64);

/// The buckets of every histogram family.
#[derive(Debug, Default)]
pub(super) struct Shapes(HashMap<&'static str, Arc<Shape>>);

// === impl ModelSeries ===

impl ModelSeries {
    pub(super) fn new(label: &str, upstream: &Arc<Upstream>, shapes: &Shapes) -> Self {
        let histogram = |family| shapes.histogram(family);
        let e2e = histogram(&names::E2E_REQUEST_LATENCY_SECONDS);
        let success_duration = histogram(&names::REQUEST_DURATION_SECONDS);
        Self {
            label: label.into(),
            upstream: Arc::clone(upstream),
            started: Fact::default(),
            first_token: Fact::default(),
            prompt: Settled::default(),
            cached: Fact::default(),
            generation: Settled::default(),
            reasoning: Fact::default(),
            queue: histogram(&names::TIME_IN_QUEUE_SECONDS),
            ttft: histogram(&names::TIME_TO_FIRST_TOKEN_SECONDS),
            itl: histogram(&names::INTER_TOKEN_LATENCY_SECONDS),
            tpot: histogram(&names::TIME_PER_OUTPUT_TOKEN_SECONDS),
            success_duration: Some(success_duration).filter(|own| !own.is_like(&e2e)),
            e2e,
            failure_duration: histogram(&names::REQUEST_DURATION_SECONDS),
            aborted_duration: histogram(&names::REQUEST_DURATION_SECONDS),
            prefill: histogram(&names::REQUEST_PREFILL_TIME_SECONDS),
            decode: histogram(&names::REQUEST_DECODE_TIME_SECONDS),
            inference: histogram(&names::REQUEST_INFERENCE_TIME_SECONDS),
            prompt_size: histogram(&names::REQUEST_PROMPT_TOKENS),
            generation_size: histogram(&names::REQUEST_GENERATION_TOKENS),
            longest_size: histogram(&names::REQUEST_MAX_NUM_GENERATION_TOKENS),
            max_tokens: histogram(&names::REQUEST_PARAMS_MAX_TOKENS),
            choices: histogram(&names::REQUEST_PARAMS_N),
            admission: histogram(&names::ADMISSION_WAIT_SECONDS),
            iteration: histogram(&names::ITERATION_TOKENS_TOTAL),
            pulse: Pulse::new(),
            running_limit: AtomicU64::new(0),
        }
    }

    /// The label values of a series of it: those of the family, and behind them those of its
    /// upstream where upstreams are told apart.
    pub(super) fn labels(
        &self,
        more: impl IntoIterator<Item = Arc<str>>,
        upstreams_are_told: bool,
    ) -> impl Iterator<Item = Arc<str>> {
        let upstream = (upstreams_are_told || self.upstream.is_some()).then_some(&self.upstream);
        let upstream = upstream.into_iter().flat_map(|upstream| upstream.labels.iter().cloned());
        [Arc::clone(&self.label)].into_iter().chain(more).chain(upstream)
    }

    /// Whether something was counted under it, other than requests. Once so, always so.
    pub(super) fn has_any(&self) -> bool {
        let histograms = [&self.queue, &self.ttft, &self.itl, &self.admission, &self.iteration];
        self.prompt.get() > 0
            || self.generation.get() > 0
            || self.running_limit.load(Relaxed) > 0
            || histograms.iter().any(|histogram| histogram.read().count() > 0)
    }

    /// From arrival to end.
    pub(super) fn duration(&self, outcome: Outcome) -> &Histogram {
        match outcome {
            Outcome::Success(_) => self.successes(),
            Outcome::Failure(_) => &self.failure_duration,
            Outcome::Aborted(_) => &self.aborted_duration,
        }
    }

    pub(super) fn successes(&self) -> &Histogram {
        self.success_duration.as_ref().unwrap_or(&self.e2e)
    }
}

// === impl Endpoint ===

impl Endpoint {
    /// `models` is how many places an upstream has.
    pub(super) fn new(label: &str, id: u16, models: usize) -> Self {
        Self { label: label.into(), id, received: Places::new(MOST_ROWS, models) }
    }

    #[cfg(test)]
    pub(crate) fn label(&self) -> &str {
        &self.label
    }

    pub(super) fn received(&self, model: ModelId) {
        if let Some(fact) = self.received.make(model) {
            fact.happened();
        }
    }

    /// Requests received, by model place.
    pub(super) fn read(&self) -> HashMap<ModelId, u64> {
        let received = self.received.iter().map(|(model, fact)| (model, fact.read()));
        received.filter(|(_, n)| *n > 0).collect()
    }
}

// === impl Fact ===

impl Fact {
    pub(super) fn happened(&self) {
        self.add(1);
    }

    pub(super) fn add(&self, times: u64) {
        self.0.fetch_add(times, AcqRel);
    }

    pub(super) fn read(&self) -> u64 {
        self.0.load(Acquire)
    }
}

// === impl Shapes ===

impl Shapes {
    /// The default buckets of every histogram family, but for those given.
    pub(super) fn new(given: &HashMap<&'static str, Buckets>) -> Self {
        let shapes = names::CATALOGUE.iter().filter_map(|family| {
            let bounds = given.get(family.name).map(Buckets::bounds).or(family.buckets)?;
            Some((family.name, shape(family, bounds)))
        });
        Self(shapes.collect())
    }

    fn histogram(&self, family: &'static Family) -> Histogram {
        match self.0.get(family.name) {
            Some(shape) => Histogram::new(shape),
            None => Histogram::new(&shape(family, family.buckets.unwrap_or_default())),
        }
    }
}

fn shape(family: &Family, bounds: &[f64]) -> Arc<Shape> {
    match family.unit {
        Unit::Seconds => Shape::seconds(bounds),
        _ => Shape::tokens(bounds),
    }
}
