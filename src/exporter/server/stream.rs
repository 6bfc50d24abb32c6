//! The bytes of a connection, and the bodies that become bytes: both tell the clock.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use axum::body::{Body, Bytes};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::clock::Clock;

pub(super) struct Stream {
    inner: TcpStream,
    clock: Arc<Clock>,
    /// Whether what a client goes on sending is read, once our side is closed.
    drains: Option<bool>,
}

/// Dropped when its last byte is on the way, or the connection gone.
pub(super) struct Answer {
    body: Body,
    clock: Arc<Clock>,
}

// === impl Stream ===

impl Stream {
    pub(super) const fn new(inner: TcpStream, clock: Arc<Clock>) -> Self {
        Self { inner, clock, drains: None }
    }

    fn inner(self: Pin<&mut Self>) -> Pin<&mut TcpStream> {
        Pin::new(&mut self.get_mut().inner)
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = self.as_mut().inner().poll_read(cx, buf);
        if buf.filled().len() > before {
            self.clock.read();
        }
        polled
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.inner().poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.inner().poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    /// NB: hyper asks for this once all that it had was written.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.as_mut().inner().poll_flush(cx))?;
        self.clock.flushed();
        Poll::Ready(Ok(()))
    }

    /// NB: a socket that is closed with bytes unread resets the connection, and the answer that says
    /// why, a 431 for instance, may be lost on its way.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let drains = match self.drains {
            Some(drains) => drains,
            None => {
                ready!(self.as_mut().inner().poll_shutdown(cx))?;
                let drains = self.clock.close();
                self.drains = Some(drains);
                drains
            }
        };
        if !drains {
            return Poll::Ready(Ok(()));
        }
        let mut room = [0; 4096];
        loop {
            let mut buf = ReadBuf::new(&mut room);
            ready!(self.as_mut().inner().poll_read(cx, &mut buf))?;
            if buf.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

// === impl Answer ===

impl Answer {
    pub(super) const fn new(body: Body, clock: Arc<Clock>) -> Self {
        Self { body, clock }
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.clock.answered();
    }
}
