//! Metrics for LLM inference services.
//!
//! infermeter watches the requests of any inference service, understands the token streams that go
//! by, and publishes what it saw on a port of its own, in the names that vLLM's dashboards know.

#![forbid(unsafe_code)]

#[cfg(feature = "prometheus")]
pub mod exporter;
pub mod layer;
pub mod names;
pub mod outcome;
pub mod record;
pub mod stream;
pub mod wire;

pub use self::{
    layer::{InferenceLayer, Start},
    record::{Meter, RequestMeter},
};
