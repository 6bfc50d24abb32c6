//! What the head of a response says about its body.

use http::{HeaderMap, StatusCode, header};

/// What the head of a response says about its body; empty where only the body is known.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Head {
    pub(super) status: Option<StatusCode>,
    pub(super) content: Content,
    /// `content-length`.
    pub(super) length: Option<u64>,
}

/// How the body is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Content {
    /// Not said: its first byte tells.
    #[default]
    Unsaid,
    /// Server-sent events.
    Events,
    /// One JSON document.
    Json,
    /// gRPC messages: trailers tell how it ended.
    Grpc { status: Option<bool> },
    /// Compressed, in whatever way.
    Compressed,
    /// Something else.
    Other,
}

// === impl Head ===

impl Head {
    pub(super) fn new(status: StatusCode, headers: &HeaderMap) -> Self {
        let length = headers
            .get(header::CONTENT_LENGTH)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.parse().ok());
        Self { status: Some(status), content: Content::new(headers), length }
    }
}

// === impl Content ===

impl Content {
    fn new(headers: &HeaderMap) -> Self {
        let is_encoded = headers
            .get(header::CONTENT_ENCODING)
            .is_some_and(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"));
        if is_encoded {
            return Self::Compressed;
        }
        let Some(kind) = headers.get(header::CONTENT_TYPE) else {
            return Self::Unsaid;
        };
        let kind = kind.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
        let kind = kind.trim_ascii();
        let ends_with = |suffix: &[u8]| {
            kind.len()
                .checked_sub(suffix.len())
                .is_some_and(|at| kind[at..].eq_ignore_ascii_case(suffix))
        };
        if kind.eq_ignore_ascii_case(b"text/event-stream") {
            Self::Events
        } else if kind.eq_ignore_ascii_case(b"application/json") || ends_with(b"+json") {
            Self::Json
        } else if is_grpc(kind) {
            // NB: an answer without a body has its status in the head.
            Self::Grpc { status: grpc_status(headers) }
        } else {
            Self::Other
        }
    }
}

/// `application/grpc`, `application/grpc+proto`, …
pub(crate) fn is_grpc(content_type: &[u8]) -> bool {
    const GRPC: &[u8] = b"application/grpc";
    content_type.get(..GRPC.len()).is_some_and(|kind| kind.eq_ignore_ascii_case(GRPC))
        && matches!(content_type.get(GRPC.len()), None | Some(b'+' | b';' | b' '))
}

/// Whether `grpc-status` says OK; `None` where it is absent.
pub(super) fn grpc_status(headers: &HeaderMap) -> Option<bool> {
    headers.get("grpc-status").map(|value| value.as_bytes() == b"0")
}
