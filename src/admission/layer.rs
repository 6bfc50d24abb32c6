//! How admission is set up.

use std::{sync::Arc, time::Duration};

use tower::Layer;

use super::{Admission, Refusal, limit::Limit};
use crate::record::Meter;

/// Lets so many requests run at once, first come first served. See the [module
/// docs](crate::admission).
///
/// All services that it makes share one limit and one queue, and so do its clones.
///
/// ```
/// use std::time::Duration;
///
/// use infermeter::{AdmissionLayer, Meter};
///
/// let layer = AdmissionLayer::new(&Meter::new().model("tiny-words"), 8)
///     .max_waiting(16)
///     .wait_limit(Duration::from_secs(30));
/// ```
#[derive(Clone, Debug)]
pub struct AdmissionLayer {
    admit: Admit,
}

/// What every request needs.
#[derive(Clone, Debug)]
pub(super) struct Admit {
    pub(super) limit: Arc<Limit>,
    pub(super) terms: Terms,
}

/// On which terms requests are let in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// How many run at most.
    pub(super) running: usize,
    max_waiting: usize,
    pub(super) wait_limit: Option<Duration>,
    pub(super) refusal: Refusal,
    /// Whether a request that nobody measures needs no place.
    pub(super) only_measured: bool,
}

/// How many wait at most for each one that may run, unless it is said otherwise.
const WAITING_FOR_EACH: usize = 8;

// === impl AdmissionLayer ===

impl AdmissionLayer {
    /// Lets at most `running` requests run at once; `meter` publishes the limit, for its own model.
    /// (Of several layers for one model it is that of the last one made.)
    ///
    /// With 0 none can run, so none is let wait either: every request is refused, by an error that
    /// says so.
    pub fn new(meter: &Meter, running: usize) -> Self {
        meter.admits(running as u64);
        let terms = Terms {
            running,
            max_waiting: running.saturating_mul(WAITING_FOR_EACH),
            wait_limit: None,
            refusal: Refusal::default(),
            only_measured: false,
        };
        Self { admit: Admit { limit: Limit::new(running), terms } }
    }

    /// Lets at most so many more wait; with 0, who does not find a place at once is refused.
    ///
    /// Default: eight for each one that may run. The last of them then waits for about as long as
    /// eight answers take, and few clients are more patient.
    #[must_use]
    pub fn max_waiting(self, requests: usize) -> Self {
        self.with(|terms| terms.max_waiting = requests)
    }

    /// Refuses who has been waiting here for so long. Default: no limit.
    ///
    /// This needs the timer of a tokio runtime.
    #[must_use]
    pub fn wait_limit(self, limit: Duration) -> Self {
        self.with(|terms| terms.wait_limit = Some(limit))
    }

    /// Chooses what refused requests are told. Default: 429.
    ///
    /// Either way `Retry-After` is the wait limit in whole seconds, from 1 to 60; without a wait
    /// limit it is 1.
    #[must_use]
    pub fn refuse_with(self, refusal: Refusal) -> Self {
        self.with(|terms| terms.refusal = refusal)
    }

    /// Lets pass by what no [`InferenceLayer`](crate::InferenceLayer) outside measures, such as a
    /// health check, also while everything waits. Default: every request needs a place.
    ///
    /// For a gateway, which has no routes to put the layer on.
    #[must_use]
    pub fn only_measured(self) -> Self {
        self.with(|terms| terms.only_measured = true)
    }

    fn with(mut self, change: impl FnOnce(&mut Terms)) -> Self {
        change(&mut self.admit.terms);
        self
    }
}

impl<S> Layer<S> for AdmissionLayer {
    type Service = Admission<S>;

    fn layer(&self, inner: S) -> Admission<S> {
        Admission::new(inner, self.admit.clone())
    }
}

// === impl Terms ===

impl Terms {
    /// How many wait at most.
    pub(super) const fn max_waiting(&self) -> usize {
        // Where none can run, none would ever be let in.
        if self.running == 0 { 0 } else { self.max_waiting }
    }
}
