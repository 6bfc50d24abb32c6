//! The connections of clients, from the first to the last.

use std::{
    error::Error,
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body::Body;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use tokio::{
    net::{TcpListener, TcpStream},
    time::{Instant, sleep, sleep_until},
};
use tower::Service;

use super::{
    body::ClientBody,
    drain::{Drain, Follower, Stage},
    plain::{self, Over},
    socket::{Peer, Socket},
};

/// The client, among the extensions of its requests.
#[derive(Clone, Debug)]
pub(super) struct Client {
    /// Its address, as a header has it.
    pub(super) ip: Option<HeaderValue>,
    /// To be asked whether it has gone, where nobody else sees that.
    pub(super) peer: Option<Peer>,
}

/// How long clients may be silent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// A head has to come within this time, from the end of the request before it on. Clients keep
    /// their connections for shorter than that.
    pub(super) head: Duration,
    /// In the middle of a body.
    pub(super) pause: Duration,
}

/// The longest head, in bytes: 431 beyond it.
const LONGEST_HEAD: usize = 64 * 1024;

/// What may wait to be sent in one stream of HTTP/2.
const LONGEST_BACKLOG: usize = 64 * 1024;

/// A client of HTTP/2 that does not answer a ping has gone.
const PING_EVERY: Duration = Duration::from_secs(30);

/// After the system has refused a connection.
const RECOVER: Duration = Duration::from_millis(100);

/// Serves connections until `stop`, and then those that are there for as long as `limit`.
pub(super) async fn serve<S, B>(
    listener: TcpListener,
    service: S,
    drain: &Drain,
    limits: Limits,
    drain_timeout: Duration,
    stop: impl Future<Output = ()>,
) where
    S: Service<Request<ClientBody>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Error + Send + Sync,
    B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    let mut stop = pin!(stop);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut stop => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, client)) => {
                // NB: from here on, so that it does not miss the end.
                let end = drain.follow();
                tokio::spawn(connection(stream, client, service.clone(), end, limits));
            }
            // NB: out of file descriptors, for instance, which is no reason to end.
            Err(error) if is_of_the_client(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "no connection can be accepted");
                sleep(RECOVER).await;
            }
        }
    }
    drop(listener);
    drain.end(drain_timeout).await;
}

#[expect(clippy::manual_async_fn, reason = "it would keep its arguments twice")]
fn connection<S, B>(
    stream: TcpStream,
    address: SocketAddr,
    service: S,
    mut end: Follower,
    limits: Limits,
) -> impl Future<Output = ()> + Send
where
    S: Service<Request<ClientBody>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Error + Send + Sync,
    B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    async move {
        // A token is sent when it comes.
        let _ = stream.set_nodelay(true);
        let (mut socket, rest) = Socket::new(stream);
        let ip = address.ip().to_string().parse().ok();
        let client = Client { ip, peer: Some(rest.peer()) };
        let served = plain::serve(&socket, &client, service.clone(), &mut end, limits.head).await;
        let Err(mut over) = served;
        if let Over::NotPlain(unread, until) = over {
            socket.put_back(unread);
            // NB: in a box, so that those who never come here need no room for it.
            over = Box::pin(by_hyper(socket, client, service, &mut end, limits, until)).await;
        } else {
            drop(socket);
        }
        if let Over::Ended = over {
            // Nobody waits for that.
            drop(end);
            rest.linger().await;
        }
    }
}

/// Serves what is not plain, up to its end; `until` is when the first head has to be there.
async fn by_hyper<S, B>(
    socket: Socket,
    client: Client,
    service: S,
    end: &mut Follower,
    limits: Limits,
    until: Instant,
) -> Over
where
    S: Service<Request<ClientBody>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Error + Send + Sync,
    B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    let has_spoken = Arc::new(AtomicBool::new(false));
    let speaks = Arc::clone(&has_spoken);
    let service = service_fn(move |mut request: Request<Incoming>| {
        speaks.store(true, Relaxed);
        request.extensions_mut().insert(client.clone());
        service.clone().call(request.map(ClientBody::Left))
    });
    let builder = builder(limits);
    let mut serving = pin!(builder.serve_connection_with_upgrades(TokioIo::new(socket), service));
    let mut silence = pin!(sleep_until(until));
    let (mut is_silent, mut is_stopping) = (true, false);
    poll_fn(|cx| {
        loop {
            // Whatever ends it has been answered or has nobody to be told.
            if serving.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Over::Ended);
            }
            match end.poll(cx) {
                Stage::Stopping if !std::mem::replace(&mut is_stopping, true) => {
                    serving.as_mut().graceful_shutdown();
                    continue;
                }
                Stage::Open | Stage::Stopping => {}
                Stage::Cut => return Poll::Ready(Over::Cut),
            }
            // NB: hyper does not limit the time in which it finds out what protocol is spoken.
            is_silent &= !has_spoken.load(Relaxed);
            if is_silent && silence.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Over::Ended);
            }
            return Poll::Pending;
        }
    })
    .await
}

fn builder(limits: Limits) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_buf_size(LONGEST_HEAD)
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_EVERY)
        .max_send_buf_size(LONGEST_BACKLOG);
    builder
}

fn is_of_the_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

// === impl Limits ===

impl Default for Limits {
    fn default() -> Self {
        let minute = Duration::from_secs(60);
        Self { head: minute, pause: minute }
    }
}
