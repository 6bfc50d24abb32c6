//! Brings what a body tells into its record.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    histogram::LocalHistogram,
    request::{Mark, Record},
};
use crate::stream::{Observer, Summary};

/// How long counted tokens and gaps may stay with their stream while it is active.
const FLUSH_EVERY: Duration = Duration::from_millis(250);

/// Watches the body of one measured response.
#[derive(Debug)]
pub struct RequestObserver {
    record: Arc<Record>,
    itl: LocalHistogram,
    flushed: Instant,
}

// === impl RequestObserver ===

impl RequestObserver {
    pub(crate) fn new(record: Arc<Record>) -> Self {
        Self { record, itl: LocalHistogram::default(), flushed: Instant::now() }
    }

    fn flush_gaps(&mut self) {
        let Self { record, itl, flushed: _ } = self;
        record.series(|series| itl.flush(&series.itl));
    }
}

impl Observer for RequestObserver {
    fn first_token(&mut self, at: Instant) {
        self.record.mark(Mark::FirstToken, at);
    }

    fn gap(&mut self, gap: Duration, tokens: u64) {
        let Self { record, itl, flushed: _ } = self;
        record.series(|series| itl.spread(gap, tokens, &series.itl));
    }

    fn frame(&mut self, now: Instant, generated: impl FnOnce() -> u64) {
        if now.duration_since(self.flushed) >= FLUSH_EVERY {
            self.flushed = now;
            self.record.publish(generated());
            self.flush_gaps();
        }
    }

    fn end(&mut self, summary: Summary) {
        self.flush_gaps();
        self.record.close_with_body(&summary);
    }
}
