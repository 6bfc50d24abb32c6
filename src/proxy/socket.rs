//! The socket of a client: it can be asked whether the client has gone, and is closed with care.

use std::{
    io::{self, Read},
    pin::{Pin, pin},
    sync::{Arc, Weak},
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use bytes::{Buf, Bytes};
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    task::yield_now,
    time::{sleep, timeout},
};

use super::pool::{scratch, writing};

/// What is read from and written to. Dropped, it says to the client that nothing more comes; the
/// connection is closed once the [`End`] is dropped as well.
#[derive(Debug)]
pub(super) struct Socket {
    read: ReadHalf,
    write: OwnedWriteHalf,
    /// What was read and given back.
    unread: Bytes,
}

/// The half that is read from.
#[derive(Clone, Debug)]
pub(super) struct ReadHalf(Arc<OwnedReadHalf>);

/// The socket itself: for whoever is polled with every token, and should not look far for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stream<'a>(&'a TcpStream);

/// What is left of a socket in the end.
#[derive(Debug)]
pub(super) struct End(Arc<OwnedReadHalf>);

/// Whoever is on the other side.
#[derive(Clone, Debug)]
pub(super) struct Peer(Weak<OwnedReadHalf>);

/// How often a client is looked after that cannot be seen to go.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How long what a client still sends is thrown away, until it has read that there is no use.
const LINGER: Duration = Duration::from_secs(1);

// === impl Socket ===

impl Socket {
    pub(super) fn new(stream: TcpStream) -> (Self, End) {
        let (read, write) = stream.into_split();
        let read = Arc::new(read);
        let end = End(Arc::clone(&read));
        (Self { read: ReadHalf(read), write, unread: Bytes::new() }, end)
    }

    pub(super) const fn read_half(&self) -> &ReadHalf {
        &self.read
    }

    pub(super) fn stream(&self) -> Stream<'_> {
        Stream(self.write.as_ref())
    }

    /// Gives back what was read, to be read again.
    pub(super) fn put_back(&mut self, unread: Bytes) {
        self.unread = unread;
    }
}

// === impl ReadHalf ===

impl ReadHalf {
    /// Reads once, as much as fits; 0 at the end.
    pub(super) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Stream((*self.0).as_ref()).poll_read(cx, buffer)
    }
}

// === impl Stream ===

impl Stream<'_> {
    /// Whether nothing has come since it was last waited for: then the task that did so is still
    /// going to be woken, and need not wait anew.
    pub(super) fn is_quiet(self) -> bool {
        self.0.try_io(Interest::READABLE, || Ok(())).is_err()
    }

    fn poll_read(self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let Self(stream) = self;
        loop {
            ready!(stream.poll_read_ready(cx))?;
            let mut all = None;
            let read = stream.try_io(Interest::READABLE, || {
                let read = (&*SockRef::from(stream)).read(buffer)?;
                if 0 < read && read < buffer.len() {
                    // NB: there is no more, so the next one may wait without asking the system.
                    all = Some(read);
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                Ok(read)
            });
            match (all, read) {
                (Some(all), _) => return Poll::Ready(Ok(all)),
                (None, Err(error)) if error.kind() == io::ErrorKind::WouldBlock => {}
                (None, read) => return Poll::Ready(read),
            }
        }
    }

    /// Writes as much as there is room for.
    pub(super) fn poll_write(
        self,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        writing::poll_write(self.0, cx, pieces)
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.unread.is_empty() {
            let read = ready!(self.read.poll_read(cx, buffer.initialize_unfilled()))?;
            buffer.advance(read);
        } else {
            let length = self.unread.len().min(buffer.remaining());
            buffer.put_slice(&self.unread[..length]);
            self.unread.advance(length);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.write).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.write).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.write).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream().poll_write(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.write.is_write_vectored()
    }
}

// === impl End ===

impl End {
    pub(super) fn peer(&self) -> Peer {
        Peer(Arc::downgrade(&self.0))
    }

    /// Once the socket is dropped, waits for a moment until the client has closed its side.
    ///
    /// NB: closed with something unread, a connection is reset, and the client may lose an answer
    /// that it has not read yet: that its body is too large, for instance.
    pub(super) async fn linger(self) {
        // It goes on in another protocol.
        if Arc::strong_count(&self.0) > 1 {
            return;
        }
        let stream: &TcpStream = (*self.0).as_ref();
        let _ = timeout(LINGER, async {
            loop {
                // NB: however fast it sends, others have their turn.
                yield_now().await;
                stream.readable().await?;
                match scratch::with(|unread| stream.try_read(unread)) {
                    Ok(0) => return io::Result::Ok(()),
                    Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                    Ok(_) | Err(_) => {}
                }
            }
        })
        .await;
    }
}

// === impl Peer ===

impl Peer {
    /// Waits until the client has closed, or has said that it sends nothing more, also where bytes
    /// before that were not read.
    ///
    /// NB: otherwise a client is seen to go only by reading all that it has sent, which is not done while
    /// the upstream takes nothing, nor beyond a request that came too early.
    pub(super) async fn left(&self) {
        loop {
            sleep(LOOK_EVERY).await;
            if self.has_left() {
                return;
            }
        }
    }

    fn has_left(&self) -> bool {
        let Some(read) = self.0.upgrade() else { return true };
        let ready =
            pin!(read.ready(Interest::READABLE)).poll(&mut Context::from_waker(Waker::noop()));
        matches!(ready, Poll::Ready(Ok(ready)) if ready.is_read_closed())
    }
}
