//! What a refused request is told.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};

use super::{ResponseBody, layer::Terms};

/// What status refused requests get: one of the two that clients understand as "later".
///
/// ```
/// use infermeter::{AdmissionLayer, Meter, admission::Refusal};
///
/// assert_eq!(Refusal::default().status(), 429);
/// let layer = AdmissionLayer::new(&Meter::new(), 8).refuse_with(Refusal::ServiceUnavailable);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// 429, error type `rate_limit_exceeded`. Clients of OpenAI's API wait and try again.
    #[default]
    TooManyRequests,
    /// 503, error type `overloaded_error`. A load balancer may try another server.
    ServiceUnavailable,
}

/// A request was refused.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refused {
    pub(super) cause: Cause,
    pub(super) terms: Terms,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Cause {
    /// As many wait as may.
    Full,
    /// It has waited for too long.
    WaitLimit,
}

/// In whole seconds. Beyond it a client would rather give up than come back.
const LONGEST_RETRY_AFTER: u64 = 60;

// === impl Refusal ===

impl Refusal {
    /// The status of the response.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
            Self::ServiceUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    const fn error_type(self) -> &'static str {
        match self {
            Self::TooManyRequests => "rate_limit_exceeded",
            Self::ServiceUnavailable => "overloaded_error",
        }
    }
}

// === impl Refused ===

impl Refused {
    pub(super) fn respond<B>(self) -> Response<ResponseBody<B>> {
        let refusal = self.terms.refusal;
        let mut response = Response::new(ResponseBody::refused(self.error()));
        *response.status_mut() = refusal.status();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::RETRY_AFTER, HeaderValue::from(self.retry_after()));
        response
    }

    fn error(self) -> Bytes {
        let Terms { running, wait_limit, refusal, .. } = self.terms;
        let max_waiting = self.terms.max_waiting();
        let again = format!("Try again in {} s.", self.retry_after());
        let (code, message) = match self.cause {
            Cause::Full if running == 0 => (
                "admission_closed",
                "This server lets no request in: its limit is 0; allowed is 1 or more.".to_owned(),
            ),
            Cause::Full => (
                "queue_full",
                format!(
                    "This server is busy: at most {running} requests run at once, and at most \
                     {max_waiting} more wait. {again}"
                ),
            ),
            Cause::WaitLimit => (
                "wait_limit_reached",
                format!(
                    "This server is busy: at most {running} requests run at once, and the others \
                     wait for at most {:?}. {again}",
                    wait_limit.unwrap_or_default()
                ),
            ),
        };
        // NB: nothing in it needs to be escaped.
        let kind = refusal.error_type();
        let error = format!(
            r#"{{"error":{{"message":"{message}","type":"{kind}","param":null,"code":"{code}"}}}}"#
        );
        error.into()
    }

    fn retry_after(self) -> u64 {
        let limit = self.terms.wait_limit.unwrap_or_default();
        let begun = u64::from(limit.subsec_nanos() > 0);
        limit.as_secs().saturating_add(begun).clamp(1, LONGEST_RETRY_AFTER)
    }
}
