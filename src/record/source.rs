//! Readings that are sampled beside the flow of requests: caches, processes, devices.

use std::{
    any::Any,
    collections::HashSet,
    error::Error,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::Instant;

use super::{
    collect::{FamilyReadings, HistogramReading, Readings, Series, Value},
    upstream::Upstream,
};
use crate::{
    names::{self, Family, Kind, Unit},
    outcome::Dropped,
};

/// How old readings may be: beyond it their source hangs, and they are gone.
const OLD: Duration = Duration::from_secs(10);

/// What a source may tell. All else is counted here, or describes the page: told from outside as
/// well, the identities would not hold, or a series stand on the page twice.
static TOLD: &[&Family] = &[
    &names::REQUEST_PARAMS_MAX_TOKENS,
    &names::REQUEST_PARAMS_N,
    &names::ITERATION_TOKENS_TOTAL,
    &names::NUM_REQUESTS_WAITING,
    &names::NUM_REQUESTS_RUNNING,
    &names::GPU_CACHE_USAGE_RATIO,
    &names::KV_CACHE_USAGE_PERC,
    &names::NUM_BLOCKS_USED,
    &names::NUM_BLOCKS_TOTAL,
    &names::CACHE_CONFIG_INFO,
    &names::LORA_REQUESTS_INFO,
    &names::NUM_PREEMPTIONS_TOTAL,
    &names::PREFIX_CACHE_QUERIES_TOTAL,
    &names::PREFIX_CACHE_HITS_TOTAL,
    &names::RUNNING_LIMIT,
    &names::KV_TOKENS_HELD,
    &names::TOKEN_DRIFT_TOTAL,
    &names::PROCESS_CPU_SECONDS_TOTAL,
    &names::PROCESS_RESIDENT_MEMORY_BYTES,
    &names::PROCESS_VIRTUAL_MEMORY_BYTES,
    &names::PROCESS_MEMORY_LIMIT_BYTES,
    &names::PROCESS_OPEN_FDS,
    &names::PROCESS_MAX_FDS,
    &names::PROCESS_THREADS,
    &names::PROCESS_START_TIME_SECONDS,
    &names::INFERMETER_PROCESS_CPU_SECONDS_TOTAL,
    &names::INFERMETER_PROCESS_RESIDENT_MEMORY_BYTES,
    &names::INFERMETER_PROCESS_VIRTUAL_MEMORY_BYTES,
    &names::INFERMETER_PROCESS_MEMORY_LIMIT_BYTES,
    &names::INFERMETER_PROCESS_OPEN_FDS,
    &names::INFERMETER_PROCESS_MAX_FDS,
    &names::INFERMETER_PROCESS_THREADS,
    &names::INFERMETER_PROCESS_START_TIME_SECONDS,
];

/// What can be sampled: the state of a cache, a process, a device.
///
/// A closure is one. [`Meter::watch`](super::Meter::watch) hands it to the exporter, whose own
/// thread samples it, once a second by default; so it may take a while, but while it does no other
/// source is sampled.
///
/// ```
/// use infermeter::{Meter, names, record::{Readings, Source, SourceError, Value}};
///
/// struct Threads(f64);
///
/// impl Source for Threads {
///     fn sample(&mut self, out: &mut Readings) -> Result<(), SourceError> {
///         out.push(&names::PROCESS_THREADS, [], Value::Gauge(self.0));
///         Ok(())
///     }
/// }
///
/// Meter::new().watch("threads", Threads(4.0));
/// ```
pub trait Source: Send + 'static {
    /// Writes what it reads now, for those families of the [catalogue](crate::names) that describe
    /// an engine, a process or a GPU. What is counted here cannot be told: it is dropped, and counted in
    /// `infermeter_observations_dropped_total`.
    ///
    /// # Errors
    ///
    /// If it cannot be read. Then its series vanish until it can, and `infermeter_source_up` is 0.
    fn sample(&mut self, out: &mut Readings) -> Result<(), SourceError>;
}

/// Why a source could not be read; any error or text turns into one by `?` or `into`.
///
/// ```
/// use infermeter::record::SourceError;
///
/// fn waiting(answer: &str) -> Result<f64, SourceError> {
///     Ok(answer.parse()?)
/// }
///
/// assert!(waiting("many").is_err());
/// ```
pub type SourceError = Box<dyn Error + Send + Sync>;

/// How a source does.
///
/// ```
/// use infermeter::{Meter, record::{Collect, Readings}};
///
/// let meter = Meter::new();
/// meter.watch("scheduler", |_: &mut Readings| Err("it does not answer".into()));
/// meter.sample(); // an exporter does it
///
/// let status = &meter.sources()[0];
/// assert_eq!((&*status.name, status.up), ("scheduler", Some(false)));
/// assert_eq!(status.error.as_deref(), Some("it does not answer"));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SourceStatus {
    /// Its name, behind which that of its upstream stands, if it has one.
    pub name: Arc<str>,
    /// Whether its last sample succeeded and is not older than ten seconds; `None` before the
    /// first one, unless that takes longer than ten seconds.
    pub up: Option<bool>,
    /// Time since a sample last succeeded.
    pub age: Option<Duration>,
    /// Why its last sample failed.
    pub error: Option<Arc<str>>,
}

/// The sources of a meter.
#[derive(Default)]
pub(super) struct Sources {
    sampled: RwLock<Vec<Arc<Sampled>>>,
    told: RwLock<Vec<Teller>>,
    dropped: [AtomicU64; Dropped::ALL.len()],
}

/// Somebody who tells, and of which upstream.
type Teller = (Arc<Upstream>, Weak<dyn Told>);

/// What is told by somebody rather than asked for, and is read while a view is taken.
pub(crate) trait Told: Any + Send + Sync {
    fn read(&self, out: &mut Readings);

    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
}

struct Sampled {
    /// As it is watched, and as it is told.
    name: Arc<str>,
    label: Arc<str>,
    upstream: Arc<Upstream>,
    source: Mutex<Box<dyn Source>>,
    last: Mutex<Last>,
}

/// What came of the last samples.
#[derive(Default)]
struct Last {
    readings: Readings,
    /// When the first sample began.
    began: Option<Instant>,
    succeeded: Option<Instant>,
    outcome: Option<Result<(), Arc<str>>>,
}

// === impl Source ===

impl<F> Source for F
where
    F: FnMut(&mut Readings) -> Result<(), SourceError> + Send + 'static,
{
    fn sample(&mut self, out: &mut Readings) -> Result<(), SourceError> {
        self(out)
    }
}

// === impl Sources ===

impl Sources {
    /// Adds a source of an upstream; one of it of the same name makes room for it.
    pub(super) fn watch(&self, name: &str, upstream: &Arc<Upstream>, source: impl Source) {
        let (source, last) = (Mutex::new(Box::new(source) as Box<_>), Mutex::default());
        let mut all = self.sampled.write().unwrap_or_else(PoisonError::into_inner);
        let is_it =
            |known: &Sampled| *known.name == *name && Arc::ptr_eq(&known.upstream, upstream);
        let is_taken =
            |label: &str| all.iter().any(|known| *known.label == *label && !is_it(known));
        let label = upstream.source_label(name, is_taken).into();
        let upstream = Arc::clone(upstream);
        let new = Arc::new(Sampled { name: name.into(), label, upstream, source, last });
        let known = all
            .iter_mut()
            .find(|known| known.name == new.name && Arc::ptr_eq(&known.upstream, &new.upstream));
        let old = match known {
            Some(known) => Some(std::mem::replace(known, new)),
            None => {
                all.push(new);
                None
            }
        };
        // NB: not under the lock: what is dropped is the user's.
        drop(all);
        drop(old);
    }

    /// Who tells, found among those who do already, or new. Whoever is dropped tells no more.
    pub(super) fn told_by<T: Told>(
        &self,
        upstream: &Arc<Upstream>,
        is_it: impl Fn(&T) -> bool,
        new: impl FnOnce() -> T,
    ) -> Arc<T> {
        let mut all = self.told.write().unwrap_or_else(PoisonError::into_inner);
        all.retain(|(_, told)| told.strong_count() > 0);
        let known = all.iter().filter(|(of, _)| Arc::ptr_eq(of, upstream));
        let known = known.filter_map(|(_, told)| told.upgrade());
        let known = known.filter_map(|told| told.as_any().downcast::<T>().ok());
        if let Some(known) = known.into_iter().find(|known| is_it(known)) {
            return known;
        }
        let new = Arc::new(new());
        let told: Arc<dyn Told> = Arc::<T>::clone(&new);
        all.push((Arc::clone(upstream), Arc::downgrade(&told)));
        new
    }

    pub(super) fn sample(&self) {
        for sampled in self.all() {
            sampled.sample(|reason| self.dropped(reason));
        }
    }

    /// What the sources have told last, each series once.
    pub(super) fn read(&self, upstreams_are_told: bool) -> Readings {
        let mut readings = Readings::default();
        let told = self.told.read().unwrap_or_else(PoisonError::into_inner);
        for (upstream, told) in told.iter() {
            if let Some(told) = told.upgrade() {
                let mut own = Readings::default();
                told.read(&mut own);
                upstream.tell(&own, upstreams_are_told, &mut readings);
            }
        }
        drop(told);
        for sampled in self.all() {
            let last = sampled.last();
            if last.is_up() == Some(true) {
                sampled.upstream.tell(&last.readings, upstreams_are_told, &mut readings);
            }
        }
        for FamilyReadings { series, .. } in &mut readings.families {
            let mut seen = HashSet::new();
            series.retain(|series| {
                let is_new = seen.insert(series.labels.clone());
                if !is_new {
                    self.dropped(Dropped::Duplicate);
                }
                is_new
            });
        }
        readings
    }

    pub(super) fn status(&self) -> Vec<SourceStatus> {
        self.all().iter().map(|sampled| sampled.status()).collect()
    }

    pub(super) fn dropped(&self, reason: Dropped) {
        self.dropped[reason as usize].fetch_add(1, Relaxed);
    }

    pub(super) fn dropped_so_far(&self, reason: Dropped) -> u64 {
        self.dropped[reason as usize].load(Relaxed)
    }

    fn all(&self) -> Vec<Arc<Sampled>> {
        self.sampled.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.all().iter().map(|sampled| &sampled.label)).finish()
    }
}

// === impl Sampled ===

impl Sampled {
    fn sample(&self, mut dropped: impl FnMut(Dropped)) {
        // Another exporter samples it right now.
        let Ok(mut source) = self.source.try_lock() else {
            return;
        };
        self.last().began.get_or_insert_with(Instant::now);
        let mut readings = Readings::default();
        // NB: an error is the user's too.
        let sample = || source.sample(&mut readings).map_err(|error| Arc::from(error.to_string()));
        let outcome =
            catch_unwind(AssertUnwindSafe(sample)).unwrap_or_else(|_| Err("it panicked".into()));
        let may_be_told = |family: &Family| {
            let is_told =
                TOLD.iter().chain(names::gpu::FAMILIES).any(|known| std::ptr::eq(*known, family));
            is_told || self.upstream.owners.is_told(family)
        };
        readings.families.retain(|readings| {
            let may_be = may_be_told(readings.family);
            if !may_be {
                readings.series.iter().for_each(|_| dropped(Dropped::Invalid));
            }
            may_be
        });
        for FamilyReadings { family, series } in &mut readings.families {
            series.retain(|series| match problem_of(family, series) {
                Some(reason) => {
                    dropped(reason);
                    false
                }
                None => true,
            });
        }
        let mut last = self.last();
        if outcome.is_ok() {
            last.readings = readings;
            last.succeeded = Some(Instant::now());
        }
        last.outcome = Some(outcome);
    }

    fn status(&self) -> SourceStatus {
        let last = self.last();
        let error = last.outcome.as_ref().and_then(|outcome| outcome.as_ref().err());
        SourceStatus {
            name: Arc::clone(&self.label),
            up: last.is_up(),
            age: last.succeeded.map(|at| at.elapsed()),
            error: error.cloned(),
        }
    }

    fn last(&self) -> MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Last ===

impl Last {
    fn is_up(&self) -> Option<bool> {
        let is_fresh = |at: Instant| at.elapsed() <= OLD;
        match &self.outcome {
            Some(outcome) => Some(outcome.is_ok() && self.succeeded.is_some_and(is_fresh)),
            // A device that hangs may do so from the first time on.
            None => self.began.filter(|at| !is_fresh(*at)).map(|_| false),
        }
    }
}

/// Why a reading cannot be published.
fn problem_of(family: &'static Family, series: &Series) -> Option<Dropped> {
    if series.labels.len() != family.labels.len() {
        return Some(Dropped::Invalid);
    }
    let number = match (&series.value, family.kind) {
        (Value::Counter(_), Kind::Counter) => return None,
        (Value::FloatCounter(n), Kind::Counter) | (Value::Gauge(n), Kind::Gauge) => *n,
        (Value::Histogram(reading), Kind::Histogram) => {
            let HistogramReading { bounds, counts, sum } = reading;
            let is_whole = counts.len() == bounds.len() + 1 && sum.is_finite();
            let rises = bounds.is_sorted_by(|a, b| a < b) && bounds.iter().all(|b| b.is_finite());
            return (!is_whole || !rises).then_some(Dropped::Invalid);
        }
        _ => return Some(Dropped::Invalid),
    };
    match number {
        n if !n.is_finite() => Some(Dropped::NotFinite),
        n if n < 0.0 && family.unit != Unit::Celsius => Some(Dropped::Negative),
        n if n > 1.0 && family.unit == Unit::Ratio => Some(Dropped::Invalid),
        _ => None,
    }
}
