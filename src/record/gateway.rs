//! What the proxy says about a request, and who reads an engine's page about histograms.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use super::{Meter, RequestMeter, owners::EITHER, series::ModelSeries, tally::Tally};
use crate::{names::Family, outcome::Phase, wire::ErrorDetails};

/// What has been counted so far, of one upstream where there are several.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Counted {
    /// Requests that were received for it, or went over to it.
    pub(crate) received: u64,
    pub(crate) in_flight: u64,
    /// By model: prompt tokens and generated tokens.
    pub(crate) tokens: Vec<(Arc<str>, [u64; 2])>,
}

impl Meter {
    /// Which of those histograms of its upstream that can be either are told by a source, and not
    /// recorded.
    pub(crate) fn are_told(&self, families: &[&'static Family]) {
        for (family, is_told) in EITHER.iter().zip(&self.upstream.owners.either) {
            let is_it = |told: &&Family| std::ptr::eq(*told, *family);
            is_told.store(families.iter().any(is_it), Relaxed);
        }
    }

    /// The page of an engine is watched, which has all that its upstream is asked for.
    pub(crate) fn has_page(&self) {
        self.upstream.owners.has_page.store(true, Relaxed);
    }

    /// What has been counted for its upstream.
    pub(crate) fn counted(&self) -> Counted {
        let tally = Tally::read(self.shared());
        let mut counted = Counted::default();
        let its = |series: &ModelSeries| Arc::ptr_eq(&series.upstream, &self.upstream);
        for (id, series) in self.shared().models.iter().filter(|(_, series)| its(series)) {
            counted.received += tally.came_under(id);
            let in_flight = Phase::ALL.iter().map(|phase| tally.in_flight(id, *phase));
            counted.in_flight += in_flight.sum::<u64>();
            let tokens = [series.prompt.get(), series.generation.get()];
            counted.tokens.push((Arc::clone(&series.label), tokens));
        }
        counted
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
