//! The body that keeps a place among those that run, or tells of a refusal.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;

use super::limit::Place;

/// The body of a response that passed the layer: the inner one, whose end makes room for the next
/// request; or that of a refusal.
///
/// Frames, trailers, size hints and errors are the inner body's own.
///
/// ```
/// use http_body_util::BodyExt;
/// use infermeter::{AdmissionLayer, Meter, admission::ResponseBody};
/// use tower::{Layer, ServiceExt};
/// # use tower::service_fn;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// # let words = service_fn(async |_: http::Request<()>| {
/// #     Ok::<_, std::convert::Infallible>(http::Response::new("three small words".to_owned()))
/// # });
/// let service = AdmissionLayer::new(&Meter::new(), 8).layer(words);
/// let answer = service.oneshot(http::Request::new(())).await.unwrap();
/// let body: ResponseBody<String> = answer.into_body();
/// assert_eq!(body.collect().await.unwrap().to_bytes(), "three small words");
/// # }
/// ```
#[derive(Debug)]
#[pin_project]
pub struct ResponseBody<B> {
    #[pin]
    kind: Kind<B>,
    /// Until the inner body is over. NB: handed on after the inner body is dropped, which may work
    /// until then.
    place: Option<Place>,
}

#[derive(Debug)]
#[pin_project(project = KindProj)]
enum Kind<B> {
    Admitted {
        #[pin]
        inner: B,
    },
    Refused {
        /// Until it was sent.
        error: Option<Bytes>,
    },
}

// === impl ResponseBody ===

impl<B> ResponseBody<B> {
    pub(super) fn admitted(inner: B, place: Option<Place>) -> Self
    where
        B: Body,
    {
        // NB: a body that is over already is never polled, and may be kept for long.
        let place = place.filter(|_| !inner.is_end_stream());
        Self { kind: Kind::Admitted { inner }, place }
    }

    pub(super) const fn refused(error: Bytes) -> Self {
        Self { kind: Kind::Refused { error: Some(error) }, place: None }
    }
}

impl<B: Body<Data: From<Bytes>>> Body for ResponseBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.project();
        let mut inner = match this.kind.project() {
            KindProj::Admitted { inner } => inner,
            KindProj::Refused { error } => {
                return Poll::Ready(error.take().map(|error| Ok(Frame::data(error.into()))));
            }
        };
        let frame = ready!(inner.as_mut().poll_frame(cx));
        let is_over = match &frame {
            None | Some(Err(_)) => true,
            Some(Ok(frame)) => frame.is_trailers() || inner.is_end_stream(),
        };
        if is_over {
            *this.place = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Admitted { inner } => inner.is_end_stream(),
            Kind::Refused { error } => error.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Admitted { inner } => inner.size_hint(),
            Kind::Refused { error } => {
                SizeHint::with_exact(error.as_ref().map_or(0, |error| error.len() as u64))
            }
        }
    }
}
