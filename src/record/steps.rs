//! The steps of a request on its way: waiting, started, first token.

use std::{
    sync::{
        Arc,
        atomic::Ordering::{Acquire, Relaxed},
    },
    time::Duration,
};

use tokio::time::Instant;

use super::{
    histogram::nanos,
    model::ModelId,
    request::{Record, State},
    series::ModelSeries,
};
use crate::outcome::Phase;

/// A step that a request takes once.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mark {
    Started,
    FirstToken,
}

// === impl Record ===

impl Record {
    /// Takes a step, unless it was taken before: a start never moves back.
    pub(crate) fn mark(&self, mark: Mark, at: Instant) {
        let mut state = self.state();
        if state.is_closed {
            return;
        }
        if state.phase == Phase::Queue {
            let since_arrival = self.called().unwrap_or_else(|| at.duration_since(self.arrival));
            let is_start = matches!(mark, Mark::Started) || !self.start_is_told;
            self.start(&mut state, since_arrival, is_start);
        }
        if matches!(mark, Mark::FirstToken) && state.phase == Phase::Prefill {
            let since_arrival = at.duration_since(self.arrival);
            state.phase = Phase::Decode;
            state.first_token = Some(since_arrival);
            self.name_for_good(&mut state);
            if let Some(flies_as) = self.in_flight() {
                flies_as.pulse.sign(at);
                flies_as.first_token.happened();
            }
            self.series(|series| series.ttft.time(since_arrival));
        }
    }

    /// NB: counted under the lock, so that no end can be counted in between: in flight would be
    /// negative for a moment.
    fn start(&self, state: &mut State, since_arrival: Duration, is_known: bool) {
        state.phase = Phase::Prefill;
        state.started = Some(since_arrival).filter(|_| is_known);
        if let Some(flies_as) = self.in_flight() {
            self.waits_no_longer(state, flies_as);
            flies_as.pulse.starts(|| self.arrival + since_arrival);
            flies_as.started.happened();
        }
        if is_known {
            self.series(|series| series.queue.time(since_arrival));
        }
    }

    /// The service is about to be called: the start, unless the request is held back.
    #[inline]
    pub(crate) fn calls(&self, at: Instant) {
        self.called.store(nanos(at.duration_since(self.arrival)) + 1, Relaxed);
    }

    #[inline]
    fn called(&self) -> Option<Duration> {
        let called = self.called.load(Relaxed);
        (called > 0).then(|| Duration::from_nanos(called - 1))
    }

    /// Whatever could hold the request back has had its turn.
    pub(crate) fn settle_start(&self) {
        let Some(called) = self.called() else { return };
        let mut state = self.state();
        if state.phase == Phase::Queue && !state.is_closed {
            self.start(&mut state, called, true);
        }
    }

    /// The call was no start; says whether it would have been one.
    pub(super) fn hold_back(&self) -> bool {
        let state = self.state();
        state.phase == Phase::Queue && self.called.swap(0, Relaxed) > 0
    }

    /// Admission lets the request in.
    pub(super) fn admitted(&self) {
        let mut state = self.state();
        // A retry inside of the layer comes by again.
        if !state.is_closed && state.admitted.is_none() {
            let waited = self.arrival.elapsed();
            state.admitted = Some(waited);
            self.series(|series| series.admission.time(waited));
        }
    }

    /// The request has been left in the queue.
    pub(crate) fn waits(&self) {
        let mut state = self.state();
        if state.is_closed || state.is_listed || state.phase != Phase::Queue {
            return;
        }
        if let Some(flies_as) = self.in_flight() {
            self.waits_for(&mut state, flies_as);
        }
    }

    fn waits_for(&self, state: &mut State, flies_as: &ModelSeries) {
        state.is_listed = true;
        flies_as.pulse.waits(self.arrival, self.id());
    }

    #[inline]
    pub(super) fn waits_no_longer(&self, state: &mut State, flies_as: &ModelSeries) {
        if std::mem::take(&mut state.is_listed) {
            flies_as.pulse.waits_no_longer(self.arrival, self.id());
        }
    }

    /// Goes over to a model of another upstream, in flight as well, until something was counted
    /// that cannot be moved.
    ///
    /// NB: counted under the lock, as the steps are, and by one number for both sides: no view sees
    /// it twice or not at all.
    pub(super) fn go_over(&self, to: ModelId) {
        let mut state = self.state();
        let Some(new) = self.shared.models.get(to) else { return };
        if state.is_closed || self.is_named.load(Acquire) {
            return;
        }
        self.model.store(to, Relaxed);
        let from = self.flies_as.swap(to, Relaxed);
        let old = self.shared.models.get(from).filter(|_| from != to);
        let Some(old) = old else { return };
        if state.phase == Phase::Queue {
            let is_listed = state.is_listed;
            self.waits_no_longer(&mut state, old);
            if is_listed {
                self.waits_for(&mut state, new);
            }
            self.shared.moved_in_queue.add(from, to);
        } else {
            // Of this upstream it is a sign of life that it is given something to do.
            new.pulse.starts(Instant::now);
            old.pulse.stops(|| None);
            self.shared.moved_in_prefill.add(from, to);
        }
    }

    /// The name of the upstream that it belongs to.
    pub(super) fn upstream_label(&self) -> Option<Arc<str>> {
        let upstream = &self.shared.models.get(self.model.load(Relaxed))?.upstream;
        upstream.is_some().then(|| Arc::clone(&upstream.labels[0]))
    }

    fn in_flight(&self) -> Option<&ModelSeries> {
        self.shared.models.get(self.flies_as.load(Relaxed))
    }

    /// Its place in memory, which no other request has at the same time.
    fn id(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// Tokens came: a sign of life.
    pub(super) fn sign(&self, at: Instant) {
        if let Some(flies_as) = self.in_flight() {
            flies_as.pulse.sign(at);
        }
    }
}
