//! How a Prometheus exporter is set up.

use std::{io, net::TcpListener};

use metrics_exporter_prometheus::PrometheusBuilder as RecorderBuilder;
use tokio::net::ToSocketAddrs;

use super::{Prometheus, page::Page};
use crate::{names::Naming, record::Meter};

/// Sets up a [`Prometheus`] exporter. See the [module docs](crate::exporter) for the ladder.
#[derive(Clone, Debug, Default)]
pub struct PrometheusBuilder {
    meter: Meter,
    naming: Naming,
}

// === impl PrometheusBuilder ===

impl PrometheusBuilder {
    /// Publishes this meter: make one by [`Meter::builder`] for static labels and buckets of your
    /// own. Default: a fresh one.
    #[must_use]
    pub fn meter(mut self, meter: Meter) -> Self {
        self.meter = meter;
        self
    }

    /// Names the families in another way. Default: [`Naming::vllm`].
    #[must_use]
    pub fn naming(mut self, naming: Naming) -> Self {
        self.naming = naming;
        self
    }

    /// Binds an address and serves the page there, on a thread of its own.
    ///
    /// # Errors
    ///
    /// If the address cannot be bound, or no thread be started.
    pub async fn serve(self, address: impl ToSocketAddrs) -> io::Result<Prometheus> {
        let listener = tokio::net::TcpListener::bind(address).await?.into_std()?;
        self.serve_on(listener)
    }

    /// Serves the page on a listener that is bound already, on a thread of its own.
    ///
    /// # Errors
    ///
    /// If the listener cannot be used, or no thread be started.
    pub fn serve_on(self, listener: TcpListener) -> io::Result<Prometheus> {
        self.build()?.serve_on(listener)
    }

    /// Makes the exporter without a server.
    ///
    /// One thread is started in any case: it samples the sources, and keeps what the `metrics`
    /// macros record from piling up between scrapes.
    ///
    /// # Errors
    ///
    /// If the thread cannot be started.
    pub fn build(self) -> io::Result<Prometheus> {
        let Self { meter, naming } = self;
        let recorder = meter.labels().iter().fold(RecorderBuilder::new(), |builder, label| {
            builder.add_global_label(label.key(), label.value())
        });
        let recorder = recorder.build_recorder();
        let page = Page::new(naming, recorder.handle());
        Prometheus::start(meter, page, recorder)
    }
}
