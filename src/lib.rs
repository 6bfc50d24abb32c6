#![doc = include_str!("../README.md")]
#![deny(unsafe_code)]

pub mod admission;
pub mod engine;
// NB: so that fuzzing compiles no HTTP client and no TLS with the sanitizer.
#[cfg(any(feature = "proxy", fuzzing))]
#[cfg_attr(fuzzing, allow(dead_code, reason = "nobody asks engines"))]
pub mod engines;
pub mod exporter;
pub mod gpu;
pub mod layer;
pub mod names;
pub mod outcome;
pub mod process;
#[cfg(feature = "proxy")]
pub mod proxy;
pub mod record;
pub mod stream;
#[cfg(feature = "proxy")]
mod upstream;
pub mod wire;

pub use self::{
    admission::AdmissionLayer,
    layer::{InferenceLayer, Start},
    record::{Meter, RequestMeter},
};
