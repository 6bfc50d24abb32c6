//! What a body was, once it has ended.

use std::time::Duration;

use http::StatusCode;
use tokio::time::Instant;

use crate::{
    outcome::{FailureReason, FinishReason, Outcome, Phase, TokenSource, Unread},
    wire::{ErrorDetails, ErrorKind, Facts, Finish, Usage},
};

/// How a body came to its end.
///
/// ```
/// use infermeter::{stream::{BodyEnd, ObservedBody}, wire::Wire};
///
/// let (tell, told) = std::sync::mpsc::channel();
/// let body = ObservedBody::new("never read".to_owned(), Wire::opaque(), move |summary| {
///     tell.send(summary.end).ok();
/// });
/// drop(body);
/// assert_eq!(told.recv(), Ok(BodyEnd::Dropped));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BodyEnd {
    /// It had nothing to poll for: empty, or a status without a body.
    NeverPolled,
    /// Trailers came. `Some(false)`: their `grpc-status` is not OK.
    Trailers {
        /// What `grpc-status` says, where it is there.
        grpc: Option<bool>,
    },
    /// After a frame, the body said that it was the last one.
    EndStream,
    /// As many bytes as the `content-length` says have passed.
    ContentLength,
    /// The body yielded `None`.
    Eof,
    /// The body yielded an error.
    Error,
    /// The body panicked while it was polled.
    Panicked,
    /// The body was dropped before its end: the client is gone.
    Dropped,
}

/// What a response body was: given once, when it has ended.
///
/// ```
/// use infermeter::{stream::{ObservedBody, Summary}, wire::Wire};
///
/// fn bill(summary: Summary) {
///     let tokens = summary.usage.completion.unwrap_or(0);
///     println!("{tokens} tokens, {}, by {}", summary.outcome.label(), summary.source.label());
/// }
///
/// let body = ObservedBody::new(String::new(), Wire::openai(), bill);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Summary {
    /// How the request ended, as far as status and body tell.
    pub outcome: Outcome,
    /// How the body ended.
    pub end: BodyEnd,
    /// The status, where the head was shown to us.
    pub status: Option<StatusCode>,
    /// Token counts, as the response tells them.
    pub usage: Usage,
    /// Where `usage.completion` came from.
    pub source: TokenSource,
    /// Tokens of the choice that has most of them, where that is known exactly.
    pub longest_choice: Option<u64>,
    /// When the body yielded the first generated content; never for a whole answer.
    pub first_token: Option<Instant>,
    /// When the body yielded the last generated content.
    pub last_token: Option<Instant>,
    /// (last − first token) / (tokens − 1) of the longest choice; `None` below 2 tokens.
    pub time_per_output_token: Option<Duration>,
    /// How long the request waited before it started, where the engine tells.
    pub queue_time: Option<Duration>,
    /// How long its prefill took, where the engine tells: what is left of the time to the first
    /// token was spent waiting.
    pub prefill_time: Option<Duration>,
    /// What the body says of an error, where it tells one and was read.
    pub error: Option<Box<ErrorDetails>>,
    /// When the body ended.
    pub ended: Instant,
    /// Bytes that passed.
    pub bytes: u64,
    /// Why the body was not read, where it was not.
    pub unread: Option<Unread>,
}

/// How a request ended, by status, body and format.
#[inline]
pub(super) fn outcome(
    status: Option<StatusCode>,
    end: BodyEnd,
    facts: &Facts,
    is_complete: bool,
    got_tokens: bool,
) -> Outcome {
    if end == BodyEnd::Panicked {
        return Outcome::Failure(FailureReason::ServerError);
    }
    let context_length = facts.error == Some(ErrorKind::ContextLength);
    if let Some(reason) = status.and_then(|s| FailureReason::from_status(s, context_length)) {
        return Outcome::Failure(reason);
    }
    let is_broken = matches!(end, BodyEnd::Error | BodyEnd::Trailers { grpc: Some(false) })
        || facts.error.is_some()
        || facts.finish == Some(Finish::Abort);
    if is_broken {
        return Outcome::Failure(FailureReason::StreamError);
    }
    if end == BodyEnd::Dropped && !facts.done {
        return Outcome::Aborted(if got_tokens { Phase::Decode } else { Phase::Prefill });
    }
    let is_redirect = status.is_some_and(|status| !status.is_success());
    if !is_complete && !facts.done && !is_redirect {
        return Outcome::Failure(FailureReason::Truncated);
    }
    Outcome::Success(match facts.finish {
        Some(Finish::Reason(reason)) if !is_redirect => reason,
        _ => FinishReason::Other,
    })
}
