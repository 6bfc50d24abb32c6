//! The end of a proxy, as those see it who are still at work.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::{sync::watch, task::unconstrained, time::timeout};

/// How far the end has come.
///
/// NB: whoever has subscribed to it is alive, and is waited for.
#[derive(Debug)]
pub(super) struct Drain {
    stage: watch::Sender<Stage>,
    /// For those who cannot be woken by `stage`.
    cut: Arc<AtomicBool>,
    /// For those who are woken, and look for why.
    has_begun: Arc<AtomicBool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Open,
    /// No more requests.
    Stopping,
    /// Nothing any more.
    Cut,
}

/// One task that follows it, cheaply: only a change costs something.
pub(super) struct Follower {
    seen: watch::Receiver<Stage>,
    has_begun: Arc<AtomicBool>,
    stage: Stage,
    /// Wakes the task at the next change; `None` before it was asked for.
    change: Option<Change>,
}

type Change = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Those that are sent away still have to notice.
const LAST_STEPS: Duration = Duration::from_secs(1);

// === impl Drain ===

impl Drain {
    pub(super) fn new() -> Arc<Self> {
        let (stage, _) = watch::channel(Stage::Open);
        Arc::new(Self { stage, cut: Arc::default(), has_begun: Arc::default() })
    }

    pub(super) fn follow(&self) -> Follower {
        let has_begun = Arc::clone(&self.has_begun);
        Follower { seen: self.stage.subscribe(), has_begun, stage: Stage::Open, change: None }
    }

    /// Set once nobody is waited for any longer.
    pub(super) fn cut_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.cut)
    }

    /// The moment when nobody is waited for any longer. Whoever waits for it is waited for.
    pub(super) fn cut(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        let mut stage = self.stage.subscribe();
        async move {
            let _ = stage.wait_for(|stage| *stage == Stage::Cut).await;
        }
    }

    /// Lets those who are at work come to their end, for as long as `limit`.
    pub(super) async fn end(&self, limit: Duration) {
        self.has_begun.store(true, Relaxed);
        self.stage.send_replace(Stage::Stopping);
        if timeout(limit, self.stage.closed()).await.is_err() {
            self.cut.store(true, Relaxed);
            self.stage.send_replace(Stage::Cut);
            let _ = timeout(LAST_STEPS, self.stage.closed()).await;
        }
    }
}

impl Drop for Drain {
    /// NB: whoever follows sees that as the end.
    fn drop(&mut self) {
        self.has_begun.store(true, Relaxed);
    }
}

// === impl Follower ===

impl Follower {
    /// How far it was when it was last polled.
    pub(super) const fn stage(&self) -> Stage {
        self.stage
    }

    /// Set before the first change: until then, who has polled need not do so again.
    pub(super) fn begun_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.has_begun)
    }

    /// How far the end is; the task is woken when that changes.
    ///
    /// NB: always of the same task, whose waker is registered once and not with every poll.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Stage {
        loop {
            // NB: whoever has dropped the other side does not wait.
            if self.seen.has_changed().is_err() {
                return Stage::Cut;
            }
            let change = match &mut self.change {
                Some(_) if !self.seen.has_changed().unwrap_or(true) => return self.stage,
                Some(change) => change,
                None => {
                    self.stage = *self.seen.borrow_and_update();
                    let mut seen = self.seen.clone();
                    // NB: also where this task has done much: else nothing would be registered.
                    let change = unconstrained(async move { drop(seen.changed().await) });
                    self.change.insert(Box::pin(change))
                }
            };
            match change.as_mut().poll(cx) {
                Poll::Ready(()) => self.change = None,
                Poll::Pending => return self.stage,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn poll(follower: &mut Follower) -> Stage {
        follower.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[tokio::test]
    async fn whoever_sees_an_end_has_been_told_to_look_for_it() {
        let drain = Drain::new();
        let mut follower = drain.follow();
        let has_begun = follower.begun_flag();
        assert_eq!((poll(&mut follower), has_begun.load(Relaxed)), (Stage::Open, false));
        {
            let mut ending = std::pin::pin!(drain.end(Duration::from_secs(9)));
            assert!(ending.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        }
        assert_eq!((poll(&mut follower), has_begun.load(Relaxed)), (Stage::Stopping, true));

        let drain = Drain::new();
        let mut follower = drain.follow();
        let has_begun = follower.begun_flag();
        assert_eq!(poll(&mut follower), Stage::Open);
        drop(drain);
        assert_eq!((poll(&mut follower), has_begun.load(Relaxed)), (Stage::Cut, true));
    }
}
