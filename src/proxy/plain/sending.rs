//! An answer that is being sent.

use std::{
    pin::Pin,
    sync::atomic::Ordering::Relaxed,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Response, header};
use http_body::Body;
use pin_project::pin_project;

use super::{Connection, Over, Upload, answer::Answer};
use crate::proxy::drain::Stage;

/// Tells in the end whether the connection closes behind the answer.
///
/// NB: polled with each token, when nothing of it is in any cache; an `async fn` would keep its
/// arguments, and what it is made of, in between.
#[pin_project]
pub(super) struct Sending<'c, 'a, B> {
    answer: Answer,
    #[pin]
    body: B,
    connection: &'c mut Connection<'a>,
    upload: &'c mut Upload,
    closes: bool,
    is_calm: bool,
}

// === impl Sending ===

impl<'c, 'a, B: Body<Data = Bytes>> Sending<'c, 'a, B> {
    pub(super) fn new(
        connection: &'c mut Connection<'a>,
        answer: Response<B>,
        upload: &'c mut Upload,
    ) -> Result<Self, Over> {
        let (head, body) = answer.into_parts();
        let closes = head.headers.contains_key(header::CONNECTION)
            || connection.end.stage() != Stage::Open
            || upload.is_too_much();
        let answer = Answer::new(&head, &body, closes).ok_or(Over::Ended)?;
        Ok(Self { answer, body, connection, upload, closes, is_calm: false })
    }
}

impl<B: Body<Data = Bytes>> Future for Sending<'_, '_, B> {
    type Output = Result<bool, Over>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let connection = &mut **this.connection;
        let stream = connection.socket.stream();
        let sent = this.answer.poll(this.body, cx, |cx, slices| stream.poll_write(cx, slices));
        if let Poll::Ready(sent) = sent {
            return Poll::Ready(sent.map(|()| *this.closes).map_err(|_| Over::Ended));
        }
        // NB: by what is at hand. The rest of a connection lies in no cache when a token comes.
        if *this.is_calm && !connection.is_ending.load(Relaxed) && stream.is_quiet() {
            return Poll::Pending;
        }
        let over = connection.poll_over(this.upload, cx).map(Err);
        *this.is_calm = connection.is_calm(this.upload);
        over
    }
}
