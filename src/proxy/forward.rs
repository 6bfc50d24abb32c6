//! The service inside of the layers: passes one request on, and its answer back.

use std::{
    error, fmt,
    future::{pending, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{Request, Response, StatusCode, Version, header};
use hyper::upgrade::OnUpgrade;
use pin_project::pin_project;
use tokio::time::{Instant, sleep_until};
use tower::Service;

use super::{
    asking::Asking,
    body::{Answer, ClientBody, Deadlines, Progress, UploadError},
    connections::{Client, Limits},
    drain::Drain,
    headers,
    inbound::{Inbound, outbound},
    merged,
    pool::{Pool, Received, SendError},
    reading::Read,
    refusal::Refusal,
    route::{Named, Route},
    routes::Routes,
    tunnel,
};
use crate::{layer::InferenceLayer, record::RequestMeter};

/// Passes requests on.
#[derive(Clone)]
pub(super) struct Forward {
    pub(super) shared: Arc<Shared>,
    /// In the order of the routes.
    pub(super) pools: Arc<[Pool]>,
    pub(super) drain: Arc<Drain>,
}

/// What every request needs.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) routes: Routes,
    pub(super) layer: InferenceLayer,
    pub(super) asking: Asking,
    pub(super) first_byte_timeout: Option<Duration>,
    pub(super) idle_timeout: Option<Duration>,
    pub(super) max_request_body: Option<u64>,
    pub(super) limits: Limits,
}

/// The client has gone away: there is nobody to answer.
#[derive(Debug)]
pub(super) struct ClientLeft;

/// The answer that is on its way, or what the proxy answers itself.
#[pin_project]
struct Answering<F> {
    #[pin]
    answer: F,
    meter: RequestMeter,
}

/// Why there is no answer to pass on.
pub(super) enum Failed {
    Client,
    Refused(Refusal),
}

// === impl Forward ===

impl Service<Request<ClientBody>> for Forward {
    type Response = Response<Answer>;
    type Error = ClientLeft;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Answer>, ClientLeft>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), ClientLeft>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<ClientBody>) -> Self::Future {
        let meter = RequestMeter::of(&request);
        let request = Inbound::new(request, &self.shared);
        let answer = self.clone().answer(request, meter.clone());
        Box::pin(Answering { answer, meter })
    }
}

impl Forward {
    /// NB: what is kept in one place is not moved, and the box for it is one that is made fast.
    #[expect(clippy::manual_async_fn, reason = "it would keep its arguments twice")]
    fn answer(
        self,
        mut request: Inbound,
        meter: RequestMeter,
    ) -> impl Future<Output = Result<Response<Answer>, Failed>> + Send {
        async move {
            let routes = &self.shared.routes;
            if let Some(refusal) = request.refusal() {
                return Err(refusal.into());
            }
            if routes.are_several() && merged::is_for_list(&request.parts) {
                return Ok(routes.list());
            }
            if let Some(error) = request.body.is_too_large() {
                return Err(error.into());
            }
            let Read { spliced, route } =
                self.read(&request.parts, &mut request.body, &meter).await?;
            let Some(uri) = route.address.uri(&request.parts.uri) else {
                return Err(Refusal::target().into());
            };
            let hide = spliced.map(|spliced| request.splice(spliced));
            let client = request.parts.extensions.remove::<Client>();
            let Inbound { parts, body, ref progress, protocol, client_side } = request;
            let ip = client.as_ref().and_then(|client| client.ip.as_ref());
            let sent = self.pools[route.at].send(outbound(parts, body, uri, ip, protocol));

            let mut deadlines = Deadlines { first_byte: None, idle: self.shared.idle_timeout };
            let answer = tokio::select! {
                answer = sent => answer,
                () = self.first_byte(progress, &mut deadlines.first_byte) => {
                    return Err(Refusal::first_byte(&route.name).into());
                }
                () = left(client.as_ref()) => return Err(Failed::Client),
            };
            let answer = answer.map_err(|error| Failed::send(&route.name, &error, progress))?;
            let mut answer =
                self.pass_back(answer, route, client_side, deadlines, progress, &meter)?;
            poll_fn(|cx| Poll::Ready(answer.body_mut().look_ahead(cx)))
                .await
                .map_err(|error| Failed::broken(&route.name, &error, progress))?;
            if let Some(hide) = hide {
                answer.extensions_mut().insert(hide);
            }
            Ok(answer)
        }
    }

    /// Ends when the upstream has taken too long to begin; `until` is that moment.
    async fn first_byte(&self, upload: &Progress, until: &mut Option<Instant>) {
        let Some(limit) = self.shared.first_byte_timeout else { return pending().await };
        // What was read ahead was not the upstream's time.
        upload.has_moved();
        loop {
            let moment = Instant::now() + limit;
            *until = Some(moment);
            Box::pin(sleep_until(moment)).await;
            // NB: nor is what a client takes to send its request.
            if !upload.has_moved() {
                return;
            }
        }
    }

    fn pass_back(
        &self,
        mut answer: Response<Received>,
        route: &Route,
        client_side: Option<OnUpgrade>,
        deadlines: Deadlines,
        upload: &Progress,
        meter: &RequestMeter,
    ) -> Result<Response<Answer>, Refusal> {
        let mut changed = None;
        if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
            changed = answer.headers().get(header::UPGRADE).cloned();
            let (Some(client_side), Some(_)) = (client_side, &changed) else {
                return Err(Refusal::answer(&route.name, "it changes the protocol unasked"));
            };
            tunnel::join(client_side, hyper::upgrade::on(&mut answer), &self.drain);
        }
        headers::for_client(answer.headers_mut()).ok_or_else(|| {
            Refusal::answer(&route.name, "it has a Transfer-Encoding other than chunked")
        })?;
        if let Some(protocol) = changed {
            headers::set_upgrade(answer.headers_mut(), protocol);
        }
        // NB: the version is that of this hop.
        *answer.version_mut() = Version::HTTP_11;
        let (upload, meter, cut) = (upload.clone(), meter.clone(), self.drain.cut_flag());
        Ok(answer.map(|body| Answer::relayed(body, deadlines, upload, meter, cut)))
    }
}

impl<F: Future<Output = Result<Response<Answer>, Failed>>> Future for Answering<F> {
    type Output = Result<Response<Answer>, ClientLeft>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        Poll::Ready(match ready!(this.answer.poll(cx)) {
            Ok(answer) => Ok(answer),
            Err(Failed::Refused(refusal)) => {
                if let Some(reason) = refusal.reason {
                    this.meter.fail(reason);
                }
                this.meter.refused(|| refusal.details());
                Ok(refusal.respond())
            }
            Err(Failed::Client) => {
                this.meter.client_left();
                Err(ClientLeft)
            }
        })
    }
}

async fn left(client: Option<&Client>) {
    match client.and_then(|client| client.peer.as_ref()) {
        // NB: in a box, so that those who are seen to go elsewhere need no room for it.
        Some(peer) => Box::pin(peer.left()).await,
        None => pending().await,
    }
}

impl fmt::Debug for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Forward").field("shared", &self.shared).finish_non_exhaustive()
    }
}

// === impl Failed ===

impl Failed {
    /// NB: an upload that fails shows as a request that could not be sent.
    fn send(to: &Named, error: &SendError, upload: &Progress) -> Self {
        match upload.failure() {
            Some(upload) => upload.into(),
            None => Refusal::send(to, error).into(),
        }
    }

    fn broken(by: &Named, error: &dyn fmt::Display, upload: &Progress) -> Self {
        match upload.failure() {
            Some(upload) => upload.into(),
            None => Refusal::broken(by, error).into(),
        }
    }
}

impl From<Refusal> for Failed {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<UploadError> for Failed {
    fn from(error: UploadError) -> Self {
        Refusal::upload(&error).map_or(Self::Client, Self::Refused)
    }
}

// === impl ClientLeft ===

impl fmt::Display for ClientLeft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the client has gone away")
    }
}

impl error::Error for ClientLeft {}
