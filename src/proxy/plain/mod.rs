//! The connections of clients as long as their requests are plain, which those of inference services
//! are: without hyper, a chunk costs half as much.
//!
//! It is decided with each request, before anything of it is consumed. The first that is not plain
//! goes to hyper, with all bytes that were read, and so does whatever comes behind it: nothing that is
//! odd is understood here, and nothing is taken out of hyper.

mod answer;
mod request;
mod sending;
#[cfg(test)]
mod tests;

use std::{
    convert::Infallible,
    future::{pending, poll_fn},
    pin::{Pin, pin},
    sync::{Arc, atomic::AtomicBool},
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use bytes::{Buf, Bytes};
use http::{Request, Response};
use http_body::Body;
use tokio::{
    sync::oneshot,
    task::coop::has_budget_remaining,
    time::{Instant, Sleep, sleep},
};
use tower::Service;

use self::{request::Head, sending::Sending};
use super::{
    body::{ClientBody, SizedBody},
    connections::Client,
    drain::{Follower, Stage},
    pool::scratch,
    socket::Socket,
};

/// Why a connection is served no longer.
#[derive(Debug)]
pub(super) enum Over {
    /// By itself: all was answered, or there is nobody to be told.
    Ended,
    /// The proxy does not wait for it.
    Cut,
    /// Its next request, which begins with these bytes, is not plain; its head has to be there by
    /// that moment.
    NotPlain(Bytes, Instant),
}

/// One connection.
struct Connection<'a> {
    socket: &'a Socket,
    /// What came behind the request at hand.
    unread: Bytes,
    /// What of that, and of what comes behind it, belongs to the request before.
    skipped: u64,
    /// This task is woken when something comes.
    is_awaited: bool,
    /// Waits for a client to go that is not read from.
    left: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    client: &'a Client,
    end: &'a mut Follower,
    /// Until this is set, `end` has nothing new to tell.
    is_ending: Arc<AtomicBool>,
}

/// Where the body of the request is.
enum Upload {
    Whole,
    /// Somebody else reads it from the socket, and tells how much is left once that is over.
    Coming(oneshot::Receiver<u64>),
    /// Nobody reads the rest of it, which is so long.
    Left(u64),
}

/// How long a client has been silent between two requests.
struct Silence {
    since: Instant,
    longest: Duration,
    timer: Pin<Box<Sleep>>,
}

/// How much of a body that nobody wants is read, so that the connection can go on.
const MOST_SKIPPED: u64 = 64 * 1024;

/// Serves a client until its connection ends or asks for more than is done here.
///
/// `silence` is how long it may take between two requests.
pub(super) fn serve<'a, S, B>(
    socket: &'a Socket,
    client: &'a Client,
    service: S,
    end: &'a mut Follower,
    silence: Duration,
) -> impl Future<Output = Result<Infallible, Over>>
where
    S: Service<Request<ClientBody>, Response = Response<B>>,
    B: Body<Data = Bytes>,
{
    let (unread, skipped, is_awaited, left) = (Bytes::new(), 0, false, None);
    let is_ending = end.begun_flag();
    let connection =
        Connection { socket, unread, skipped, is_awaited, left, client, end, is_ending };
    connection.serve(service, Silence::new(silence))
}

// === impl Connection ===

impl Connection<'_> {
    #[expect(clippy::manual_async_fn, reason = "it would keep its arguments twice")]
    fn serve<S, B>(
        mut self,
        mut service: S,
        mut silence: Silence,
    ) -> impl Future<Output = Result<Infallible, Over>>
    where
        S: Service<Request<ClientBody>, Response = Response<B>>,
        B: Body<Data = Bytes>,
    {
        async move {
            loop {
                let (request, mut upload) = self.next_request(&mut silence).await?;
                let answer = {
                    // NB: in one place from here on, and given up before the answer is sent.
                    let answer = pin!(service.call(request));
                    self.answer(answer, &mut upload).await?
                };
                let closes = Sending::new(&mut self, answer, &mut upload)?.await?;
                self.rest_of_request(upload).await?;
                if closes {
                    return Err(Over::Ended);
                }
            }
        }
    }

    /// Waits for a request, and for no more of it than its head.
    async fn next_request(
        &mut self,
        silence: &mut Silence,
    ) -> Result<(Request<ClientBody>, Upload), Over> {
        silence.begin();
        poll_fn(|cx| {
            let stage = self.end.poll(cx);
            if stage == Stage::Cut {
                return Poll::Ready(Err(Over::Cut));
            }
            loop {
                let skipped = self.unread.len().min(usize::try_from(self.skipped).unwrap_or(0));
                self.unread.advance(skipped);
                self.skipped -= skipped as u64;
                if !self.unread.is_empty() {
                    return Poll::Ready(self.begin(silence));
                }
                if self.poll_read(cx).is_pending() {
                    // NB: what was there already is still answered.
                    if stage == Stage::Open {
                        ready!(silence.poll(cx));
                    }
                    return Poll::Ready(Err(Over::Ended));
                }
                if self.unread.is_empty() {
                    return Poll::Ready(Err(Over::Ended));
                }
            }
        })
        .await
    }

    /// Reads once, into what is unread; that is empty still where nothing more comes.
    ///
    /// NB: always of the same task, which waits once and not with every poll.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_awaited && self.socket.stream().is_quiet() {
            return Poll::Pending;
        }
        // NB: a task that has used up its turn does not wait, but is polled again.
        self.is_awaited = has_budget_remaining();
        scratch::with(|buffer| {
            let read = ready!(self.socket.read_half().poll_read(cx, buffer)).unwrap_or(0);
            self.is_awaited = false;
            self.unread = Bytes::copy_from_slice(&buffer[..read]);
            Poll::Ready(())
        })
    }

    /// The request at the beginning of what is unread.
    fn begin(&mut self, silence: &Silence) -> Result<(Request<ClientBody>, Upload), Over> {
        let mut unread = std::mem::take(&mut self.unread);
        let Some(Head { mut request, length, body }) = request::read(&unread) else {
            return Err(Over::NotPlain(unread, silence.until()));
        };
        // NB: that it goes is seen here.
        request.extensions_mut().insert(Client { peer: None, ..self.client.clone() });
        let _ = unread.split_to(length);
        let here = usize::try_from(body).map_or(unread.len(), |body| body.min(unread.len()));
        let first = unread.split_to(here);
        self.unread = unread;
        let left = body - here as u64;
        if left == 0 {
            let body = ClientBody::Right(SizedBody::whole(first));
            return Ok((request.map(|()| body), Upload::Whole));
        }
        // NB: whoever reads it is woken in place of this task.
        self.is_awaited = false;
        let (done, is_done) = oneshot::channel();
        let body = SizedBody::coming(first, left, self.socket.read_half().clone(), done);
        Ok((request.map(|()| ClientBody::Right(body)), Upload::Coming(is_done)))
    }

    async fn answer<T, E>(
        &mut self,
        mut answer: Pin<&mut impl Future<Output = Result<T, E>>>,
        upload: &mut Upload,
    ) -> Result<T, Over> {
        poll_fn(|cx| {
            if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
                return Poll::Ready(answer.map_err(|_| Over::Ended));
            }
            self.poll_over(upload, cx).map(Err)
        })
        .await
    }

    /// Waits until it is known where the next request begins.
    async fn rest_of_request(&mut self, mut upload: Upload) -> Result<(), Over> {
        poll_fn(|cx| {
            if upload.poll(cx).is_pending() {
                return self.poll_over(&mut upload, cx).map(Err);
            }
            if let Upload::Left(left) = upload {
                self.skipped = left;
            }
            Poll::Ready(if upload.is_too_much() { Err(Over::Ended) } else { Ok(()) })
        })
        .await
    }

    /// Until something comes, or the end begins, nobody can be over whose task has waited for both.
    fn is_calm(&self, upload: &Upload) -> bool {
        self.is_awaited && self.unread.is_empty() && !matches!(upload, Upload::Coming(_))
    }

    /// Ready where nobody waits for the answer any longer.
    fn poll_over(&mut self, upload: &mut Upload, cx: &mut Context<'_>) -> Poll<Over> {
        if self.end.poll(cx) == Stage::Cut {
            return Poll::Ready(Over::Cut);
        }
        if upload.poll(cx).is_ready() && self.unread.is_empty() {
            ready!(self.poll_read(cx));
            if self.unread.is_empty() {
                return Poll::Ready(Over::Ended);
            }
        }
        // NB: who is read from by somebody else, or has sent more already, is not seen to go by that.
        let left = self.left.get_or_insert_with(|| {
            let peer = self.client.peer.clone();
            Box::pin(async move {
                match peer {
                    Some(peer) => peer.left().await,
                    None => pending().await,
                }
            })
        });
        left.as_mut().poll(cx).map(|()| Over::Ended)
    }
}

// === impl Upload ===

impl Upload {
    /// Ready once nobody reads it from the socket.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Self::Coming(done) = self {
            *self = match ready!(Pin::new(done).poll(cx)) {
                Ok(0) => Self::Whole,
                Ok(left) => Self::Left(left),
                Err(_) => Self::Left(u64::MAX),
            };
        }
        Poll::Ready(())
    }

    /// Whether more is left of it than can be skipped, as far as is known.
    fn is_too_much(&mut self) -> bool {
        let _ = self.poll(&mut Context::from_waker(Waker::noop()));
        matches!(self, Self::Left(left) if *left > MOST_SKIPPED)
    }
}

// === impl Silence ===

impl Silence {
    fn new(longest: Duration) -> Self {
        Self { since: Instant::now(), longest, timer: Box::pin(sleep(longest)) }
    }

    fn begin(&mut self) {
        self.since = Instant::now();
    }

    fn until(&self) -> Instant {
        self.since + self.longest
    }

    /// Ready once it has been too long.
    ///
    /// NB: the timer is not set anew with each request, but once it has come.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.timer.as_mut().poll(cx));
            if self.until() <= Instant::now() {
                return Poll::Ready(());
            }
            let until = self.until();
            self.timer.as_mut().reset(until);
        }
    }
}
