#![doc = include_str!("../README.md")]
#![deny(unsafe_code)]

pub mod admission;
pub mod engine;
#[cfg(feature = "proxy")]
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
