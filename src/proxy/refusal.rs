//! What a client is told where no answer of the upstream can be passed on.

use std::{borrow::Cow, fmt, sync::Arc};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;

use super::{
    body::{Answer, UploadError},
    pool::{SendError, Why},
    route::Named,
};
use crate::{outcome::FailureReason, wire::ErrorDetails};

/// An answer of our own, shaped as OpenAI's errors are.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    /// Stable, for programs.
    code: &'static str,
    /// For people.
    message: String,
    /// Where it is not what the status says.
    pub(super) reason: Option<FailureReason>,
    /// The rest of the request cannot or need not be read.
    closes: bool,
    /// It may be asked again soon.
    retries: bool,
}

/// How many models are named to a client that asks for one that is not there.
const MOST_NAMED: usize = 20;

/// How much of what a client said is repeated to it, in characters.
const MOST_REPEATED: usize = 100;

#[derive(Serialize)]
struct Body<'a> {
    error: Error<'a>,
}

#[derive(Serialize)]
struct Error<'a> {
    message: &'a str,
    r#type: &'static str,
    param: Option<&'static str>,
    code: &'static str,
}

// === impl Refusal ===

impl Refusal {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), reason: None, closes: false, retries: false }
    }

    pub(super) fn connect() -> Self {
        let message = "This is a reverse proxy: CONNECT has no meaning here.";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message).closing()
    }

    pub(super) fn target() -> Self {
        let message = "The request target cannot be passed on; allowed is one with a path, such as \
                       /v1/models.";
        Self::new(StatusCode::BAD_REQUEST, "invalid_target", message).closing()
    }

    /// For a head that has a flaw.
    pub(super) fn head(flaw: &str) -> Self {
        let message = format!("The head of the request is not valid; {flaw}.");
        Self::new(StatusCode::BAD_REQUEST, "invalid_head", message).closing()
    }

    pub(super) fn first_byte(of: &Named) -> Self {
        let message = format!("The {of} did not begin to answer in time.");
        Self::new(StatusCode::GATEWAY_TIMEOUT, "upstream_timeout", message)
    }

    /// NB: the address of the upstream is nothing that a client should learn.
    pub(super) fn send(to: &Named, error: &SendError) -> Self {
        let cause = error.cause();
        let of = |status, code, what: &str| {
            Self::new(status, code, format!("The {to} {what}: {cause}."))
        };
        let bad = StatusCode::BAD_GATEWAY;
        match error.why {
            Why::Unreachable => {
                let what = "cannot be reached";
                of(bad, "upstream_unreachable", what).because(FailureReason::Unreachable)
            }
            Why::ConnectTimeout => {
                let (what, status) = ("cannot be reached", StatusCode::GATEWAY_TIMEOUT);
                of(status, "upstream_connect_timeout", what).because(FailureReason::Unreachable)
            }
            Why::Tls => {
                let what = "does not prove who it is";
                of(bad, "upstream_tls", what).because(FailureReason::Unreachable)
            }
            Why::Closed => of(bad, "upstream_closed", "broke off before it answered"),
            Why::Garbage => of(bad, "upstream_invalid", "did not answer in valid HTTP"),
        }
    }

    /// For an answer whose body is broken from the start.
    pub(super) fn broken(by: &Named, error: &dyn fmt::Display) -> Self {
        let message = format!("The {by} broke off before it answered: {error}.");
        Self::new(StatusCode::BAD_GATEWAY, "upstream_closed", message)
    }

    /// For an answer that hyper takes and that cannot be passed on.
    pub(super) fn answer(of: &Named, flaw: &str) -> Self {
        let message = format!("The {of} did not answer in valid HTTP: {flaw}.");
        Self::new(StatusCode::BAD_GATEWAY, "upstream_invalid", message)
    }

    /// For a model that no upstream has.
    pub(super) fn no_model(model: &str, known: &[Arc<str>]) -> Self {
        let listed: Vec<&str> = known.iter().take(MOST_NAMED).map(|model| &**model).collect();
        let more = match known.len() - listed.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let (model, listed) = (cut(model), listed.join(", "));
        let message = format!("The model {model:?} does not exist; there are {listed}{more}.");
        Self::new(StatusCode::NOT_FOUND, "model_not_found", message)
    }

    /// For a model that may be one of these upstreams, which have not said yet what they serve.
    pub(super) fn not_ready(model: &str, silent: &[&str]) -> Self {
        let (model, silent) = (cut(model), silent.join(", "));
        let message = format!(
            "It is not known yet where the model {model:?} is: no list of models has come from \
             {silent}."
        );
        let refusal = Self::new(StatusCode::SERVICE_UNAVAILABLE, "upstream_not_ready", message);
        Self { retries: true, ..refusal }.because(FailureReason::Unreachable)
    }

    /// `None` where there is nobody any more to be told.
    pub(super) fn upload(error: &UploadError) -> Option<Self> {
        let (status, code) = match error {
            UploadError::Left => return None,
            UploadError::Malformed(_) => (StatusCode::BAD_REQUEST, "malformed_body"),
            UploadError::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "request_too_large"),
            UploadError::TooSlow(_) => (StatusCode::REQUEST_TIMEOUT, "request_timeout"),
        };
        let mut message = error.to_string();
        message[..1].make_ascii_uppercase();
        Some(Self::new(status, code, message + ".").closing())
    }

    pub(super) fn respond(self) -> Response<Answer> {
        let r#type = self.r#type();
        let Self { status, code, message, closes, retries, reason: _ } = self;
        let error = Error { message: &message, r#type, param: None, code };
        let body = serde_json::to_vec(&Body { error }).unwrap_or_default();
        let mut response = Response::new(Answer::own(Bytes::from(body)));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if closes {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if retries {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }

    /// What the answer says, for the log: a client's format may not be one in which it is read.
    pub(super) fn details(&self) -> ErrorDetails {
        ErrorDetails::told(self.r#type(), self.code, &self.message)
    }

    fn r#type(&self) -> &'static str {
        if self.status.is_client_error() { "invalid_request_error" } else { "upstream_error" }
    }

    fn closing(self) -> Self {
        Self { closes: true, ..self }
    }

    fn because(self, reason: FailureReason) -> Self {
        Self { reason: Some(reason), ..self }
    }
}

/// The beginning of what may be long.
fn cut(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(MOST_REPEATED) {
        Some((end, _)) => format!("{}…", &text[..end]).into(),
        None => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_models_some_are_named() {
        let known: Vec<Arc<str>> = (0..25).map(|n| format!("m{n}").into()).collect();
        let message = |known: &[Arc<str>]| Refusal::no_model(&"é".repeat(101), known).message;
        assert!(message(&known).ends_with(", m18, m19 and 5 more."), "{}", message(&known));
        assert!(message(&known[..20]).ends_with(", m18, m19."));
        assert!(message(&known).starts_with(&format!("The model \"{}…\" does", "é".repeat(100))));
    }
}
