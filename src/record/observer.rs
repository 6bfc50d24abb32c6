//! Brings what a body tells into its record.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{histogram::LocalHistogram, request::Record, steps::Mark};
use crate::{
    stream::{Observer, Summary},
    wire::Usage,
};

/// How long counted tokens and gaps may stay with their stream while it is active.
const FLUSH_EVERY: Duration = Duration::from_millis(250);

/// Watches the body of one measured response.
#[derive(Debug)]
pub struct RequestObserver {
    record: Arc<Record>,
    itl: LocalHistogram,
    flush_at: Instant,
}

// === impl RequestObserver ===

impl RequestObserver {
    #[inline]
    pub(crate) fn new(record: Arc<Record>) -> Self {
        let flush_at = record.arrival() + FLUSH_EVERY;
        Self { record, itl: LocalHistogram::default(), flush_at }
    }

    /// Says whether there were any.
    fn flush_gaps(&mut self) -> bool {
        let Self { record, itl, flush_at: _ } = self;
        let are_any = !itl.is_empty();
        record.series(|series| itl.flush(&series.itl));
        are_any
    }
}

impl Observer for RequestObserver {
    fn first_token(&mut self, at: Instant) {
        self.record.mark(Mark::FirstToken, at);
        // The first one shows at once, also where the stream then stalls.
        self.flush_at = at;
    }

    fn gap(&mut self, gap: Duration, tokens: u64) {
        let Self { record, itl, flush_at: _ } = self;
        record.series(|series| itl.spread(gap, tokens, &series.itl));
    }

    fn frame(&mut self, now: Instant, so_far: impl FnOnce() -> Usage) {
        if now >= self.flush_at {
            self.flush_at = now + FLUSH_EVERY;
            self.record.publish_so_far(so_far());
            if self.flush_gaps() {
                self.record.sign(now);
            }
        }
    }

    fn end(&mut self, summary: Summary) {
        self.flush_gaps();
        self.record.close(summary.outcome, Some(&summary));
    }
}
