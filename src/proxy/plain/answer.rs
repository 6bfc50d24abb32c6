//! An answer on its way to a client, as hyper would write it.

use std::{
    cell::Cell,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::{Buf, Bytes};
use http::{HeaderName, HeaderValue, StatusCode, header, response::Parts};
use http_body::{Body, Frame};
use hyper::ext::ReasonPhrase;
use tokio::io::AsyncWrite;

/// What is still to be written: the lines, then the payload, then the end of it.
#[derive(Debug)]
pub(super) struct Answer {
    /// The head, or the size of a chunk.
    lines: Vec<u8>,
    written: usize,
    payload: Bytes,
    end: &'static [u8],
    framing: Framing,
    has_ended: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    /// So many bytes are still to come.
    Length(u64),
    Chunked,
}

/// It cannot be sent to its end.
#[derive(Debug)]
pub(super) struct Broken;

const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

// === impl Answer ===

impl Answer {
    /// Begins with the head; `None` where it contradicts itself.
    pub(super) fn new(head: &Parts, body: &impl Body, closes: bool) -> Option<Self> {
        let Parts { status, headers, extensions, .. } = head;
        let has_body = !matches!(*status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let has_ended = !has_body || body.is_end_stream();
        let told = headers.get(header::CONTENT_LENGTH).map(HeaderValue::to_str);
        let framing = match told {
            _ if has_ended => Framing::Length(0),
            Some(told) => Framing::Length(told.ok()?.parse().ok()?),
            None => body.size_hint().exact().map_or(Framing::Chunked, Framing::Length),
        };

        let mut to = Vec::with_capacity(64 + 48 * headers.len());
        let reason = match extensions.get::<ReasonPhrase>() {
            Some(reason) => reason.as_bytes(),
            None => status.canonical_reason().unwrap_or("<none>").as_bytes(),
        };
        for piece in [b"HTTP/1.1 ", status.as_str().as_bytes(), b" ", reason, b"\r\n"] {
            to.extend_from_slice(piece);
        }
        let mut has_length = has_ended;
        for (name, value) in headers {
            // NB: once, however often it was told.
            if name != header::CONTENT_LENGTH || !std::mem::replace(&mut has_length, true) {
                line(&mut to, name, value.as_bytes());
            }
        }
        match framing {
            Framing::Length(_) if has_length && !has_ended => {}
            Framing::Length(_) if !has_body => {}
            Framing::Length(length) => {
                line(&mut to, &header::CONTENT_LENGTH, length.to_string().as_bytes());
            }
            Framing::Chunked => line(&mut to, &header::TRANSFER_ENCODING, b"chunked"),
        }
        if closes && !headers.contains_key(header::CONNECTION) {
            line(&mut to, &header::CONNECTION, b"close");
        }
        if !headers.contains_key(header::DATE) {
            line(&mut to, &header::DATE, &date());
        }
        to.extend_from_slice(b"\r\n");
        Some(Self { lines: to, written: 0, payload: Bytes::new(), end: b"", framing, has_ended })
    }

    /// Writes the answer; ready once all of it was taken by the system.
    pub(super) fn poll<B: Body<Data = Bytes>, W: AsyncWrite + Unpin>(
        &mut self,
        mut body: Pin<&mut B>,
        socket: &mut W,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Broken>> {
        loop {
            if self.has_ended || self.payload.has_remaining() {
                ready!(self.poll_write(socket, cx)).map_err(|_| Broken)?;
            }
            if self.has_ended {
                return Poll::Ready(Ok(()));
            }
            let Poll::Ready(frame) = body.as_mut().poll_frame(cx) else {
                // NB: a head does not wait for the first token.
                ready!(self.poll_write(socket, cx)).map_err(|_| Broken)?;
                return Poll::Pending;
            };
            match frame.map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => self.data(data, body.is_end_stream())?,
                // NB: no client that takes trailers is served here.
                Some(Ok(Err(_))) | None => self.finish()?,
                Some(Err(_)) => return Poll::Ready(Err(Broken)),
            }
        }
    }

    fn data(&mut self, data: Bytes, is_last: bool) -> Result<(), Broken> {
        match &mut self.framing {
            Framing::Length(left) => {
                *left = left.checked_sub(data.len() as u64).ok_or(Broken)?;
                self.has_ended = *left == 0;
            }
            Framing::Chunked if data.is_empty() => {}
            Framing::Chunked => {
                chunk_size(&mut self.lines, data.len());
                self.end = b"\r\n";
            }
        }
        self.payload = data;
        if is_last { self.finish() } else { Ok(()) }
    }

    fn finish(&mut self) -> Result<(), Broken> {
        self.has_ended = true;
        match self.framing {
            Framing::Length(0) => Ok(()),
            Framing::Length(_) => Err(Broken),
            Framing::Chunked => {
                self.end = if self.end.is_empty() { LAST_CHUNK } else { b"\r\n0\r\n\r\n" };
                Ok(())
            }
        }
    }

    fn poll_write<W: AsyncWrite + Unpin>(
        &mut self,
        socket: &mut W,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let lines = &self.lines[self.written..];
            let left = lines.len() + self.payload.len() + self.end.len();
            if left == 0 {
                self.lines.clear();
                self.written = 0;
                return Poll::Ready(Ok(()));
            }
            let slices = [lines, &self.payload, self.end].map(IoSlice::new);
            match ready!(Pin::new(&mut *socket).poll_write_vectored(cx, &slices))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.advance(written),
            }
        }
    }

    fn advance(&mut self, written: usize) {
        let lines = written.min(self.lines.len() - self.written);
        self.written += lines;
        let payload = (written - lines).min(self.payload.len());
        self.payload.advance(payload);
        self.end = &self.end[written - lines - payload..];
    }
}

fn line(to: &mut Vec<u8>, name: &HeaderName, value: &[u8]) {
    for piece in [name.as_str().as_bytes(), b": ", value, b"\r\n"] {
        to.extend_from_slice(piece);
    }
}

/// NB: by hand, for every token is a chunk: formatting one costs ten times as much.
fn chunk_size(to: &mut Vec<u8>, size: usize) {
    let digits = (usize::BITS - size.leading_zeros()).div_ceil(4);
    for digit in (0..digits).rev() {
        to.push(b"0123456789ABCDEF"[size >> (4 * digit) & 15]);
    }
    to.extend_from_slice(b"\r\n");
}

/// The time of the day, to the second.
fn date() -> [u8; 29] {
    thread_local! {
        static LAST: Cell<(u64, [u8; 29])> = const { Cell::new((0, [0; 29])) };
    }
    let now = SystemTime::now();
    let second = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let (last, text) = LAST.get();
    if last == second {
        return text;
    }
    let text = httpdate::fmt_http_date(now).as_bytes().try_into().unwrap_or([b' '; 29]);
    LAST.set((second, text));
    text
}
