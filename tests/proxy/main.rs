//! The proxy over real sockets: a client and an upstream that say every byte themselves.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]

mod admission;
mod bodies;
mod draining;
mod fairness;
mod faults;
mod heads;
mod leaving;
mod protocols;
mod routing;
mod running;
#[allow(dead_code, reason = "each test uses its part")]
#[path = "../support/scrape.rs"]
mod scrape;
mod smuggling;
mod storm;
mod upgrades;
mod upstream;
mod ways;
mod wire;
