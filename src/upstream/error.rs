//! Why no answer came.

use std::{error::Error, io, iter::successors};

use hyper_util::client::legacy;

use super::{connector::TookTooLong, direct::NoHead};

type BoxError = Box<dyn Error + Send + Sync>;

/// No answer came of a request.
#[derive(Debug)]
pub(crate) struct SendError {
    pub(crate) why: Why,
    error: BoxError,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// No connection.
    Unreachable,
    /// No connection in time.
    ConnectTimeout,
    /// The certificate of the upstream is not trusted, or it does not speak TLS.
    Tls,
    /// The connection was closed before the head of an answer.
    Closed,
    /// What came is no answer of HTTP.
    Garbage,
}

// === impl SendError ===

impl SendError {
    /// Of hyper's client.
    pub(super) fn new(error: legacy::Error) -> Self {
        let why = if error.is_connect() { Why::of_connect(&error) } else { Why::of(&error) };
        Self { why, error: error.into() }
    }

    pub(super) fn connect(error: BoxError) -> Self {
        Self { why: Why::of_connect(&*error), error }
    }

    pub(super) fn no_head(error: NoHead) -> Self {
        match error {
            NoHead::Closed(error) => Self { why: Why::Closed, error },
            NoHead::Garbage(error) => Self { why: Why::Garbage, error },
        }
    }

    /// The innermost cause, which says most in fewest words.
    pub(crate) fn cause(&self) -> String {
        causes(&*self.error).last().map_or_else(String::new, ToString::to_string)
    }
}

// === impl Why ===

impl Why {
    fn of_connect(error: &(dyn Error + 'static)) -> Self {
        let any = |is_it: fn(&(dyn Error + 'static)) -> bool| causes(error).any(is_it);
        if any(|cause| cause.is::<TookTooLong>()) {
            Self::ConnectTimeout
        } else if any(|cause| cause.is::<rustls::Error>() || is_tls(cause)) {
            Self::Tls
        } else {
            Self::Unreachable
        }
    }

    fn of(error: &(dyn Error + 'static)) -> Self {
        let is_garbage = |cause: &(dyn Error + 'static)| {
            cause
                .downcast_ref::<hyper::Error>()
                .is_some_and(|e| e.is_parse() || e.is_parse_too_large())
        };
        if causes(error).any(is_garbage) { Self::Garbage } else { Self::Closed }
    }
}

/// An error and what caused it, the outermost first.
pub(crate) fn causes<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    // NB: an `io::Error` does not show what it holds as its source, but what that holds.
    successors(Some(error), |cause: &&'a (dyn Error + 'static)| {
        let cause: &'a (dyn Error + 'static) = *cause;
        match cause.downcast_ref::<io::Error>() {
            Some(cause) => cause.get_ref().map(|inner| inner as &(dyn Error + 'static)),
            None => cause.source(),
        }
    })
}

fn is_tls(cause: &(dyn Error + 'static)) -> bool {
    let io = cause.downcast_ref::<io::Error>();
    io.and_then(io::Error::get_ref).is_some_and(|inner| inner.is::<rustls::Error>())
}
