//! The state beside the flow of requests: sources, engines, signs of life, tenants.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]

mod disabled;
mod engine;
mod engine_gone;
mod hanging;
mod page;
mod pulse;
mod queue;
mod refused;
mod sources;
mod support;
mod tenants;
