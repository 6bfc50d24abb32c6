//! What the proxy says about a request, and an engine's page about queues.

use std::sync::atomic::Ordering::Relaxed;

use super::{Meter, RequestMeter};
use crate::wire::ErrorDetails;

impl Meter {
    /// Whether queue times are those that a source tells, and not those that are recorded.
    pub(crate) fn queue_is_told(&self, is_told: bool) {
        self.shared().sources.queue_is_told.store(is_told, Relaxed);
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
