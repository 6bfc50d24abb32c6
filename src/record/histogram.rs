//! Histograms of a fixed shape: no sample is kept, a record is a few instructions.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use super::collect::HistogramReading;

/// The buckets of one family, shared by its series.
#[derive(Debug)]
pub(super) struct Shape {
    /// As published: seconds or tokens.
    bounds: Arc<[f64]>,
    /// The same in the unit of recording: whole nanoseconds or tokens.
    limits: Box<[u64]>,
    /// For a value of so many bits, the first bucket that it may be in.
    first: [u8; 65],
    /// How much of the published unit one unit of recording is.
    scale: f64,
}

/// Counts what is recorded by any thread.
///
/// The sum is a whole number of nanoseconds or tokens. It wraps after 584 years of recorded time,
/// which Prometheus reads as a restart.
#[derive(Debug)]
pub(super) struct Histogram {
    shape: Arc<Shape>,
    /// One for each bucket and one for what lies beyond; not cumulative.
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
}

/// Counts of one stream, given to a shared [`Histogram`] now and then.
#[derive(Debug)]
pub(super) struct LocalHistogram {
    shape: Arc<Shape>,
    counts: Box<[u64]>,
    sum: u64,
}

// === impl Shape ===

impl Shape {
    pub(super) fn seconds(bounds: &[f64]) -> Arc<Self> {
        // A bound such as 0.3 has no exact float: the nearest nanosecond is what is meant.
        Self::new(bounds, 1e-9, |bound| (bound * 1e9).round())
    }

    pub(super) fn tokens(bounds: &[f64]) -> Arc<Self> {
        // 3 tokens are not below a bound of 2.5.
        Self::new(bounds, 1.0, f64::floor)
    }

    fn new(bounds: &[f64], scale: f64, limit: fn(f64) -> f64) -> Arc<Self> {
        // A float turns into the nearest whole number that fits.
        let limits: Box<[u64]> = bounds.iter().map(|bound| limit(*bound) as u64).collect();
        let first = std::array::from_fn(|bits| {
            let least = if bits == 0 { 0 } else { 1 << (bits - 1) };
            // NB: there are fewer buckets than 256, see `Buckets::MOST`.
            limits.partition_point(|limit| *limit < least) as u8
        });
        Arc::new(Self { bounds: bounds.into(), limits, first, scale })
    }

    fn bucket(&self, value: u64) -> usize {
        let bits = u64::BITS - value.leading_zeros();
        let first = usize::from(self.first[bits as usize]);
        // Few bounds lie within one doubling.
        first + self.limits[first..].iter().take_while(|limit| **limit < value).count()
    }
}

// === impl Histogram ===

impl Histogram {
    pub(super) fn new(shape: &Arc<Shape>) -> Self {
        let counts = (0..=shape.limits.len()).map(|_| AtomicU64::new(0)).collect();
        Self { shape: Arc::clone(shape), counts, sum: AtomicU64::new(0) }
    }

    pub(super) fn time(&self, value: Duration) {
        self.record(nanos(value));
    }

    pub(super) fn record(&self, value: u64) {
        self.counts[self.shape.bucket(value)].fetch_add(1, Relaxed);
        self.sum.fetch_add(value, Relaxed);
    }

    /// Whether the other one has the same buckets.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.shape.bounds == other.shape.bounds
    }

    pub(super) fn read(&self) -> HistogramReading {
        let counts: Box<[u64]> = self.counts.iter().map(|count| count.load(Relaxed)).collect();
        HistogramReading {
            bounds: Arc::clone(&self.shape.bounds),
            counts,
            sum: self.sum.load(Relaxed) as f64 * self.shape.scale,
        }
    }
}

// === impl LocalHistogram ===

impl LocalHistogram {
    /// Of the shape that `shared` has.
    pub(super) fn of(shared: &Histogram) -> Self {
        let counts = vec![0; shared.counts.len()].into();
        Self { shape: Arc::clone(&shared.shape), counts, sum: 0 }
    }

    /// Records `gap / times`, `times` over.
    pub(super) fn spread(&mut self, gap: Duration, times: u64) {
        let gap = nanos(gap);
        self.counts[self.shape.bucket(gap / times)] += times;
        self.sum += gap;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sum == 0 && self.counts.iter().all(|count| *count == 0)
    }

    /// Into one of the same shape.
    pub(super) fn flush(&mut self, shared: &Histogram) {
        if self.is_empty() {
            return;
        }
        for (local, shared) in self.counts.iter_mut().zip(&shared.counts) {
            if *local > 0 {
                shared.fetch_add(std::mem::take(local), Relaxed);
            }
        }
        shared.sum.fetch_add(std::mem::take(&mut self.sum), Relaxed);
    }
}

/// Whole nanoseconds; 584 years are the most.
pub(super) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_on_a_bound_is_below_it() {
        let histogram = Histogram::new(&Shape::seconds(&[0.001, 0.5, 2.5]));
        for ms in [0, 1, 2, 500, 2500, 2501] {
            histogram.time(Duration::from_millis(ms));
        }
        let reading = histogram.read();
        assert_eq!(*reading.counts, [2, 2, 1, 1]);
        assert!((reading.sum - 5.504).abs() < 1e-9);
        assert_eq!(reading.count(), 6);
    }

    #[test]
    fn every_value_finds_its_bucket() {
        let shape = Shape::tokens(&[1.0, 2.0, 3.0, 5.0, 6.0, 7.0, 1000.0, 1e18]);
        let around = |value: u64| [value.saturating_sub(1), value, value.saturating_add(1)];
        let powers = (0..64).map(|bits| 1 << bits);
        for value in powers.chain([0, 5, 1000, u64::MAX]).flat_map(around) {
            let expected = shape.limits.partition_point(|limit| *limit < value);
            assert_eq!(shape.bucket(value), expected, "{value}");
        }
    }

    #[test]
    fn a_gap_over_several_tokens_counts_once_for_each() {
        let shared = Histogram::new(&Shape::seconds(&[0.01, 0.1]));
        let mut local = LocalHistogram::of(&shared);
        local.flush(&shared);
        assert_eq!(shared.read().count(), 0);

        local.spread(Duration::from_millis(200), 4);
        local.spread(Duration::ZERO, 1);
        local.flush(&shared);
        local.flush(&shared);
        assert_eq!(*shared.read().counts, [1, 4, 0]);
        assert!((shared.read().sum - 0.2).abs() < 1e-9);
    }
}
