//! What the integration tests share.

#![allow(dead_code, reason = "each test uses its part")]

pub(crate) mod answers;
pub(crate) mod frames;
pub(crate) mod generated;
pub(crate) mod hop;
pub(crate) mod oracle;
pub(crate) mod recording;
pub(crate) mod scrape;
