//! The Tower layer: measures the requests that pass through it.
//!
//! A request is measured from the moment the layer is called until its response body ends, in
//! whatever way. What is measured is a POST to a path of an inference API (see [`Endpoint`]) or a
//! gRPC call; everything else passes by.
//!
//! # Where it stands
//!
//! From the outside in: `Compression` → [`InferenceLayer`] → `Timeout` → admission or other limits
//! → [`StartedLayer`] → your service. Outside of compression it could not read the bodies; inside
//! of a timeout, a request that runs into it would look like a client that left.
//!
//! The layer is always ready, and waits for the service inside its own future: a wait in the
//! `poll_ready` of an inner `ConcurrencyLimit` is queue time, where other layers see none. (An
//! outer `LoadShed` or `Buffer` hence sees a service that is always ready.) With
//! [`tower::ServiceBuilder`] the default [`Start::Call`] knows when that wait is over. An axum
//! `Router::layer` hides the wait of the layers inside from it, so there say [`Start::Reported`]
//! and put a [`StartedLayer`] innermost, or call [`RequestMeter::started`](crate::RequestMeter::started) yourself.
//! An [`AdmissionLayer`](crate::AdmissionLayer) says itself whom it lets in: with it, `Start::Call`
//! is right in both.
//!
//! ```
//! use axum::{Router, routing::post};
//! use infermeter::{InferenceLayer, Meter, RequestMeter, Start, layer::StartedLayer};
//! use tower::limit::GlobalConcurrencyLimitLayer;
//!
//! async fn complete(meter: RequestMeter) -> String {
//!     meter.generated_tokens(3);
//!     "three small words".to_owned()
//! }
//!
//! // `Router::layer` reads from the inside out.
//! let app: Router = Router::new()
//!     .route("/v1/completions", post(complete))
//!     .layer(StartedLayer)
//!     .layer(GlobalConcurrencyLimitLayer::new(8))
//!     .layer(InferenceLayer::new(Meter::new().model("tiny-words")).start(Start::Reported));
//! ```
//!
//! A timeout inside should answer with a status, as that of `tower_http` does: a status of 408 or
//! 504 is a `timeout`, an error of the service is a `server_error`.
//!
//! Inside of `Router::nest` the path that the client sent is known with the `axum` feature only:
//! leave it on there.
//!
//! A retry inside the layer is one request; outside of it each attempt is one. Of two layers with
//! the same meter, the outer one measures. The service has to be `Clone`: each request waits for a
//! clone of it.

mod endpoint;
#[cfg(feature = "axum")]
mod extract;
mod future;
#[cfg(feature = "proxy")]
mod gateway;
#[allow(clippy::module_inception)]
mod layer;
#[cfg(feature = "axum")]
mod path;
#[cfg(not(feature = "axum"))]
#[path = "path_plain.rs"]
mod path;
mod service;
mod started;

pub use self::{
    endpoint::Endpoint,
    future::{ResponseBody, ResponseFuture},
    layer::{InferenceLayer, Start},
    service::InferenceService,
    started::{Started, StartedLayer},
};
