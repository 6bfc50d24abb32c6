//! A request on its way out.

use std::{
    collections::VecDeque,
    error::Error,
    io::IoSlice,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use http_body::Body;
use tokio::net::TcpStream;

use crate::upstream::writing;

type BoxError = Box<dyn Error + Send + Sync>;

/// What of a request is still to be written.
#[derive(Debug)]
pub(super) struct Sending<B> {
    /// The head first. None of them is empty.
    pieces: VecDeque<Bytes>,
    body: B,
    /// Of the body, behind `pieces`.
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

/// How many bytes are gathered before they are written.
const AT_ONCE: usize = 64 * 1024;

/// The head, and a body of up to three pieces.
const USUAL_PIECES: usize = 4;

/// How many pieces are written at once.
const MOST_PIECES: usize = 16;

// === impl Sending ===

impl<B> Sending<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    /// `length` is that of the body, to the byte.
    pub(super) fn new(head: Bytes, body: B, length: u64) -> Self {
        let mut pieces = VecDeque::with_capacity(USUAL_PIECES);
        pieces.push_back(head);
        Self { pieces, body, left: length }
    }

    /// Writes what there is; ready once all was written.
    pub(super) fn poll(
        &mut self,
        socket: &TcpStream,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Stopped>> {
        loop {
            // NB: what is there does not wait for the rest.
            let gathered = self.poll_pieces(cx)?;
            if self.pieces.is_empty() {
                return gathered.map(Ok);
            }
            let mut slices = [IoSlice::new(&[]); MOST_PIECES];
            for (slice, piece) in slices.iter_mut().zip(&self.pieces) {
                *slice = IoSlice::new(piece);
            }
            let slices = &slices[..self.pieces.len().min(MOST_PIECES)];
            let written = ready!(writing::poll_write(socket, cx, slices));
            let Ok(written @ 1..) = written else { return Poll::Ready(Err(Stopped::Unread)) };
            self.advance(written);
        }
    }

    /// Gathers what there is of the body; ready once there is enough, or all.
    fn poll_pieces(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, Stopped> {
        let mut gathered = self.pieces.iter().map(Bytes::len).sum::<usize>();
        while self.left > 0 && gathered < AT_ONCE {
            let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
                return Ok(Poll::Pending);
            };
            let frame = frame.ok_or_else(|| Stopped::Body("the body is too short".into()))?;
            let frame = frame.map_err(|error| Stopped::Body(error.into()))?;
            // What is no data is trailers, for which there is no place behind a length.
            let Ok(piece) = frame.into_data() else { continue };
            let left = self.left.checked_sub(piece.len() as u64);
            self.left = left.ok_or_else(|| Stopped::Body("the body is too long".into()))?;
            gathered += piece.len();
            if !piece.is_empty() {
                self.pieces.push_back(piece);
            }
        }
        Ok(Poll::Ready(()))
    }

    fn advance(&mut self, mut written: usize) {
        while let Some(first) = self.pieces.front_mut() {
            if written < first.len() {
                first.advance(written);
                return;
            }
            written -= first.len();
            self.pieces.pop_front();
        }
    }
}
