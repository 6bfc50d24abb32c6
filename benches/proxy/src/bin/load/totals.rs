//! What all connections have seen together.

use std::collections::BTreeMap;

use infermeter_proxy_bench::histogram::Histogram;
use serde_json::{Value, json};

use crate::failure::Failure;

/// Each request that was sent is complete, cut, or failed.
#[derive(Default)]
pub(crate) struct Totals {
    pub(crate) requests: u64,
    pub(crate) complete: u64,
    pub(crate) cut: u64,
    /// Of those that are cut: at a time when the engine may have sent the end already, so that a proxy
    /// may have seen it.
    pub(crate) cut_late: u64,
    failed: u64,
    errors: BTreeMap<String, u64>,
    pub(crate) connects: u64,
    /// Of all requests; a stream that is cut at a chunk has that chunk still.
    pub(crate) chunks: u64,
    /// Of those that are complete.
    pub(crate) chunks_of_complete: u64,
    pub(crate) reads: u64,
    pub(crate) bytes: u64,
    /// From when the simulator wrote a chunk until it was read here.
    pub(crate) age: Histogram,
    /// From when a request was written to its first chunk.
    pub(crate) first: Histogram,
    /// From when a request was written to the end of its answer, where that is complete.
    pub(crate) whole: Histogram,
}

// === impl Totals ===

impl Totals {
    pub(crate) fn fail(&mut self, failure: &Failure) {
        self.failed += 1;
        *self.errors.entry(failure.to_string()).or_default() += 1;
    }

    pub(crate) fn json(&self, seconds: f64) -> Value {
        let Self { requests, complete, cut, cut_late, failed, errors, connects, .. } = self;
        let Self { chunks, chunks_of_complete, reads, bytes, age, first, whole, .. } = self;
        let per_chunk = if *chunks == 0 { None } else { Some(*reads as f64 / *chunks as f64) };
        json!({
            "seconds": seconds,
            "requests": requests,
            "complete": complete,
            "cut": cut,
            "cut_late": cut_late,
            "failed": failed,
            "errors": errors,
            "connects": connects,
            "chunks": chunks,
            "chunks_of_complete": chunks_of_complete,
            "bytes": bytes,
            "requests_per_second": *complete as f64 / seconds,
            "chunks_per_second": *chunks as f64 / seconds,
            "reads_per_chunk": per_chunk,
            "age_us": age.summary(),
            "ttft_us": first.summary(),
            "total_us": whole.summary(),
        })
    }
}
