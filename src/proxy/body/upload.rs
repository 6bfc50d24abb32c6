//! The body of a request, as it comes from the client.

use std::{
    error::Error,
    fmt, io,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep};

use crate::proxy::upstream::causes;

/// What a client sends, within limits.
#[derive(Debug)]
pub(in crate::proxy) struct Upload {
    inner: Incoming,
    /// Bytes that have come.
    read: u64,
    limit: Option<u64>,
    /// From the moment that nothing came until something does.
    pause: Option<Pin<Box<Sleep>>>,
    failure: Failure,
}

/// Why an upload failed, for whoever does not see the body any more.
#[derive(Clone, Debug, Default)]
pub(in crate::proxy) struct Failure(Arc<OnceLock<UploadError>>);

/// A request whose body did not come as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::proxy) enum UploadError {
    /// The client has gone away.
    Left,
    /// Its framing is broken.
    Malformed(String),
    /// It is longer than it may be.
    TooLarge(u64),
    /// Nothing came for so long.
    TooSlow(Duration),
}

/// How long a client may send nothing in the middle of a body.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

// === impl Upload ===

impl Upload {
    pub(in crate::proxy) fn new(inner: Incoming, limit: Option<u64>) -> Self {
        Self { inner, read: 0, limit, pause: None, failure: Failure::default() }
    }

    /// Whether it says itself that it is too long.
    pub(in crate::proxy) fn is_too_large(&self) -> Option<UploadError> {
        let limit = self.limit.filter(|limit| self.inner.size_hint().lower() > *limit)?;
        Some(UploadError::TooLarge(limit))
    }

    pub(in crate::proxy) fn failure(&self) -> Failure {
        self.failure.clone()
    }

    fn fail(&self, error: UploadError) -> UploadError {
        self.failure.0.get_or_init(|| error).clone()
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = UploadError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        let this = &mut *self;
        let polled = Pin::new(&mut this.inner).poll_frame(cx);
        let Poll::Ready(frame) = polled else {
            let pause = this.pause.get_or_insert_with(|| Box::pin(sleep(LONGEST_PAUSE)));
            return match pause.as_mut().poll(cx) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(()) => {
                    Poll::Ready(Some(Err(this.fail(UploadError::TooSlow(LONGEST_PAUSE)))))
                }
            };
        };
        if let Some(pause) = &mut this.pause {
            pause.as_mut().reset(Instant::now() + LONGEST_PAUSE);
        }
        match frame {
            Some(Ok(frame)) => {
                this.read += frame.data_ref().map_or(0, |data| data.len() as u64);
                Poll::Ready(Some(match this.limit.filter(|limit| this.read > *limit) {
                    Some(limit) => Err(this.fail(UploadError::TooLarge(limit))),
                    None => Ok(frame),
                }))
            }
            Some(Err(error)) => Poll::Ready(Some(Err(this.fail(UploadError::of(&error))))),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

// === impl Failure ===

impl Failure {
    pub(in crate::proxy) fn get(&self) -> Option<UploadError> {
        self.0.get().cloned()
    }
}

// === impl UploadError ===

impl UploadError {
    fn of(error: &hyper::Error) -> Self {
        let is_malformed = |cause: &(dyn Error + 'static)| {
            let kind = cause.downcast_ref::<io::Error>().map(io::Error::kind);
            matches!(kind, Some(io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData))
        };
        let malformed = causes(error).find(|cause| is_malformed(*cause));
        malformed.map_or(Self::Left, |cause| Self::Malformed(cause.to_string()))
    }
}

impl fmt::Display for UploadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Left => f.write_str("the client has gone away"),
            Self::Malformed(how) => write!(f, "the request body is malformed: {how}"),
            Self::TooLarge(limit) => {
                write!(f, "the request body is too large; allowed are {limit} bytes")
            }
            Self::TooSlow(limit) => write!(
                f,
                "nothing of the request body came for {} s; allowed are shorter pauses",
                limit.as_secs()
            ),
        }
    }
}

impl Error for UploadError {}
