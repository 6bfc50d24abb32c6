//! The way to the upstream: one narrow seam, so that another client can take its place.

mod address;
mod body;
mod connector;
mod direct;
mod error;
pub(crate) mod scratch;
#[cfg(test)]
mod tests;
pub(crate) mod tls;
pub(crate) mod writing;

use std::{error::Error, time::Duration};

use bytes::Bytes;
use http::{Request, Response, header, uri::Scheme};
use http_body::Body;
use http_body_util::Either;
use hyper_rustls::HttpsConnector;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use rustls::ClientConfig;

pub(crate) use self::{
    address::{Address, without_user},
    body::Received,
    error::{SendError, Why, causes},
};
use self::{connector::Connector, direct::Direct};

/// A pool of connections to one upstream. Cheap to clone; all clones share the pool.
///
/// NB: its connections live on the runtime that it is first used on.
#[derive(Debug)]
pub(crate) struct Upstream<B> {
    /// For what is plain: no TLS, no other protocol, a body of known length.
    direct: Direct,
    client: Client<Connector<Https>, B>,
    /// For what cannot be asked over HTTP/2: an upgrade.
    client_http1: Client<Connector<Https>, B>,
}

type Https = HttpsConnector<HttpConnector>;

/// How long a connection is kept that nobody uses.
///
/// NB: below the 5 s after which uvicorn, and with it vLLM and SGLang, closes one: who keeps it for
/// as long sends a request now and then into a connection that is being closed.
const IDLE: Duration = Duration::from_secs(4);

const KEEP_ALIVE: Duration = Duration::from_secs(60);

// === impl Upstream ===

impl<B> Upstream<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    pub(crate) fn new(tls: &ClientConfig, connect_timeout: Duration) -> Self {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_keepalive(Some(KEEP_ALIVE));
        let client = |http2: bool| {
            let https = hyper_rustls::HttpsConnectorBuilder::new()
                .with_tls_config(tls.clone())
                .https_or_http();
            let https: Https = if http2 {
                https.enable_http1().enable_http2().wrap_connector(http.clone())
            } else {
                https.enable_http1().wrap_connector(http.clone())
            };
            Client::builder(TokioExecutor::new())
                .pool_idle_timeout(IDLE)
                .pool_timer(TokioTimer::new())
                .timer(TokioTimer::new())
                .build(Connector::new(https, connect_timeout))
        };
        let (client, client_http1) = (client(true), client(false));
        Self { direct: Direct::new(Connector::new(http, connect_timeout)), client, client_http1 }
    }

    /// Sends a request and waits for the head of the answer.
    ///
    /// NB: hyper sends once more where a connection of its pool closes before anything is sent. Ours
    /// are looked at before they are used, and what is sent is sent once.
    pub(crate) fn send(
        &self,
        request: Request<B>,
    ) -> impl Future<Output = Result<Response<Received<B>>, SendError>> + Send {
        let is_upgrade = request.headers().contains_key(header::UPGRADE);
        let is_plain = request.uri().scheme() == Some(&Scheme::HTTP) && !is_upgrade;
        let length = request.body().size_hint().exact().filter(|_| is_plain);
        let client = if is_upgrade { &self.client_http1 } else { &self.client };
        let sent = match length {
            Some(length) => Either::Left(self.direct.send(request, length)),
            None => Either::Right(client.request(request)),
        };
        async move {
            match sent {
                Either::Left(direct) => Ok(direct.await?.map(Received::Left)),
                Either::Right(sent) => Ok(sent.await.map_err(SendError::new)?.map(Received::Right)),
            }
        }
    }
}

impl<B> Clone for Upstream<B> {
    fn clone(&self) -> Self {
        let Self { direct, client, client_http1 } = self;
        Self { direct: direct.clone(), client: client.clone(), client_http1: client_http1.clone() }
    }
}
