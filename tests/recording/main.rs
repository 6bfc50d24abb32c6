//! What a meter keeps while requests run: times, live counters, labels, what the service says.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]

mod said;
#[path = "../support/scrape.rs"]
#[allow(dead_code, reason = "this test uses a part of it")]
mod scrape;
mod settings;
mod support;
mod times;
mod told;
