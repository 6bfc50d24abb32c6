//! The catalogue by way of a recorder of the `metrics` crate: as it is on our own page.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]

mod absence;
mod pages;
mod panics;
mod pushes;
#[path = "../support/mod.rs"]
mod support;
mod visits;
