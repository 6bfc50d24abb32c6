//! The body of a request, as it comes from the client.

use std::{
    error::Error,
    fmt, io,
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep};

use super::ClientBody;
use crate::proxy::pool::causes;

/// What a client sends, within limits.
#[derive(Debug)]
pub(in crate::proxy) struct Upload {
    inner: ClientBody,
    /// Bytes that have come.
    read: u64,
    limit: Option<u64>,
    longest_pause: Duration,
    pause: Option<Pin<Box<Sleep>>>,
    /// Nothing came when it was last asked for something.
    is_pausing: bool,
    progress: Progress,
}

/// How an upload goes, for whoever does not see the body any more.
#[derive(Clone, Debug, Default)]
pub(in crate::proxy) struct Progress(Arc<Passed>);

#[derive(Debug, Default)]
struct Passed {
    failure: OnceLock<UploadError>,
    has_moved: AtomicBool,
}

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

// === impl Upload ===

impl Upload {
    /// `limit` is how many bytes it may have, `longest_pause` how long the client may send nothing.
    pub(in crate::proxy) fn new(
        inner: ClientBody,
        limit: Option<u64>,
        longest_pause: Duration,
    ) -> Self {
        let progress = Progress::default();
        Self { inner, read: 0, limit, longest_pause, pause: None, is_pausing: false, progress }
    }

    /// Whether it says itself that it is too long.
    pub(in crate::proxy) fn is_too_large(&self) -> Option<UploadError> {
        let limit = self.limit.filter(|limit| self.inner.size_hint().lower() > *limit)?;
        Some(UploadError::TooLarge(limit))
    }

    pub(in crate::proxy) fn progress(&self) -> Progress {
        self.progress.clone()
    }

    fn fail(&self, error: UploadError) -> UploadError {
        self.progress.0.failure.get_or_init(|| error).clone()
    }

    /// Nothing has come: ends once that was so for too long.
    ///
    /// NB: the pause begins when something was asked for. Before that, it may be the upstream that
    /// takes its time.
    fn poll_pause(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let limit = self.longest_pause;
        let pause = self.pause.get_or_insert_with(|| Box::pin(sleep(limit)));
        if !std::mem::replace(&mut self.is_pausing, true) {
            pause.as_mut().reset(Instant::now() + limit);
        }
        pause.as_mut().poll(cx)
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
            ready!(this.poll_pause(cx));
            let error = UploadError::TooSlow(this.longest_pause);
            return Poll::Ready(Some(Err(this.fail(error))));
        };
        this.is_pausing = false;
        this.progress.0.has_moved.store(true, Relaxed);
        match frame {
            Some(Ok(frame)) => {
                this.read += frame.data_ref().map_or(0, |data| data.len() as u64);
                Poll::Ready(Some(match this.limit.filter(|limit| this.read > *limit) {
                    Some(limit) => Err(this.fail(UploadError::TooLarge(limit))),
                    None => Ok(frame),
                }))
            }
            Some(Err(error)) => Poll::Ready(Some(Err(this.fail(UploadError::of(&*error))))),
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

// === impl Progress ===

impl Progress {
    pub(in crate::proxy) fn failure(&self) -> Option<UploadError> {
        self.0.failure.get().cloned()
    }

    /// Whether something has come since this was last asked.
    pub(in crate::proxy) fn has_moved(&self) -> bool {
        self.0.has_moved.swap(false, Relaxed)
    }
}

// === impl UploadError ===

impl UploadError {
    fn of(error: &(dyn Error + 'static)) -> Self {
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
