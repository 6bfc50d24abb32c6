//! An upstream that does with each connection what a test says.

use std::{
    io,
    net::SocketAddr,
    ops::{Deref, DerefMut},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use tokio::net::TcpListener;

use crate::wire::{Message, Wire};

#[derive(Clone, Debug)]
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    seen: Arc<Seen>,
}

/// What the proxy's own question has no part in, where it was recognised.
#[derive(Debug, Default)]
struct Seen {
    open: AtomicUsize,
    connections: AtomicUsize,
    listed: AtomicUsize,
    requests: Mutex<Vec<Message>>,
}

/// One connection of the proxy.
#[derive(Debug)]
pub(crate) struct Conn {
    wire: Wire,
    open: Open,
}

#[derive(Debug)]
struct Open(Arc<Seen>);

const MODELS: &str = r#"{"object":"list","data":[{"id":"m","owned_by":"somebody"}]}"#;

// === impl Upstream ===

impl Upstream {
    pub(crate) async fn start<F, R>(script: F) -> Self
    where
        F: Fn(Conn) -> R + Send + 'static,
        R: Future<Output = io::Result<()>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, seen) = (listener.local_addr().unwrap(), Arc::new(Seen::default()));
        let upstream = Self { address, seen: Arc::clone(&seen) };
        tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                socket.set_nodelay(true).unwrap();
                seen.open.fetch_add(1, Relaxed);
                seen.connections.fetch_add(1, Relaxed);
                let conn = Conn { wire: Wire::new(socket), open: Open(Arc::clone(&seen)) };
                tokio::spawn(script(conn));
            }
        });
        upstream
    }

    /// Connections that are open now.
    pub(crate) fn open(&self) -> usize {
        self.seen.open.load(Relaxed)
    }

    /// Connections that there were.
    pub(crate) fn connections(&self) -> usize {
        self.seen.connections.load(Relaxed)
    }

    pub(crate) fn was_listed(&self) -> bool {
        self.seen.listed.load(Relaxed) > 0
    }

    /// Heads that came, bodies included where the script read them by `request`.
    pub(crate) fn requests(&self) -> Vec<Message> {
        self.seen.requests.lock().unwrap().clone()
    }
}

// === impl Conn ===

impl Conn {
    /// A head; the proxy's own question is answered and ends the script.
    pub(crate) async fn head(&mut self) -> io::Result<Message> {
        let head = self.wire.head().await?;
        self.came(head).await
    }

    /// The same, with the body.
    pub(crate) async fn request(&mut self) -> io::Result<Message> {
        let request = self.wire.request().await?;
        self.came(request).await
    }

    /// Waits until the proxy closes, whatever comes before.
    pub(crate) async fn gone(&mut self) -> io::Result<()> {
        self.wire.rest().await;
        Ok(())
    }

    pub(crate) fn reset(self) -> io::Result<()> {
        self.wire.reset();
        Ok(())
    }

    async fn came(&mut self, request: Message) -> io::Result<Message> {
        let seen = Arc::clone(&self.open.0);
        if request.start.starts_with("GET /v1/models ") && request.header("x-mine").is_none() {
            let length = MODELS.len();
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close");
            self.wire.write(format!("{head}\r\n\r\n{MODELS}")).await?;
            self.wire.rest().await;
            seen.connections.fetch_sub(1, Relaxed);
            seen.listed.fetch_add(1, Relaxed);
            return Err(io::Error::other("not one of the test's"));
        }
        seen.requests.lock().unwrap().push(request.clone());
        Ok(request)
    }
}

impl Deref for Conn {
    type Target = Wire;

    fn deref(&self) -> &Wire {
        &self.wire
    }
}

impl DerefMut for Conn {
    fn deref_mut(&mut self) -> &mut Wire {
        &mut self.wire
    }
}

// === impl Open ===

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}
