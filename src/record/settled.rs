//! A counter that is right in the end and never goes down.

use std::sync::atomic::{
    AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed},
};

/// Grows by estimates during a stream and is settled to the true count at its end.
///
/// Where the estimate was too high, the excess is kept and taken from the next increments.
#[derive(Debug, Default)]
pub(super) struct Settled {
    value: AtomicU64,
    excess: AtomicU64,
}

// === impl Settled ===

impl Settled {
    pub(super) fn add(&self, n: u64) {
        if n == 0 {
            return;
        }
        let mut add = n;
        if self.excess.load(Acquire) > 0 {
            let before =
                self.excess.fetch_update(AcqRel, Acquire, |excess| Some(excess.saturating_sub(n)));
            add -= before.unwrap_or(0).min(n);
        }
        self.value.fetch_add(add, Relaxed);
    }

    /// `published` was added before; `known` is the truth.
    pub(super) fn settle(&self, published: u64, known: u64) {
        match known.checked_sub(published) {
            Some(missing) => self.add(missing),
            None => {
                self.excess.fetch_add(published - known, AcqRel);
            }
        }
    }

    pub(super) fn get(&self) -> u64 {
        self.value.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overshoot_is_taken_from_the_next_increments() {
        let counter = Settled::default();
        counter.add(10);
        counter.settle(10, 7);
        assert_eq!(counter.get(), 10);
        counter.add(2);
        assert_eq!(counter.get(), 10);
        counter.settle(0, 5);
        assert_eq!(counter.get(), 14, "7 + 2 + 5");
    }

    #[test]
    fn threads_do_not_lose_any() {
        let counter = Settled::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        counter.add(3);
                        counter.settle(3, 2);
                    }
                });
            }
        });
        counter.add(10_000);
        assert_eq!(counter.get(), 4 * 1000 * 2 + 10_000);
    }
}
