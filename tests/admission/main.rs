//! The admission layer: how long requests wait, in which order, what is refused, and when a place
//! is left.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]

mod leaving;
mod places;
mod queue;
mod refusals;
mod served;
mod storm;
#[path = "../support/mod.rs"]
mod support;
mod times;
mod transparency;
mod work;
