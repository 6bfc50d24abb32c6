//! The running exporter.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::{Arc, atomic::Ordering::Relaxed},
};

use axum::Router;
use metrics_exporter_prometheus::PrometheusRecorder;
use tokio::net::ToSocketAddrs;

use super::{
    PrometheusBuilder, endpoints,
    page::Page,
    server::{Limits, Server},
    token::Token,
    upkeep::Upkeep,
};
use crate::record::Meter;

/// Publishes a [`Meter`] as a Prometheus page. See the [module docs](crate::exporter).
///
/// Dropped, it stops serving.
///
/// ```
/// use infermeter::{InferenceLayer, exporter::Prometheus};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// let exporter = Prometheus::serve("127.0.0.1:0").await?;
/// let layer = InferenceLayer::new(exporter.meter().model("tiny-words"));
/// println!("http://{}/metrics", exporter.local_addr().unwrap());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Prometheus {
    meter: Meter,
    page: Arc<Page>,
    token: Option<Token>,
    recorder: Arc<PrometheusRecorder>,
    server: Option<Server>,
    _upkeep: Upkeep,
}

// === impl Prometheus ===

impl Prometheus {
    /// Binds an address and serves the page of a fresh [`Meter`] there.
    ///
    /// `127.0.0.1:8001` is the usual address; a page that is open to a network is a choice to be
    /// made, and [`PrometheusBuilder::token`] made for it.
    ///
    /// # Errors
    ///
    /// If the address cannot be bound, or no thread be started.
    pub async fn serve(address: impl ToSocketAddrs) -> io::Result<Self> {
        Self::builder().serve(address).await
    }

    /// Sets one up.
    pub fn builder() -> PrometheusBuilder {
        PrometheusBuilder::default()
    }

    /// The meter that is published.
    pub const fn meter(&self) -> &Meter {
        &self.meter
    }

    /// Where the page is served; `None` where it is not.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.server.as_ref().map(Server::address)
    }

    /// The endpoints, for a server of your own. They ask for the [token](PrometheusBuilder::token),
    /// if there is one; the limits of the [server](crate::exporter#a-port-that-others-can-reach) are
    /// yours to set.
    pub fn router(&self) -> Router {
        endpoints::router(Arc::clone(&self.page), self.token.clone())
    }

    /// The page as text, as a scrape sees it.
    pub fn render(&self) -> String {
        self.page.render()
    }

    /// Waits for the next scrape: a `GET /metrics` that arrives after this call, until its whole page
    /// was handed to the connection. One that was refused, cut short, or under way already does not
    /// count.
    ///
    /// A service that is about to stop waits for it once all requests have ended, so that their
    /// numbers are not lost, and then calls [`shutdown`](Self::shutdown), which lets the page out. Set
    /// an end to the wait: if nobody asks, it does not end by itself, not even when the exporter is
    /// dropped.
    ///
    /// ```
    /// # async fn stop(exporter: infermeter::exporter::Prometheus) -> std::io::Result<()> {
    /// use std::time::Duration;
    ///
    /// // Two scrapes' time.
    /// let _ = tokio::time::timeout(Duration::from_secs(30), exporter.scraped()).await;
    /// exporter.shutdown().await
    /// # }
    /// ```
    pub fn scraped(&self) -> impl Future<Output = ()> + Send + use<> {
        self.page.scrapes.next()
    }

    /// Says whether the service is ready, on `/readyz`. It is, until this says otherwise: say
    /// `false` while a model loads.
    pub fn set_ready(&self, ready: bool) {
        self.page.ready.store(ready, Relaxed);
    }

    /// Makes the macros of the `metrics` crate, anywhere in the process, record onto this page.
    ///
    /// # Errors
    ///
    /// If the process has a global recorder already.
    pub fn install_recorder(&self) -> io::Result<()> {
        metrics::set_global_recorder(Arc::clone(&self.recorder)).map_err(|_| {
            io::Error::new(
                io::ErrorKind::AlreadyExists,
                "the process has a global metrics recorder already; allowed is one, so use \
                 Prometheus::recorder with metrics::with_local_recorder instead",
            )
        })
    }

    /// What [`install_recorder`](Self::install_recorder) installs, for
    /// `metrics::with_local_recorder` or a fan-out of your own.
    pub fn recorder(&self) -> Arc<dyn metrics::Recorder + Send + Sync> {
        Arc::<PrometheusRecorder>::clone(&self.recorder)
    }

    /// Stops serving: a scrape that is being answered still is, for two seconds at most.
    ///
    /// # Errors
    ///
    /// If the server had failed before.
    pub async fn shutdown(mut self) -> io::Result<()> {
        match self.server.take() {
            Some(server) => server.shutdown().await,
            None => Ok(()),
        }
    }

    pub(super) fn start(
        meter: Meter,
        page: Page,
        token: Option<Token>,
        recorder: PrometheusRecorder,
    ) -> io::Result<Self> {
        let (page, recorder) = (Arc::new(page), Arc::new(recorder));
        meter.attach(&*page);
        let upkeep = Upkeep::start(meter.clone(), Arc::clone(&page), recorder.handle())?;
        Ok(Self { meter, page, token, recorder, server: None, _upkeep: upkeep })
    }

    pub(super) fn serve_on(mut self, listener: TcpListener) -> io::Result<Self> {
        self.server = Some(Server::start(listener, self.router(), Limits::default())?);
        Ok(self)
    }
}
