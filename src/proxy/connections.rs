//! The connections of clients, from the first to the last.

use std::{
    error::Error,
    io,
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    time::{sleep, timeout},
};
use tower::Service;

use super::socket::{Peer, Socket};

/// The client, among the extensions of its requests.
#[derive(Clone, Debug)]
pub(super) struct Client {
    pub(super) address: SocketAddr,
    pub(super) peer: Peer,
}

/// How far the end has come.
///
/// NB: whoever has subscribed to it is alive, and is waited for.
#[derive(Debug)]
pub(super) struct Drain {
    stage: watch::Sender<Stage>,
    /// For those who cannot be woken by `stage`.
    cut: Arc<AtomicBool>,
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Open,
    /// No more requests.
    Stopping,
    /// Nothing any more.
    Cut,
}

/// The longest head, in bytes: 431 beyond it.
const LONGEST_HEAD: usize = 64 * 1024;

/// What may wait to be sent in one stream of HTTP/2.
const LONGEST_BACKLOG: usize = 64 * 1024;

/// A client of HTTP/2 that does not answer a ping has gone.
const PING_EVERY: Duration = Duration::from_secs(30);

/// After the system has refused a connection.
const RECOVER: Duration = Duration::from_millis(100);

/// Those that are sent away still have to notice.
const LAST_STEPS: Duration = Duration::from_secs(1);

/// Serves connections until `stop`, and then those that are there for as long as `limit`.
pub(super) async fn serve<S, B>(
    listener: TcpListener,
    service: S,
    drain: &Drain,
    limits: Limits,
    drain_timeout: Duration,
    stop: impl Future<Output = ()>,
) where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
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
                let stage = drain.stage.subscribe();
                tokio::spawn(connection(stream, client, service.clone(), stage, limits));
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
    drain.enter(Stage::Stopping);
    if timeout(drain_timeout, drain.stage.closed()).await.is_err() {
        drain.enter(Stage::Cut);
        let _ = timeout(LAST_STEPS, drain.stage.closed()).await;
    }
}

async fn connection<S, B>(
    stream: TcpStream,
    address: SocketAddr,
    service: S,
    mut stage: watch::Receiver<Stage>,
    limits: Limits,
) where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Error + Send + Sync,
    B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    // A token is sent when it comes.
    let _ = stream.set_nodelay(true);
    let (socket, end) = Socket::new(stream);
    let client = Client { address, peer: end.peer() };
    if serve_one(socket, client, service, &mut stage, limits).await {
        // Nobody waits for that.
        drop(stage);
        end.linger().await;
    }
}

/// Whether it came to an end by itself.
async fn serve_one<S, B>(
    socket: Socket,
    client: Client,
    service: S,
    stage: &mut watch::Receiver<Stage>,
    limits: Limits,
) -> bool
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Error + Send + Sync,
    B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    let has_spoken = Arc::new(AtomicBool::new(false));
    let speaks = Arc::clone(&has_spoken);
    let service = service_fn(move |mut request: Request<Incoming>| {
        speaks.store(true, Relaxed);
        request.extensions_mut().insert(client.clone());
        service.clone().call(request)
    });
    let builder = builder(limits);
    let mut serving = pin!(builder.serve_connection_with_upgrades(TokioIo::new(socket), service));
    let mut silence = pin!(sleep(limits.head));
    let mut is_silent = true;
    loop {
        tokio::select! {
            biased;
            // Whatever ends it has been answered or has nobody to be told.
            _ = &mut serving => return true,
            now = stage.changed() => match *stage.borrow_and_update() {
                _ if now.is_err() => return false,
                Stage::Open => {}
                Stage::Stopping => serving.as_mut().graceful_shutdown(),
                Stage::Cut => return false,
            },
            // NB: hyper does not limit the time in which it finds out what protocol is spoken.
            () = &mut silence, if is_silent => {
                if !has_spoken.load(Relaxed) {
                    return false;
                }
                is_silent = false;
            }
        }
    }
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

// === impl Drain ===

impl Drain {
    pub(super) fn new() -> Arc<Self> {
        let (stage, _) = watch::channel(Stage::Open);
        Arc::new(Self { stage, cut: Arc::default() })
    }

    /// Set once nobody is waited for any longer.
    pub(super) fn cut_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.cut)
    }

    /// The moment when nobody is waited for any longer. Whoever waits for it is waited for.
    pub(super) fn cut(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        let mut stage = self.stage.subscribe();
        async move {
            let _ = stage.wait_for(|stage| *stage == Stage::Cut).await;
        }
    }

    fn enter(&self, stage: Stage) {
        if stage == Stage::Cut {
            self.cut.store(true, Relaxed);
        }
        self.stage.send_replace(stage);
    }
}
