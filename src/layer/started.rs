//! Marks the start of a request where the service itself is called.

use std::task::{Context, Poll};

use http::Request;
use tower::{Layer, Service};

use crate::record::RequestMeter;

/// Ends the queue time of a request when it comes through here: put it innermost, with
/// [`Start::Reported`](super::Start::Reported) on the [`InferenceLayer`](super::InferenceLayer).
///
/// ```
/// use axum::{Router, routing::post};
/// use infermeter::{InferenceLayer, Meter, Start, layer::StartedLayer};
///
/// let app: Router = Router::new()
///     .route("/v1/completions", post(|| async { "three small words" }))
///     .layer(StartedLayer)
///     .layer(InferenceLayer::new(Meter::new()).start(Start::Reported));
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct StartedLayer;

/// The service that [`StartedLayer`] makes.
///
/// ```
/// use infermeter::layer::{Started, StartedLayer};
/// use tower::Layer;
/// # use tower::service_fn;
///
/// # let words = service_fn(async |_: http::Request<()>| {
/// #     Ok::<_, std::convert::Infallible>(http::Response::new("three small words".to_owned()))
/// # });
/// let service: Started<_> = StartedLayer.layer(words);
/// ```
#[derive(Clone, Debug)]
pub struct Started<S> {
    inner: S,
}

impl<S> Layer<S> for StartedLayer {
    type Service = Started<S>;

    fn layer(&self, inner: S) -> Started<S> {
        Started { inner }
    }
}

impl<S: Service<Request<B>>, B> Service<Request<B>> for Started<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> S::Future {
        RequestMeter::of(&request).started();
        self.inner.call(request)
    }
}
