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
        let framing = match (body.size_hint().exact(), told) {
            _ if has_ended => Framing::Length(0),
            (Some(length), _) => Framing::Length(length),
            (None, Some(told)) => Framing::Length(told.ok()?.parse().ok()?),
            (None, None) => Framing::Chunked,
        };

        let mut to = Vec::with_capacity(64 + 48 * headers.len());
        let reason = match extensions.get::<ReasonPhrase>() {
            Some(reason) => reason.as_bytes(),
            None => status.canonical_reason().unwrap_or("<none>").as_bytes(),
        };
        for piece in [b"HTTP/1.1 ", status.as_str().as_bytes(), b" ", reason, b"\r\n"] {
            to.extend_from_slice(piece);
        }
        let length = if let Framing::Length(length) = framing { Some(length) } else { None };
        let mut length = length.filter(|_| has_body).map(|length| length.to_string());
        for (name, value) in headers {
            if name != header::CONTENT_LENGTH {
                line(&mut to, name, value.as_bytes());
            } else if let Some(length) = length.take_if(|_| !has_ended) {
                // NB: once, however often it was told.
                line(&mut to, name, length.as_bytes());
            }
        }
        if let Some(length) = length {
            line(&mut to, &header::CONTENT_LENGTH, length.as_bytes());
        }
        if framing == Framing::Chunked {
            line(&mut to, &header::TRANSFER_ENCODING, b"chunked");
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

    /// Writes the answer by `write`, which tells how much was taken; ready once all of it was.
    pub(super) fn poll<B: Body<Data = Bytes>>(
        &mut self,
        mut body: Pin<&mut B>,
        cx: &mut Context<'_>,
        mut write: impl FnMut(&mut Context<'_>, &[IoSlice<'_>]) -> Poll<io::Result<usize>>,
    ) -> Poll<Result<(), Broken>> {
        loop {
            // NB: also where only its end was not taken yet.
            if self.has_ended || self.payload.has_remaining() || !self.end.is_empty() {
                ready!(self.poll_write(cx, &mut write)).map_err(|_| Broken)?;
            }
            if self.has_ended {
                return Poll::Ready(Ok(()));
            }
            let Poll::Ready(frame) = body.as_mut().poll_frame(cx) else {
                // NB: a head does not wait for the first token.
                ready!(self.poll_write(cx, &mut write)).map_err(|_| Broken)?;
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
                // NB: more than was told is never sent; bodies of upstreams know their length.
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

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        write: &mut impl FnMut(&mut Context<'_>, &[IoSlice<'_>]) -> Poll<io::Result<usize>>,
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
            match ready!(write(cx, &slices))? {
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
        static LAST: Cell<(u64, [u8; 29])> = const { Cell::new((u64::MAX, [0; 29])) };
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

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, pin::pin, task::Waker};

    use http::Response;
    use http_body_util::StreamBody;
    use tokio_stream::iter;

    use super::*;

    /// Takes so many bytes at once, and then none for a turn.
    struct Slow {
        step: usize,
        waits: bool,
        taken: Vec<u8>,
    }

    impl Slow {
        fn write(&mut self, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
            self.waits = !self.waits;
            if self.waits {
                return Poll::Pending;
            }
            let before = self.taken.len();
            let bytes = slices.iter().flat_map(|slice| slice.iter().copied());
            self.taken.extend(bytes.take(self.step));
            Poll::Ready(Ok(self.taken.len() - before))
        }
    }

    /// What a client gets that takes `step` bytes at once; what comes behind the head.
    fn sent(frames: &[&'static str], length: Option<&'static str>, step: usize) -> Option<String> {
        let frames = frames
            .iter()
            .map(|data| Ok::<_, Infallible>(Frame::data(Bytes::from_static(data.as_bytes()))));
        let mut body = pin!(StreamBody::new(iter(frames)));
        let (mut head, ()) = Response::new(()).into_parts();
        if let Some(length) = length {
            head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static(length));
        }
        let mut answer = Answer::new(&head, &*body, false)?;
        let mut socket = Slow { step, waits: false, taken: Vec::new() };
        let cx = &mut Context::from_waker(Waker::noop());
        loop {
            let write = |_: &mut Context<'_>, slices: &[IoSlice<'_>]| socket.write(slices);
            if let Poll::Ready(sent) = answer.poll(body.as_mut(), cx, write) {
                let all = String::from_utf8(socket.taken).unwrap();
                return sent.ok().map(|()| all.split_once("\r\n\r\n").unwrap().1.to_owned());
            }
        }
    }

    #[test]
    fn a_client_that_takes_little_at_once_gets_the_same() {
        let frames = ["a", "", "data: 0123456789abcdef\n\n", "b"];
        let chunked = "1\r\na\r\n18\r\ndata: 0123456789abcdef\n\n\r\n1\r\nb\r\n0\r\n\r\n";
        let whole = frames.concat();
        for step in 1..200 {
            assert_eq!(sent(&frames, None, step).unwrap(), chunked, "{step} bytes");
            assert_eq!(sent(&frames, Some("26"), step).unwrap(), whole, "{step} bytes");
        }
    }

    #[test]
    fn a_length_that_does_not_hold_breaks_off() {
        assert_eq!(sent(&["abc"], Some("3"), 99).unwrap(), "abc");
        for length in ["2", "4", "x"] {
            assert_eq!(sent(&["abc"], Some(length), 99), None);
        }
    }

    #[test]
    fn sizes_are_hexadecimal() {
        for (size, digits) in [(1, "1"), (15, "F"), (16, "10"), (255, "FF"), (65_536, "10000")] {
            let mut to = Vec::new();
            chunk_size(&mut to, size);
            assert_eq!(to, format!("{digits}\r\n").into_bytes());
        }
    }
}
