//! What is sent, until when, and what has to come back.

use std::{cell::Cell, io, net::SocketAddr, time::Duration};

use infermeter_proxy_bench::workload::Workload;
use tokio::{net::lookup_host, time::Instant};

use crate::{arguments::Arguments, content::Expected};

/// Of all connections.
pub(crate) struct Plan {
    pub(crate) address: SocketAddr,
    pub(crate) limit: Duration,
    pub(crate) read_bytes: Option<u32>,
    pub(crate) pause: Duration,
    requests: Vec<Vec<u8>>,
    expected: Expected,
    workload: Workload,
    connections: u32,
    ramp: Duration,
    cut: f64,
    seed: u64,
    count: Option<u64>,
    until: Option<Instant>,
}

// === impl Plan ===

impl Plan {
    /// From now on.
    pub(crate) async fn new(arguments: &Arguments) -> io::Result<Self> {
        let mut found = lookup_host(&arguments.address).await?;
        let workload = arguments.workload().map_err(io::Error::other)?;
        let expected = Expected {
            chunks: workload.chunks,
            is_chat: arguments.is_chat(),
            has_usage: arguments.has_usage(),
            is_stream: !arguments.plain,
            cut_at: None,
        };
        let seconds = arguments.seconds.map(Duration::try_from_secs_f64).transpose();
        Ok(Self {
            address: found.next().ok_or(io::ErrorKind::NotFound)?,
            limit: arguments.limit(),
            read_bytes: arguments.read_bytes,
            pause: arguments.pause(),
            requests: arguments.requests(),
            expected,
            workload,
            connections: arguments.connections,
            ramp: Duration::from_millis(arguments.ramp_ms.into()),
            cut: arguments.cut,
            seed: arguments.seed,
            count: arguments.count,
            until: seconds.map_err(io::Error::other)?.map(|seconds| Instant::now() + seconds),
        })
    }

    /// When a connection starts, from the start of all.
    pub(crate) fn ramp(&self, connection: u32) -> Duration {
        self.ramp * connection / self.connections
    }

    /// How long a stream takes at least.
    pub(crate) fn stream_takes(&self) -> Duration {
        self.workload.gap * self.workload.chunks.div_ceil(self.workload.per_write)
    }

    /// The next request and what comes of it; `None` where there is none. `next` is how many there were.
    pub(crate) fn next(&self, next: &Cell<u64>) -> Option<(&[u8], Expected)> {
        let number = next.get();
        let is_over = self.count.is_some_and(|count| number >= count)
            || self.until.is_some_and(|until| Instant::now() >= until);
        if is_over {
            return None;
        }
        next.set(number + 1);
        // Of the request's number, so that two runs cut the same requests.
        let mut chance =
            fastrand::Rng::with_seed(self.seed ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let expected = self.expected;
        let can_be_cut = expected.is_stream && expected.chunks > 1;
        let is_cut = can_be_cut && chance.f64() < self.cut;
        // In the last quarter the proxy may have seen the end already.
        let last = (expected.chunks / 4 * 3).max(1);
        let request = &self.requests[(number % self.requests.len() as u64) as usize];
        Some((request, Expected { cut_at: is_cut.then(|| chance.u32(1..=last)), ..expected }))
    }
}
