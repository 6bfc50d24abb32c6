//! Faults that a client can ask for, to see what the metrics say of them.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    body::{Bytes, HttpBody},
    http::HeaderMap,
};
use http_body::Frame;
use tokio::time::{Sleep, sleep};

use super::openai::Error;

/// The request header.
pub(crate) const HEADER: &str = "x-demo-fault";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Error,
    StreamError,
    Cut,
    Slow,
}

/// A body that breaks after what it was given.
#[derive(Debug)]
pub(crate) struct Broken {
    bytes: Option<Bytes>,
    pause: Pin<Box<Sleep>>,
}

/// NB: what is broken at once is never sent, not even its head.
const BEFORE_IT_BREAKS: Duration = Duration::from_millis(20);

// === impl Fault ===

impl Fault {
    pub(crate) const ALL: [Self; 4] = [Self::Error, Self::StreamError, Self::Cut, Self::Slow];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::StreamError => "stream-error",
            Self::Cut => "cut",
            Self::Slow => "slow",
        }
    }

    /// What the head of a request asks for.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Option<Self>, Error> {
        let Some(value) = headers.get(HEADER) else { return Ok(None) };
        let fault = Self::ALL.into_iter().find(|fault| value == fault.as_str());
        fault.map(Some).ok_or_else(|| {
            let allowed = Self::ALL.map(Self::as_str).join(", ");
            Error::invalid(None, format!("{HEADER} is {value:?}; allowed is {allowed}"))
        })
    }
}

// === impl Broken ===

impl Broken {
    pub(crate) fn after(bytes: Bytes) -> Self {
        Self { bytes: Some(bytes), pause: Box::pin(sleep(BEFORE_IT_BREAKS)) }
    }
}

impl HttpBody for Broken {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Some(bytes) = self.bytes.take() {
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        ready!(self.pause.as_mut().poll(cx));
        Poll::Ready(Some(Err(io::ErrorKind::ConnectionAborted.into())))
    }
}
