//! The body of a request, whoever reads it from the client.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Either;
use hyper::body::Incoming;
use tokio::sync::oneshot;

use crate::proxy::{pool::scratch, socket::ReadHalf};

/// What a client sends behind the head of its request: read by hyper, or where the request is plain
/// without it.
pub(in crate::proxy) type ClientBody = Either<Incoming, SizedBody>;

/// A body whose length was told.
#[derive(Debug)]
pub(in crate::proxy) struct SizedBody {
    /// What came with the head.
    first: Bytes,
    /// How much of it is still in the socket.
    left: u64,
    rest: Option<Rest>,
}

/// The way to what is not there yet.
#[derive(Debug)]
struct Rest {
    socket: ReadHalf,
    /// Is told how much is left in the socket, once this has done with it.
    done: oneshot::Sender<u64>,
}

// === impl SizedBody ===

impl SizedBody {
    /// One that is there.
    pub(in crate::proxy) const fn whole(bytes: Bytes) -> Self {
        Self { first: bytes, left: 0, rest: None }
    }

    /// One of which `left` bytes are still to be read from the socket, by nobody else until `done`
    /// tells how many of them are left.
    pub(in crate::proxy) const fn coming(
        first: Bytes,
        left: u64,
        socket: ReadHalf,
        done: oneshot::Sender<u64>,
    ) -> Self {
        Self { first, left, rest: Some(Rest { socket, done }) }
    }

    fn done(&mut self) {
        if let Some(Rest { socket, done }) = self.rest.take() {
            drop(socket);
            // NB: nobody waits for it where the connection has ended.
            let _ = done.send(self.left);
        }
    }

    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        let Some(Rest { socket, .. }) = &self.rest else { return Poll::Ready(Ok(None)) };
        let bytes = ready!(scratch::with(|buffer| {
            let most =
                usize::try_from(self.left).map_or(buffer.len(), |left| left.min(buffer.len()));
            let buffer = &mut buffer[..most];
            let read = ready!(socket.poll_read(cx, buffer))?;
            Poll::Ready(io::Result::Ok(Bytes::copy_from_slice(&buffer[..read])))
        }))?;
        if bytes.is_empty() {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        self.left -= bytes.len() as u64;
        if self.left == 0 {
            self.done();
        }
        Poll::Ready(Ok(Some(bytes)))
    }
}

impl Body for SizedBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.first.has_remaining() {
            let first = std::mem::take(&mut self.first);
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        self.poll_rest(cx).map(|read| read.transpose().map(|bytes| bytes.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_empty() && self.rest.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.first.len() as u64 + self.left)
    }
}

impl Drop for SizedBody {
    fn drop(&mut self) {
        self.done();
    }
}
