//! Counts of values in buckets that are 1.6 % wide.

use serde_json::{Value, json};

/// Buckets of each power of two.
const STEPS: u64 = 64;

/// Takes nanoseconds, and tells microseconds.
pub struct Histogram {
    counts: Vec<u64>,
    most: u64,
}

// === impl Histogram ===

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; bucket(u64::MAX) + 1], most: 0 }
    }
}

impl Histogram {
    /// Counts one value.
    pub fn record(&mut self, nanoseconds: u64) {
        self.counts[bucket(nanoseconds)] += 1;
        self.most = self.most.max(nanoseconds);
    }

    /// Median, 99th percentile and the greatest in microseconds, and how many there are.
    pub fn summary(&self) -> Value {
        let count: u64 = self.counts.iter().sum();
        json!({
            "count": count,
            "p50": self.quantile(count, 0.5),
            "p99": self.quantile(count, 0.99),
            "max": self.most as f64 / 1e3,
        })
    }

    /// `None` of none.
    fn quantile(&self, count: u64, share: f64) -> Option<f64> {
        let rank = ((count as f64 * share).ceil() as u64).max(1);
        let mut below = 0;
        let index = self.counts.iter().position(|found| {
            below += found;
            below >= rank
        })?;
        Some(middle(index) as f64 / 1e3)
    }
}

/// Up to [`STEPS`] each value has one of its own.
fn bucket(value: u64) -> usize {
    let power = 63 - u64::from((value | STEPS).leading_zeros());
    let shift = power - u64::from(STEPS.ilog2());
    (shift * STEPS + (value >> shift)) as usize
}

fn middle(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    let shift = (bucket / STEPS).saturating_sub(1);
    ((bucket - shift * STEPS) << shift) + (1 << shift) / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stay_within_their_buckets_width() {
        for power in 0..64 {
            for value in [1_u64 << power, (1 << power) + (1 << power) / 3] {
                let found = middle(bucket(value));
                assert!(found.abs_diff(value) <= value / STEPS + 1, "{value} is {found}");
            }
        }
        assert!((0..100_000).is_sorted_by_key(bucket));
    }

    #[test]
    fn quantiles_are_of_what_was_counted() {
        let mut all = Histogram::default();
        assert_eq!(all.summary()["p50"], Value::Null);
        (1..=1000).for_each(|i| all.record(i * 1000));
        let summary = all.summary();
        assert_eq!((&summary["count"], &summary["max"]), (&json!(1000), &json!(1000.0)));
        assert!((summary["p50"].as_f64().unwrap() - 500.0).abs() < 10.0, "{summary}");
        assert!((summary["p99"].as_f64().unwrap() - 990.0).abs() < 20.0, "{summary}");
    }
}
