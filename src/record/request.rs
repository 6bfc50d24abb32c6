//! The record of one request: opened on arrival, closed exactly once.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU16, AtomicU64, Ordering::AcqRel, Ordering::Relaxed},
    },
    time::Duration,
};

use http::StatusCode;
use tokio::time::Instant;

use super::{
    ends::End,
    meter::Shared,
    model::ModelId,
    series::{Endpoint, ModelSeries},
};
use crate::{
    outcome::{FailureReason, FinishReason, Outcome, Phase, TokenSource},
    stream::Summary,
};

/// One request. Shared by the layer, its body, and the service's `RequestMeter`.
#[derive(Debug)]
pub(crate) struct Record {
    shared: Arc<Shared>,
    endpoint: Arc<Endpoint>,
    arrival: Instant,
    arrived_as: ModelId,
    /// Changed under the lock of `state` only.
    model: AtomicU16,
    state: Mutex<State>,
    /// Generated tokens that the counter has got already; [`CLOSED`] after the end.
    published: AtomicU64,
    /// Generated tokens that the service has added up.
    added: AtomicU64,
    /// When the service last added some, in nanoseconds after arrival.
    last_added: AtomicU64,
}

/// What changes a few times in a request.
#[derive(Debug)]
struct State {
    phase: Phase,
    /// Since arrival, as all that follows.
    started: Option<Duration>,
    first_token: Option<Duration>,
    said: Said,
    is_closed: bool,
}

/// What the service itself has said.
#[derive(Debug, Default)]
struct Said {
    prompt: Option<u64>,
    cached: Option<u64>,
    generated: Option<u64>,
    reasoning: Option<u64>,
    finish: Option<FinishReason>,
    failure: Option<FailureReason>,
}

/// A step that a request takes once.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mark {
    Started,
    FirstToken,
}

/// A count that the service says once.
#[derive(Clone, Copy, Debug)]
pub(super) enum Count {
    Prompt,
    Cached,
    Reasoning,
}

const CLOSED: u64 = u64::MAX;

// === impl Record ===

impl Record {
    pub(crate) fn open(shared: Arc<Shared>, endpoint: Arc<Endpoint>, model: ModelId) -> Arc<Self> {
        endpoint.received(model);
        Arc::new(Self {
            shared,
            endpoint,
            arrival: Instant::now(),
            arrived_as: model,
            model: AtomicU16::new(model),
            state: Mutex::new(State {
                phase: Phase::Queue,
                started: None,
                first_token: None,
                said: Said::default(),
                is_closed: false,
            }),
            published: AtomicU64::new(0),
            added: AtomicU64::new(0),
            last_added: AtomicU64::new(0),
        })
    }

    pub(super) const fn arrival(&self) -> Instant {
        self.arrival
    }

    /// Takes a step, unless it was taken before: a start never moves back.
    pub(crate) fn mark(&self, mark: Mark, at: Instant) {
        let mut state = self.state();
        if state.is_closed {
            return;
        }
        let at = at.duration_since(self.arrival);
        // NB: counted under the lock, so that no end can be counted in between: in flight would
        // be negative for a moment.
        if state.phase == Phase::Queue {
            state.phase = Phase::Prefill;
            state.started = Some(at);
            if let Some(arrived_as) = self.shared.models.get(self.arrived_as) {
                arrived_as.started.happened();
            }
            self.series(|series| series.queue.time(at));
        }
        if matches!(mark, Mark::FirstToken) && state.phase == Phase::Prefill {
            state.phase = Phase::Decode;
            state.first_token = Some(at);
            if let Some(arrived_as) = self.shared.models.get(self.arrived_as) {
                arrived_as.first_token.happened();
            }
            self.series(|series| series.ttft.time(at));
        }
    }

    /// Changes the model label, until the first token.
    pub(super) fn rename(&self, model: &str) {
        let state = self.state();
        if !state.is_closed && state.phase != Phase::Decode && self.published.load(Relaxed) == 0 {
            self.model.store(self.shared.models.id(model), Relaxed);
        }
    }

    pub(super) fn count(&self, count: Count, tokens: u64) {
        let mut state = self.state();
        let State { said, is_closed, .. } = &mut *state;
        let said = match count {
            Count::Prompt => &mut said.prompt,
            Count::Cached => &mut said.cached,
            Count::Reasoning => &mut said.reasoning,
        };
        if said.is_some() || *is_closed {
            return;
        }
        *said = Some(tokens);
        self.series(|series| match count {
            Count::Prompt => series.prompt.add(tokens),
            Count::Cached => series.cached.add(tokens),
            Count::Reasoning => series.reasoning.add(tokens),
        });
    }

    /// `total` tokens were generated; the largest total wins.
    pub(super) fn generated(&self, total: u64) {
        let mut state = self.state();
        if !state.is_closed {
            state.said.generated = Some(state.said.generated.unwrap_or(0).max(total));
            drop(state);
            self.publish(total);
        }
    }

    /// More tokens were generated. No lock: this may be called for every token.
    pub(super) fn add_generated(&self, tokens: u64) {
        let total = self.added.fetch_add(tokens, AcqRel).saturating_add(tokens);
        self.last_added.fetch_max(nanos(self.arrival.elapsed()), Relaxed);
        self.publish(total);
    }

    pub(super) fn finish(&self, reason: FinishReason) {
        self.state().said.finish.get_or_insert(reason);
    }

    pub(super) fn fail(&self, reason: FailureReason) {
        self.state().said.failure.get_or_insert(reason);
    }

    /// Brings the counter of generated tokens up to `total` of this request.
    pub(super) fn publish(&self, total: u64) {
        let before = self.published.fetch_max(total.min(CLOSED - 1), AcqRel);
        if let Some(more) = total.checked_sub(before) {
            self.series(|series| series.generation.add(more));
        }
    }

    pub(super) fn series(&self, with: impl FnOnce(&ModelSeries)) {
        if let Some(series) = self.shared.models.get(self.model.load(Relaxed)) {
            with(series);
        }
    }

    /// Ends without a body: no head was sent.
    pub(crate) fn close_without_head(&self, outcome: Outcome) {
        self.close(outcome, None);
    }

    /// Ends with its body.
    pub(crate) fn close_with_body(&self, summary: &Summary) {
        self.close(summary.outcome, Some(summary));
    }

    fn close(&self, outcome: Outcome, body: Option<&Summary>) {
        let mut state = self.state();
        if std::mem::replace(&mut state.is_closed, true) {
            return;
        }
        let published = self.published.swap(CLOSED, AcqRel);
        let status = body.and_then(|body| body.status);
        let is_2xx = status.is_some_and(|status| status.is_success());
        let outcome = state.outcome(outcome);
        let generated = self.said_generated(&state.said);
        let source = match (generated, body) {
            (Some(_), _) => TokenSource::Handle,
            (None, Some(body)) => body.source,
            (None, None) => TokenSource::Unknown,
        };
        self.series(|series| {
            self.count_tokens(series, &state.said, generated, published, body);
            self.time(series, &state, outcome, generated, body);
        });
        if let Some(reason) = body.and_then(|body| body.unread) {
            if is_2xx && generated.is_none() && state.said.prompt.is_none() {
                self.shared.unread(reason);
            }
        }
        // NB: last, so that whoever sees the end sees all that belongs to it.
        self.shared.ends.add(End {
            arrived_as: self.arrived_as,
            model: self.model.load(Relaxed),
            endpoint: self.endpoint.id,
            outcome,
            phase: state.phase,
            code: status.map(|status: StatusCode| status.as_u16()),
            source: is_2xx.then_some(source),
        });
    }

    fn count_tokens(
        &self,
        series: &ModelSeries,
        said: &Said,
        generated: Option<u64>,
        published: u64,
        body: Option<&Summary>,
    ) {
        let usage = body.map(|body| body.usage).unwrap_or_default();
        // What the service said is in the counters already.
        let unsaid = |said: Option<u64>, told: Option<u64>| told.filter(|_| said.is_none());
        series.prompt.add(unsaid(said.prompt, usage.prompt).unwrap_or(0));
        series.cached.add(unsaid(said.cached, usage.cached).unwrap_or(0));
        series.reasoning.add(unsaid(said.reasoning, usage.reasoning).unwrap_or(0));
        let completion = generated.or(usage.completion);
        series.generation.settle(published, completion.unwrap_or(published));

        if let Some(prompt) = said.prompt.or(usage.prompt) {
            series.prompt_size.record(prompt);
        }
        if let Some(completion) = completion {
            series.generation_size.record(completion);
        }
        let longest = match generated.filter(|_| body.is_none_or(has_one_choice)) {
            Some(generated) => Some(generated),
            None => body.and_then(|body| body.longest_choice),
        };
        if let Some(longest) = longest {
            series.longest_size.record(longest);
        }
    }

    fn time(
        &self,
        series: &ModelSeries,
        state: &State,
        outcome: Outcome,
        generated: Option<u64>,
        body: Option<&Summary>,
    ) {
        let ended = body.map_or_else(Instant::now, |body| body.ended);
        let whole = ended.duration_since(self.arrival);
        series.duration(outcome).time(whole);
        if let Some(started) = state.started {
            series.inference.time(whole.saturating_sub(started));
        }
        if let (Some(started), Some(first)) = (state.started, state.first_token) {
            series.prefill.time(first.saturating_sub(started));
        }
        let last = body
            .and_then(|body| body.last_token)
            .map(|last| last.duration_since(self.arrival))
            .or_else(|| self.last_added());
        let decode = state.first_token.zip(last).map(|(first, last)| last.saturating_sub(first));
        if let Some(decode) = decode {
            series.decode.time(decode);
        }
        if let Outcome::Success(_) = outcome {
            series.e2e.time(whole);
            // The service knows best how many tokens one choice had.
            let told = generated.filter(|_| body.is_none_or(has_one_choice));
            let tpot = match (told, decode) {
                (Some(tokens), Some(decode)) => per_gap(decode, tokens),
                _ => body.and_then(|body| body.time_per_output_token),
            };
            if let Some(tpot) = tpot {
                series.tpot.time(tpot);
            }
        }
    }

    fn said_generated(&self, said: &Said) -> Option<u64> {
        let added = Some(self.added.load(Relaxed)).filter(|added| *added > 0);
        said.generated.max(added)
    }

    fn last_added(&self) -> Option<Duration> {
        let nanos = self.last_added.load(Relaxed);
        (nanos > 0).then(|| Duration::from_nanos(nanos))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl State ===

impl State {
    /// What the service said of the end goes before what was seen.
    fn outcome(&self, seen: Outcome) -> Outcome {
        match (self.said.failure, self.said.finish, seen) {
            (Some(failure), _, _) => Outcome::Failure(failure),
            (None, Some(finish), Outcome::Success(_) | Outcome::Aborted(_))
            | (None, Some(finish), Outcome::Failure(FailureReason::Truncated)) => {
                Outcome::Success(finish)
            }
            (None, None, Outcome::Aborted(_)) => Outcome::Aborted(self.phase),
            (None, _, seen) => seen,
        }
    }
}

/// Whether a body had not more than one choice, as far as it tells.
fn has_one_choice(body: &Summary) -> bool {
    body.longest_choice == body.usage.completion
}

fn per_gap(decode: Duration, tokens: u64) -> Option<Duration> {
    let gaps = tokens.checked_sub(1).filter(|gaps| *gaps > 0)?;
    Some(decode / u32::try_from(gaps).unwrap_or(u32::MAX))
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
