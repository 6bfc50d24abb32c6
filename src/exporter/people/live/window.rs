//! What counters and histograms have grown by, over the last seconds.

use std::{collections::VecDeque, sync::Arc};

use tokio::time::Instant;

use super::{
    point::{Now, Point},
    since_1970,
};
use crate::{
    names::{self, Family},
    record::{Readings, Value},
};

/// The last views, reduced to what is needed of them.
#[derive(Debug, Default)]
pub(super) struct Window(VecDeque<Totals>);

#[derive(Debug)]
struct Totals {
    at: Instant,
    /// As in [`COUNTERS`].
    counters: [Option<f64>; 5],
    /// As in [`HISTOGRAMS`].
    histograms: [Option<Total>; 3],
}

/// A histogram, all series together.
#[derive(Clone, Debug)]
struct Total {
    bounds: Arc<[f64]>,
    counts: Vec<u64>,
}

const COUNTERS: [&Family; 5] = [
    &names::REQUEST_SUCCESS_TOTAL,
    &names::REQUEST_FAILURE_TOTAL,
    &names::REQUEST_ABORTED_TOTAL,
    &names::PROMPT_TOKENS_TOTAL,
    &names::GENERATION_TOKENS_TOTAL,
];

const HISTOGRAMS: [&Family; 3] = [
    &names::TIME_IN_QUEUE_SECONDS,
    &names::TIME_TO_FIRST_TOKEN_SECONDS,
    &names::TIME_PER_OUTPUT_TOKEN_SECONDS,
];

/// Of so many views a rate is taken: it moves at once, and does not jump.
const RATE: usize = 5;

/// Of so many, quantiles.
const QUANTILES: usize = 60;

// === impl Window ===

impl Window {
    pub(super) fn add(&mut self, number: u64, readings: &Readings) -> Point {
        let now = Totals::of(readings);
        // NB: what was not there, or has begun anew, says nothing of these seconds.
        let rate = |i: usize| {
            let total = now.counters[i]?;
            let mut last = self.0.iter().skip(self.0.len().saturating_sub(RATE));
            let (at, before) = last.find_map(|view| {
                Some((view.at, view.counters[i].filter(|before| *before <= total)?))
            })?;
            let seconds = (now.at - at).as_secs_f64();
            (seconds > 0.0).then(|| (total - before) / seconds)
        };
        let quantiles = |i: usize| {
            let total = now.histograms[i].as_ref()?;
            let mut before = self.0.iter().filter_map(|view| view.histograms[i].as_ref());
            let before = before.find(|before| total.goes_on_from(before))?;
            total.quantiles(before)
        };
        let point = Point {
            number,
            at: since_1970(),
            success: rate(0),
            failure: rate(1),
            aborted: rate(2),
            prompt_tokens: rate(3),
            generation_tokens: rate(4),
            queue: quantiles(0),
            first_token: quantiles(1),
            output_token: quantiles(2),
            now: Now::of(readings),
        };
        if self.0.len() == QUANTILES {
            self.0.pop_front();
        }
        self.0.push_back(now);
        point
    }
}

// === impl Totals ===

impl Totals {
    fn of(readings: &Readings) -> Self {
        let counter = |family| {
            let values = readings.series(family).iter().map(|series| match series.value {
                Value::Counter(n) => n as f64,
                Value::FloatCounter(value) => value,
                Value::Gauge(_) | Value::Histogram(_) => 0.0,
            });
            values.reduce(|sum, more| sum + more)
        };
        Self {
            at: Instant::now(),
            counters: COUNTERS.map(counter),
            histograms: HISTOGRAMS.map(|family| Total::of(readings, family)),
        }
    }
}

// === impl Total ===

impl Total {
    fn of(readings: &Readings, family: &'static Family) -> Option<Self> {
        let mut sum: Option<Self> = None;
        for series in readings.series(family) {
            let Value::Histogram(reading) = &series.value else { continue };
            let sum = sum.get_or_insert_with(|| Self {
                bounds: Arc::clone(&reading.bounds),
                counts: vec![0; reading.counts.len()],
            });
            // NB: engines that are merged into one page may have other buckets.
            if sum.bounds == reading.bounds {
                for (sum, more) in sum.counts.iter_mut().zip(&reading.counts) {
                    *sum += more;
                }
            }
        }
        sum
    }

    /// Whether nothing in it is less, and it has the same buckets.
    fn goes_on_from(&self, before: &Self) -> bool {
        let mut both = self.counts.iter().zip(&before.counts);
        self.bounds == before.bounds && both.all(|(count, before)| count >= before)
    }

    /// P50, P95 and P99 of what came after `before`, as Prometheus has them; `None` where nothing did.
    fn quantiles(&self, before: &Self) -> Option<[f64; 3]> {
        let both = self.counts.iter().zip(&before.counts);
        let counts: Vec<u64> = both.map(|(count, before)| count.saturating_sub(*before)).collect();
        let all: u64 = counts.iter().sum();
        (all > 0).then(|| [0.5, 0.95, 0.99].map(|q| self.quantile(&counts, q * all as f64)))
    }

    /// Where `rank` of the observations are below, spread evenly over each bucket.
    fn quantile(&self, counts: &[u64], rank: f64) -> f64 {
        let (mut below, mut from) = (0.0, 0.0);
        for (count, bound) in counts.iter().zip(&*self.bounds) {
            let count = *count as f64;
            if count > 0.0 && below + count >= rank {
                return from + (bound - from) * (rank - below) / count;
            }
            below += count;
            from = *bound;
        }
        // Beyond the last bound, which is all that is known.
        from
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::record::HistogramReading;

    fn view(ended: u64, counts: [u64; 3]) -> Readings {
        let mut readings = Readings::default();
        for model in ["a", "b"] {
            let reading =
                HistogramReading { bounds: [1.0, 2.0].into(), counts: counts.into(), sum: 0.0 };
            readings.push(COUNTERS[1], [model.into()], Value::Counter(ended));
            readings.push(HISTOGRAMS[0], [model.into()], Value::Histogram(reading));
        }
        readings
    }

    #[tokio::test(start_paused = true)]
    async fn rates_are_of_seconds_and_quantiles_of_a_minute() {
        let mut window = Window::default();
        let first = window.add(1, &view(3, [7, 0, 0]));
        assert_eq!((first.failure, first.queue, first.success), (None, None, None));
        tokio::time::advance(Duration::from_secs(2)).await;
        let point = window.add(1, &view(4, [7, 4, 0]));
        // Two models, one failure each in two seconds.
        assert_eq!(point.failure, Some(1.0));
        let [p50, p95, p99] = point.queue.unwrap();
        assert!((p50 - 1.5).abs() < 1e-9 && (p95 - 1.95).abs() < 1e-9 && (p99 - 1.99).abs() < 1e-9);
        for _ in 0..RATE {
            tokio::time::advance(Duration::from_secs(1)).await;
            window.add(1, &view(4, [7, 4, 0]));
        }
        assert_eq!(window.add(1, &view(4, [7, 4, 0])).failure, Some(0.0));
        for _ in 0..QUANTILES {
            window.add(1, &view(4, [7, 4, 1]));
        }
        assert_eq!(window.0.len(), QUANTILES);
        assert_eq!(window.add(1, &view(4, [7, 4, 1])).queue, None, "nothing came for a minute");
        // What lies beyond all bounds.
        assert_eq!(window.add(1, &view(4, [7, 4, 9])).queue, Some([2.0; 3]));
        // It has begun anew, and goes on from there.
        let anew = window.add(1, &view(0, [0, 0, 0]));
        assert_eq!((anew.failure, anew.queue), (None, None));
        tokio::time::advance(Duration::from_secs(1)).await;
        let point = window.add(1, &view(2, [2, 0, 0]));
        assert_eq!((point.failure, point.queue.unwrap()[0]), (Some(4.0), 0.5));
        // It was not there, and comes back with all that it had.
        window.add(1, &Readings::default());
        let mut window = Window(window.0.split_off(window.0.len() - 1));
        let back = window.add(1, &view(1000, [1000, 0, 0]));
        assert_eq!((back.failure, back.queue), (None, None));
    }
}
