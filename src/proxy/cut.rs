//! Requests that the proxy itself breaks off, because it ends.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use http::Request;
use pin_project::pin_project;
use tower::Service;

use crate::{outcome::FailureReason, record::RequestMeter};

/// Inside of the layer that measures, and outside of all that waits.
#[derive(Clone, Debug)]
pub(super) struct Cuttable<S> {
    inner: S,
    cut: Arc<AtomicBool>,
}

/// One that waits for its head.
#[pin_project]
#[derive(Debug)]
pub(super) struct ResponseFuture<F> {
    #[pin]
    inner: F,
    _waits: Waits,
}

/// Dropped when the proxy ends, the request has not been given up by its client.
#[derive(Debug)]
struct Waits {
    meter: RequestMeter,
    cut: Arc<AtomicBool>,
}

// === impl Cuttable ===

impl<S> Cuttable<S> {
    /// `cut` is set before anything is broken off.
    pub(super) const fn new(inner: S, cut: Arc<AtomicBool>) -> Self {
        Self { inner, cut }
    }
}

impl<S: Service<Request<B>>, B> Service<Request<B>> for Cuttable<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let waits = Waits { meter: RequestMeter::of(&request), cut: Arc::clone(&self.cut) };
        ResponseFuture { inner: self.inner.call(request), _waits: waits }
    }
}

// === impl ResponseFuture ===

impl<F: Future> Future for ResponseFuture<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.project().inner.poll(cx)
    }
}

// === impl Waits ===

impl Drop for Waits {
    fn drop(&mut self) {
        if self.cut.load(Relaxed) {
            self.meter.fail(FailureReason::Timeout);
        }
    }
}
