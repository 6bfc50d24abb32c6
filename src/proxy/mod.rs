//! The reverse proxy: stands in front of an inference service, passes everything through, and
//! measures what goes by.

mod asking;
mod body;
mod builder;
mod connections;
mod engine;
mod forward;
mod front;
mod headers;
mod listing;
mod models;
#[allow(clippy::module_inception)]
mod proxy;
mod refusal;
mod tunnel;
mod upstream;
mod usage;

pub use self::{
    asking::InjectUsage,
    builder::{ProxyBuilder, ProxyError},
    proxy::Proxy,
};
