//! `infermeter` as an operator meets it: another process.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]

mod config;
mod exporter;
mod log;
mod proxy;
#[path = "../support/scrape.rs"]
#[allow(dead_code, reason = "these tests use a part of it")]
mod scrape;
