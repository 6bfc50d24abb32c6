//! The record of one request: opened on arrival, closed exactly once.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicBool, AtomicU16, AtomicU64,
            Ordering::{AcqRel, Acquire, Relaxed, Release},
        },
    },
    time::Duration,
};

use tokio::time::Instant;

use super::{
    closing::{Closing, last_sign},
    ended::Asked,
    ends::End,
    histogram::nanos,
    meter::Shared,
    model::ModelId,
    said::{Count, Said},
    series::{Endpoint, ModelSeries},
    tenant::TenantId,
};
use crate::{
    outcome::{FailureReason, FinishReason, Outcome, Phase, TokenSource},
    stream::Summary,
    wire::{MOST_TOKENS, Usage},
};

/// One request. Shared by the layer, its body, and the service's `RequestMeter`.
#[derive(Debug)]
pub(crate) struct Record {
    pub(super) shared: Arc<Shared>,
    /// Place among the meter's endpoints.
    pub(super) endpoint: u16,
    pub(super) arrival: Instant,
    /// The label that it is in flight under. Changed under the lock of `state` only.
    pub(super) flies_as: AtomicU16,
    pub(super) tenant: Option<TenantId>,
    /// For who asks how it ended.
    pub(super) asked: Option<Arc<Asked>>,
    /// The engine tells at the end when it started, and the first content is no start.
    pub(super) start_is_told: bool,
    /// Changed under the lock of `state` only, and never once `is_named`.
    pub(super) model: AtomicU16,
    pub(super) is_named: AtomicBool,
    state: Mutex<State>,
    /// Generated tokens that the counter has got already; [`CLOSED`] after the end.
    published: AtomicU64,
    /// Generated tokens that the service has added up.
    added: AtomicU64,
    /// When the service last told of some, in nanoseconds after arrival.
    last_told: AtomicU64,
    /// When the service was called, in nanoseconds after arrival and one more; 0 where that is no
    /// start. It becomes one unless the request is held back first.
    pub(super) called: AtomicU64,
}

/// What changes a few times in a request.
#[derive(Debug)]
pub(super) struct State {
    pub(super) phase: Phase,
    /// Since arrival, as all that follows.
    pub(super) started: Option<Duration>,
    pub(super) first_token: Option<Duration>,
    pub(super) said: Said,
    /// Prompt tokens that the counter has got already.
    pub(super) published_prompt: u64,
    pub(super) is_closed: bool,
    /// It is listed among those that wait.
    pub(super) is_listed: bool,
    /// When admission let it in.
    pub(super) admitted: Option<Duration>,
}

const CLOSED: u64 = u64::MAX;

// === impl Record ===

impl Record {
    pub(crate) fn open(
        shared: Arc<Shared>,
        endpoint: &Endpoint,
        model: ModelId,
        tenant: Option<TenantId>,
        asked: Option<Arc<Asked>>,
        start_is_told: bool,
    ) -> Arc<Self> {
        endpoint.received(model);
        Arc::new(Self {
            shared,
            endpoint: endpoint.id,
            arrival: Instant::now(),
            flies_as: AtomicU16::new(model),
            tenant,
            asked,
            start_is_told,
            model: AtomicU16::new(model),
            is_named: AtomicBool::new(false),
            state: Mutex::new(State {
                phase: Phase::Queue,
                started: None,
                first_token: None,
                said: Said::default(),
                published_prompt: 0,
                is_closed: false,
                is_listed: false,
                admitted: None,
            }),
            published: AtomicU64::new(0),
            added: AtomicU64::new(0),
            last_told: AtomicU64::new(0),
            called: AtomicU64::new(0),
        })
    }

    pub(super) const fn arrival(&self) -> Instant {
        self.arrival
    }

    /// Changes the model label, until something was counted that cannot be moved.
    pub(super) fn rename(&self, model: &str) {
        let state = self.state();
        if !state.is_closed && !self.is_named.load(Acquire) {
            if let Some(series) = self.shared.models.get(self.model.load(Relaxed)) {
                self.model.store(self.shared.models.id(&series.upstream, model), Relaxed);
            }
        }
    }

    /// From here on tokens are counted, so the label stays.
    pub(super) fn name_for_good(&self, state: &mut State) {
        if state.is_closed {
            return;
        }
        self.is_named.store(true, Release);
        if let Some(prompt) = state.said.count(Count::Prompt) {
            self.publish_prompt(state, prompt);
        }
    }

    pub(super) fn count(&self, count: Count, tokens: u64) {
        let mut state = self.state();
        if state.is_closed {
            return;
        }
        let said = state.said.say(count, tokens);
        if matches!(count, Count::Prompt) && self.is_named.load(Acquire) {
            self.publish_prompt(&mut state, said);
        }
    }

    /// `total` tokens were generated; the largest total wins.
    pub(super) fn generated(&self, total: u64) {
        let total = total.min(MOST_TOKENS);
        let mut state = self.state();
        if state.is_closed {
            return;
        }
        state.said.generated = Some(state.said.generated.unwrap_or(0).max(total));
        if total > 0 {
            self.name_for_good(&mut state);
            drop(state);
            self.told_now();
            self.publish(total);
        }
    }

    /// More tokens were generated. Takes the lock once only: this may be called for every token.
    pub(super) fn add_generated(&self, tokens: u64) {
        let tokens = tokens.min(MOST_TOKENS);
        if !self.is_named.load(Acquire) {
            self.name_for_good(&mut self.state());
        }
        let total = self.added.fetch_add(tokens, AcqRel).saturating_add(tokens);
        self.told_now();
        self.publish(total);
    }

    pub(super) fn finish(&self, reason: FinishReason) {
        self.state().said.finish.get_or_insert(reason);
    }

    pub(super) fn fail(&self, reason: FailureReason) {
        self.state().said.failure.get_or_insert(reason);
    }

    /// Brings the counters up to what a body has told so far.
    pub(super) fn publish_so_far(&self, usage: Usage) {
        // Before the first token the label may change still; the prompt waits for it.
        if let Some(prompt) = usage.prompt.filter(|_| self.is_named.load(Acquire)) {
            let mut state = self.state();
            if !state.is_closed {
                self.publish_prompt(&mut state, prompt);
            }
        }
        self.publish(usage.completion.unwrap_or(0));
    }

    /// Counts the prompt once, when it is first certain.
    fn publish_prompt(&self, state: &mut State, prompt: u64) {
        if state.published_prompt == 0 {
            state.published_prompt = prompt;
            self.series(|series| series.prompt.add(prompt));
        }
    }

    /// Brings the counter of generated tokens up to `total` of this request.
    fn publish(&self, total: u64) {
        let total = total.min(MOST_TOKENS);
        let before = self.published.fetch_max(total, AcqRel);
        if let Some(more) = total.checked_sub(before) {
            self.series(|series| series.generation.add(more));
        }
    }

    pub(super) fn series(&self, with: impl FnOnce(&ModelSeries)) {
        if let Some(series) = self.shared.models.get(self.model.load(Relaxed)) {
            with(series);
        }
    }

    /// Whether it is open, in this meter.
    pub(super) fn is_open_in(&self, shared: &Arc<Shared>) -> bool {
        self.is_of(shared) && !self.state().is_closed
    }

    pub(super) fn is_of(&self, shared: &Arc<Shared>) -> bool {
        Arc::ptr_eq(&self.shared, shared)
    }

    /// Ends, once; with its body, or without one where no head was sent.
    pub(crate) fn close(&self, outcome: Outcome, body: Option<&Summary>) {
        let mut state = self.state();
        if std::mem::replace(&mut state.is_closed, true) {
            return;
        }
        self.is_named.store(true, Release);
        let published = self.published.swap(CLOSED, AcqRel);
        let status = body.and_then(|body| body.status);
        let is_2xx = status.is_some_and(|status| status.is_success());
        let outcome = state.said.outcome(state.phase, outcome);
        let generated = self.said_generated(&state.said);
        let source = match (generated, body) {
            (Some(_), _) => TokenSource::Handle,
            (None, Some(body)) => body.source,
            (None, None) => TokenSource::Unknown,
        };
        if self.start_is_told && state.started.is_none() {
            state.started = body.and_then(|body| told_start(body, &state, self.arrival));
            if let Some(queue) = state.started {
                self.series(|series| series.queue.time(queue));
            }
        }
        let flies_as = self.flies_as.load(Relaxed);
        if let Some(flies_as) = self.shared.models.get(flies_as) {
            match state.phase {
                Phase::Queue => self.waits_no_longer(&mut state, flies_as),
                Phase::Prefill | Phase::Decode => flies_as.pulse.stops(|| last_sign(outcome, body)),
            }
        }
        let ended = body.map_or_else(Instant::now, |body| body.ended);
        let closing = Closing {
            outcome,
            state: &state,
            body,
            generated,
            published,
            last_told: self.last_told(),
            arrival: self.arrival,
            whole: ended.duration_since(self.arrival),
        };
        self.series(|series| closing.record(series));
        if let Some(tenant) = self.tenant {
            let [prompt, generation] = closing.used();
            self.shared.tenants.used(self.model.load(Relaxed), tenant, prompt, generation);
        }
        if let Some(reason) = body.and_then(|body| body.unread) {
            if is_2xx && generated.is_none() && state.said.count(Count::Prompt).is_none() {
                self.shared.unread(reason);
            }
        }
        // NB: last, so that whoever sees the end sees all that belongs to it.
        self.shared.ends.add(End {
            flew_as: flies_as,
            model: self.model.load(Relaxed),
            endpoint: self.endpoint,
            outcome,
            phase: state.phase,
            code: status.map(|status| status.as_u16()),
            source: is_2xx.then_some(source),
            tenant: self.tenant,
        });
        if let Some(asked) = &self.asked {
            let [_, tokens] = closing.used();
            let kept = self.shared.kept.get();
            let kept = kept.filter(|kept| kept.wants(outcome, closing.whole, tokens));
            if kept.is_none() && asked.is_asked_by_nobody() {
                return;
            }
            let ended = closing.ended(self, asked, source);
            // NB: who is told may do anything, with this request too.
            drop(state);
            asked.tell(&ended);
            if let Some(kept) = kept {
                kept.keep(ended);
            }
        }
    }

    fn said_generated(&self, said: &Said) -> Option<u64> {
        let added = Some(self.added.load(Relaxed)).filter(|added| *added > 0);
        said.generated.max(added)
    }

    fn told_now(&self) {
        let now = Instant::now();
        self.last_told.fetch_max(nanos(now.duration_since(self.arrival)), Relaxed);
        self.sign(now);
    }

    fn last_told(&self) -> Option<Duration> {
        let nanos = self.last_told.load(Relaxed);
        (nanos > 0).then(|| Duration::from_nanos(nanos))
    }

    #[inline]
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When the engine says that it started, since arrival: what it tells begins where admission ends.
///
/// NB: a wait that is longer than all there was is not cut to fit, it was not told: SGLang gives a
/// moment of its clock where it did not note when the request came.
fn told_start(body: &Summary, state: &State, arrival: Instant) -> Option<Duration> {
    let latest = state.first_token.unwrap_or_else(|| body.ended.duration_since(arrival));
    let admitted = state.admitted.unwrap_or_default();
    let after_queue = || admitted.checked_add(body.queue_time?).filter(|start| *start <= latest);
    let before_prefill = || {
        let start = state.first_token?.checked_sub(body.prefill_time?)?;
        (start >= admitted).then_some(start)
    };
    after_queue().or_else(before_prefill)
}
