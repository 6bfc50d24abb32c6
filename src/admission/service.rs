//! The service that the layer makes.

use std::task::{Context, Poll};

use http::{Request, Response};
use http_body::Body;
use tower::Service;

use super::{ResponseBody, ResponseFuture, layer::Admit};

/// Lets so many requests into the service inside. See the [module docs](crate::admission).
///
/// ```
/// use infermeter::{AdmissionLayer, Meter, admission::Admission};
/// use tower::{Layer, ServiceExt};
/// # use tower::service_fn;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// # let words = service_fn(async |_: http::Request<()>| {
/// #     Ok::<_, std::convert::Infallible>(http::Response::new("three small words".to_owned()))
/// # });
/// let nobody: Admission<_> = AdmissionLayer::new(&Meter::new(), 0).layer(words);
/// assert_eq!(nobody.oneshot(http::Request::new(())).await.unwrap().status(), 429);
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Admission<S> {
    inner: S,
    admit: Admit,
}

// === impl Admission ===

impl<S> Admission<S> {
    pub(super) const fn new(inner: S, admit: Admit) -> Self {
        Self { inner, admit }
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for Admission<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>> + Clone,
    ResBody: Body,
{
    type Response = Response<ResponseBody<ResBody>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, ReqBody>;

    /// Always ready: requests wait in their futures, where a layer outside sees them.
    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        ResponseFuture::new(self.inner.clone(), request, self.admit.clone())
    }
}
