//! What is told of a request once it has ended, where somebody asks for it.

use std::{
    borrow::Cow,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, OnceLock},
    time::{Duration, SystemTime},
};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::{
    outcome::{Outcome, Phase, TokenSource},
    wire::{ErrorDetails, Usage, WORD, bounded},
};

/// A measured request that has ended: what was counted of it, and what is too much for a label.
///
/// [`InferenceLayer::on_end`](crate::InferenceLayer::on_end) gives one for each.
///
/// ```
/// use infermeter::{InferenceLayer, Meter, outcome::Outcome, record::Ended};
///
/// let layer = InferenceLayer::new(Meter::new()).on_end(|ended: &Ended| {
///     if let Outcome::Failure(reason) = ended.outcome {
///         eprintln!("{}: {} after {:?}", ended.endpoint, reason.label(), ended.duration);
///     }
/// });
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Ended {
    /// `x-request-id` of the request, cut to 128 bytes.
    pub request_id: Option<Box<str>>,
    /// `traceparent` of the request, in the same way.
    pub traceparent: Option<Box<str>>,
    /// The `endpoint` label.
    pub endpoint: Arc<str>,
    /// The `model_name` label.
    pub model: Arc<str>,
    /// The `upstream` label, where it was [routed](super::RequestMeter::routed) to one.
    pub upstream: Option<Arc<str>>,
    /// The `tenant` label, where tenants are told apart.
    pub tenant: Option<Arc<str>>,
    /// How it ended, and why.
    pub outcome: Outcome,
    /// How far it had come, however it ended.
    pub phase: Phase,
    /// The status of its answer, where there was one.
    pub status: Option<StatusCode>,
    /// What the answer says of an error, where it tells one and was read.
    ///
    /// NB: some engines repeat the prompt in the message.
    pub error: Option<Box<ErrorDetails>>,
    /// When it arrived, by the clock of the system.
    pub arrived: SystemTime,
    /// From its arrival to its start, where that is known.
    pub queue: Option<Duration>,
    /// From its arrival to the first generated token of a stream, or as the service told.
    pub time_to_first_token: Option<Duration>,
    /// From its arrival to the end of its answer.
    pub duration: Duration,
    /// Its tokens, as they were told or counted; `None` where they are not known.
    pub usage: Usage,
    /// Where the number of generated tokens came from.
    pub source: TokenSource,
}

/// Somebody who wants to know of each end.
pub(crate) type OnEnd = Arc<dyn Fn(&Ended) + Send + Sync>;

/// What is kept of a request, from its arrival on, for who asks.
pub(crate) struct Asked {
    by: Arc<[OnEnd]>,
    pub(super) request_id: Option<Box<str>>,
    pub(super) traceparent: Option<Box<str>>,
    pub(super) arrived: SystemTime,
    /// What the service itself said of its error.
    pub(super) error: OnceLock<Box<ErrorDetails>>,
}

static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

// === impl Asked ===

impl Asked {
    /// `None` where nobody asks, and it is not kept.
    pub(crate) fn new(by: &Arc<[OnEnd]>, is_kept: bool, headers: &HeaderMap) -> Option<Arc<Self>> {
        let told = |name: &HeaderName| {
            let value = headers.get(name).map(HeaderValue::as_bytes)?;
            // NB: of a long one no more than is kept.
            let start = value.get(..WORD).unwrap_or(value);
            // NB: looked at by its characters where it has to be only.
            let text = std::str::from_utf8(start).map(Cow::Borrowed);
            bounded(&text.unwrap_or_else(|_| String::from_utf8_lossy(start)), WORD)
        };
        (is_kept || !by.is_empty()).then(|| {
            Arc::new(Self {
                by: Arc::clone(by),
                request_id: told(&REQUEST_ID),
                traceparent: told(&TRACEPARENT),
                arrived: SystemTime::now(),
                error: OnceLock::new(),
            })
        })
    }

    pub(super) fn is_asked_by_nobody(&self) -> bool {
        self.by.is_empty()
    }

    /// Tells all who ask. A panic is that of one of them, and the panic hook has told of it.
    pub(super) fn tell(&self, ended: &Ended) {
        for on_end in &*self.by {
            let _ = catch_unwind(AssertUnwindSafe(|| on_end(ended)));
        }
    }
}

impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asked").field("request_id", &self.request_id).finish_non_exhaustive()
    }
}
