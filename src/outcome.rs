//! How a request ends, and where its token counts came from: the closed label sets of the contract.
//!
//! Each request ends in exactly one [`Outcome`]. The sets are closed, so that every series of them
//! can exist from the start at 0.

use http::StatusCode;

/// How one request ended.
///
/// ```
/// use infermeter::outcome::{FinishReason, Outcome};
///
/// let outcome = Outcome::Success(FinishReason::Length);
/// assert_eq!([outcome.label(), outcome.reason()], ["success", "length"]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The response reached its proper end.
    Success(FinishReason),
    /// It ended by an error, whoever made it.
    Failure(FailureReason),
    /// The client went away first; the phase says how far the request had come.
    Aborted(Phase),
}

/// Why a model stopped generating.
///
/// One per request: with several choices, the reason of the choice with the lowest index.
///
/// ```
/// use infermeter::outcome::FinishReason;
///
/// assert_eq!(FinishReason::from_engine("eos_token"), FinishReason::Stop);
/// assert_eq!(FinishReason::ToolCalls.label(), "tool_calls");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FinishReason {
    /// The model said so, or a stop string was met.
    Stop,
    /// The token limit or the end of the context was reached.
    Length,
    /// The answer ends in tool calls.
    ToolCalls,
    /// A filter cut it.
    ContentFilter,
    /// No reason was given, or one outside this set.
    Other,
}

/// Why a request failed.
///
/// ```
/// use http::StatusCode;
/// use infermeter::outcome::FailureReason;
///
/// let reason = FailureReason::from_status(StatusCode::TOO_MANY_REQUESTS, false);
/// assert_eq!(reason.map(FailureReason::label), Some("rate_limited"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FailureReason {
    /// Status 400 or 422.
    InvalidRequest,
    /// Status 400 or 413 whose error code or type says that the prompt does not fit.
    ContextLength,
    /// Status 401 or 403.
    Auth,
    /// Status 404.
    NotFound,
    /// Any other 4xx.
    ClientError,
    /// Our own admission refused it.
    Rejected,
    /// Status 429 from the service.
    RateLimited,
    /// Status 503 from the service.
    Overloaded,
    /// Status 408 or 504, or one of our own deadlines.
    Timeout,
    /// Any other 5xx, an error of the wrapped service, or a panic in it.
    ServerError,
    /// No connection to the upstream.
    Unreachable,
    /// An error event or `finish_reason` abort or error inside a 200, a failing body, a bad
    /// `grpc-status`.
    StreamError,
    /// A 2xx stream that ended without its end marker.
    Truncated,
}

/// How far a request has come.
///
/// ```
/// use infermeter::outcome::{Outcome, Phase};
///
/// assert_eq!(Phase::ALL, [Phase::Queue, Phase::Prefill, Phase::Decode]);
/// assert_eq!(Outcome::Aborted(Phase::Decode).reason(), "decode");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// From arrival until it starts to be worked on.
    Queue,
    /// From the start until the first generated token.
    Prefill,
    /// From the first generated token on.
    Decode,
}

/// Where the final count of generated tokens came from, best first after [`TokenSource::Handle`].
///
/// ```
/// use infermeter::outcome::TokenSource;
///
/// let is_estimate = |source| matches!(source, TokenSource::Counted | TokenSource::Unknown);
/// assert!(!is_estimate(TokenSource::Usage));
/// assert_eq!(TokenSource::Usage.label(), "usage");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TokenSource {
    /// The engine's final `usage`.
    Usage,
    /// The last running `usage` of a stream that was cut.
    ContinuousUsage,
    /// Other counts in the engine's frames: llama.cpp `timings`, token ids.
    EngineFrame,
    /// Response headers.
    Header,
    /// The service itself, by `RequestMeter`.
    Handle,
    /// Content events were counted: an estimate, since an event is not a token.
    Counted,
    /// Nothing told.
    Unknown,
}

/// Why a measured response was passed through without being read.
///
/// ```
/// use infermeter::outcome::Unread;
///
/// let labels: Vec<_> = Unread::ALL.iter().map(|reason| reason.label()).collect();
/// assert_eq!(labels, ["compressed", "too_long", "unknown_format"]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Unread {
    /// It has a `content-encoding`.
    Compressed,
    /// A whole answer over the limit, or a stream in which an event was, and no end was read.
    TooLong,
    /// No known format speaks its content type.
    UnknownFormat,
}

/// Why a reading of an engine or a source was not published.
///
/// ```
/// use infermeter::outcome::Dropped;
///
/// assert!(Dropped::ALL.contains(&Dropped::Negative));
/// assert_eq!(Dropped::Negative.label(), "negative");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Dropped {
    /// It is not a number, or infinite.
    NotFinite,
    /// It is below 0.
    Negative,
    /// Another source tells the same series.
    Duplicate,
    /// Its labels or its kind are not those of the family, the family is counted here, or more is in
    /// use than there is.
    Invalid,
}

/// A closed set of label values.
macro_rules! label_set {
    ($type:ident { $($variant:ident => $label:literal,)* }) => {
        impl $type {
            /// Every member, in the order of the contract.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The label value.
            pub const fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)* }
            }
        }
    };
}

label_set!(FinishReason {
    Stop => "stop",
    Length => "length",
    ToolCalls => "tool_calls",
    ContentFilter => "content_filter",
    Other => "other",
});

label_set!(FailureReason {
    InvalidRequest => "invalid_request",
    ContextLength => "context_length",
    Auth => "auth",
    NotFound => "not_found",
    ClientError => "client_error",
    Rejected => "rejected",
    RateLimited => "rate_limited",
    Overloaded => "overloaded",
    Timeout => "timeout",
    ServerError => "server_error",
    Unreachable => "unreachable",
    StreamError => "stream_error",
    Truncated => "truncated",
});

label_set!(Phase {
    Queue => "queue",
    Prefill => "prefill",
    Decode => "decode",
});

label_set!(TokenSource {
    Usage => "usage",
    ContinuousUsage => "continuous_usage",
    EngineFrame => "engine_frame",
    Header => "header",
    Handle => "handle",
    Counted => "counted",
    Unknown => "unknown",
});

label_set!(Unread {
    Compressed => "compressed",
    TooLong => "too_long",
    UnknownFormat => "unknown_format",
});

label_set!(Dropped {
    NotFinite => "not_finite",
    Negative => "negative",
    Duplicate => "duplicate",
    Invalid => "invalid",
});

// === impl Outcome ===

impl Outcome {
    /// The value of the `outcome` label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Success(_) => "success",
            Self::Failure(_) => "failure",
            Self::Aborted(_) => "aborted",
        }
    }

    /// The value of the `reason` label: finish reason, failure reason, or phase.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Success(reason) => reason.label(),
            Self::Failure(reason) => reason.label(),
            Self::Aborted(phase) => phase.label(),
        }
    }
}

// === impl FinishReason ===

impl FinishReason {
    /// Reads an engine's word for it; what is not known is [`FinishReason::Other`].
    pub fn from_engine(word: &str) -> Self {
        match word {
            "stop" | "eos" | "eos_token" | "stop_sequence" => Self::Stop,
            "length" | "max_tokens" => Self::Length,
            "tool_calls" | "function_call" => Self::ToolCalls,
            "content_filter" => Self::ContentFilter,
            // Anthropic; `pause_turn` is in none of these sets.
            "end_turn" => Self::Stop,
            "model_context_window_exceeded" => Self::Length,
            "tool_use" => Self::ToolCalls,
            "refusal" => Self::ContentFilter,
            // Responses.
            "completed" => Self::Stop,
            "max_output_tokens" => Self::Length,
            // Gemini.
            "STOP" => Self::Stop,
            "MAX_TOKENS" => Self::Length,
            "SAFETY"
            | "RECITATION"
            | "BLOCKLIST"
            | "PROHIBITED_CONTENT"
            | "SPII"
            | "MODEL_ARMOR"
            | "IMAGE_SAFETY"
            | "IMAGE_PROHIBITED_CONTENT"
            | "IMAGE_RECITATION" => Self::ContentFilter,
            _ => Self::Other,
        }
    }
}

// === impl FailureReason ===

impl FailureReason {
    /// What a status of 400 or more means. `context_length` is what the error body says of itself.
    ///
    /// `None` below 400.
    pub fn from_status(status: StatusCode, context_length: bool) -> Option<Self> {
        Some(match status.as_u16() {
            ..400 => return None,
            400 | 413 if context_length => Self::ContextLength,
            400 | 422 => Self::InvalidRequest,
            401 | 403 => Self::Auth,
            404 => Self::NotFound,
            408 | 504 => Self::Timeout,
            429 => Self::RateLimited,
            503 => Self::Overloaded,
            402..=499 => Self::ClientError,
            _ => Self::ServerError,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_map_as_the_contract_says() {
        let reason = |code: u16, context| {
            FailureReason::from_status(StatusCode::from_u16(code).unwrap(), context)
                .map(FailureReason::label)
        };
        for code in [200, 204, 301, 399] {
            assert_eq!(reason(code, false), None);
        }
        for (code, label) in [
            (400, "invalid_request"),
            (422, "invalid_request"),
            (401, "auth"),
            (403, "auth"),
            (404, "not_found"),
            (405, "client_error"),
            (413, "client_error"),
            (408, "timeout"),
            (504, "timeout"),
            (429, "rate_limited"),
            (503, "overloaded"),
            (500, "server_error"),
            (502, "server_error"),
            (599, "server_error"),
        ] {
            assert_eq!(reason(code, false), Some(label), "{code}");
        }
        assert_eq!(reason(400, true), Some("context_length"));
        assert_eq!(reason(413, true), Some("context_length"));
        assert_eq!(reason(500, true), Some("server_error"));
    }
}
