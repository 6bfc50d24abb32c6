//! What the engine has done, to be compared with what came of it.

use std::cell::Cell;

use serde_json::json;

/// Since the start.
#[derive(Default)]
pub(crate) struct Totals {
    /// Inference requests that were read.
    pub(crate) requests: Count,
    /// Answers that were written to their end.
    pub(crate) complete: Count,
    /// Chunks of streams that were written, or that the kernel may have taken a part of.
    pub(crate) chunks: Count,
}

#[derive(Default)]
pub(crate) struct Count(Cell<u64>);

// === impl Totals ===

impl Totals {
    pub(crate) fn json(&self) -> String {
        let Self { requests, complete, chunks } = self;
        json!({ "requests": requests.0, "complete": complete.0, "chunks": chunks.0 }).to_string()
    }
}

// === impl Count ===

impl Count {
    /// Returns how many there are now.
    pub(crate) fn add(&self, count: u32) -> u64 {
        self.0.set(self.0.get() + u64::from(count));
        self.0.get()
    }
}
