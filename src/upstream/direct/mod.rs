//! HTTP/1.1 over TCP, spoken by whoever waits for the answer: no task of its own for a connection,
//! and no channel to it that takes one frame at a time, as with hyper's client. What one read brings
//! is one frame.

mod exchange;
mod framing;
mod head;
mod pool;
mod sending;

use std::{error::Error, future::poll_fn, sync::Arc};

use bytes::Bytes;
use http::{Request, Response, Uri, request};
use http_body::Body;
use hyper_util::{client::legacy::connect::HttpConnector, rt::TokioIo};
use tokio::net::TcpStream;
use tower::Service;

pub(super) use self::exchange::{Exchange, NoHead};
use self::{pool::Pool, sending::Sending};
use super::{IDLE, SendError, connector::Connector};

type BoxError = Box<dyn Error + Send + Sync>;

/// Connections to one upstream. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Direct {
    connector: Connector<HttpConnector>,
    pool: Arc<Pool>,
}

// === impl Direct ===

impl Direct {
    pub(super) fn new(connector: Connector<HttpConnector>) -> Self {
        Self { connector, pool: Arc::default() }
    }

    /// Sends a request whose body has this length, and waits for the head of its answer.
    ///
    /// NB: who waits keeps what was written of the request, and not the request; waiting for many, that
    /// counts.
    pub(super) fn send<B>(
        &self,
        request: Request<B>,
        length: u64,
    ) -> impl Future<Output = Result<Response<Box<Exchange<B>>>, SendError>> + Send
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<BoxError>,
    {
        let (asked, body) = request.into_parts();
        let sending = Box::new(Sending::new(head::written(&asked, length), body, length));
        let request::Parts { method, uri, .. } = asked;
        let pool = Arc::clone(&self.pool);
        let idle = pool.take(IDLE);
        let begin = |connection| Box::new(Exchange::new(connection, pool, sending));
        let begun = match idle {
            Some(connection) => Ok(begin(connection)),
            None => Err((begin, Box::pin(self.connect(uri)))),
        };
        async move {
            let mut exchange = match begun {
                Ok(exchange) => exchange,
                Err((begin, connecting)) => begin(connecting.await.map_err(SendError::connect)?),
            };
            let parts = poll_fn(|cx| exchange.poll_head(&method, cx)).await;
            Ok(Response::from_parts(parts.map_err(SendError::no_head)?, exchange))
        }
    }

    #[cfg(test)]
    pub(super) fn idle(&self) -> usize {
        self.pool.len()
    }

    async fn connect(&self, to: Uri) -> Result<TcpStream, BoxError> {
        let mut connector = self.connector.clone();
        poll_fn(|cx| connector.poll_ready(cx)).await?;
        connector.call(to).await.map(TokioIo::into_inner)
    }
}
