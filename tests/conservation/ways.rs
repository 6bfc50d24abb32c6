//! The ways in which a request gets to the service: a call, HTTP/1.1, HTTP/2.

use std::{
    collections::HashMap,
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    task::Poll,
};

use axum::body::Body;
use bytes::Buf;
use http::{Request, Response, request::Parts};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    service::TowerToHyperService,
};
use infermeter::{
    InferenceLayer, Meter, RequestMeter, Start,
    outcome::{FailureReason, FinishReason},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinHandle,
};
use tower::{ServiceBuilder, ServiceExt, service_fn, util::BoxCloneSyncService};
use tower_http::catch_panic::CatchPanicLayer;

use super::endings::{Client, Ending, Working};

/// One request to be made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) ending: usize,
    pub(crate) id: u64,
    pub(crate) start: Start,
    /// The service says that it has started.
    pub(crate) says_started: bool,
    /// The service names another model.
    pub(crate) renames: bool,
    pub(crate) way: Way,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    Call,
    Http1,
    Http2,
}

/// The service with the layer on, a panic being caught around it.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    stacks: [Stack; 2],
    waiting: Waiting,
}

type Stack = BoxCloneSyncService<Request<Body>, Response<Body>, &'static str>;
type Handles = mpsc::UnboundedReceiver<RequestMeter>;
type Waiting = Arc<Mutex<HashMap<u64, Working>>>;

/// The model label of a request that was renamed.
pub(crate) const RENAMED: &str = "renamed";

// === impl Plan ===

impl Plan {
    pub(crate) fn ending(&self) -> Ending {
        Ending::ALL[self.ending]
    }

    /// The model label at arrival.
    pub(crate) fn model(&self) -> &'static str {
        match self.start {
            Start::Reported => "reported",
            _ => "called",
        }
    }

    pub(crate) fn endpoint(&self) -> &'static str {
        if self.id % 3 == 0 { "chat_completions" } else { "completions" }
    }

    fn request(&self) -> Request<Body> {
        let path = self.endpoint().replace('_', "/");
        let request = Request::post(format!("http://test/v1/{path}"))
            .header("x-ending", self.ending)
            .header("x-id", self.id)
            .header("x-says-started", u16::from(self.says_started))
            .header("x-renames", u16::from(self.renames));
        request.body(Body::empty()).unwrap()
    }
}

// === impl Server ===

impl Server {
    pub(crate) fn new(meter: &Meter) -> Self {
        let waiting = Waiting::default();
        let stack = |start, model| {
            let waiting = Arc::clone(&waiting);
            let layer = InferenceLayer::new(meter.model(model)).start(start);
            let service = ServiceBuilder::new()
                .layer(CatchPanicLayer::new())
                .map_response(|response: Response<_>| response.map(Body::new))
                .layer(layer)
                .service(service_fn(move |request| answer(request, Arc::clone(&waiting))));
            BoxCloneSyncService::new(service.map_response(|r| r.map(Body::new)))
        };
        Self { stacks: [stack(Start::Call, "called"), stack(Start::Reported, "reported")], waiting }
    }

    /// Makes one request and is its client until the end.
    pub(crate) async fn run(&self, plan: Plan) {
        let (working, mut is_working) = mpsc::unbounded_channel();
        self.waiting.lock().unwrap().insert(plan.id, working);
        let stack = self.stacks[usize::from(plan.start == Start::Reported)].clone();
        match plan.way {
            Way::Call => {
                let response = stack.oneshot(plan.request());
                let meter = be_client(response, plan.ending().client, &mut is_working).await;
                // NB: only of a call is it known that it has ended by now.
                say_too_late(&meter.or_else(|| is_working.try_recv().ok()).unwrap_or_default());
            }
            Way::Http1 | Way::Http2 => over_http(stack, plan, &mut is_working).await,
        }
        self.waiting.lock().unwrap().remove(&plan.id);
    }
}

/// The service inside of the layer.
async fn answer(request: Request<Body>, waiting: Waiting) -> Result<Response<Body>, &'static str> {
    // NB: the body is not kept, since it cannot be shared by threads.
    let (Parts { headers, extensions, .. }, _) = request.into_parts();
    let number = |name: &str| headers[name].to_str().unwrap().parse::<u64>().unwrap();
    let meter = RequestMeter::from_extensions(&extensions);
    if number("x-says-started") == 1 {
        meter.started();
    }
    if number("x-renames") == 1 {
        meter.model(RENAMED);
    }
    let working = waiting.lock().unwrap_or_else(PoisonError::into_inner)[&number("x-id")].clone();
    let ending = Ending::ALL[usize::try_from(number("x-ending")).unwrap()];
    let response = ending.serve(&meter, &working).await;
    working.send(meter).ok();
    response
}

/// A connection of its own for each request: what happens to it is the client's doing alone.
async fn over_http(stack: Stack, plan: Plan, is_working: &mut Handles) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TokioIo::new(TcpStream::connect(listener.local_addr().unwrap()).await.unwrap());
    let server = TokioIo::new(listener.accept().await.unwrap().0);
    let stack = stack.map_request(|request: Request<Incoming>| request.map(Body::new));
    let service = TowerToHyperService::new(stack);
    let is_http_2 = matches!(plan.way, Way::Http2);
    let serving = tokio::spawn(async move {
        // Its error is what the client sees.
        if is_http_2 {
            let server_of = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            server_of.serve_connection(server, service).await.ok();
        } else {
            let server_of = hyper::server::conn::http1::Builder::new();
            server_of.serve_connection(server, service).await.ok();
        }
    });
    let what = plan.ending().client;
    if is_http_2 {
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), client).await.unwrap();
        let connection = tokio::spawn(connection);
        be_client(sender.send_request(plan.request()), what, is_working).await;
        drop(sender);
        close(connection, what).await;
    } else {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(client).await.unwrap();
        let connection = tokio::spawn(connection);
        be_client(sender.send_request(plan.request()), what, is_working).await;
        drop(sender);
        close(connection, what).await;
    }
    // A panic of a body ends it too.
    serving.await.ok();
}

async fn close<T>(connection: JoinHandle<T>, client: Client) {
    if client != Client::Reads {
        connection.abort();
    }
    connection.await.ok();
}

async fn be_client<B, E>(
    response: impl Future<Output = Result<Response<B>, E>>,
    client: Client,
    is_working: &mut Handles,
) -> Option<RequestMeter>
where
    B: http_body::Body<Data: Buf> + Unpin,
{
    let mut response = Box::pin(response);
    if client == Client::LeavesBeforeHead {
        tokio::select! {
            _ = &mut response => panic!("it never answers"),
            meter = is_working.recv() => return Some(meter.unwrap()),
        }
    }
    let response = response.await.ok()?;
    let enough = match client {
        Client::LeavesAfter(bytes) => bytes,
        _ => usize::MAX,
    };
    let (mut body, mut read) = (response.into_body(), 0);
    while read < enough {
        match frame(&mut body).await {
            Some(bytes) => read += bytes,
            None => break,
        }
    }
    assert!(read >= enough || client == Client::Reads, "{read} of {enough}");
    None
}

/// The service goes on as if it did not know that the request has ended: that changes nothing.
fn say_too_late(meter: &RequestMeter) {
    meter.started();
    meter.first_token();
    meter.model("too-late");
    meter.prompt_tokens(1000);
    meter.cached_tokens(1000);
    meter.reasoning_tokens(1000);
    meter.generated_tokens(1000);
    meter.add_generated_tokens(1000);
    meter.finished(FinishReason::Stop);
    meter.fail(FailureReason::Unreachable);
}

/// The next frame's bytes; `None` at the end, which a panic is too.
async fn frame<B: http_body::Body<Data: Buf> + Unpin>(body: &mut B) -> Option<usize> {
    let frame = poll_fn(|cx| {
        let polled = catch_unwind(AssertUnwindSafe(|| pin!(&mut *body).poll_frame(cx)));
        polled.unwrap_or(Poll::Ready(None))
    });
    let frame = frame.await?.ok()?;
    Some(frame.data_ref().map_or(0, Buf::remaining))
}
