//! How bytes are given to a socket.

use std::{
    io::{self, IoSlice},
    task::{Context, Poll, ready},
};

use tokio::net::TcpStream;

use super::scratch;

/// Up to here, pieces are put together first: the system takes one sooner than three.
const SHORT: usize = 2 * 1024;

/// Writes as much as there is room for, of these pieces in their order.
///
/// NB: not across a `scratch::with`.
pub(crate) fn poll_write(
    socket: &TcpStream,
    cx: &mut Context<'_>,
    pieces: &[IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    loop {
        // NB: nearly always there is room, and nothing to wait for.
        match try_write(socket, pieces) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                ready!(socket.poll_write_ready(cx))?;
            }
            written => return Poll::Ready(written),
        }
    }
}

fn try_write(socket: &TcpStream, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
    let length: usize = pieces.iter().map(|piece| piece.len()).sum();
    if length > SHORT {
        return socket.try_write_vectored(pieces);
    }
    scratch::with(|buffer| {
        let mut end = 0;
        for piece in pieces {
            buffer[end..end + piece.len()].copy_from_slice(piece);
            end += piece.len();
        }
        socket.try_write(&buffer[..end])
    })
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, time::Duration};

    use tokio::{io::AsyncReadExt, net::TcpListener, time::timeout};

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let connected = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (connected, listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn pieces_arrive_in_their_order() {
        let (socket, mut peer) = pair().await;
        for middle in [0, 1, SHORT - 7, SHORT - 6, SHORT - 5, 4 * SHORT] {
            let pieces = [&b"100\r\n"[..], &vec![b'x'; middle], b"\r\n"];
            let slices = pieces.map(IoSlice::new);
            let written = poll_fn(|cx| poll_write(&socket, cx, &slices)).await.unwrap();
            let mut read = vec![0; written];
            peer.read_exact(&mut read).await.unwrap();
            assert_eq!((written, read), (middle + 7, pieces.concat()));
        }
    }

    #[tokio::test]
    async fn it_waits_for_room() {
        let (socket, mut peer) = pair().await;
        let piece = [IoSlice::new(&[b'x'; SHORT])];
        let write = || poll_fn(|cx| poll_write(&socket, cx, &piece));
        let mut written = 0;
        // NB: a system that does not find its buffers full within this time has none.
        while let Ok(more) = timeout(Duration::from_secs(1), write()).await {
            written += more.unwrap();
        }
        let mut read = vec![0; written];
        peer.read_exact(&mut read).await.unwrap();
        assert_ne!(write().await.unwrap(), 0);
    }
}
