//! What the system says of processes: processor time, memory, file descriptors, threads.
//!
//! Read from `/proc`, so on Linux only. A Prometheus exporter watches its own process by itself;
//! with an exporter of your own, watch it like any other source:
//!
//! ```
//! use infermeter::{Meter, process::Process};
//!
//! let meter = Meter::new();
//! if let Some(process) = Process::own() {
//!     meter.watch("process", process);
//! }
//! ```
//!
//! `process_*` describe whoever serves the model. Where that is another program, watch that one by
//! [`ProcessTree`], and what watches it by [`Process::observer`]:
//!
//! ```no_run
//! use infermeter::{Meter, names::source, process::{Process, ProcessTree}};
//!
//! let meter = Meter::new();
//! meter.watch(source::PROCESS, ProcessTree::of(4711)?);
//! if let Some(process) = Process::observer() {
//!     meter.watch(source::INFERMETER_PROCESS, process);
//! }
//! # Ok::<(), infermeter::process::ProcessError>(())
//! ```
//!
//! What cannot be read is not published, whatever the rest says.

mod cgroup;
#[cfg(test)]
mod fake;
mod files;
mod own;
mod text;
mod tree;

pub use self::{
    own::Process,
    tree::{MemoryKind, ProcessError, ProcessTree},
};
