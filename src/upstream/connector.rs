//! Connects within a time limit that covers the name, TCP and TLS.

use std::{
    error, fmt,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::Uri;
use tower::Service;

type BoxError = Box<dyn error::Error + Send + Sync>;

#[derive(Clone, Debug)]
pub(super) struct Connector<C> {
    inner: C,
    limit: Duration,
}

/// No connection within the limit.
#[derive(Debug)]
pub(super) struct TookTooLong(Duration);

// === impl Connector ===

impl<C> Connector<C> {
    pub(super) const fn new(inner: C, limit: Duration) -> Self {
        Self { inner, limit }
    }
}

impl<C> Service<Uri> for Connector<C>
where
    C: Service<Uri, Future: Send + 'static, Error: Into<BoxError>>,
{
    type Response = C::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<C::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let (connecting, limit) = (self.inner.call(uri), self.limit);
        Box::pin(async move {
            let connected = tokio::time::timeout(limit, connecting).await;
            connected.map_err(|_| TookTooLong(limit))?.map_err(Into::into)
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
