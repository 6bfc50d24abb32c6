//! How much of the server one client, or all of them together, may take.

use std::time::Duration;

#[derive(Clone, Copy, Debug)]
pub(in crate::exporter) struct Limits {
    /// Connections that are served at once. One more is accepted and waits; others wait with the
    /// kernel.
    pub(super) connections: u32,
    /// Of a request's head, with its request line.
    pub(super) head_bytes: usize,
    /// Header fields of a request.
    pub(super) head_fields: usize,
    /// From the connection, or from the first byte of a later request, to the end of its head.
    pub(super) head: Duration,
    /// From there until the last byte of the answer is with the kernel.
    pub(super) answer: Duration,
    /// Between an answer and the next request. Prometheus asks every 15 or 60 seconds.
    pub(super) idle: Duration,
    /// For what a client goes on sending after an answer that did not wait for it.
    pub(super) closing: Duration,
    /// How long answers may still take when the server stops. A client that never ends its request
    /// must not keep the process alive.
    pub(super) last_answers: Duration,
    /// Until the next try after no connection could be accepted, for want of a file descriptor for
    /// instance.
    pub(super) accept_again: Duration,
}

// === impl Limits ===

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 64,
            head_bytes: 16 * 1024,
            head_fields: 64,
            head: Duration::from_secs(5),
            answer: Duration::from_secs(10),
            idle: Duration::from_secs(75),
            closing: Duration::from_secs(1),
            last_answers: Duration::from_secs(2),
            accept_again: Duration::from_secs(1),
        }
    }
}
