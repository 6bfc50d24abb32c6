//! What the proxy says about a request, and an engine's page about queues.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use super::{Meter, RequestMeter, tally::Tally};
use crate::{outcome::Phase, wire::ErrorDetails};

/// What has been counted so far.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Counted {
    pub(crate) received: u64,
    pub(crate) in_flight: u64,
    /// By model: prompt tokens and generated tokens.
    pub(crate) tokens: Vec<(Arc<str>, [u64; 2])>,
}

impl Meter {
    /// Whether queue times of its upstream are those that a source tells, and not those that are
    /// recorded.
    pub(crate) fn queue_is_told(&self, is_told: bool) {
        self.upstream.queue_is_told.store(is_told, Relaxed);
    }

    pub(crate) fn counted(&self) -> Counted {
        let tally = Tally::read(self.shared());
        let received = tally.received().map(|(_, n)| n).sum();
        let (mut in_flight, mut tokens) = (0, Vec::new());
        for (id, series) in self.shared().models.iter() {
            in_flight += Phase::ALL.iter().map(|phase| tally.in_flight(id, *phase)).sum::<u64>();
            let counts = [series.prompt.get(), series.generation.get()];
            tokens.push((Arc::clone(&series.label), counts));
        }
        Counted { received, in_flight, tokens }
    }
}

impl RequestMeter {
    /// The client has gone away: the request is aborted, whatever comes of it.
    pub(crate) fn client_left(&self) {
        if let Some(record) = &self.0 {
            record.state().said.client_left = true;
        }
    }

    /// The request is answered by an error of our own; whoever asks how it ended is told of that.
    pub(crate) fn refused(&self, error: impl FnOnce() -> ErrorDetails) {
        if let Some(asked) = self.0.as_ref().and_then(|record| record.asked.as_ref()) {
            asked.error.get_or_init(|| Box::new(error()));
        }
    }
}
