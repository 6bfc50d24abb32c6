//! What GPUs say of themselves: memory, load, power, temperature, clocks, errors.
//!
//! A [`GpuProbe`] reads them on a thread of its own, once a second by default. Neither a request nor
//! a scrape ever calls the driver: they see what the thread has read last. A driver that hangs costs
//! that thread alone; its readings vanish after five seconds, and `gpu_probe_up` is 0.
//!
//! ```
//! use infermeter::{Meter, gpu::{DeviceSelection, GpuProbe}};
//!
//! # #[cfg(feature = "nvml")] {
//! let meter = Meter::new();
//! let probe = GpuProbe::nvml() // runs anywhere: the driver's library is looked for at run time
//!     .devices(DeviceSelection::cuda_visible())
//!     .watch(&meter)
//!     .expect("a thread can be started");
//! for device in probe.latest().devices {
//!     println!("{} {}", device.device.uuid, device.is_up);
//! }
//! # }
//! ```
//!
//! What a GPU does not tell is not published: it is never 0 because it could not be read. Why is in
//! [`Absent`]. A GPU that is lost keeps its `gpu_up`, at 0, and its counters; the driver is opened
//! anew after an error of the whole, with longer and longer pauses.
//!
//! While the driver is open, an operator can neither reset a GPU nor change how it is split:
//! [`GpuProbe::release`] lets go of it, [`GpuProbe::resume`] goes on.
//!
//! Other makers' GPUs, or other accelerators, are a [`GpuBackend`] of your own.

mod backend;
mod board;
mod builder;
mod chosen;
mod device;
mod growing;
mod known;
mod name;
mod notice;
#[cfg(feature = "nvml")]
mod nvml;
mod probe;
mod quantity;
mod selection;
mod session;
mod snapshot;
#[cfg(test)]
mod tests;
mod used;
mod watcher;

#[cfg(feature = "nvml")]
pub use self::nvml::Nvml;
pub use self::{
    backend::{ErrorKind, GpuBackend, GpuEvent, ProbeError, Wanted},
    builder::GpuProbeBuilder,
    device::{Absent, Device, DeviceReadings, Instance, Reading},
    notice::Notice,
    probe::GpuProbe,
    quantity::Quantity,
    selection::{DeviceSelection, SelectionError},
    snapshot::{DeviceSnapshot, GpuSnapshot},
};
