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
///
/// It is what watches the [body](crate::layer::ResponseBody) of a layer's answer:
///
/// ```
/// use infermeter::{InferenceLayer, Meter, record::RequestObserver, stream::ObservedBody};
/// use tower::{Layer, ServiceExt};
/// # use tower::service_fn;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// # let words = service_fn(async |_: http::Request<()>| {
/// #     Ok::<_, std::convert::Infallible>(http::Response::new("three small words".to_owned()))
/// # });
/// let service = InferenceLayer::new(Meter::new()).layer(words);
/// let answer = service.oneshot(http::Request::new(())).await.unwrap();
/// let body: ObservedBody<String, RequestObserver> = answer.into_body();
/// # }
/// ```
#[derive(Debug)]
pub struct RequestObserver {
    record: Arc<Record>,
    /// From the first gap on. NB: by that a token needs nothing of the record.
    itl: Option<LocalHistogram>,
    /// Tokens came since the last frame that was seen to have passed.
    has_tokens: bool,
    last_token: Option<Instant>,
    flush_at: Instant,
}

// === impl RequestObserver ===

impl RequestObserver {
    #[inline]
    pub(crate) fn new(record: Arc<Record>) -> Self {
        let flush_at = record.arrival() + FLUSH_EVERY;
        Self { record, itl: None, has_tokens: false, last_token: None, flush_at }
    }

    #[cold]
    fn flush(&mut self, now: Instant, usage: Usage) {
        self.flush_at = now + FLUSH_EVERY;
        self.record.publish_so_far(usage);
        // NB: of a body that is not read nobody knows what it carries: that it goes on is all.
        let unread = usage.completion.is_none().then_some(now);
        let has_gaps = self.flush_gaps();
        let last_token = self.last_token.filter(|_| has_gaps);
        if let Some(at) = last_token.or(unread) {
            self.record.sign(at);
        }
    }

    /// Says whether there were any.
    fn flush_gaps(&mut self) -> bool {
        let Some(itl) = self.itl.as_mut().filter(|itl| !itl.is_empty()) else { return false };
        self.record.series(|series| itl.flush(&series.itl));
        true
    }
}

impl Observer for RequestObserver {
    fn first_token(&mut self, at: Instant) {
        self.record.mark(Mark::FirstToken, at);
        // The first one shows at once, also where the stream then stalls.
        self.flush_at = at;
    }

    fn gap(&mut self, gap: Duration, tokens: u64) {
        self.has_tokens = true;
        if self.itl.is_none() {
            self.record.series(|series| self.itl = Some(LocalHistogram::of(&series.itl)));
        }
        if let Some(itl) = &mut self.itl {
            itl.spread(gap, tokens);
        }
    }

    fn frame(&mut self, now: Instant, so_far: impl FnOnce() -> Usage) {
        // NB: what flushes may be a comment, long after the last token.
        if std::mem::take(&mut self.has_tokens) {
            self.last_token = Some(now);
        }
        if now >= self.flush_at {
            self.flush(now, so_far());
        }
    }

    fn end(&mut self, summary: Summary) {
        self.flush_gaps();
        self.record.close(summary.outcome, Some(&summary));
    }
}
