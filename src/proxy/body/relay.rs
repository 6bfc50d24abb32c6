//! The body of an answer, on its way from the upstream to the client.

use std::{
    error::Error,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use super::{Progress, UploadError};
use crate::{outcome::FailureReason, proxy::pool::Received, record::RequestMeter};

type BoxError = Box<dyn Error + Send + Sync>;

/// An answer: what the upstream sends, or an error of ours.
#[derive(Debug)]
pub(in crate::proxy) struct Answer {
    kind: Kind,
    meter: RequestMeter,
    /// The proxy ends, and does not wait any longer.
    cut: Arc<AtomicBool>,
}

#[derive(Debug)]
enum Kind {
    Relayed(Relayed),
    Own(Option<Bytes>),
}

#[derive(Debug)]
struct Relayed {
    inner: Received,
    waiting: Option<Box<Waiting>>,
    /// What was polled before it was asked for.
    ahead: Option<Ahead>,
    upload: Progress,
}

/// NB: small, since with every token what is beside it is needed.
#[derive(Debug)]
enum Ahead {
    Data(Bytes),
    Trailers(Box<HeaderMap>),
    End,
}

/// How long an upstream may take.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::proxy) struct Deadlines {
    /// The moment by which the first byte of the body must be there.
    pub(in crate::proxy) first_byte: Option<Instant>,
    /// Between two events, from the first one on.
    pub(in crate::proxy) idle: Option<Duration>,
}

#[derive(Debug)]
struct Waiting {
    deadlines: Deadlines,
    until: Pin<Box<Sleep>>,
    /// Nothing counts before that, other than the first byte.
    has_begun: bool,
}

/// Far enough not to come.
const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);

// === impl Answer ===

impl Answer {
    pub(in crate::proxy) fn relayed(
        inner: Received,
        deadlines: Deadlines,
        upload: Progress,
        meter: RequestMeter,
        cut: Arc<AtomicBool>,
    ) -> Self {
        let has_any = deadlines.first_byte.is_some() || deadlines.idle.is_some();
        let waiting = has_any.then(|| Box::new(Waiting::new(deadlines)));
        let kind = Kind::Relayed(Relayed { inner, waiting, ahead: None, upload });
        Self { kind, meter, cut }
    }

    /// Takes what is there already, without waiting for it; an error is that of an answer which is
    /// broken from the start.
    ///
    /// NB: where a body fails before its first byte, hyper sends nothing, not even the head.
    pub(in crate::proxy) fn look_ahead(&mut self, cx: &mut Context<'_>) -> Result<(), BoxError> {
        let Kind::Relayed(relayed) = &mut self.kind else { return Ok(()) };
        if relayed.ahead.is_none() && !relayed.inner.is_end_stream() {
            if let Poll::Ready(frame) = relayed.poll_inner(cx) {
                relayed.ahead = Some(Ahead::of(frame.transpose()?));
            }
        }
        Ok(())
    }

    pub(in crate::proxy) fn own(body: Bytes) -> Self {
        let (meter, cut) = (RequestMeter::default(), Arc::default());
        Self { kind: Kind::Own(Some(body)), meter, cut }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Self { kind, meter, .. } = &mut *self;
        let relayed = match kind {
            Kind::Relayed(relayed) => relayed,
            Kind::Own(body) => return Poll::Ready(body.take().map(|body| Ok(Frame::data(body)))),
        };
        if let Some(ahead) = relayed.ahead.take() {
            return Poll::Ready(ahead.frame().map(Ok));
        }
        match relayed.poll_inner(cx) {
            Poll::Ready(Some(Err(error))) => {
                // The upstream lacks the rest of the request.
                if relayed.upload.failure() == Some(UploadError::Left) {
                    meter.client_left();
                }
                Poll::Ready(Some(Err(error)))
            }
            Poll::Ready(frame) => Poll::Ready(frame),
            Poll::Pending => {
                let Some(waiting) = &mut relayed.waiting else { return Poll::Pending };
                ready!(waiting.until.as_mut().poll(cx));
                meter.fail(FailureReason::Timeout);
                Poll::Ready(Some(Err("the upstream took too long".into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Relayed(Relayed { inner, ahead, .. }) => ahead.is_none() && inner.is_end_stream(),
            Kind::Own(body) => body.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Relayed(relayed) => relayed.size_hint(),
            Kind::Own(body) => SizeHint::with_exact(body.as_ref().map_or(0, |b| b.len() as u64)),
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        // NB: the client has not gone away, we have sent it away.
        if self.cut.load(Relaxed) {
            self.meter.fail(FailureReason::Timeout);
        }
    }
}

// === impl Relayed ===

impl Relayed {
    fn poll_inner(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        if let (Some(waiting), Some(Ok(frame))) = (&mut self.waiting, &frame) {
            waiting.came(frame);
        }
        Poll::Ready(frame)
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.inner.size_hint();
        if let Some(Ahead::Data(data)) = &self.ahead {
            let ahead = data.len() as u64;
            let (lower, upper) = (hint.lower() + ahead, hint.upper().map(|upper| upper + ahead));
            hint = SizeHint::new();
            hint.set_lower(lower);
            if let Some(upper) = upper {
                hint.set_upper(upper);
            }
        }
        hint
    }
}

// === impl Ahead ===

impl Ahead {
    fn of(frame: Option<Frame<Bytes>>) -> Self {
        match frame.map(Frame::into_data) {
            None => Self::End,
            Some(Ok(data)) => Self::Data(data),
            // What is neither is nothing that could be passed on.
            Some(Err(other)) => {
                other.into_trailers().map_or(Self::End, |trailers| Self::Trailers(trailers.into()))
            }
        }
    }

    fn frame(self) -> Option<Frame<Bytes>> {
        match self {
            Self::Data(data) => Some(Frame::data(data)),
            Self::Trailers(trailers) => Some(Frame::trailers(*trailers)),
            Self::End => None,
        }
    }
}

// === impl Waiting ===

impl Waiting {
    fn new(deadlines: Deadlines) -> Self {
        let until = deadlines.first_byte.unwrap_or_else(|| Instant::now() + NEVER);
        Self { deadlines, until: Box::pin(sleep_until(until)), has_begun: false }
    }

    fn came(&mut self, frame: &Frame<Bytes>) {
        let Some(data) = frame.data_ref() else { return };
        // NB: an engine may send comments for ever, also one that has died inside.
        if is_comment(data) {
            if !self.has_begun {
                self.until.as_mut().reset(Instant::now() + NEVER);
            }
            return;
        }
        self.has_begun = true;
        let idle = self.deadlines.idle.unwrap_or(NEVER);
        self.until.as_mut().reset(Instant::now() + idle);
    }
}

/// Whether nothing else is in it than comments of server-sent events.
fn is_comment(data: &[u8]) -> bool {
    data.split(|byte| *byte == b'\n')
        .all(|line| line.starts_with(b":") || line.trim_ascii().is_empty())
}
