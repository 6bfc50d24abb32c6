//! The future of a response: waits for its turn, then for the service, calls it, and hands the
//! place to the body.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{Request, Response};
use http_body::Body;
use pin_project::pin_project;
use tower::Service;

use super::{ResponseBody, layer::Admit, limit::Place, turn::Turn};
use crate::record::RequestMeter;

/// The response future of [`Admission`](super::Admission).
///
/// ```
/// use infermeter::{AdmissionLayer, Meter, admission::ResponseFuture};
/// use tower::{Layer, Service};
/// # use tower::service_fn;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// # let words = service_fn(async |_: http::Request<()>| {
/// #     Ok::<_, std::convert::Infallible>(http::Response::new("three small words".to_owned()))
/// # });
/// let mut service = AdmissionLayer::new(&Meter::new(), 8).layer(words);
/// let answer: ResponseFuture<_, _> = service.call(http::Request::new(()));
/// assert_eq!(answer.await.unwrap().status(), 200);
/// # }
/// ```
#[pin_project]
pub struct ResponseFuture<S: Service<Request<B>>, B> {
    #[pin]
    state: State<S, B, S::Future>,
    /// From being let in until a body has it. NB: given on after the service's future is dropped,
    /// which may work until then.
    place: Option<Place>,
    /// It needs no place.
    passes_by: bool,
}

#[pin_project(project = StateProj)]
#[expect(clippy::large_enum_variant, reason = "a box would be an allocation for each request")]
enum State<S, B, F> {
    /// Waiting for its turn, then for the service to become ready.
    Waiting {
        #[pin]
        turn: Turn,
        service: S,
        request: Option<Request<B>>,
    },
    /// Waiting for the service's response.
    Called {
        #[pin]
        response: F,
    },
}

// === impl ResponseFuture ===

impl<S: Service<Request<B>>, B> ResponseFuture<S, B> {
    pub(super) fn new(service: S, request: Request<B>, admit: Admit) -> Self {
        let passes_by = admit.terms.only_measured && !RequestMeter::of(&request).is_measuring();
        let turn = Turn::new(admit);
        let state = State::Waiting { turn, service, request: Some(request) };
        Self { state, place: None, passes_by }
    }
}

impl<S, ReqBody, ResBody> Future for ResponseFuture<S, ReqBody>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ResBody: Body,
{
    type Output = Result<Response<ResponseBody<ResBody>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StateProj::Waiting { turn, service, request: left } => {
                    let to_let_in = left.as_ref().filter(|_| !*this.passes_by);
                    if let (None, Some(request)) = (&this.place, to_let_in) {
                        match ready!(turn.poll(cx, request)) {
                            Ok(place) => *this.place = Some(place),
                            Err(refused) => {
                                *left = None;
                                return Poll::Ready(Ok(refused.respond()));
                            }
                        }
                    }
                    let is_ready = ready!(service.poll_ready(cx));
                    let Some(request) = left.take() else {
                        return Poll::Pending;
                    };
                    if let Err(error) = is_ready {
                        *this.place = None;
                        return Poll::Ready(Err(error));
                    }
                    let response = service.call(request);
                    this.state.set(State::Called { response });
                }
                StateProj::Called { response } => {
                    let response = ready!(response.poll(cx));
                    // NB: after an error it is dropped, and the next one let in, right here.
                    let place = this.place.take();
                    let response = response?;
                    return Poll::Ready(Ok(
                        response.map(|body| ResponseBody::admitted(body, place))
                    ));
                }
            }
        }
    }
}

impl<S: Service<Request<B>>, B> fmt::Debug for ResponseFuture<S, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").field("admitted", &self.place.is_some()).finish()
    }
}
