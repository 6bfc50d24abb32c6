//! The requests that somebody may ask for once they have ended: the last ones that failed, the
//! slowest, the longest.

#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

use super::{Ended, Readings, Series, histogram::nanos};
use crate::{
    names::{self, Family},
    outcome::Outcome,
};

/// A request that is kept after its end.
///
/// ```
/// use infermeter::{Meter, record::KeptKind};
///
/// let meter = Meter::new();
/// meter.keep_requests(); // from here on
/// for kept in meter.kept_requests(KeptKind::Slow) {
///     let id = kept.ended.request_id.as_deref().unwrap_or("no id");
///     println!("{id}: {:?} for {:?} tokens", kept.ended.duration, kept.ended.usage.completion);
/// }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct KeptRequest {
    /// All that is known of it.
    ///
    /// NB: some engines repeat the prompt in the message of an error.
    pub ended: Ended,
    /// When it ended, by the clock of the system.
    pub at: SystemTime,
    /// What engine and GPUs stood at, as they were sampled last before it ended.
    pub conditions: Conditions,
}

/// Which requests are kept: of each kind [`MOST`](Self::MOST).
///
/// ```
/// use infermeter::{Meter, record::KeptKind};
///
/// let meter = Meter::new();
/// meter.keep_requests();
/// for kind in KeptKind::ALL {
///     println!("{}: {}", kind.label(), meter.kept_requests(*kind).len());
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeptKind {
    /// The last ones that failed or were given up by their client.
    Failed,
    /// Those that took longest, of the last half hour at least and of a whole one at most.
    Slow,
    /// Those with the most generated tokens, of the same time.
    Long,
}

/// What engine and GPUs stood at in one moment: series of [some families](Self::FAMILIES).
///
/// ```
/// use infermeter::{Meter, names, record::{Collect, Conditions}};
///
/// let meter = Meter::new().model("tiny-words");
/// meter.keep_requests();
/// let now = Conditions::of(&meter.collect());
/// assert_eq!(now.series(&names::NUM_REQUESTS_RUNNING)[0].gauge(), Some(0.0));
/// meter.conditions(now); // an exporter does it, once a second
/// ```
#[derive(Clone, Debug, Default)]
pub struct Conditions(Arc<[(&'static Family, Vec<Series>)]>);

/// What is kept, of one meter.
#[derive(Debug)]
pub(super) struct Kept {
    /// What keeps the lock from being taken for a request that is not kept.
    least_slow: AtomicU64,
    least_long: AtomicU64,
    rings: Mutex<Rings>,
}

#[derive(Debug)]
struct Rings {
    conditions: Conditions,
    failed: VecDeque<Arc<KeptRequest>>,
    slow: Top,
    long: Top,
    since: Instant,
}

/// Those of this period that have the most of something, the most first, and those of the one before.
#[derive(Debug, Default)]
struct Top {
    now: Vec<(u64, Arc<KeptRequest>)>,
    before: Vec<(u64, Arc<KeptRequest>)>,
}

const PERIOD: Duration = Duration::from_secs(30 * 60);

// === impl KeptKind ===

impl KeptKind {
    /// All of them.
    pub const ALL: &[Self] = &[Self::Failed, Self::Slow, Self::Long];

    /// How many requests are kept of each.
    pub const MOST: usize = 256;

    /// Its name, in a word.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Slow => "slow",
            Self::Long => "long",
        }
    }
}

// === impl Conditions ===

impl Conditions {
    /// What is told of a moment.
    pub const FAMILIES: &[&'static Family] = &[
        &names::NUM_REQUESTS_RUNNING,
        &names::NUM_REQUESTS_WAITING,
        &names::GPU_CACHE_USAGE_RATIO,
        &names::GPU_UTILIZATION_RATIO,
        &names::GPU_MEMORY_USED_BYTES,
        &names::GPU_MEMORY_TOTAL_BYTES,
    ];

    /// Those of a view.
    pub fn of(readings: &Readings) -> Self {
        let families = Self::FAMILIES.iter().copied();
        Self(families.map(|family| (family, readings.series(family).to_vec())).collect())
    }

    /// The series of one of the families; none of any other.
    pub fn series(&self, family: &'static Family) -> &[Series] {
        let known = self.0.iter().find(|(known, _)| std::ptr::eq(*known, family));
        known.map_or(&[], |(_, series)| series)
    }
}

// === impl Kept ===

impl Kept {
    pub(super) fn new() -> Self {
        let rings = Rings {
            conditions: Conditions::default(),
            failed: VecDeque::new(),
            slow: Top::default(),
            long: Top::default(),
            since: Instant::now(),
        };
        let [least_slow, least_long] = [0, 0].map(AtomicU64::new);
        Self { least_slow, least_long, rings: Mutex::new(rings) }
    }

    /// Whether a request that ends so is kept.
    pub(super) fn wants(&self, outcome: Outcome, duration: Duration, tokens: u64) -> bool {
        !matches!(outcome, Outcome::Success(_))
            || nanos(duration) > self.least_slow.load(Relaxed)
            || tokens > self.least_long.load(Relaxed)
    }

    pub(super) fn keep(&self, ended: Ended) {
        let mut rings = self.rings();
        let (at, conditions) = (SystemTime::now(), rings.conditions.clone());
        let request = Arc::new(KeptRequest { ended, at, conditions });
        let KeptRequest { ended, .. } = &*request;
        if !matches!(ended.outcome, Outcome::Success(_)) {
            if rings.failed.len() == KeptKind::MOST {
                rings.failed.pop_front();
            }
            rings.failed.push_back(Arc::clone(&request));
        }
        let least = rings.slow.put(nanos(ended.duration), &request);
        self.least_slow.store(least, Relaxed);
        if let Some(tokens) = ended.usage.completion.filter(|tokens| *tokens > 0) {
            let least = rings.long.put(tokens, &request);
            self.least_long.store(least, Relaxed);
        }
    }

    /// Time goes by: these are the conditions from now on.
    pub(super) fn go_on(&self, conditions: Conditions) {
        let mut rings = self.rings();
        rings.conditions = conditions;
        if rings.since.elapsed() >= PERIOD {
            rings.since = Instant::now();
            rings.slow.turn();
            rings.long.turn();
            self.least_slow.store(0, Relaxed);
            self.least_long.store(0, Relaxed);
        }
    }

    /// The last first, or those with the most.
    pub(super) fn of(&self, kind: KeptKind) -> Vec<Arc<KeptRequest>> {
        let rings = self.rings();
        match kind {
            KeptKind::Failed => rings.failed.iter().rev().cloned().collect(),
            KeptKind::Slow => rings.slow.all(),
            KeptKind::Long => rings.long.all(),
        }
    }

    fn rings(&self) -> MutexGuard<'_, Rings> {
        self.rings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Top ===

impl Top {
    /// Says how much the next one has to exceed.
    fn put(&mut self, much: u64, request: &Arc<KeptRequest>) -> u64 {
        let place = self.now.partition_point(|(more, _)| *more >= much);
        if place < KeptKind::MOST {
            self.now.truncate(KeptKind::MOST - 1);
            self.now.insert(place, (much, Arc::clone(request)));
        }
        self.now.get(KeptKind::MOST - 1).map_or(0, |(least, _)| *least)
    }

    /// Another period begins.
    fn turn(&mut self) {
        self.before = std::mem::take(&mut self.now);
    }

    fn all(&self) -> Vec<Arc<KeptRequest>> {
        let mut all: Vec<_> = self.now.iter().chain(&self.before).collect();
        all.sort_by_key(|(much, _)| std::cmp::Reverse(*much));
        all.truncate(KeptKind::MOST);
        all.into_iter().map(|(_, request)| Arc::clone(request)).collect()
    }
}
