//! One request and its answer on a connection.

use std::{
    error::Error,
    fmt,
    future::poll_fn,
    io, mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, response};
use http_body::{Body, Frame, SizeHint};
use tokio::{
    io::{AsyncRead, ReadBuf},
    net::TcpStream,
};

use super::{
    IDLE,
    framing::Framing,
    head::{self, Head},
    pool::Pool,
    sending::{Sending, Stopped},
};
use crate::upstream::scratch;

type BoxError = Box<dyn Error + Send + Sync>;

/// The body of an answer, read by whoever asks for it, and the rest of the request that goes out
/// meanwhile.
///
/// NB: small, since all of it is needed with each token; what most answers have no use for lies elsewhere.
#[derive(Debug)]
pub(crate) struct Exchange<B> {
    /// `None` once the answer is whole, or broken.
    connection: Option<TcpStream>,
    pool: Arc<Pool>,
    sending: Option<Box<Sending<B>>>,
    /// Not all of the request was taken.
    is_cut: bool,
    framing: Framing,
    keeps_alive: bool,
    /// The length was told before the body.
    is_sized: bool,
    /// Before the body: a head that is not whole. Then: payload that nobody has taken yet.
    unread: BytesMut,
    trailers: Option<Box<HeaderMap>>,
    /// What is wrong behind what is unread.
    flaw: Option<BoxError>,
    /// A frame was taken, and nobody has waited since.
    is_in_hand: bool,
}

/// Why there is no head of an answer.
#[derive(Debug)]
pub(in crate::upstream) enum NoHead {
    Closed(BoxError),
    Garbage(BoxError),
}

// === impl Exchange ===

impl<B> Exchange<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    pub(super) fn new(connection: TcpStream, pool: Arc<Pool>, sending: Box<Sending<B>>) -> Self {
        Self {
            connection: Some(connection),
            pool,
            sending: Some(sending),
            is_cut: false,
            framing: Framing::Ended,
            keeps_alive: false,
            is_sized: false,
            unread: BytesMut::new(),
            trailers: None,
            flaw: None,
            is_in_hand: false,
        }
    }

    /// Sends, and waits for the head of the answer.
    pub(super) fn poll_head(
        &mut self,
        asked: &Method,
        cx: &mut Context<'_>,
    ) -> Poll<Result<response::Parts, NoHead>> {
        self.poll_send(cx).map_err(NoHead::Closed)?;
        let garbage = |error: head::HeadError| NoHead::Garbage(error.into());
        loop {
            let read = self.poll_read(cx, |this, bytes| {
                if this.unread.is_empty() {
                    let (head, taken) = head::read_last(bytes, asked)?;
                    return Ok(this.begin_or_keep(head, &bytes[taken..]));
                }
                let mut unread = mem::take(&mut this.unread);
                unread.extend_from_slice(bytes);
                let (head, taken) = head::read_last(&unread, asked)?;
                Ok(this.begin_or_keep(head, &unread[taken..]))
            });
            match ready!(read) {
                Ok(Some(head)) => {
                    if let Some(parts) = head.map_err(garbage)? {
                        return Poll::Ready(Ok(parts));
                    }
                }
                Ok(None) => return Poll::Ready(Err(NoHead::Closed(Ended.into()))),
                Err(error) => return Poll::Ready(Err(NoHead::Closed(error.into()))),
            }
        }
    }

    /// The body, if there is a head before these bytes; else they are its beginning.
    fn begin_or_keep(&mut self, head: Option<Head>, bytes: &[u8]) -> Option<response::Parts> {
        let Some(Head { parts, framing, keeps_alive }) = head else {
            self.unread.extend_from_slice(bytes);
            return None;
        };
        self.keeps_alive = keeps_alive;
        self.is_sized = matches!(framing, Framing::Length(_) | Framing::Ended);
        self.framing = framing;
        self.feed(bytes);
        Some(parts)
    }

    /// Goes on with the request; an error is that of its body.
    ///
    /// NB: while the answer comes, this is so only as fast as it is taken. Who answers while it reads,
    /// to a client that sends all before it reads, comes to a halt, as without a proxy, a little earlier.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Result<(), BoxError> {
        let (Some(sending), Some(connection)) = (&mut self.sending, &mut self.connection) else {
            return Ok(());
        };
        let Poll::Ready(sent) = sending.poll(connection, cx) else { return Ok(()) };
        self.sending = None;
        match sent {
            Ok(()) => Ok(()),
            // NB: an upstream may refuse what it has not read to the end; its answer counts.
            Err(Stopped::Unread) => {
                self.is_cut = true;
                Ok(())
            }
            Err(Stopped::Body(error)) => {
                self.connection = None;
                Err(error)
            }
        }
    }

    /// Reads once, and gives it to `take`; `None` at the end of the connection.
    fn poll_read<T>(
        &mut self,
        cx: &mut Context<'_>,
        take: impl FnOnce(&mut Self, &[u8]) -> T,
    ) -> Poll<io::Result<Option<T>>> {
        scratch::with(|buffer| {
            let Some(connection) = &mut self.connection else { return Poll::Ready(Ok(None)) };
            let mut read = ReadBuf::new(buffer);
            ready!(Pin::new(connection).poll_read(cx, &mut read))?;
            if read.filled().is_empty() {
                return Poll::Ready(Ok(None));
            }
            Poll::Ready(Ok(Some(take(self, read.filled()))))
        })
    }

    fn feed(&mut self, bytes: &[u8]) {
        let Self { framing, trailers, .. } = self;
        let (fed, payload) =
            scratch::frame(bytes.len(), |payload| framing.feed(bytes, payload, trailers));
        // NB: what was there has been taken.
        self.unread = payload;
        match fed {
            Ok(taken) if self.framing.has_ended() => self.finish(taken == bytes.len()),
            Ok(_) => {}
            Err(error) => {
                self.connection = None;
                self.flaw = Some(error.into());
            }
        }
    }

    /// `is_clean`: nothing came behind the answer.
    fn finish(&mut self, is_clean: bool) {
        let Some(connection) = self.connection.take() else { return };
        let pool = (self.keeps_alive && is_clean && !self.is_cut).then(|| Arc::clone(&self.pool));
        let Some(mut sending) = self.sending.take() else {
            pool.inspect(|pool| pool.give_back(connection, IDLE));
            return;
        };
        // NB: who is refused early is told so once it has sent all; many clients see a broken
        // connection otherwise. How long that may take is up to the body.
        tokio::spawn(async move {
            let sent = poll_fn(|cx| sending.poll(&connection, cx)).await;
            if let (Ok(()), Some(pool)) = (sent, pool) {
                pool.give_back(connection, IDLE);
            }
        });
    }

    /// The next read of the body, into `unread`.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let flaw = match self.poll_send(cx) {
            Err(error) => Some(error),
            Ok(()) => match ready!(self.poll_read(cx, Self::feed)) {
                Ok(Some(())) => return Poll::Ready(()),
                Ok(None) if matches!(self.framing, Framing::UntilClose) => None,
                Ok(None) => Some(Ended.into()),
                Err(error) => Some(error.into()),
            },
        };
        self.connection = None;
        self.flaw = flaw;
        Poll::Ready(())
    }

    /// What is wrong, once what came before it had time to go on.
    ///
    /// NB: with an error hyper drops what it has not written yet, be it the head.
    fn poll_flaw(&mut self, cx: &mut Context<'_>) -> Poll<Option<BoxError>> {
        if self.flaw.is_some() && mem::take(&mut self.is_in_hand) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(self.flaw.take())
    }
}

impl<B> Body for Exchange<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        loop {
            if !self.unread.is_empty() {
                let payload = mem::take(&mut self.unread).freeze();
                self.is_in_hand = true;
                return Poll::Ready(Some(Ok(Frame::data(payload))));
            }
            if let Some(flaw) = ready!(self.poll_flaw(cx)) {
                return Poll::Ready(Some(Err(flaw)));
            }
            if let Some(trailers) = self.trailers.take() {
                return Poll::Ready(Some(Ok(Frame::trailers(*trailers))));
            }
            if self.connection.is_none() {
                return Poll::Ready(None);
            }
            if self.poll_more(cx).is_pending() {
                self.is_in_hand = false;
                return Poll::Pending;
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        let Self { connection, unread, trailers, flaw, .. } = self;
        connection.is_none() && unread.is_empty() && trailers.is_none() && flaw.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let here = self.unread.len() as u64;
        match self.framing {
            Framing::Length(left) => SizeHint::with_exact(here + left),
            Framing::Ended if self.is_sized => SizeHint::with_exact(here),
            // NB: where it was not told, hyper would tell the client a length.
            _ => SizeHint::default(),
        }
    }
}

/// The connection was closed too early.
#[derive(Debug)]
struct Ended;

// === impl Ended ===

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("connection closed before message completed")
    }
}

impl Error for Ended {}
