//! The head of a request as it is sent, and of an answer as it is read. No I/O.

use std::{error, fmt, mem::MaybeUninit};

use bytes::{Bytes, BytesMut};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Version, header, request,
    response, uri::PathAndQuery,
};
use httparse::{Header, ParserConfig, Status};
use hyper::ext::ReasonPhrase;

use super::framing::{Framing, FramingError};

/// What comes before the body of an answer.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) parts: response::Parts,
    pub(super) framing: Framing,
    /// Whether the connection is there for another request afterwards.
    pub(super) keeps_alive: bool,
}

/// It is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeadError {
    Syntax(httparse::Error),
    TooLong,
    Length,
    Coding,
    Value,
}

/// As hyper has them.
const MOST_HEADERS: usize = 100;
pub(super) const LONGEST: usize = 400 * 1024;

// === Requests ===

/// The head of a request whose body has this length.
pub(super) fn written(head: &request::Parts, length: u64) -> Bytes {
    let target = head.uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let line = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len() + 4;
    let lines: usize = head.headers.iter().map(line).sum();
    let mut to = BytesMut::with_capacity(target.len() + lines + 128);
    for piece in [head.method.as_str(), " ", target, " HTTP/1.1\r\n"] {
        to.extend_from_slice(piece.as_bytes());
    }
    if let Some(host) = head.uri.authority() {
        write(&mut to, &header::HOST, host.as_str().as_bytes());
    }
    for (name, value) in &head.headers {
        // NB: one length, and the one that is sent.
        if name != header::CONTENT_LENGTH {
            write(&mut to, name, value.as_bytes());
        }
    }
    if length > 0 || head.headers.contains_key(header::CONTENT_LENGTH) {
        write(&mut to, &header::CONTENT_LENGTH, length.to_string().as_bytes());
    }
    to.extend_from_slice(b"\r\n");
    to.freeze()
}

fn write(to: &mut BytesMut, name: &HeaderName, value: &[u8]) {
    for piece in [name.as_str().as_bytes(), b": ", value, b"\r\n"] {
        to.extend_from_slice(piece);
    }
}

// === Answers ===

/// Reads the head of an answer, if it is there whole, and skips those that are only about its
/// progress. Tells how many bytes are read.
pub(super) fn read_last(bytes: &[u8], asked: &Method) -> Result<(Option<Head>, usize), HeadError> {
    let mut taken = 0;
    while let Some((head, length)) = read(&bytes[taken..], asked)? {
        taken += length;
        let status = head.parts.status;
        if !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS {
            return Ok((Some(head), taken));
        }
    }
    Ok((None, taken))
}

/// A head at the beginning of these bytes, and how long it is.
fn read(bytes: &[u8], asked: &Method) -> Result<Option<(Head, usize)>, HeadError> {
    let mut headers = [const { MaybeUninit::<Header<'_>>::uninit() }; MOST_HEADERS];
    let mut answer = httparse::Response::new(&mut []);
    let parsed = ParserConfig::default().parse_response_with_uninit_headers(
        &mut answer,
        bytes,
        &mut headers,
    );
    let length = match parsed.map_err(HeadError::Syntax)? {
        Status::Complete(length) => length,
        Status::Partial if bytes.len() >= LONGEST => return Err(HeadError::TooLong),
        Status::Partial => return Ok(None),
    };
    let (mut parts, ()) = Response::new(()).into_parts();
    let status = StatusCode::from_u16(answer.code.unwrap_or_default());
    parts.status = status.map_err(|_| HeadError::Syntax(httparse::Error::Status))?;
    parts.version = if answer.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 };
    let usual = parts.status.canonical_reason();
    if let Some(reason) = answer.reason.filter(|reason| Some(*reason) != usual) {
        // NB: hyper writes it for the client, as it does with those that it has read itself.
        if let Ok(reason) = ReasonPhrase::try_from(reason.as_bytes()) {
            parts.extensions.insert(reason);
        }
    }
    parts.headers = headers_of(&bytes[..length], answer.headers)?;
    let framing = framing(&parts, asked)?;
    let is_other_protocol = parts.status == StatusCode::SWITCHING_PROTOCOLS;
    let keeps_alive = !is_other_protocol && keeps_alive(&parts);
    Ok(Some((Head { parts, framing, keeps_alive }, length)))
}

/// Reads trailers, with the empty line behind them.
pub(super) fn trailers(bytes: &[u8]) -> Result<HeaderMap, FramingError> {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    match httparse::parse_headers(bytes, &mut headers) {
        Ok(Status::Complete((_, headers))) => {
            headers_of(bytes, headers).map_err(|_| FramingError::Trailers)
        }
        _ => Err(FramingError::Trailers),
    }
}

/// One copy of the head, and a part of it for each value.
fn headers_of(head: &[u8], headers: &[Header<'_>]) -> Result<HeaderMap, HeadError> {
    let copy = Bytes::copy_from_slice(head);
    let mut map = HeaderMap::with_capacity(headers.len());
    for Header { name, value } in headers {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| HeadError::Value)?;
        let at = value.as_ptr() as usize - head.as_ptr() as usize;
        let value = HeaderValue::from_maybe_shared(copy.slice(at..at + value.len()));
        map.append(name, value.map_err(|_| HeadError::Value)?);
    }
    Ok(map)
}

/// By RFC 9112 section 6.3.
fn framing(parts: &response::Parts, asked: &Method) -> Result<Framing, HeadError> {
    let status = parts.status;
    let is_empty = status.is_informational()
        || status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED
        || *asked == Method::HEAD;
    if is_empty {
        return Ok(Framing::Ended);
    }
    if let Some(last) = parts.headers.get_all(header::TRANSFER_ENCODING).iter().next_back() {
        // NB: it did not exist then; who sends it does not know what it says.
        if parts.version == Version::HTTP_10 {
            return Err(HeadError::Coding);
        }
        let last = last.as_bytes().rsplit(|byte| *byte == b',').next().unwrap_or_default();
        let is_chunked = last.trim_ascii().eq_ignore_ascii_case(b"chunked");
        return Ok(if is_chunked { Framing::chunked() } else { Framing::UntilClose });
    }
    let values = parts.headers.get_all(header::CONTENT_LENGTH).iter();
    let mut lengths = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let Some(first) = lengths.next() else { return Ok(Framing::UntilClose) };
    let length = digits(first.trim_ascii());
    if lengths.any(|other| digits(other.trim_ascii()) != length) {
        return Err(HeadError::Length);
    }
    length.map(Framing::length).ok_or(HeadError::Length)
}

/// NB: digits only: what else `parse` takes (`+7`) has another meaning elsewhere.
fn digits(value: &[u8]) -> Option<u64> {
    let is_plain = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(value).ok().filter(|_| is_plain)?.parse().ok()
}

fn keeps_alive(parts: &response::Parts) -> bool {
    // NB: with both, who reads by the length sees another end.
    let is_told_twice = parts.headers.contains_key(header::TRANSFER_ENCODING)
        && parts.headers.contains_key(header::CONTENT_LENGTH);
    let says = |word: &str| {
        let values = parts.headers.get_all(header::CONNECTION).iter();
        let mut words = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
        words.any(|other| other.trim_ascii().eq_ignore_ascii_case(word.as_bytes()))
    };
    let is_old = parts.version == Version::HTTP_10;
    !is_told_twice && !says("close") && (!is_old || says("keep-alive"))
}

// === impl HeadError ===

impl fmt::Display for HeadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax(error) => write!(f, "invalid HTTP: {error}"),
            Self::TooLong => write!(f, "the head is longer than {LONGEST} bytes"),
            Self::Length => f.write_str("the Content-Length is invalid"),
            Self::Coding => f.write_str("HTTP/1.0 has no Transfer-Encoding"),
            Self::Value => f.write_str("a header is invalid"),
        }
    }
}

impl error::Error for HeadError {}
