//! Accepts connections, no more than there are places, until the server stops.

use std::{
    convert::Infallible,
    io::{self, ErrorKind},
    sync::Arc,
};

use axum::Router;
use tokio::{
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{sleep, timeout},
};

use super::{Limits, connection};

/// What the server asks of its connections.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Ask {
    Stay,
    /// Somebody waits for a place: who has had an answer gives theirs up.
    MakeRoom,
    Stop,
}

/// The connections that are being served.
struct Places {
    limits: Limits,
    free: Arc<Semaphore>,
    ask: watch::Sender<Ask>,
}

pub(super) async fn serve(
    accept: impl AsyncFnMut() -> io::Result<TcpStream>,
    router: Router,
    limits: Limits,
    stopped: impl Future<Output = ()>,
) {
    let places = Places::new(limits);
    tokio::select! {
        biased;
        () = stopped => {}
        // With the listener, so that nobody who comes now is left to wait.
        never = fill(&places, accept, router) => match never {},
    }
    places.clear().await;
}

async fn fill(
    places: &Places,
    mut accept: impl AsyncFnMut() -> io::Result<TcpStream>,
    router: Router,
) -> Infallible {
    loop {
        let stream = next(&mut accept, &places.limits).await;
        let place = places.take().await;
        let (router, limits, ask) = (router.clone(), places.limits, places.ask.subscribe());
        tokio::spawn(async move {
            connection::serve(stream, router, limits, ask).await;
            drop(place);
        });
    }
}

async fn next(
    accept: &mut impl AsyncFnMut() -> io::Result<TcpStream>,
    limits: &Limits,
) -> TcpStream {
    use ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    loop {
        match accept().await {
            Ok(stream) => return stream,
            // This client is gone; another may be there.
            Err(error)
                if matches!(
                    error.kind(),
                    ConnectionAborted | ConnectionRefused | ConnectionReset
                ) => {}
            // Too many open files, say: asked again at once, it would be the same.
            Err(_) => sleep(limits.accept_again).await,
        }
    }
}

// === impl Places ===

impl Places {
    fn new(limits: Limits) -> Self {
        let free = Arc::new(Semaphore::new(limits.connections as usize));
        Self { limits, free, ask: watch::Sender::new(Ask::Stay) }
    }

    async fn take(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(place) = Arc::clone(&self.free).try_acquire_owned() {
            return Some(place);
        }
        self.ask.send_replace(Ask::MakeRoom);
        // It is never closed, so that there is always one.
        let place = Arc::clone(&self.free).acquire_owned().await.ok();
        self.ask.send_replace(Ask::Stay);
        place
    }

    /// Waits until all have gone, but not for long.
    async fn clear(&self) {
        self.ask.send_replace(Ask::Stop);
        let all = self.free.acquire_many(self.limits.connections);
        let _ = timeout(self.limits.last_answers, all).await;
    }
}
