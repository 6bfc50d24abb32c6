//! The service inside of the layers: passes one request on, and its answer back.

use std::{
    error, fmt,
    future::{pending, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header};
use hyper::upgrade::OnUpgrade;
use tokio::time::{Instant, sleep_until};
use tower::Service;

use super::{
    asking::Asking,
    body::{Answer, ClientBody, Deadlines, Progress, Upload, UploadError},
    connections::{Client, Limits},
    drain::Drain,
    headers, merged,
    pool::{Pool, Received, SendError},
    reading::Read,
    refusal::Refusal,
    route::{Named, Route},
    routes::Routes,
    tunnel,
    usage::Spliced,
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
        let this = self.clone();
        Box::pin(async move {
            let meter = RequestMeter::of(&request);
            match this.answer(request, &meter).await {
                Ok(answer) => Ok(answer),
                Err(Failed::Refused(refusal)) => {
                    if let Some(reason) = refusal.reason {
                        meter.fail(reason);
                    }
                    meter.refused(|| refusal.details());
                    Ok(refusal.respond())
                }
                Err(Failed::Client) => {
                    meter.client_left();
                    Err(ClientLeft)
                }
            }
        })
    }
}

impl Forward {
    async fn answer(
        &self,
        mut request: Request<ClientBody>,
        meter: &RequestMeter,
    ) -> Result<Response<Answer>, Failed> {
        if request.method() == Method::CONNECT {
            return Err(Refusal::connect().into());
        }
        let is_http11 = request.version() == Version::HTTP_11;
        let protocol = headers::upgrade(request.headers()).filter(|_| is_http11);
        let client_side = protocol.as_ref().map(|_| hyper::upgrade::on(&mut request));

        let (mut parts, body) = request.into_parts();
        if let Some(flaw) = headers::flaw(&parts) {
            return Err(Refusal::head(flaw).into());
        }
        let Shared { max_request_body, limits, ref routes, .. } = *self.shared;
        if routes.are_several() && merged::is_for_list(&parts) {
            return Ok(routes.list());
        }
        let upload = Upload::new(body, max_request_body, limits.pause);
        let progress = upload.progress();
        if let Some(error) = upload.is_too_large() {
            return Err(error.into());
        }
        let Read { mut body, spliced, route } = self.read(&parts, upload, meter).await?;
        let Some(uri) = route.address.uri(&parts.uri) else { return Err(Refusal::target().into()) };
        let hide = spliced.map(|Spliced { pieces, hide }| {
            body.replace(pieces);
            if let (Some(length), true) =
                (body.whole_length(), parts.headers.contains_key(header::CONTENT_LENGTH))
            {
                parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
            }
            // NB: a compressed answer could not be put right again.
            parts.headers.remove(header::ACCEPT_ENCODING);
            hide
        });
        let client = parts.extensions.remove::<Client>();
        headers::for_upstream(&mut parts, client.as_ref().and_then(|client| client.ip.as_ref()));
        headers::set_connection(&mut parts.headers, &uri, protocol);
        parts.uri = uri;
        parts.version = Version::HTTP_11;
        parts.extensions = http::Extensions::new();

        let mut deadlines = Deadlines { first_byte: None, idle: self.shared.idle_timeout };
        let answer = tokio::select! {
            answer = self.pools[route.at].send(Request::from_parts(parts, body)) => answer,
            () = self.first_byte(&progress, &mut deadlines.first_byte) => {
                return Err(Refusal::first_byte(&route.name).into());
            }
            () = left(client.as_ref()) => return Err(Failed::Client),
        };
        let answer = answer.map_err(|error| Failed::send(&route.name, &error, &progress))?;
        let mut answer = self.pass_back(answer, route, client_side, deadlines, &progress, meter)?;
        poll_fn(|cx| Poll::Ready(answer.body_mut().look_ahead(cx)))
            .await
            .map_err(|error| Failed::broken(&route.name, &error, &progress))?;
        if let Some(hide) = hide {
            answer.extensions_mut().insert(hide);
        }
        Ok(answer)
    }

    /// Ends when the upstream has taken too long to begin; `until` is that moment.
    async fn first_byte(&self, upload: &Progress, until: &mut Option<Instant>) {
        let Some(limit) = self.shared.first_byte_timeout else { return pending().await };
        // What was read ahead was not the upstream's time.
        upload.has_moved();
        loop {
            let moment = Instant::now() + limit;
            *until = Some(moment);
            sleep_until(moment).await;
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

async fn left(client: Option<&Client>) {
    match client.and_then(|client| client.peer.as_ref()) {
        Some(peer) => peer.left().await,
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
