//! Every way in which a request can end, by name: through the layer, and of a bare body.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]

mod bare;
mod layer;
mod scripted;
