//! The server of the page, on a thread of its own.

mod accept;
mod clock;
mod connection;
mod limits;
mod stream;
#[cfg(test)]
mod tests;

use std::{
    io,
    net::{SocketAddr, TcpListener},
    thread,
};

use axum::Router;
use tokio::sync::oneshot;

pub(super) use self::limits::Limits;

/// A running server. Dropped, it stops.
#[derive(Debug)]
pub(super) struct Server {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    ended: oneshot::Receiver<io::Result<()>>,
}

// === impl Server ===

impl Server {
    pub(super) fn start(listener: TcpListener, router: Router, limits: Limits) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let (end, ended) = oneshot::channel();
        let serve = async move {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            let accept = async move || Ok(listener.accept().await?.0);
            // Also when the sender is dropped.
            let stopped = async { stopped.await.unwrap_or(()) };
            accept::serve(accept, router, limits, stopped).await;
            Ok(())
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
