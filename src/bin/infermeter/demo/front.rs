//! The proxy in front of the engine, as it would stand in front of a real one.

use std::{net::SocketAddr, time::Duration};

use infermeter::{
    AdmissionLayer, Meter,
    proxy::{Proxy, ProxyError},
};

use super::openai::MODELS;

/// The request header that says whose request it is.
pub(crate) const TENANT: &str = "x-tenant";

/// How many requests are let through to the engine, where some of them wait again; how many wait
/// before that, and for how long.
const RUNNING: usize = 16;
const WAITING: usize = 32;
const WAIT_LIMIT: Duration = Duration::from_secs(2);

/// How long answers that are being given may still take when the demo ends.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

pub(crate) fn proxy(engine: SocketAddr, meter: &Meter) -> Result<Proxy, ProxyError> {
    let admission = AdmissionLayer::new(meter, RUNNING).max_waiting(WAITING).wait_limit(WAIT_LIMIT);
    let proxy = Proxy::builder(format!("http://{engine}"))
        .meter(meter.clone())
        .tenant_header(TENANT)
        .admission(admission)
        .exact_aborts(true)
        .drain_timeout(LAST_ANSWERS);
    // It would find them by itself, a moment later.
    MODELS.iter().fold(proxy, |proxy, model| proxy.model(model.name)).build()
}
