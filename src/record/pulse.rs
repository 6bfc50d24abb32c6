//! Signs of life that a histogram cannot give: who has been waiting for long, and when the last
//! token came.

use std::{
    collections::BTreeSet,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicU64,
            Ordering::{AcqRel, Acquire},
        },
    },
    time::Duration,
};

use tokio::time::Instant;

/// Of the requests of one model.
#[derive(Debug)]
pub(super) struct Pulse {
    /// Requests in the queue, by arrival; the second part tells those apart that came at once.
    waiting: Mutex<BTreeSet<(Instant, usize)>>,
    /// How many run.
    running: AtomicU64,
    /// When the last token came, or the first of those that run started.
    last_sign: Mutex<Instant>,
}

// === impl Pulse ===

impl Pulse {
    pub(super) fn new() -> Self {
        Self {
            waiting: Mutex::default(),
            running: AtomicU64::new(0),
            last_sign: Mutex::new(Instant::now()),
        }
    }

    pub(super) fn waits(&self, arrival: Instant, id: usize) {
        self.waiting().insert((arrival, id));
    }

    pub(super) fn waits_no_longer(&self, arrival: Instant, id: usize) {
        self.waiting().remove(&(arrival, id));
    }

    /// NB: signs first, so that no view sees it run and the last sign of long ago; and after, where
    /// the last one that ran has ended in between.
    pub(super) fn starts(&self, at: impl Fn() -> Instant) {
        let is_first = self.running.load(Acquire) == 0;
        if is_first {
            self.sign(at());
        }
        if self.running.fetch_add(1, AcqRel) == 0 && !is_first {
            self.sign(at());
        }
    }

    /// NB: a sign only where others run still; who starts after none did signs itself.
    pub(super) fn stops(&self, last_sign: impl FnOnce() -> Option<Instant>) {
        if self.running.fetch_sub(1, AcqRel) > 1 {
            if let Some(at) = last_sign() {
                self.sign(at);
            }
        }
    }

    /// A token came.
    pub(super) fn sign(&self, at: Instant) {
        let mut last = self.last_sign();
        if at > *last {
            *last = at;
        }
    }

    /// How long the first of those that wait has been waiting.
    pub(super) fn oldest_age(&self) -> Duration {
        self.waiting().first().map_or(Duration::ZERO, |(arrival, _)| arrival.elapsed())
    }

    /// Time since the last sign of life, while requests run.
    pub(super) fn last_sign_age(&self) -> Option<Duration> {
        let is_running = self.running.load(Acquire) > 0;
        is_running.then(|| self.last_sign().elapsed())
    }

    fn last_sign(&self) -> MutexGuard<'_, Instant> {
        self.last_sign.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeSet<(Instant, usize)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn the_one_that_waits_longest_tells() {
        let pulse = Pulse::new();
        assert_eq!(pulse.oldest_age(), Duration::ZERO);
        let first = Instant::now();
        pulse.waits(first, 1);
        pulse.waits(first, 2);
        tokio::time::advance(SECOND).await;
        let second = Instant::now();
        pulse.waits(second, 3);
        assert_eq!(pulse.oldest_age(), SECOND);
        pulse.waits_no_longer(first, 1);
        assert_eq!(pulse.oldest_age(), SECOND);
        pulse.waits_no_longer(first, 2);
        assert_eq!(pulse.oldest_age(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_start_after_none_ran_is_a_sign_of_life() {
        let pulse = Pulse::new();
        assert_eq!(pulse.last_sign_age(), None);
        tokio::time::advance(SECOND * 10).await;
        pulse.starts(Instant::now);
        tokio::time::advance(SECOND).await;
        // One that hangs is not hidden by those that start after it.
        pulse.starts(Instant::now);
        assert_eq!(pulse.last_sign_age(), Some(SECOND));
        pulse.sign(Instant::now());
        tokio::time::advance(SECOND * 2).await;
        pulse.stops(|| None);
        assert_eq!(pulse.last_sign_age(), Some(SECOND * 2));
        pulse.stops(|| None);
        assert_eq!(pulse.last_sign_age(), None);
    }

    #[test]
    fn no_view_sees_a_start_with_a_sign_of_long_ago() {
        for _ in 0..200 {
            let pulse = Pulse::new();
            *pulse.last_sign() -= SECOND * 1000;
            let ready = std::sync::Barrier::new(2);
            let age = std::thread::scope(|scope| {
                scope.spawn(|| {
                    ready.wait();
                    pulse.starts(Instant::now);
                });
                ready.wait();
                loop {
                    if let Some(age) = pulse.last_sign_age() {
                        break age;
                    }
                }
            });
            assert!(age < SECOND * 500, "{age:?}");
        }
    }
}
