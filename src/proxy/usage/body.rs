//! The body that takes out of another one what its reader did not ask for.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;

use super::{Hide, strip::Strip};

/// Passes a body on without what is to be hidden; without that, as it is.
///
/// Its bytes must be server-sent events, and not compressed.
#[pin_project]
#[derive(Debug)]
pub(in crate::proxy) struct Hidden<B: Body> {
    #[pin]
    inner: B,
    hiding: Option<Box<Hiding<B::Error>>>,
}

#[derive(Debug)]
struct Hiding<E> {
    strip: Strip,
    /// Bytes to be given before anything else.
    out: VecDeque<Bytes>,
    /// What comes behind them.
    then: Option<Result<Frame<Bytes>, E>>,
    ended: bool,
}

// === impl Hidden ===

impl<B: Body> Hidden<B> {
    pub(in crate::proxy) fn new(inner: B, hide: Option<Hide>) -> Self {
        let hiding = hide.map(|hide| {
            let strip = Strip::new(hide);
            Box::new(Hiding { strip, out: VecDeque::new(), then: None, ended: false })
        });
        Self { inner, hiding }
    }

    /// Whether it may have other bytes than the inner body: then a `content-length` is not its own.
    pub(in crate::proxy) const fn changes(&self) -> bool {
        self.hiding.is_some()
    }
}

impl<B: Body<Data = Bytes>> Body for Hidden<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let mut this = self.project();
        let Some(hiding) = this.hiding else { return this.inner.poll_frame(cx) };
        let Hiding { strip, out, then, ended } = &mut **hiding;
        loop {
            if let Some(bytes) = out.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            if let Some(then) = then.take() {
                return Poll::Ready(Some(then));
            }
            if *ended {
                return Poll::Ready(None);
            }
            match ready!(this.inner.as_mut().poll_frame(cx)) {
                None => {
                    *ended = true;
                    strip.end(out);
                }
                Some(Err(error)) => {
                    *then = Some(Err(error));
                    strip.end(out);
                }
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(bytes) => strip.read(&bytes, out),
                    Err(frame) => {
                        *then = Some(Ok(frame));
                        strip.end(out);
                    }
                },
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        let Some(hiding) = &self.hiding else { return self.inner.is_end_stream() };
        let Hiding { strip, out, then, ended } = &**hiding;
        let is_empty = strip.is_empty() && out.is_empty() && then.is_none();
        is_empty && (*ended || self.inner.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        // NB: an exact size would become a `content-length`.
        if self.changes() { SizeHint::default() } else { self.inner.size_hint() }
    }
}
