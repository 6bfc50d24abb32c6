//! The Tower layer that lets so many requests run at once, first come first served.
//!
//! A request runs from the moment it is let in until its response body has ended or is dropped:
//! its place is then given to the one that has been waiting for longest. Who comes while others
//! wait is never let in before them; who leaves while it waits makes room at once. Every request
//! that comes to the layer needs a place, measured or not, so put it on the routes that generate
//! and not on those for health.
//!
//! What cannot be let in is refused: with 429, or 503 if [`Refusal`] says so, a `Retry-After`, and
//! an error in OpenAI's JSON. It never comes to the service, and is counted as a failure by the
//! reason `rejected`.
//!
//! ```
//! use axum::{Router, routing::post};
//! use infermeter::{AdmissionLayer, InferenceLayer, Meter};
//!
//! let meter = Meter::new().model("tiny-words");
//! // One limit over both routes. `Router::layer` reads from the inside out.
//! let app: Router = Router::new()
//!     .route("/v1/completions", post(|| async { "three small words" }))
//!     .route("/v1/chat/completions", post(|| async { "three small words" }))
//!     .layer(AdmissionLayer::new(&meter, 8))
//!     .layer(InferenceLayer::new(meter));
//! ```
//!
//! # What is measured
//!
//! `infermeter_running_limit` is the limit, `infermeter_admission_wait_seconds` the time from the
//! arrival of a request until it was let in. A request that waits is in the queue, also with
//! [`Start::Call`](crate::Start::Call): then being let in is its start. A refused one has ended in
//! the queue, and is in neither of the two histograms. A scrape may for a moment show one more that
//! runs than there may be: a place is handed on before the end of who left it is counted.
//!
//! # Where it stands
//!
//! From the outside in: [`InferenceLayer`](crate::InferenceLayer) → `Timeout` → [`AdmissionLayer`]
//! → [`StartedLayer`](crate::layer::StartedLayer) → your service; alone it limits all the same. A
//! timeout outside of it covers the wait as well, and ends it.
//!
//! With `Start::Call` nothing between the two layers may wait: by the time that an asynchronous
//! authentication lets the request go on, it counts as started. Where something there waits, say
//! [`Start::Reported`](crate::Start::Reported) and put a `StartedLayer` inside:
//!
//! ```
//! use infermeter::{AdmissionLayer, InferenceLayer, Meter, Start, layer::StartedLayer};
//! # use axum::{Router, routing::post};
//! # let meter = Meter::new();
//! # let authenticate = tower::layer::util::Identity::new();
//!
//! let app: Router = Router::new()
//!     .route("/v1/completions", post(|| async { "three small words" }))
//!     .layer(StartedLayer)
//!     .layer(AdmissionLayer::new(&meter, 8))
//!     .layer(authenticate)
//!     .layer(InferenceLayer::new(meter).start(Start::Reported));
//! ```
//!
//! A retry between the two layers does not help a refused request: it is a failure from then on.
//!
//! The layer is always ready and waits in its own future, for its turn and then for the service,
//! which has to be `Clone`. The data of its bodies has to be made `From<Bytes>`, as `Bytes` is.

mod body;
mod future;
#[allow(clippy::module_inception)]
mod layer;
mod limit;
mod refusal;
mod service;
mod turn;

pub use self::{
    body::ResponseBody, future::ResponseFuture, layer::AdmissionLayer, refusal::Refusal,
    service::Admission,
};
