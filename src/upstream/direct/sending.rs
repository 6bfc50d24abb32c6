//! A request on its way out.

use std::{
    error::Error,
    io::IoSlice,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use http_body::Body;
use tokio::{io::AsyncWrite, net::TcpStream};

type BoxError = Box<dyn Error + Send + Sync>;

/// What of a request is still to be written.
#[derive(Debug)]
pub(super) struct Sending<B> {
    head: Bytes,
    piece: Bytes,
    body: B,
    /// Of the body, behind `piece`.
    left: u64,
}

/// A request that cannot be sent to its end.
#[derive(Debug)]
pub(super) enum Stopped {
    /// The upstream does not read any more. It may have answered, or be about to.
    Unread,
    /// There is no rest of the body.
    Body(BoxError),
}

// === impl Sending ===

impl<B> Sending<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    /// `length` is that of the body, to the byte.
    pub(super) const fn new(head: Bytes, body: B, length: u64) -> Self {
        Self { head, piece: Bytes::new(), body, left: length }
    }

    /// Writes what there is; ready once all was written.
    pub(super) fn poll(
        &mut self,
        socket: &mut TcpStream,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Stopped>> {
        loop {
            if self.piece.is_empty() && self.left > 0 {
                let has_next = self.poll_piece(cx)?.is_ready();
                // NB: the head does not wait for the body.
                if !has_next && self.head.is_empty() {
                    return Poll::Pending;
                }
            }
            if self.head.is_empty() && self.piece.is_empty() {
                return Poll::Ready(Ok(()));
            }
            let slices = [IoSlice::new(&self.head), IoSlice::new(&self.piece)];
            let written = ready!(Pin::new(&mut *socket).poll_write_vectored(cx, &slices));
            let Ok(written @ 1..) = written else { return Poll::Ready(Err(Stopped::Unread)) };
            let of_head = written.min(self.head.len());
            self.head.advance(of_head);
            self.piece.advance(written - of_head);
        }
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Stopped>> {
        let frame = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            Some(frame) => frame.map_err(|error| Stopped::Body(error.into()))?,
            None => return Poll::Ready(Err(Stopped::Body("the body is too short".into()))),
        };
        // What is no data is trailers, for which there is no place behind a length.
        if let Ok(piece) = frame.into_data() {
            let left = self.left.checked_sub(piece.len() as u64);
            self.left = left.ok_or_else(|| Stopped::Body("the body is too long".into()))?;
            self.piece = piece;
        }
        Poll::Ready(Ok(()))
    }
}
