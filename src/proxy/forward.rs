//! The service inside of the layers: passes one request on, and its answer back.

use std::{
    error, fmt,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header};
use hyper::{body::Incoming, upgrade::OnUpgrade};
use tokio::time::{Instant, timeout_at};
use tower::Service;

use super::{
    asking::Asking,
    body::{Answer, Deadlines, Failure, RequestBody, Upload, UploadError},
    connections::{Client, Drain},
    headers,
    refusal::Refusal,
    tunnel,
    upstream::{Address, SendError, Upstream},
    usage::Spliced,
};
use crate::{layer::InferenceLayer, outcome::FailureReason, record::RequestMeter};

/// Passes requests on.
#[derive(Clone)]
pub(super) struct Forward {
    pub(super) shared: Arc<Shared>,
    pub(super) upstream: Upstream,
    pub(super) drain: Arc<Drain>,
}

/// What every request needs.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) address: Address,
    pub(super) layer: InferenceLayer,
    pub(super) asking: Asking,
    pub(super) first_byte_timeout: Option<Duration>,
    pub(super) idle_timeout: Option<Duration>,
    pub(super) max_request_body: Option<u64>,
}

/// The client has gone away: there is nobody to answer.
#[derive(Debug)]
pub(super) struct ClientLeft;

/// Why there is no answer to pass on.
enum Failed {
    Client,
    Refused(Refusal),
}

/// One that waits for its head. Dropped when the proxy ends, the request has not been given up by
/// its client.
struct Waits {
    meter: RequestMeter,
    cut: Arc<AtomicBool>,
}

/// How much of a request is read ahead to learn what it asks for; a longer one goes by unread.
const READ_AHEAD: u64 = 8 * 1024 * 1024;

// === impl Forward ===

impl Service<Request<Incoming>> for Forward {
    type Response = Response<Answer>;
    type Error = ClientLeft;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Answer>, ClientLeft>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), ClientLeft>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let meter = RequestMeter::of(&request);
            let waits = Waits { meter: meter.clone(), cut: this.drain.cut_flag() };
            let answer = this.answer(request, &meter).await;
            drop(waits);
            match answer {
                Ok(answer) => Ok(answer),
                Err(Failed::Refused(refusal)) => {
                    if let Some(reason) = refusal.reason {
                        meter.fail(reason);
                    }
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
        mut request: Request<Incoming>,
        meter: &RequestMeter,
    ) -> Result<Response<Answer>, Failed> {
        if request.method() == Method::CONNECT {
            return Err(Refusal::connect().into());
        }
        let Some(uri) = self.shared.address.uri(request.uri()) else {
            return Err(Refusal::target().into());
        };
        let protocol = headers::upgrade(request.headers());
        let client_side = protocol.as_ref().map(|_| hyper::upgrade::on(&mut request));

        let (mut parts, body) = request.into_parts();
        let upload = Upload::new(body, self.shared.max_request_body);
        let failure = upload.failure();
        if let Some(error) = upload.is_too_large() {
            return Err(error.into());
        }
        let (mut body, spliced) = self.read(&parts, upload, meter).await?;
        let hide = spliced.map(|Spliced { pieces, hide }| {
            body.replace(pieces);
            // NB: a compressed answer could not be put right again.
            parts.headers.remove(header::ACCEPT_ENCODING);
            hide
        });
        parts.uri = uri;
        parts.version = Version::HTTP_11;
        let client = parts.extensions.get::<Client>().map(|client| client.0);
        headers::for_upstream(&mut parts.headers, client);
        if let (Some(length), true) =
            (body.whole_length(), parts.headers.contains_key(header::CONTENT_LENGTH))
        {
            parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        if let Some(protocol) = protocol {
            headers::set_upgrade(&mut parts.headers, protocol);
        }
        parts.extensions = http::Extensions::new();

        let deadlines = Deadlines {
            first_byte: self.shared.first_byte_timeout.map(|limit| Instant::now() + limit),
            idle: self.shared.idle_timeout,
        };
        let sent = self.upstream.send(Request::from_parts(parts, body));
        let answer = match deadlines.first_byte {
            Some(until) => match timeout_at(until, sent).await {
                Ok(answer) => answer,
                Err(_) => return Err(Refusal::first_byte().into()),
            },
            None => sent.await,
        };
        let answer = answer.map_err(|error| Failed::send(&error, &failure))?;
        let mut answer = self.pass_back(answer, client_side, deadlines, meter);
        if let Some(hide) = hide {
            answer.extensions_mut().insert(hide);
        }
        Ok(answer)
    }

    /// Reads what a request asks for, where it is one that is measured and can be read.
    async fn read(
        &self,
        parts: &http::request::Parts,
        upload: Upload,
        meter: &RequestMeter,
    ) -> Result<(RequestBody, Option<Spliced>), UploadError> {
        let Shared { layer, asking, .. } = &*self.shared;
        let is_readable =
            meter.is_measuring() && !parts.headers.contains_key(header::CONTENT_ENCODING);
        if !is_readable {
            return Ok((RequestBody::streamed(upload), None));
        }
        let mut body = RequestBody::read_ahead(upload, READ_AHEAD).await?;
        let wire = layer.wire_for(&parts.method, parts.uri.path(), &parts.headers);
        let spliced = body.whole().and_then(|whole| asking.ask(whole, wire, meter));
        Ok((body, spliced))
    }

    fn pass_back(
        &self,
        mut answer: Response<Incoming>,
        client_side: Option<OnUpgrade>,
        deadlines: Deadlines,
        meter: &RequestMeter,
    ) -> Response<Answer> {
        let changed = (answer.status() == StatusCode::SWITCHING_PROTOCOLS)
            .then(|| answer.headers().get(header::UPGRADE).cloned())
            .flatten();
        if let (Some(client_side), Some(_)) = (client_side, &changed) {
            tunnel::join(client_side, hyper::upgrade::on(&mut answer), &self.drain);
        }
        headers::drop_hop_by_hop(answer.headers_mut());
        if let Some(protocol) = changed {
            headers::set_upgrade(answer.headers_mut(), protocol);
        }
        // NB: the version is that of this hop.
        *answer.version_mut() = Version::HTTP_11;
        let (meter, cut) = (meter.clone(), self.drain.cut_flag());
        answer.map(|body| Answer::relayed(body, deadlines, meter, cut))
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
    fn send(error: &SendError, failure: &Failure) -> Self {
        match failure.get() {
            Some(upload) => upload.into(),
            None => Refusal::send(error).into(),
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

// === impl Waits ===

impl Drop for Waits {
    fn drop(&mut self) {
        if self.cut.load(Relaxed) {
            self.meter.fail(FailureReason::Timeout);
        }
    }
}

// === impl ClientLeft ===

impl fmt::Display for ClientLeft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the client has gone away")
    }
}

impl error::Error for ClientLeft {}
