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
use http::{Request, Response};
use http_body::Body;
use hyper_util::client::legacy::connect::HttpConnector;
use tower::ServiceExt;

pub(super) use self::exchange::{Exchange, NoHead};
use self::{pool::Pool, sending::Sending};
use super::{IDLE, SendError, connector::Connector};

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
    pub(super) async fn send<B>(
        &self,
        request: Request<B>,
        length: u64,
    ) -> Result<Response<Exchange<B>>, SendError>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let (asked, body) = request.into_parts();
        let connection = match self.pool.take(IDLE) {
            Some(connection) => connection,
            None => {
                let connected = self.connector.clone().oneshot(asked.uri.clone()).await;
                connected.map_err(SendError::connect)?.into_inner()
            }
        };
        let sending = Sending::new(head::written(&asked, length), body, length);
        let mut exchange = Exchange::new(connection, Arc::clone(&self.pool), sending);
        let parts = poll_fn(|cx| exchange.poll_head(&asked.method, cx)).await;
        Ok(Response::from_parts(parts.map_err(SendError::no_head)?, exchange))
    }
}
