//! The server of the page: `/metrics`, `/healthz`, `/readyz`, on a thread of its own.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    thread,
    time::Duration,
};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use tokio::sync::oneshot;
use tower_http::compression::CompressionLayer;

use super::page::Page;

const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// How long a scrape that is being answered may still take when the server stops. A client that
/// never ends its request must not keep the process alive.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// A running server. Dropped, it stops.
#[derive(Debug)]
pub(super) struct Server {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    ended: oneshot::Receiver<io::Result<()>>,
}

pub(super) fn router(page: Arc<Page>) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .layer(CompressionLayer::new().gzip(true))
        .with_state(page)
}

/// NB: rendered on this thread, which does nothing else: two scrapes at once take turns.
async fn metrics(State(page): State<Arc<Page>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, TEXT)], page.render())
}

async fn readyz(State(page): State<Arc<Page>>) -> impl IntoResponse {
    let (ready, answer) = page.readiness();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, [(header::CONTENT_TYPE, "application/json")], answer)
}

// === impl Server ===

impl Server {
    pub(super) fn start(listener: TcpListener, router: Router) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let (end, ended) = oneshot::channel();
        let serve = async move {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            let (stop, stopping) = oneshot::channel();
            let serving = axum::serve(listener, router)
                .with_graceful_shutdown(async { stopping.await.unwrap_or(()) });
            let deadline = async move {
                // Also when the sender is dropped.
                let _ = stopped.await;
                let _ = stop.send(());
                tokio::time::sleep(LAST_ANSWERS).await;
                Ok(())
            };
            tokio::select! {
                ended = serving => ended,
                ended = deadline => ended,
            }
        };
        thread::Builder::new()
            .name("infermeter-page".to_owned())
            .spawn(move || end.send(runtime.block_on(serve)))?;
        Ok(Self { address, stop, ended })
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) async fn shutdown(self) -> io::Result<()> {
        let Self { address: _, stop, ended } = self;
        // It may have ended already.
        let _ = stop.send(());
        ended.await.unwrap_or_else(|_| Err(io::Error::other("the metrics server panicked")))
    }
}
