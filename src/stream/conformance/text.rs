//! What a body is made of, and how to write it otherwise.

use bytes::{Bytes, BytesMut};

use super::{Sample, run::Run};
use crate::stream::head::{Content, Head};

/// How a body is framed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    Events,
    Lines,
    Whole,
    Unread,
}

/// Cuts of a body up to this length are made everywhere.
const SHORT: usize = 2 * 1024;

// === impl Kind ===

impl Kind {
    pub(super) fn of(sample: &Sample, whole: &Run) -> Self {
        match Head::new(sample.status, &sample.headers).content {
            _ if whole.told.unread.is_some() => Self::Unread,
            Content::Events => Self::Events,
            Content::Lines => Self::Lines,
            Content::Unsaid if whole.had_events => match first(&sample.body) {
                Some(b'{') => Self::Lines,
                _ => Self::Events,
            },
            Content::Json | Content::Unsaid => Self::Whole,
            Content::Grpc { .. } | Content::Compressed | Content::Other => Self::Unread,
        }
    }

    /// The body cut after each event; one that has no events is one piece.
    pub(super) fn pieces(self, body: &Bytes) -> Vec<Bytes> {
        let mut left = body.clone();
        let mut pieces = Vec::new();
        while let Some(length) = self.piece(&left) {
            pieces.push(left.split_to(length));
        }
        if !left.is_empty() {
            pieces.push(left);
        }
        pieces
    }

    /// How long the first event is, with what ends it.
    fn piece(self, body: &[u8]) -> Option<usize> {
        let ends: &[&[u8]] = match self {
            Self::Events => &[b"\n\n", b"\r\n\r\n", b"\r\r"],
            Self::Lines => &[b"\n"],
            Self::Whole | Self::Unread => &[],
        };
        ends.iter().filter_map(|end| Some(find(body, end)? + end.len())).min()
    }

    /// What a body may have between two events and that means nothing.
    pub(super) fn fillers(self) -> &'static [&'static [u8]] {
        match self {
            Self::Events => &[b": ping\n\n", b":\r\n", b": data: {}\r\n\r\n", b"\n", b"id: 1\n\n"],
            Self::Lines => &[b"\n", b" \r\n"],
            Self::Whole => &[b"\n", b" \r\n\t"],
            Self::Unread => &[],
        }
    }

    /// An event of its own with this data.
    pub(super) fn event(self, data: &[u8]) -> Bytes {
        let (start, end): (&[u8], &[u8]) = match self {
            Self::Events => (b"data: ", b"\n\n"),
            _ => (b"", b"\n"),
        };
        [start, data, end].concat().into()
    }
}

/// Where a body is to be cut; neither before its first byte nor after its last one.
pub(super) fn places(body: &Bytes, kind: Kind) -> Vec<usize> {
    let length = body.len();
    if length <= SHORT {
        return (1..length).collect();
    }
    let mut places: Vec<usize> = (1..length).step_by(length.div_ceil(SHORT / 4)).collect();
    let mut at = 0;
    for piece in kind.pieces(body) {
        at += piece.len();
        places.extend(at.saturating_sub(4)..at + 2);
    }
    places.sort_unstable();
    places.dedup();
    places.retain(|at| (1..length).contains(at));
    places
}

/// The same with the other line ends: CRLF for LF, or LF for CRLF.
pub(super) fn other_line_ends(body: &[u8]) -> Bytes {
    let has_crlf = find(body, b"\r\n").is_some();
    let mut other = BytesMut::with_capacity(body.len() * 2);
    for (at, byte) in body.iter().enumerate() {
        match byte {
            b'\n' if !has_crlf => other.extend_from_slice(b"\r\n"),
            b'\r' if has_crlf && body.get(at + 1) == Some(&b'\n') => {}
            byte => other.extend_from_slice(&[*byte]),
        }
    }
    other.freeze()
}

/// The same with another number for each that stands behind a colon.
pub(super) fn other_numbers(body: &[u8], number: &str) -> Bytes {
    let mut other = BytesMut::new();
    let mut left = body;
    while let Some(colon) = memchr::memchr(b':', left) {
        let (before, after) = left.split_at(colon + 1);
        other.extend_from_slice(before);
        left = after.trim_ascii_start();
        let is_number = |byte: &u8| byte.is_ascii_digit() || b"+-.eE".contains(byte);
        if left.first().is_some_and(u8::is_ascii_digit) {
            other.extend_from_slice(number.as_bytes());
            let length = left.iter().take_while(|byte| is_number(byte)).count();
            left = &left[length..];
        } else {
            left = after;
        }
    }
    other.extend_from_slice(left);
    other.freeze()
}

/// A body with `filler` before each piece and after the last one.
pub(super) fn filled(pieces: &[Bytes], filler: &[u8]) -> Bytes {
    let mut filled = BytesMut::from(filler);
    for piece in pieces {
        filled.extend_from_slice(piece);
        // NB: the last one may lack its end.
        if piece.ends_with(b"\n") {
            filled.extend_from_slice(filler);
        }
    }
    filled.freeze()
}

/// A body in frames of these sizes, over and over.
pub(super) fn frames(body: &Bytes, sizes: &[usize]) -> impl Iterator<Item = Bytes> {
    let mut left = body.clone();
    // NB: with nothing but empty frames it would not end.
    let sizes = if sizes.iter().any(|size| *size > 0) { sizes } else { &[usize::MAX] };
    let mut sizes = sizes.iter().cycle();
    std::iter::from_fn(move || {
        let size = (!left.is_empty()).then(|| sizes.next()).flatten()?;
        Some(left.split_to(left.len().min(*size)))
    })
}

pub(super) fn first(body: &[u8]) -> Option<&u8> {
    body.trim_ascii_start().first()
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
