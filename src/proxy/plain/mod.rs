//! The connections of clients as long as their requests are plain, which those of inference services
//! are: without hyper, a chunk costs half as much.
//!
//! It is decided with each request, before anything of it is consumed. The first that is not plain
//! goes to hyper, with all bytes that were read, and so does whatever comes behind it: nothing that is
//! odd is understood here, and nothing is taken out of hyper.

mod answer;
mod request;
#[cfg(test)]
mod tests;

use std::{
    future::{pending, poll_fn},
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tokio::{
    sync::oneshot,
    time::{Instant, Sleep, sleep},
};
use tower::Service;

use self::{answer::Answer, request::Head};
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
    /// Its next request, which begins with these bytes, is not plain.
    NotPlain(Bytes),
}

/// One connection.
struct Connection<'a> {
    socket: &'a mut Socket,
    /// What came behind the request at hand.
    unread: Bytes,
    /// Waits for a client to go that has sent its next request already.
    left: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    client: &'a Client,
    end: &'a mut Follower,
}

/// Where the body of the request is.
enum Upload {
    Whole,
    /// Somebody else reads it from the socket.
    Coming(oneshot::Receiver<()>),
    /// Nobody has read it to its end: there is no request behind it.
    Left,
}

/// How long a client has been silent between two requests.
struct Silence {
    since: Instant,
    longest: Duration,
    timer: Pin<Box<Sleep>>,
}

/// Serves a client until its connection ends or asks for more than is done here.
///
/// `silence` is how long it may take between two requests.
pub(super) async fn serve<S, B>(
    socket: &mut Socket,
    client: &Client,
    mut service: S,
    end: &mut Follower,
    silence: Duration,
) -> Over
where
    S: Service<Request<ClientBody>, Response = Response<B>>,
    B: Body<Data = Bytes>,
{
    let mut silence = Silence::new(silence);
    let mut connection = Connection { socket, unread: Bytes::new(), left: None, client, end };
    loop {
        let next = connection.next_request(&mut silence).await;
        let (mut request, mut upload) = match next {
            Ok(next) => next,
            Err(over) => return over,
        };
        let mut client = client.clone();
        if matches!(upload, Upload::Whole) {
            // It is seen here.
            client.peer = None;
        }
        request.extensions_mut().insert(client);
        // NB: the body of the answer is dropped with this block, and its record closed.
        let is_over = {
            let answer = match connection.answer(service.call(request), &mut upload).await {
                Ok(answer) => answer,
                Err(over) => return over,
            };
            connection.send(answer, &mut upload).await
        };
        match is_over {
            Ok(()) => {}
            Err(over) => return over,
        }
        if let Err(over) = connection.rest_of_request(upload).await {
            return over;
        }
    }
}

// === impl Connection ===

impl Connection<'_> {
    /// Waits for a request, and for no more of it than its head.
    async fn next_request(
        &mut self,
        silence: &mut Silence,
    ) -> Result<(Request<ClientBody>, Upload), Over> {
        silence.begin();
        poll_fn(|cx| {
            match self.end.poll(cx) {
                Stage::Open => {}
                Stage::Stopping => return Poll::Ready(Err(Over::Ended)),
                Stage::Cut => return Poll::Ready(Err(Over::Cut)),
            }
            if self.unread.is_empty() && self.poll_read(cx).is_pending() {
                ready!(silence.poll(cx));
            }
            Poll::Ready(if self.unread.is_empty() { Err(Over::Ended) } else { self.begin() })
        })
        .await
    }

    /// Reads once, into what is unread; that is empty still where nothing more comes.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        scratch::with(|buffer| {
            let read = ready!(self.socket.read_half().poll_read(cx, buffer)).unwrap_or(0);
            self.unread = Bytes::copy_from_slice(&buffer[..read]);
            Poll::Ready(())
        })
    }

    /// The request at the beginning of what is unread.
    fn begin(&mut self) -> Result<(Request<ClientBody>, Upload), Over> {
        let mut unread = std::mem::take(&mut self.unread);
        let Some(Head { request, length, body }) = request::read(&unread) else {
            return Err(Over::NotPlain(unread));
        };
        let _ = unread.split_to(length);
        let here = usize::try_from(body).map_or(unread.len(), |body| body.min(unread.len()));
        let first = unread.split_to(here);
        self.unread = unread;
        let left = body - here as u64;
        if left == 0 {
            let body = ClientBody::Plain(SizedBody::whole(first));
            return Ok((request.map(|()| body), Upload::Whole));
        }
        let (whole, is_whole) = oneshot::channel();
        let body = SizedBody::coming(first, left, self.socket.read_half().clone(), whole);
        Ok((request.map(|()| ClientBody::Plain(body)), Upload::Coming(is_whole)))
    }

    async fn answer<T, E>(
        &mut self,
        answer: impl Future<Output = Result<T, E>>,
        upload: &mut Upload,
    ) -> Result<T, Over> {
        let mut answer = pin!(answer);
        poll_fn(|cx| {
            if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
                return Poll::Ready(answer.map_err(|_| Over::Ended));
            }
            self.poll_over(upload, cx).map(Err)
        })
        .await
    }

    async fn send<B: Body<Data = Bytes>>(
        &mut self,
        answer: Response<B>,
        upload: &mut Upload,
    ) -> Result<(), Over> {
        let (head, body) = answer.into_parts();
        let mut body = pin!(body);
        let closes =
            head.headers.contains_key(http::header::CONNECTION) || self.end.stage() != Stage::Open;
        let mut answer = Answer::new(&head, &*body, closes).ok_or(Over::Ended)?;
        drop(head);
        poll_fn(|cx| {
            match answer.poll(body.as_mut(), self.socket, cx) {
                Poll::Ready(Ok(())) if !closes => return Poll::Ready(Ok(())),
                Poll::Ready(_) => return Poll::Ready(Err(Over::Ended)),
                Poll::Pending => {}
            }
            self.poll_over(upload, cx).map(Err)
        })
        .await
    }

    /// Waits until it is known where the next request begins.
    async fn rest_of_request(&mut self, mut upload: Upload) -> Result<(), Over> {
        poll_fn(|cx| {
            if self.end.poll(cx) == Stage::Cut {
                return Poll::Ready(Err(Over::Cut));
            }
            ready!(upload.poll(cx));
            Poll::Ready(if let Upload::Left = upload { Err(Over::Ended) } else { Ok(()) })
        })
        .await
    }

    /// Ready where nobody waits for the answer any longer.
    fn poll_over(&mut self, upload: &mut Upload, cx: &mut Context<'_>) -> Poll<Over> {
        if self.end.poll(cx) == Stage::Cut {
            return Poll::Ready(Over::Cut);
        }
        ready!(upload.poll(cx));
        if self.unread.is_empty() {
            ready!(self.poll_read(cx));
            if self.unread.is_empty() {
                return Poll::Ready(Over::Ended);
            }
        }
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
        if let Self::Coming(whole) = self {
            *self = match ready!(Pin::new(whole).poll(cx)) {
                Ok(()) => Self::Whole,
                Err(_) => Self::Left,
            };
        }
        Poll::Ready(())
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

    /// Ready once it has been too long.
    ///
    /// NB: the timer is not set anew with each request, but once it has come.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.timer.as_mut().poll(cx));
            let until = self.since + self.longest;
            if until <= Instant::now() {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(until);
        }
    }
}
