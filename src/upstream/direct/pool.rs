//! Connections that wait for the next request.

use std::{
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use tokio::{net::TcpStream, time::Instant};

#[derive(Debug, Default)]
pub(super) struct Pool {
    /// The one that was used last at the end.
    idle: Mutex<Idle>,
}

#[derive(Debug, Default)]
struct Idle {
    connections: Vec<(TcpStream, Instant)>,
    is_watched: bool,
}

// === impl Pool ===

impl Pool {
    /// The connection that was used last and is still there.
    pub(super) fn take(&self, longest: Duration) -> Option<TcpStream> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((connection, since)) = idle.connections.pop() {
            if since.elapsed() < longest && is_quiet(&connection) {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps one for `longest`.
    pub(super) fn give_back(self: &Arc<Self>, connection: TcpStream, longest: Duration) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.connections.push((connection, Instant::now()));
        if !idle.is_watched {
            idle.is_watched = true;
            tokio::spawn(watch(Arc::downgrade(self), longest));
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).connections.len()
    }

    /// Closes those that are too old; whether there are others.
    fn close_old(&self, longest: Duration) -> bool {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.connections.retain(|(_, since)| since.elapsed() < longest);
        idle.is_watched = !idle.connections.is_empty();
        idle.is_watched
    }
}

/// Ends with the last connection, or with the pool.
async fn watch(pool: Weak<Pool>, longest: Duration) {
    loop {
        tokio::time::sleep(longest / 4).await;
        if !pool.upgrade().is_some_and(|pool| pool.close_old(longest)) {
            return;
        }
    }
}

/// Nothing has come on it that nobody has asked for, its end neither.
fn is_quiet(connection: &TcpStream) -> bool {
    let read = connection.try_read(&mut [0]);
    read.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
}

#[cfg(test)]
mod tests {
    use tokio::{io::AsyncReadExt, net::TcpListener, time::timeout};

    use super::*;

    const LONGEST: Duration = Duration::from_millis(200);
    /// Within it, something is there on any machine.
    const SOON: Duration = Duration::from_secs(30);

    async fn pair(listener: &TcpListener) -> (TcpStream, TcpStream) {
        let connected = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (connected, listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn the_last_one_first_and_none_that_was_closed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let pool = Arc::new(Pool::default());
        let mut peers = Vec::new();
        for _ in 0..3 {
            let (ours, peer) = pair(&listener).await;
            peers.push((ours.local_addr().unwrap(), peer));
            pool.give_back(ours, SOON);
        }
        let (last, peer) = peers.pop().unwrap();
        let taken = pool.take(SOON).unwrap();
        assert_eq!(taken.local_addr().unwrap(), last);
        pool.give_back(taken, SOON);

        drop(peer);
        let next = peers.last().unwrap().0;
        let taken = timeout(SOON, async {
            loop {
                // NB: that it was closed is known once the runtime has looked.
                tokio::task::yield_now().await;
                let taken = pool.take(SOON).unwrap();
                if taken.local_addr().unwrap() == next {
                    return taken;
                }
                pool.give_back(taken, SOON);
            }
        });
        assert_eq!(taken.await.unwrap().local_addr().unwrap(), next);
    }

    #[tokio::test]
    async fn who_waits_too_long_is_closed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let pool = Arc::new(Pool::default());
        for _ in 0..2 {
            let (ours, mut peer) = pair(&listener).await;
            pool.give_back(ours, LONGEST);
            let read = timeout(SOON, peer.read(&mut [0])).await.expect("it is closed unasked");
            assert_eq!(read.unwrap(), 0);
            assert!(pool.take(LONGEST).is_none());
        }
    }
}
