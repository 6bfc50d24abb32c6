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
    /// Lines of JSON.
    Lines,
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
        let mut head = Self { status: Some(status), ..Self::default() };
        // NB: one walk costs less than a look-up for each.
        for (name, value) in headers {
            if name == header::CONTENT_TYPE && head.content == Content::Unsaid {
                head.content = Content::new(value.as_bytes());
            } else if name == header::CONTENT_LENGTH {
                head.length = number(value.as_bytes());
            } else if name == header::CONTENT_ENCODING
                && !value.as_bytes().eq_ignore_ascii_case(b"identity")
            {
                head.content = Content::Compressed;
            }
        }
        if let Content::Grpc { status } = &mut head.content {
            // NB: an answer without a body has its status in the head.
            *status = grpc_status(headers);
        }
        head
    }
}

// === impl Content ===

impl Content {
    /// By `content-type`.
    fn new(content_type: &[u8]) -> Self {
        let content_type = content_type.trim_ascii_start();
        // The usual spelling first.
        if content_type == b"application/json" {
            Self::Json
        } else if is_kind(content_type, b"text/event-stream") {
            Self::Events
        } else if is_kind(content_type, b"application/json") || is_json(content_type) {
            Self::Json
        } else if LINES.iter().any(|kind| is_kind(content_type, kind)) {
            Self::Lines
        } else if is_grpc(content_type) {
            Self::Grpc { status: None }
        } else {
            Self::Other
        }
    }
}

/// Digits only, as the specification has it.
fn number(digits: &[u8]) -> Option<u64> {
    let (first, rest) = digits.split_first()?;
    let digit = |byte: &u8| byte.is_ascii_digit().then(|| u64::from(*byte - b'0'));
    rest.iter().try_fold(digit(first)?, |n, byte| n.checked_mul(10)?.checked_add(digit(byte)?))
}

/// None of them is registered; all are in use.
const LINES: [&[u8]; 4] = [
    b"application/x-ndjson",
    b"application/ndjson",
    b"application/jsonl",
    b"application/json-lines",
];

fn is_kind(content_type: &[u8], kind: &[u8]) -> bool {
    matches!(after(content_type, kind), Some([] | [b';' | b' ' | b'\t', ..]))
}

/// `application/problem+json` and the like.
fn is_json(content_type: &[u8]) -> bool {
    let kind = content_type.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii_end();
    kind.last_chunk().is_some_and(|suffix: &[u8; 5]| suffix.eq_ignore_ascii_case(b"+json"))
}

/// `application/grpc`, `application/grpc+proto`, …
pub(crate) fn is_grpc(content_type: &[u8]) -> bool {
    matches!(after(content_type, b"application/grpc"), Some([] | [b'+' | b';' | b' ', ..]))
}

/// What follows `kind`, if `content_type` begins with it.
fn after<'a>(content_type: &'a [u8], kind: &[u8]) -> Option<&'a [u8]> {
    let (start, rest) = content_type.split_at_checked(kind.len())?;
    // The usual spelling first.
    (start == kind || start.eq_ignore_ascii_case(kind)).then_some(rest)
}

/// Whether `grpc-status` says OK; `None` where it is absent.
pub(super) fn grpc_status(headers: &HeaderMap) -> Option<bool> {
    headers.get("grpc-status").map(|value| value.as_bytes() == b"0")
}
