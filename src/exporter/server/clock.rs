//! How far a connection is, and until when it may be there.

use std::{
    future::poll_fn,
    pin::pin,
    sync::{Mutex, MutexGuard, PoisonError},
    task::Poll,
};

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use super::{Limits, accept::Ask};

/// Shared by the ends of one connection, all of which run in one task.
#[derive(Debug)]
pub(super) struct Clock {
    limits: Limits,
    ask: watch::Receiver<Ask>,
    now: Mutex<Now>,
}

#[derive(Debug)]
struct Now {
    stage: Stage,
    since: Instant,
    /// Whether a request has begun of which more may come: of its head, or a body that nobody reads.
    is_unfinished: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Stage {
    Head,
    Answer,
    /// The whole answer is there, but not all of it with the kernel.
    Sending,
    Idle,
    Closing,
}

// === impl Clock ===

impl Clock {
    pub(super) fn new(limits: Limits, ask: watch::Receiver<Ask>) -> Self {
        let now = Now { stage: Stage::Head, since: Instant::now(), is_unfinished: false };
        Self { limits, ask, now: Mutex::new(now) }
    }

    pub(super) fn read(&self) {
        let mut now = self.now();
        now.enter(&[Stage::Idle], Stage::Head);
        now.is_unfinished |= now.stage == Stage::Head;
    }

    pub(super) fn answering(&self, has_body: bool) {
        let mut now = self.now();
        now.is_unfinished = has_body;
        now.enter(&[Stage::Head, Stage::Idle], Stage::Answer);
        // An earlier answer is not sent yet, and its time goes on.
        if now.stage == Stage::Sending {
            now.stage = Stage::Answer;
        }
    }

    pub(super) fn answered(&self) {
        let mut now = self.now();
        if now.stage == Stage::Answer {
            now.stage = Stage::Sending;
        }
    }

    /// Nothing is left that was to be written.
    pub(super) fn flushed(&self) {
        self.now().enter(&[Stage::Sending], Stage::Idle);
    }

    /// Whether a client may still be sending what nobody reads.
    pub(super) fn close(&self) -> bool {
        let mut now = self.now();
        now.enter(&[Stage::Head, Stage::Answer, Stage::Sending, Stage::Idle], Stage::Closing);
        now.is_unfinished
    }

    /// Whether this answer is to be the last.
    pub(super) fn is_last(&self) -> bool {
        *self.ask.borrow() != Ask::Stay
    }

    /// Comes when the time of a stage is over.
    ///
    /// NB: polled again after whatever the connection did, for that may have changed the deadline.
    pub(super) async fn expired(&self) {
        let mut sleep = pin!(sleep_until(self.deadline()));
        poll_fn(|cx| {
            let deadline = self.deadline();
            // A busy connection leaves nothing of the task's budget, without which no timer is
            // ever ready.
            if deadline <= Instant::now() {
                return Poll::Ready(());
            }
            if sleep.deadline() != deadline {
                sleep.as_mut().reset(deadline);
            }
            sleep.as_mut().poll(cx)
        })
        .await;
    }

    fn deadline(&self) -> Instant {
        let Now { stage, since, is_unfinished: _ } = *self.now();
        since
            + match stage {
                Stage::Head => self.limits.head,
                Stage::Answer | Stage::Sending => self.limits.answer,
                Stage::Idle if self.is_last() => return since,
                Stage::Idle => self.limits.idle,
                Stage::Closing => self.limits.closing,
            }
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Now ===

impl Now {
    fn enter(&mut self, from: &[Stage], stage: Stage) {
        if from.contains(&self.stage) {
            (self.stage, self.since) = (stage, Instant::now());
        }
    }
}
