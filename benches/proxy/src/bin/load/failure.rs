//! Why a request has failed.

use std::{fmt, io};

use infermeter_proxy_bench::framing::Malformed;

/// None of these may happen with a good proxy in front of the simulator.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The connection ended before the answer did.
    Closed,
    Connect(io::ErrorKind),
    /// The head or the framing is no HTTP/1.1.
    Malformed,
    Read(io::ErrorKind),
    /// An event, or a body, that is not as the simulator writes it.
    Shape(&'static str),
    Status(u16),
    /// A chunk is missing, twice there, or in the wrong place.
    Sequence,
    Timeout,
    Write(io::ErrorKind),
}

// === impl Failure ===

impl From<Malformed> for Failure {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("closed before its end"),
            Self::Connect(kind) => write!(f, "connect: {kind}"),
            Self::Malformed => f.write_str("not HTTP/1.1"),
            Self::Read(kind) => write!(f, "read: {kind}"),
            Self::Shape(what) => write!(f, "content: {what}"),
            Self::Status(code) => write!(f, "status {code}"),
            Self::Sequence => f.write_str("content: a chunk is not in its place"),
            Self::Timeout => f.write_str("timeout"),
            Self::Write(kind) => write!(f, "write: {kind}"),
        }
    }
}
