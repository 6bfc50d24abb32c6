//! The proxy as a whole.

use std::{sync::Arc, time::Duration};

use rustls::ClientConfig;
use tokio::{net::TcpListener, task::JoinSet};
use tower::Layer;

use super::{
    ProxyBuilder, Upstream, connections,
    cut::Cuttable,
    drain::Drain,
    forward::{Forward, Shared},
    front::Front,
    listing,
    pool::Pool,
};
use crate::{admission::AdmissionLayer, record::Meter};

/// A reverse proxy in front of inference services. See the [module docs](crate::proxy).
///
/// Cheap to clone; all clones share their meter and their limits.
///
/// ```
/// use infermeter::proxy::Proxy;
/// use tokio::net::TcpListener;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let proxy = Proxy::builder("http://127.0.0.1:8000").model("tiny-words").build()?;
/// let listener = TcpListener::bind("127.0.0.1:0").await?;
/// proxy.serve(listener, async {}).await; // until that future ends: here at once
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Proxy {
    pub(super) shared: Arc<Shared>,
    pub(super) meter: Meter,
    pub(super) admission: Option<AdmissionLayer>,
    pub(super) tls: ClientConfig,
    pub(super) connect_timeout: Duration,
    pub(super) drain_timeout: Duration,
}

// === impl Proxy ===

impl Proxy {
    /// Sets up a proxy in front of the service at this URL.
    pub fn builder(upstream: impl Into<String>) -> ProxyBuilder {
        ProxyBuilder::new(Upstream::only(&upstream.into()).map(|upstream| vec![upstream]))
    }

    /// Sets up a proxy in front of several services: each request goes to the one that has the model
    /// which it names. See the [module docs](crate::proxy#several-upstreams).
    pub fn routing(upstreams: impl IntoIterator<Item = Upstream>) -> ProxyBuilder {
        ProxyBuilder::new(Ok(upstreams.into_iter().collect()))
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
        let pools: Arc<[Pool]> =
            self.shared.routes.iter().map(|_| Pool::new(&self.tls, self.connect_timeout)).collect();
        // NB: dropped with this future, however that ends, so that a clone can go on.
        let mut listing = JoinSet::new();
        for (at, pool) in pools.iter().enumerate() {
            listing.spawn(listing::keep(Arc::clone(&self.shared), at, pool.clone()));
        }
        let drain = Drain::new();
        let (cut, limits) = (drain.cut_flag(), self.shared.limits);
        let shared = Arc::clone(&self.shared);
        let forward = Forward { shared, pools, drain: Arc::clone(&drain) };
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
    }
}
