//! A request as it came, and as it goes on.

use http::{Extensions, HeaderValue, Method, Request, Uri, Version, header, request::Parts};
use hyper::upgrade::OnUpgrade;

use super::{
    body::{ClientBody, Progress, RequestBody, Upload},
    forward::Shared,
    headers,
    refusal::Refusal,
    usage::{Hide, Spliced},
};

/// A request of a client.
pub(super) struct Inbound {
    pub(super) parts: Parts,
    pub(super) body: RequestBody,
    /// How its body comes.
    pub(super) progress: Progress,
    /// The protocol that it asks for, and where that would be spoken.
    pub(super) protocol: Option<HeaderValue>,
    pub(super) client_side: Option<OnUpgrade>,
}

// === impl Inbound ===

impl Inbound {
    pub(super) fn new(mut request: Request<ClientBody>, shared: &Shared) -> Self {
        let is_http11 = request.version() == Version::HTTP_11;
        let protocol = headers::upgrade(request.headers()).filter(|_| is_http11);
        let client_side = protocol.as_ref().map(|_| hyper::upgrade::on(&mut request));
        let (parts, body) = request.into_parts();
        let upload = Upload::new(body, shared.max_request_body, shared.limits.pause);
        let progress = upload.progress();
        Self { parts, body: RequestBody::streamed(upload), progress, protocol, client_side }
    }

    /// Why it cannot be passed on, whatever its body is.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        if self.parts.method == Method::CONNECT {
            return Some(Refusal::connect());
        }
        headers::flaw(&self.parts).map(Refusal::head)
    }

    /// Asks for more than the client does.
    pub(super) fn splice(&mut self, Spliced { pieces, hide }: Spliced) -> Hide {
        let Self { parts, body, .. } = self;
        body.replace(pieces);
        if let (Some(length), true) =
            (body.whole_length(), parts.headers.contains_key(header::CONTENT_LENGTH))
        {
            parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        // NB: a compressed answer could not be put right again.
        parts.headers.remove(header::ACCEPT_ENCODING);
        hide
    }
}

/// The request as the upstream gets it, at `uri`.
pub(super) fn outbound(
    mut parts: Parts,
    body: RequestBody,
    uri: Uri,
    client: Option<&HeaderValue>,
    protocol: Option<HeaderValue>,
) -> Request<RequestBody> {
    headers::for_upstream(&mut parts, client);
    headers::set_connection(&mut parts.headers, &uri, protocol);
    parts.uri = uri;
    parts.version = Version::HTTP_11;
    parts.extensions = Extensions::new();
    Request::from_parts(parts, body)
}
