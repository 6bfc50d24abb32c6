//! The connections of clients, from the first to the last.

use std::{
    convert::Infallible,
    error::Error,
    io,
    net::{IpAddr, SocketAddr},
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
    sync::{mpsc, watch},
    time::{sleep, timeout},
};
use tower::Service;

/// The address of the client, among the extensions of its requests.
#[derive(Clone, Copy, Debug)]
pub(super) struct Client(pub(super) IpAddr);

/// How far the end has come.
#[derive(Debug)]
pub(super) struct Drain {
    stage: watch::Sender<Stage>,
    /// For those who cannot be woken by `stage`.
    cut: Arc<AtomicBool>,
    /// Closed once nobody is alive any more.
    alive: mpsc::Sender<Infallible>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Open,
    /// No more requests.
    Stopping,
    /// Nothing any more.
    Cut,
}

/// Kept by everybody for whose end the proxy waits.
#[derive(Debug)]
pub(super) struct Alive {
    _guard: mpsc::Sender<Infallible>,
}

/// A head has to come within this time, from the end of the request before it on. Clients keep
/// their connections for shorter than that.
const HEAD: Duration = Duration::from_secs(60);

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
    drain: Arc<Drain>,
    mut last: mpsc::Receiver<Infallible>,
    limit: Duration,
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
                let (service, drain) = (service.clone(), Arc::clone(&drain));
                tokio::spawn(connection(stream, client, service, drain));
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
    // NB: whoever keeps it is alive.
    let left = Arc::downgrade(&drain);
    drop((service, drain));
    if timeout(limit, last.recv()).await.is_err() {
        if let Some(left) = left.upgrade() {
            left.enter(Stage::Cut);
        }
        let _ = timeout(LAST_STEPS, last.recv()).await;
    }
}

async fn connection<S, B>(stream: TcpStream, client: SocketAddr, service: S, drain: Arc<Drain>)
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Error + Send + Sync,
    B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    let _alive = drain.alive();
    let mut stage = drain.stage.subscribe();
    drop(drain);
    // A token is sent when it comes.
    let _ = stream.set_nodelay(true);
    let has_spoken = Arc::new(AtomicBool::new(false));
    let speaks = Arc::clone(&has_spoken);
    let service = service_fn(move |mut request: Request<Incoming>| {
        speaks.store(true, Relaxed);
        request.extensions_mut().insert(Client(client.ip()));
        service.clone().call(request)
    });
    let builder = builder();
    let mut serving = pin!(builder.serve_connection_with_upgrades(TokioIo::new(stream), service));
    let mut silence = pin!(sleep(HEAD));
    let mut is_silent = true;
    loop {
        tokio::select! {
            biased;
            // Whatever ends it has been answered or has nobody to be told.
            _ = &mut serving => return,
            now = stage.changed() => match *stage.borrow_and_update() {
                _ if now.is_err() => return,
                Stage::Open => {}
                Stage::Stopping => serving.as_mut().graceful_shutdown(),
                Stage::Cut => return,
            },
            // NB: hyper does not limit the time in which it finds out what protocol is spoken.
            () = &mut silence, if is_silent => {
                if !has_spoken.load(Relaxed) {
                    return;
                }
                is_silent = false;
            }
        }
    }
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
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

// === impl Drain ===

impl Drain {
    /// What `last` is given to `serve` for.
    pub(super) fn new() -> (Arc<Self>, mpsc::Receiver<Infallible>) {
        let (alive, last) = mpsc::channel(1);
        let (stage, _) = watch::channel(Stage::Open);
        (Arc::new(Self { stage, cut: Arc::default(), alive }), last)
    }

    /// The proxy waits for the end of whoever keeps this.
    pub(super) fn alive(&self) -> Alive {
        Alive { _guard: self.alive.clone() }
    }

    /// Set once nobody is waited for any longer.
    pub(super) fn cut_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.cut)
    }

    /// The moment when nobody is waited for any longer.
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
