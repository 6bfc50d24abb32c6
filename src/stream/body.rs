//! The body that watches another one go by.

use std::{
    fmt,
    io::IoSlice,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Buf;
use http::Response;
use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;
use tokio::time::Instant;

use super::{
    head::Head,
    summary::{BodyEnd, Summary},
    watch::Watch,
};
use crate::wire::{Usage, Wire};

/// Is told of what a body does while it goes by.
///
/// Only [`end`](Self::end) must be there; it is called exactly once, also when the body is dropped,
/// so it must not block. A panic in any of them costs its own work, not the response.
///
/// ```
/// use infermeter::stream::{Observer, Summary};
///
/// struct Print;
///
/// impl Observer for Print {
///     fn first_token(&mut self, at: tokio::time::Instant) {
///         println!("the first token came {:?} ago", at.elapsed());
///     }
///
///     fn end(&mut self, summary: Summary) {
///         println!("{} bytes", summary.bytes);
///     }
/// }
/// ```
pub trait Observer {
    /// The first generated content came.
    fn first_token(&mut self, _at: Instant) {}

    /// Tokens came, `gap` after the ones before them of the same choice.
    fn gap(&mut self, _gap: Duration, _tokens: u64) {}

    /// A frame has passed; `so_far` asks for what is known.
    fn frame(&mut self, _now: Instant, _so_far: impl FnOnce() -> Usage)
    where
        Self: Sized,
    {
    }

    /// The body has ended.
    fn end(&mut self, summary: Summary);
}

/// A closure as an [`Observer`].
///
/// ```
/// use infermeter::{stream::{ObservedBody, OnEnd, Summary}, wire::Wire};
///
/// let print = |summary: Summary| println!("{} bytes", summary.bytes);
/// let body: ObservedBody<_, OnEnd<_>> = ObservedBody::new(String::new(), Wire::openai(), print);
/// ```
pub struct OnEnd<F>(Option<F>);

/// Passes a body on, frame by frame, and watches it.
///
/// Frames, trailers, size hints and errors are the inner body's own. See the [module
/// docs](crate::stream) for an example.
///
/// ```
/// use infermeter::{stream::{ObservedBody, Summary}, wire::Wire};
///
/// let answer = http::Response::new(r#"{"choices":[]}"#.to_owned());
/// let watched = ObservedBody::response(answer, Wire::openai(), |summary: Summary| {
///     println!("{}, {:?}", summary.outcome.label(), summary.usage);
/// });
/// assert_eq!(watched.status(), 200);
/// ```
#[pin_project]
pub struct ObservedBody<B, O: Observer> {
    #[pin]
    inner: B,
    /// NB: dropped after the inner body, which may tell more while it is dropped.
    guard: Guard<O>,
}

/// Ends the watch, once.
struct Guard<O: Observer> {
    /// Until the end.
    watching: Option<Box<Watching<O>>>,
    /// The inner body is being asked: still true in `drop`, it panicked.
    asking: bool,
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
        let watch = Watch::new(&wire, &Head::default(), None);
        Self::watch(body, Box::new(Watching { watch, observer: OnEnd(Some(on_end)) }))
    }

    /// Watches the body of a response; status, `content-type`, `content-length` and
    /// `content-encoding` are taken into account.
    pub fn response(response: Response<B>, wire: Wire, on_end: F) -> Response<Self> {
        Self::observed(response, &wire, OnEnd(Some(on_end)))
    }
}

impl<B: Body, O: Observer> ObservedBody<B, O> {
    /// Watches the body of a response, with an observer that is told of every step.
    pub fn observed_by(response: Response<B>, wire: Wire, observer: O) -> Response<Self> {
        Self::observed(response, &wire, observer)
    }

    pub(crate) fn observed(response: Response<B>, wire: &Wire, observer: O) -> Response<Self> {
        let (parts, body) = response.into_parts();
        let head = Head::new(parts.status, &parts.headers);
        let watch = Watch::new(wire, &head, Some(&parts.headers));
        Response::from_parts(parts, Self::watch(body, Box::new(Watching { watch, observer })))
    }

    fn watch(inner: B, watching: Box<Watching<O>>) -> Self {
        // NB: from here on the record is safe, whatever the inner body does.
        let mut body = Self { inner, guard: Guard { watching: Some(watching), asking: true } };
        let (exact, is_end) = (body.inner.size_hint().exact(), body.inner.is_end_stream());
        body.guard.asking = false;
        if let Some(Watching { watch, .. }) = body.guard.watching.as_deref_mut() {
            watch.expect(exact);
            if is_end || watch.is_bodiless() || watch.is_full() {
                body.guard.end(BodyEnd::NeverPolled, Instant::now());
            }
        }
        body
    }

    /// Only passes the body on.
    pub(crate) const fn unwatched(inner: B) -> Self {
        Self { inner, guard: Guard { watching: None, asking: false } }
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
        let guard = this.guard;
        let Some(Watching { watch, observer }) = guard.watching.as_deref_mut() else {
            return this.inner.poll_frame(cx);
        };
        guard.asking = true;
        let polled = this.inner.as_mut().poll_frame(cx);
        let Poll::Ready(frame) = polled else {
            guard.asking = false;
            return Poll::Pending;
        };
        let now = Instant::now();
        let ended = match &frame {
            None => Some(BodyEnd::Eof),
            Some(Err(_)) => Some(BodyEnd::Error),
            Some(Ok(frame)) => look(frame, now, watch, observer).or_else(|| {
                // NB: hyper stops polling at the last frame and at the `content-length`: `None`
                // never comes.
                if watch.is_full() {
                    Some(BodyEnd::ContentLength)
                } else {
                    this.inner.is_end_stream().then_some(BodyEnd::EndStream)
                }
            }),
        };
        guard.asking = false;
        if let Some(how) = ended {
            guard.end(how, now);
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

impl<B: fmt::Debug, O: Observer> fmt::Debug for ObservedBody<B, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { inner, guard } = self;
        f.debug_struct("ObservedBody")
            .field("inner", inner)
            .field("ended", &guard.watching.is_none())
            .finish()
    }
}

// === impl Guard ===

impl<O: Observer> Guard<O> {
    fn end(&mut self, how: BodyEnd, now: Instant) {
        if let Some(mut watching) = self.watching.take() {
            let Watching { watch, observer } = &mut *watching;
            kept_inside(|| {
                let summary = watch.end(how, now, observer);
                observer.end(summary);
            });
        }
    }
}

impl<O: Observer> Drop for Guard<O> {
    fn drop(&mut self) {
        if self.watching.is_some() {
            let how = if self.asking { BodyEnd::Panicked } else { BodyEnd::Dropped };
            self.end(how, Instant::now());
        }
    }
}

/// Looks at a frame; says whether it is the end.
fn look<D: Buf, O: Observer>(
    frame: &Frame<D>,
    now: Instant,
    watch: &mut Watch,
    observer: &mut O,
) -> Option<BodyEnd> {
    if let Some(trailers) = frame.trailers_ref() {
        return Some(watch.trailers(trailers));
    }
    read(frame.data_ref()?, now, watch, observer);
    kept_inside(|| observer.frame(now, || watch.so_far()));
    None
}

/// A panic of a user's observer is its own: the panic hook has told of it.
fn kept_inside(tell: impl FnOnce()) {
    let _ = catch_unwind(AssertUnwindSafe(tell));
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
            on_end(summary);
        }
    }
}

impl<F> fmt::Debug for OnEnd<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnEnd")
    }
}
