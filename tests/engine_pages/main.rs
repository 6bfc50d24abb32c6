//! What engines tell on their pages, as it stands on ours.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]
#![expect(clippy::disallowed_macros, reason = "users record their own metrics by these")]

mod asked;
mod drift;
mod limits;
mod merged;
mod queue;
mod ranks;
mod server;
mod snapshots;
mod upstreams;
