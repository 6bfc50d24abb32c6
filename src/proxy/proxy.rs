//! The proxy as a whole.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use rustls::ClientConfig;
use tokio::net::TcpListener;
use tower::Layer;

use super::{
    ProxyBuilder,
    connections::{self, Drain},
    cut::Cuttable,
    forward::{Forward, Shared},
    front::Front,
    listing,
    upstream::Upstream,
};
use crate::{admission::AdmissionLayer, record::Meter};

/// A reverse proxy in front of one inference service. See the [module docs](crate::proxy).
///
/// Cheap to clone; all clones share their meter and their limits.
#[derive(Clone, Debug)]
pub struct Proxy {
    pub(super) shared: Arc<Shared>,
    pub(super) meter: Meter,
    pub(super) admission: Option<AdmissionLayer>,
    pub(super) tls: ClientConfig,
    pub(super) connect_timeout: Duration,
    pub(super) drain_timeout: Duration,
    /// One of the clones asks the upstream what it serves.
    pub(super) is_listing: Arc<AtomicBool>,
}

// === impl Proxy ===

impl Proxy {
    /// Sets up a proxy in front of the service at this URL.
    pub fn builder(upstream: impl Into<String>) -> ProxyBuilder {
        ProxyBuilder::new(upstream.into())
    }

    /// The meter that it measures into.
    pub const fn meter(&self) -> &Meter {
        &self.meter
    }

    /// Serves clients until `stop`: then it accepts none any more, ends connections that are idle,
    /// and lets the requests that are there come to their end, for as long as the [drain
    /// timeout](ProxyBuilder::drain_timeout) says.
    ///
    /// Runs on the runtime of the caller, with connections to the upstream of its own. To use
    /// several cores, give each thread a runtime, a clone of the proxy, and a clone of the listener
    /// ([`std::net::TcpListener::try_clone`]).
    pub async fn serve(&self, listener: TcpListener, stop: impl Future<Output = ()>) {
        let upstream = Upstream::new(&self.tls, self.connect_timeout);
        let listing = (!self.is_listing.swap(true, Relaxed)).then(|| {
            let (address, known) = (self.shared.address.clone(), self.shared.asking.known.clone());
            let (upstream, meter) = (upstream.clone(), self.meter.clone());
            tokio::spawn(listing::keep(address, upstream, meter, known))
        });
        let drain = Drain::new();
        let (cut, limits) = (drain.cut_flag(), self.shared.limits);
        let shared = Arc::clone(&self.shared);
        let forward = Forward { shared, upstream, drain: Arc::clone(&drain) };
        let (layer, limit) = (&self.shared.layer, self.drain_timeout);
        match &self.admission {
            Some(admission) => {
                let inside = Cuttable::new(admission.layer(forward), cut);
                let service = Front::new(layer.layer(inside));
                connections::serve(listener, service, &drain, limits, limit, stop).await;
            }
            None => {
                let service = Front::new(layer.layer(Cuttable::new(forward, cut)));
                connections::serve(listener, service, &drain, limits, limit, stop).await;
            }
        }
        if let Some(listing) = listing {
            listing.abort();
            self.is_listing.store(false, Relaxed);
        }
    }
}
