//! The body that watches another one go by.

use std::{
    fmt,
    io::IoSlice,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Buf;
use http::Response;
use http_body::{Body, Frame, SizeHint};
use pin_project::{pin_project, pinned_drop};
use tokio::time::Instant;

use super::{
    head::Head,
    summary::{BodyEnd, Summary},
    watch::Watch,
};
use crate::wire::Wire;

/// Is told of what a body does while it goes by.
///
/// Only [`end`](Self::end) must be there; it is called exactly once, also when the body is dropped,
/// so it must neither block nor panic.
pub trait Observer {
    /// The first generated content came.
    fn first_token(&mut self, _at: Instant) {}

    /// Tokens came, `gap` after the ones before them of the same choice.
    fn gap(&mut self, _gap: Duration, _tokens: u64) {}

    /// A frame has passed; `generated` counts the tokens so far.
    fn frame(&mut self, _now: Instant, _generated: impl FnOnce() -> u64)
    where
        Self: Sized,
    {
    }

    /// The body has ended.
    fn end(&mut self, summary: Summary);
}

/// A closure as an [`Observer`]. A panic in it is caught: it costs its own work, not the response.
pub struct OnEnd<F>(Option<F>);

/// Passes a body on, frame by frame, and watches it.
///
/// Frames, trailers, size hints and errors are the inner body's own. See the [module
/// docs](crate::stream) for an example.
#[pin_project(PinnedDrop)]
pub struct ObservedBody<B, O: Observer> {
    #[pin]
    inner: B,
    /// Until the end.
    watching: Option<Box<Watching<O>>>,
    /// The inner body is being polled: still true in `drop`, it panicked.
    polling: bool,
}

struct Watching<O> {
    watch: Watch,
    observer: O,
}

// === impl ObservedBody ===

impl<B: Body, F: FnOnce(Summary)> ObservedBody<B, OnEnd<F>> {
    /// Watches a body of which no head is known: its first byte tells a stream from a whole answer.
    ///
    /// `on_end` gets the summary once, when the body has ended or is dropped.
    pub fn new(body: B, wire: Wire, on_end: F) -> Self {
        Self::watch(body, &wire, Head::default(), OnEnd(Some(on_end)))
    }

    /// Watches the body of a response; status, `content-type`, `content-length` and
    /// `content-encoding` are taken into account.
    pub fn response(response: Response<B>, wire: Wire, on_end: F) -> Response<Self> {
        Self::observed_by(response, &wire, OnEnd(Some(on_end)))
    }
}

impl<B: Body, O: Observer> ObservedBody<B, O> {
    /// Watches the body of a response, with an observer that is told of every step.
    pub fn observed_by(response: Response<B>, wire: &Wire, observer: O) -> Response<Self> {
        let (parts, body) = response.into_parts();
        let head = Head::new(parts.status, &parts.headers);
        Response::from_parts(parts, Self::watch(body, wire, head, observer))
    }

    fn watch(inner: B, wire: &Wire, head: Head, observer: O) -> Self {
        let watch = Watch::new(wire, head, inner.size_hint().exact());
        let is_bodiless = head.status.is_some_and(|status| matches!(status.as_u16(), 204 | 304));
        let is_over = is_bodiless || inner.is_end_stream() || watch.is_full();
        let mut watching = Some(Box::new(Watching { watch, observer }));
        if is_over {
            end(&mut watching, BodyEnd::NeverPolled, Instant::now());
        }
        Self { inner, watching, polling: false }
    }

    /// Only passes the body on.
    pub(crate) const fn unwatched(inner: B) -> Self {
        Self { inner, watching: None, polling: false }
    }
}

impl<B: Body, O: Observer> Body for ObservedBody<B, O> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        let Some(watching) = this.watching.as_deref_mut() else {
            return this.inner.poll_frame(cx);
        };
        *this.polling = true;
        let polled = this.inner.as_mut().poll_frame(cx);
        *this.polling = false;

        let frame = ready!(polled);
        let now = Instant::now();
        let ended = match &frame {
            None => Some(BodyEnd::Eof),
            Some(Err(_)) => Some(BodyEnd::Error),
            Some(Ok(frame)) => watching.frame(frame, now).or_else(|| {
                // NB: hyper stops polling at the last frame and at the `content-length`: `None`
                // never comes.
                if watching.watch.is_full() {
                    Some(BodyEnd::ContentLength)
                } else {
                    this.inner.is_end_stream().then_some(BodyEnd::EndStream)
                }
            }),
        };
        if let Some(how) = ended {
            end(this.watching, how, now);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[pinned_drop]
impl<B, O: Observer> PinnedDrop for ObservedBody<B, O> {
    fn drop(self: Pin<&mut Self>) {
        let this = self.project();
        if this.watching.is_some() {
            let how = if *this.polling { BodyEnd::Panicked } else { BodyEnd::Dropped };
            end(this.watching, how, Instant::now());
        }
    }
}

impl<B: fmt::Debug, O: Observer> fmt::Debug for ObservedBody<B, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { inner, watching, polling: _ } = self;
        f.debug_struct("ObservedBody")
            .field("inner", inner)
            .field("ended", &watching.is_none())
            .finish()
    }
}

/// Takes the watch out, so that it ends once.
fn end<O: Observer>(watching: &mut Option<Box<Watching<O>>>, how: BodyEnd, now: Instant) {
    if let Some(mut watching) = watching.take() {
        let Watching { watch, observer } = &mut *watching;
        let summary = watch.end(how, now, observer);
        observer.end(summary);
    }
}

// === impl Watching ===

impl<O: Observer> Watching<O> {
    /// Looks at a frame; says whether it is the end.
    fn frame<D: Buf>(&mut self, frame: &Frame<D>, now: Instant) -> Option<BodyEnd> {
        let Self { watch, observer } = self;
        if let Some(trailers) = frame.trailers_ref() {
            return Some(watch.trailers(trailers));
        }
        let data = frame.data_ref()?;
        read(data, now, watch, observer);
        observer.frame(now, || watch.generated());
        None
    }
}

/// Reads data without consuming it.
fn read<D: Buf>(data: &D, now: Instant, watch: &mut Watch, observer: &mut impl Observer) {
    let (remaining, first) = (data.remaining(), data.chunk());
    if first.len() == remaining {
        return watch.read(first, now, observer);
    }
    // NB: only `chunks_vectored` shows the rest of a buffer that lies in pieces.
    let mut slices = [IoSlice::new(&[]); 64];
    let filled = data.chunks_vectored(&mut slices);
    let slices = &slices[..filled];
    if slices.iter().map(|slice| slice.len()).sum::<usize>() != remaining {
        return watch.skip(remaining as u64);
    }
    for slice in slices {
        watch.read(slice, now, observer);
    }
}

// === impl OnEnd ===

impl<F: FnOnce(Summary)> Observer for OnEnd<F> {
    fn end(&mut self, summary: Summary) {
        if let Some(on_end) = self.0.take() {
            // The panic hook has told of it.
            let _ = catch_unwind(AssertUnwindSafe(|| on_end(summary)));
        }
    }
}

impl<F> fmt::Debug for OnEnd<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnEnd")
    }
}
