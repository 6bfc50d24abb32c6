//! The service outside of the layers: request ids, and what clients did not ask for.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header};
use http_body::Body;
use pin_project::pin_project;
use tower::Service;

use super::usage::{Hidden, Hide};

/// Stands between the connections and the layers.
#[derive(Clone, Debug)]
pub(super) struct Front<S> {
    inner: S,
}

/// The answer that is on its way, and the id of its request.
#[pin_project]
#[derive(Debug)]
pub(super) struct ResponseFuture<F> {
    #[pin]
    answer: F,
    id: Option<HeaderValue>,
}

static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

// === impl Front ===

impl<S> Front<S> {
    pub(super) const fn new(inner: S) -> Self {
        Self { inner }
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for Front<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ResBody: Body<Data = Bytes>,
{
    type Response = Response<Hidden<ResBody>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        let id = request.headers_mut().entry(&REQUEST_ID).or_insert_with(new_id).clone();
        ResponseFuture { answer: self.inner.call(request), id: Some(id) }
    }
}

// === impl ResponseFuture ===

impl<F, B, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body<Data = Bytes>,
{
    type Output = Result<Response<Hidden<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut answer = ready!(this.answer.poll(cx))?;
        if let Some(id) = this.id.take() {
            answer.headers_mut().entry(&REQUEST_ID).or_insert(id);
        }
        let hide = answer.extensions_mut().remove::<Hide>();
        let hide = hide.filter(|_| is_stream(answer.headers()));
        if hide.is_some() {
            // What is taken out is in it.
            answer.headers_mut().remove(header::CONTENT_LENGTH);
        }
        Poll::Ready(Ok(answer.map(|body| Hidden::new(body, hide))))
    }
}

fn is_stream(headers: &HeaderMap) -> bool {
    let is_plain = !headers.contains_key(header::CONTENT_ENCODING);
    let content_type = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    let events = b"text/event-stream";
    is_plain
        && content_type
            .and_then(|of| of.get(..events.len()))
            .is_some_and(|of| of.eq_ignore_ascii_case(events))
}

/// 128 bits by chance, as text.
fn new_id() -> HeaderValue {
    let chance = fastrand::u128(..);
    let id: [u8; 32] =
        std::array::from_fn(|digit| b"0123456789abcdef"[(chance >> (4 * digit)) as usize & 15]);
    // NB: hexadecimal digits always are one.
    HeaderValue::from_bytes(&id).unwrap_or_else(|_| HeaderValue::from_static("none"))
}
