//! Connects within a time limit that covers the name, TCP and TLS.

use std::{
    error, fmt,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::Uri;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use tower::Service;

type BoxError = Box<dyn error::Error + Send + Sync>;

type Https = HttpsConnector<HttpConnector>;

#[derive(Clone, Debug)]
pub(super) struct Connector {
    inner: Https,
    limit: Duration,
}

/// No connection within the limit.
#[derive(Debug)]
pub(super) struct TookTooLong(Duration);

// === impl Connector ===

impl Connector {
    pub(super) const fn new(inner: Https, limit: Duration) -> Self {
        Self { inner, limit }
    }
}

impl Service<Uri> for Connector {
    type Response = <Https as Service<Uri>>::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let (connecting, limit) = (self.inner.call(uri), self.limit);
        Box::pin(async move {
            let connected = tokio::time::timeout(limit, connecting).await;
            connected.unwrap_or_else(|_| Err(TookTooLong(limit).into()))
        })
    }
}

// === impl TookTooLong ===

impl fmt::Display for TookTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no connection within {:?}", self.0)
    }
}

impl error::Error for TookTooLong {}
