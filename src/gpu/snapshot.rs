//! What the probe has read last, for programs.

use std::time::Duration;

use super::{Device, DeviceReadings, ProbeError};

/// What is known of all GPUs at this moment.
///
/// ```
/// use infermeter::gpu::GpuSnapshot;
///
/// // Of what `GpuProbe::latest` gives.
/// fn is_well(gpus: &GpuSnapshot) -> bool {
///     gpus.up == Some(true) && gpus.devices.iter().all(|gpu| gpu.is_up)
/// }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct GpuSnapshot {
    /// What they are read by.
    pub backend: &'static str,
    /// Whether the driver is open and answers in time; `None` before the first answer.
    pub up: Option<bool>,
    /// Why it is not.
    pub error: Option<ProbeError>,
    /// Each GPU of the choice that was seen.
    pub devices: Vec<DeviceSnapshot>,
    /// Why it is not known which GPUs the choice means, while it is not: those that are here then are
    /// tied to no engine.
    pub undecided: Option<String>,
}

/// What is known of one GPU.
///
/// ```
/// use infermeter::gpu::{DeviceSnapshot, Quantity};
///
/// fn line(gpu: &DeviceSnapshot) -> String {
///     let watts = gpu.readings.as_ref().and_then(|readings| readings.get(Quantity::Power).ok());
///     format!("{}: {watts:?} W", gpu.device.uuid)
/// }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DeviceSnapshot {
    /// What it is.
    pub device: Device,
    /// Whether it can be read.
    pub is_up: bool,
    /// Why it cannot.
    pub error: Option<ProbeError>,
    /// What was read last; `None` if that is too old.
    pub readings: Option<DeviceReadings>,
    /// How old that is.
    pub age: Option<Duration>,
}
