//! The steps of a request on its way: waiting, started, first token.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use tokio::time::Instant;

use super::{
    histogram::nanos,
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
            if let Some(arrived_as) = self.shared.models.get(self.arrived_as) {
                arrived_as.pulse.sign(at);
                arrived_as.first_token.happened();
            }
            self.series(|series| series.ttft.time(since_arrival));
        }
    }

    /// NB: counted under the lock, so that no end can be counted in between: in flight would be
    /// negative for a moment.
    fn start(&self, state: &mut State, since_arrival: Duration, is_known: bool) {
        state.phase = Phase::Prefill;
        state.started = Some(since_arrival).filter(|_| is_known);
        if let Some(arrived_as) = self.shared.models.get(self.arrived_as) {
            self.waits_no_longer(state, arrived_as);
            arrived_as.pulse.starts(|| self.arrival + since_arrival);
            arrived_as.started.happened();
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
        if let Some(arrived_as) = self.shared.models.get(self.arrived_as) {
            state.is_listed = true;
            arrived_as.pulse.waits(self.arrival, self.id());
        }
    }

    #[inline]
    pub(super) fn waits_no_longer(&self, state: &mut State, arrived_as: &ModelSeries) {
        if std::mem::take(&mut state.is_listed) {
            arrived_as.pulse.waits_no_longer(self.arrival, self.id());
        }
    }

    /// Its place in memory, which no other request has at the same time.
    fn id(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// Tokens came: a sign of life.
    pub(super) fn sign(&self, at: Instant) {
        if let Some(arrived_as) = self.shared.models.get(self.arrived_as) {
            arrived_as.pulse.sign(at);
        }
    }
}
