//! Several upstreams in one meter: each request, engine and source under the labels of its own.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]

mod labels;
mod moves;
mod pages;
mod sources;
mod storm;
#[path = "../support/mod.rs"]
mod support;

use infermeter::{Meter, exporter::Prometheus, record::Collect};

fn page_of(meter: &Meter) -> String {
    meter.sample();
    Prometheus::builder().meter(meter.clone()).process(false).build().unwrap().render()
}

/// Lines with values whose names begin so.
fn lines<'a>(page: &'a str, start: &str) -> Vec<&'a str> {
    page.lines().filter(|line| line.starts_with(start)).collect()
}
