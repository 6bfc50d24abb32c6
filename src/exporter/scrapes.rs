//! Numbers the scrapes as they begin and tells when one was answered, so that a service can wait for
//! the next before it stops.

use std::{
    future::pending,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::AcqRel},
    },
    task::{Context, Poll},
};

use axum::{
    body::{Body, Bytes},
    response::Response,
};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::watch;

#[derive(Debug)]
pub(super) struct Scrapes {
    /// How many have begun, which is the number of the latest.
    begun: AtomicU64,
    /// The highest number among those that were answered.
    answered: watch::Sender<u64>,
}

/// One that is being answered.
#[derive(Clone, Debug)]
pub(super) struct Scrape {
    number: u64,
    scrapes: Arc<Scrapes>,
}

/// A page that tells when it is whole with whoever sends it.
struct WatchedBody {
    body: Body,
    scrape: Option<Scrape>,
}

/// Follows the body of an answer that belongs to a [`Scrape`].
pub(super) async fn watch(mut response: Response) -> Response {
    match response.extensions_mut().remove::<Scrape>() {
        Some(scrape) => response.map(|body| Body::new(WatchedBody { body, scrape: Some(scrape) })),
        None => response,
    }
}

// === impl Scrapes ===

impl Default for Scrapes {
    fn default() -> Self {
        Self { begun: AtomicU64::new(0), answered: watch::Sender::new(0) }
    }
}

impl Scrapes {
    pub(super) fn begin(self: &Arc<Self>) -> Scrape {
        let number = self.begun.fetch_add(1, AcqRel) + 1;
        Scrape { number, scrapes: Arc::clone(self) }
    }

    /// NB: it adds 0 because what was counted before is then seen by a scrape that begins later; a
    /// load would promise nothing.
    pub(super) fn next(&self) -> impl Future<Output = ()> + Send + use<> {
        let latest = self.begun.fetch_add(0, AcqRel);
        let mut answered = self.answered.subscribe();
        async move {
            let is_gone = answered.wait_for(|number| *number > latest).await.is_err();
            if is_gone {
                // Nobody can be answered any more.
                pending().await
            }
        }
    }
}

// === impl Scrape ===

impl Scrape {
    fn answered(self) {
        let Self { number, scrapes } = self;
        scrapes.answered.send_if_modified(|highest| {
            let is_higher = number > *highest;
            *highest = number.max(*highest);
            is_higher
        });
    }
}

// === impl WatchedBody ===

impl HttpBody for WatchedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        // NB: a body of known length is not asked again after its last byte.
        let is_whole = match &polled {
            Poll::Ready(None) => true,
            Poll::Ready(Some(Ok(_))) => self.body.is_end_stream(),
            Poll::Ready(Some(Err(_))) | Poll::Pending => false,
        };
        if let Some(scrape) = is_whole.then(|| self.scrape.take()).flatten() {
            scrape.answered();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
