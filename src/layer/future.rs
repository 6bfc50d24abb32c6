//! The future of a response: waits for the service, calls it, and hands the record to the body.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{Request, Response};
use http_body::Body;
use pin_project::pin_project;
use tokio::time::Instant;
use tower::Service;

use super::Start;
use crate::{
    outcome::{FailureReason, Outcome, Phase},
    record::{Record, RequestObserver},
    stream::ObservedBody,
    wire::Wire,
};

/// The body of a response that passed the layer: the inner one, watched.
///
/// ```
/// use http_body_util::BodyExt;
/// use infermeter::{InferenceLayer, Meter, layer::ResponseBody};
/// use tower::{Layer, ServiceExt};
/// # use tower::service_fn;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// # let words = service_fn(async |_: http::Request<()>| {
/// #     Ok::<_, std::convert::Infallible>(http::Response::new("three small words".to_owned()))
/// # });
/// let service = InferenceLayer::new(Meter::new()).layer(words);
/// let answer = service.oneshot(http::Request::new(())).await.unwrap();
/// let body: ResponseBody<String> = answer.into_body();
/// assert_eq!(body.collect().await.unwrap().to_bytes(), "three small words");
/// # }
/// ```
pub type ResponseBody<B> = ObservedBody<B, RequestObserver>;

/// The response future of [`InferenceService`](super::InferenceService).
///
/// ```
/// use infermeter::{InferenceLayer, Meter, layer::ResponseFuture};
/// use tower::{Layer, Service};
/// # use tower::service_fn;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// # let words = service_fn(async |_: http::Request<()>| {
/// #     Ok::<_, std::convert::Infallible>(http::Response::new("three small words".to_owned()))
/// # });
/// let mut service = InferenceLayer::new(Meter::new()).layer(words);
/// let answer: ResponseFuture<_, _> = service.call(http::Request::new(()));
/// assert_eq!(answer.await.unwrap().status(), 200);
/// # }
/// ```
#[pin_project]
pub struct ResponseFuture<S: Service<Request<B>>, B> {
    #[pin]
    state: State<S, B, S::Future>,
    open: Open,
}

#[pin_project(project = StateProj)]
#[expect(clippy::large_enum_variant, reason = "a box would be an allocation for each request")]
enum State<S, B, F> {
    /// Waiting for the service to become ready.
    Waiting { service: S, request: Option<Request<B>> },
    /// Waiting for its response.
    Called {
        #[pin]
        response: F,
    },
}

/// A record without a response yet. Dropped as it is, the client went away, or the service
/// panicked.
pub(super) struct Open {
    /// Until the end, or until a body has it; none if the request is not measured.
    record: Option<Arc<Record>>,
    wire: Wire,
    start: Start,
    /// Whether the request has started or waits is settled.
    is_settled: bool,
    /// The service is being polled: still true in `drop`, it panicked.
    polling: bool,
}

// === impl ResponseFuture ===

impl<S: Service<Request<B>>, B> ResponseFuture<S, B> {
    pub(super) const fn new(service: S, request: Request<B>, open: Open) -> Self {
        Self { state: State::Waiting { service, request: Some(request) }, open }
    }
}

impl<S, ReqBody, ResBody> Future for ResponseFuture<S, ReqBody>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ResBody: Body,
{
    type Output = Result<Response<ResponseBody<ResBody>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let open = this.open;
        open.polling = true;
        match this.state.poll(cx, open) {
            Poll::Pending => {
                open.polled(true);
                Poll::Pending
            }
            Poll::Ready(Ok(response)) => {
                open.polled(false);
                Poll::Ready(Ok(open.respond(response)))
            }
            Poll::Ready(Err(error)) => {
                open.polled(false);
                open.close(Outcome::Failure(FailureReason::ServerError));
                Poll::Ready(Err(error))
            }
        }
    }
}

impl<S: Service<Request<B>>, B> fmt::Debug for ResponseFuture<S, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").field("measured", &self.open.record.is_some()).finish()
    }
}

// === impl State ===

impl<S, B, F> State<S, B, F>
where
    S: Service<Request<B>, Future = F>,
    F: Future<Output = Result<S::Response, S::Error>>,
{
    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        open: &mut Open,
    ) -> Poll<Result<S::Response, S::Error>> {
        loop {
            match self.as_mut().project() {
                StateProj::Waiting { service, request } => {
                    ready!(service.poll_ready(cx))?;
                    let Some(request) = request.take() else {
                        return Poll::Pending;
                    };
                    open.called();
                    let response = service.call(request);
                    self.set(Self::Called { response });
                }
                StateProj::Called { response } => return response.poll(cx),
            }
        }
    }
}

// === impl Open ===

impl Open {
    pub(super) const fn unmeasured() -> Self {
        let start = Start::Call;
        Self { record: None, wire: Wire::opaque(), start, is_settled: true, polling: false }
    }

    pub(super) const fn measured(record: Arc<Record>, wire: Wire, start: Start) -> Self {
        Self { record: Some(record), wire, start, is_settled: false, polling: false }
    }

    /// The service is ready and about to be called.
    #[inline]
    fn called(&mut self) {
        if let (Start::Call, Some(record)) = (self.start, &self.record) {
            self.is_settled = false;
            record.calls(Instant::now());
        }
    }

    /// The service was polled. After the first time, an admission inside has held the request back
    /// or let it through.
    #[inline]
    fn polled(&mut self, is_pending: bool) {
        self.polling = false;
        if self.is_settled {
            return;
        }
        let Some(record) = &self.record else { return };
        record.settle_start();
        if is_pending || self.start != Start::Call {
            record.waits();
            self.is_settled = true;
        }
    }

    /// The response is there: from here on its body keeps the record.
    fn respond<B: Body>(&mut self, response: Response<B>) -> Response<ResponseBody<B>> {
        match self.record.take() {
            Some(record) => {
                ObservedBody::observed(response, &self.wire, RequestObserver::new(record))
            }
            None => response.map(ObservedBody::unwatched),
        }
    }

    fn close(&mut self, outcome: Outcome) {
        if let Some(record) = self.record.take() {
            record.close(outcome, None);
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if self.polling {
            // The service may not have come to the end of its first turn.
            self.polled(false);
            self.close(Outcome::Failure(FailureReason::ServerError));
        } else {
            // The record knows the phase.
            self.close(Outcome::Aborted(Phase::Queue));
        }
    }
}
