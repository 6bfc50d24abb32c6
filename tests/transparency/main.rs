//! Being watched changes nothing: not a byte, a frame, a header, a hint or an error.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]

mod body;
mod service;
#[path = "../support/mod.rs"]
mod support;
mod wire;
