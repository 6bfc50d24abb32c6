//! GPUs by the real wrapper of NVML, over a library of our own in its place: `driver.c`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]

mod driver;
mod engine;
mod faults;
mod instances;
mod machine;
mod support;
mod unsupported;
