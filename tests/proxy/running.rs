//! A proxy that runs.

use std::{io, net::SocketAddr};

use infermeter::{
    Meter,
    proxy::{Proxy, ProxyBuilder},
};
use tokio::{net::TcpListener, runtime::Handle, sync::oneshot, task::JoinHandle, time::timeout};

use crate::{
    scrape::Scrape,
    upstream::{Conn, Upstream},
    wire::{PATIENCE, Wire, eventually},
};

#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) meter: Meter,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

// === impl Running ===

impl Running {
    /// In front of whatever is at the URL.
    pub(crate) async fn at(url: &str, with: impl FnOnce(ProxyBuilder) -> ProxyBuilder) -> Self {
        Self::of(Meter::new(), url, with).await
    }

    pub(crate) async fn of(
        meter: Meter,
        url: &str,
        with: impl FnOnce(ProxyBuilder) -> ProxyBuilder,
    ) -> Self {
        Self::start(meter, with(Proxy::builder(url))).await
    }

    /// One that is set up in another way.
    pub(crate) async fn start(meter: Meter, builder: ProxyBuilder) -> Self {
        let proxy = builder.meter(meter.clone()).build().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(async move {
            let stopped = async { drop(stopped.await) };
            proxy.serve(listener, stopped).await;
        });
        Self { address, meter, stop, serving }
    }

    /// In front of an upstream that does this with each connection; returns once the proxy has asked
    /// what it serves, and will not for a while.
    pub(crate) async fn before<F, R>(
        script: F,
        with: impl FnOnce(ProxyBuilder) -> ProxyBuilder,
    ) -> (Self, Upstream)
    where
        F: Fn(Conn) -> R + Send + 'static,
        R: Future<Output = io::Result<()>> + Send + 'static,
    {
        let upstream = Upstream::start(script).await;
        let running = Self::at(&format!("http://{}", upstream.address), with).await;
        running.is_set(&upstream).await;
        (running, upstream)
    }

    /// Once the proxy's own question was answered, and its connection is gone.
    pub(crate) async fn is_set(&self, upstream: &Upstream) {
        eventually("the models are listed", || upstream.was_listed() && upstream.open() == 0).await;
    }

    pub(crate) async fn connect(&self) -> Wire {
        Wire::connect(self.address).await
    }

    /// Connects, and sends this.
    pub(crate) async fn send(&self, bytes: impl AsRef<[u8]>) -> Wire {
        let mut wire = self.connect().await;
        wire.write(bytes).await.unwrap();
        wire
    }

    /// Once so many measured requests have come and none is left: how they ended, as `model endpoint
    /// outcome reason code number`.
    pub(crate) async fn ended(&self, requests: u64) -> Vec<String> {
        eventually("all requests have ended", || {
            let scrape = self.scrape();
            let received = scrape.sum("infermeter_requests_received_total", &[]);
            assert!(received <= requests, "{received} requests");
            received == requests && scrape.in_flight() == 0
        })
        .await;
        self.scrape().counted("infermeter_requests_total")
    }

    /// Once so many requests are on their way.
    pub(crate) async fn in_flight(&self, requests: u64) {
        eventually("requests are in flight", || self.scrape().in_flight() == requests).await;
    }

    pub(crate) fn scrape(&self) -> Scrape {
        let scrape = Scrape::of(&self.meter);
        scrape.assert_identities();
        scrape
    }

    /// Tells it to stop; what is left is to wait for the end.
    pub(crate) fn stop(self) -> JoinHandle<()> {
        drop(self.stop);
        self.serving
    }

    /// Stops it, which nothing must hold up.
    pub(crate) async fn end(self) {
        timeout(PATIENCE, self.stop()).await.expect("somebody is waited for").unwrap();
    }
}

/// A request that is measured, with this body.
pub(crate) fn chat(body: &str) -> String {
    let length = body.len();
    format!("{}content-length: {length}\r\n\r\n{body}", chat_head())
}

/// All of its head but the last line, and how long its body is.
pub(crate) fn chat_head() -> String {
    "POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n".to_owned()
}

/// Tasks that are there now.
pub(crate) fn tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}
