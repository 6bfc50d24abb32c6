//! Views for the tests of a service that wears the layer.

use super::{Collect, HistogramReading, Meter, Readings, Series, Value, collect::label_names};
use crate::{
    names::{self, Family, label},
    outcome::Outcome,
};

/// What a [`Meter`] stood at, to be asked by family and labels. With the feature `test-util`.
///
/// A label that a family does not have is a mistake in the test, and panics.
///
/// ```
/// use infermeter::{InferenceLayer, Meter, names};
/// use tower::{Layer, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let meter = Meter::new().model("tiny-words");
/// let service = InferenceLayer::new(meter.clone()).layer(service_fn(async |_| {
///     Ok::<_, std::convert::Infallible>(http::Response::new(String::new()))
/// }));
/// service.oneshot(http::Request::post("/v1/completions").body(()).unwrap()).await.unwrap();
///
/// let snapshot = meter.snapshot();
/// snapshot.assert_conserved();
/// assert_eq!(snapshot.value(&names::REQUEST_TOTAL, &[("model_name", "tiny-words")]), Some(1.0));
/// assert_eq!(snapshot.value(&names::TIME_IN_QUEUE_SECONDS, &[]), Some(1.0), "observations");
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Snapshot(Readings);

// === impl Meter ===

impl Meter {
    /// What it stands at now; sources are sampled first. With the feature `test-util`.
    pub fn snapshot(&self) -> Snapshot {
        self.sample();
        Snapshot(self.collect())
    }
}

// === impl Snapshot ===

impl Snapshot {
    /// The sum over the series of a family that have these labels; of a histogram, how many
    /// observations it has. `None` where there is no such series.
    ///
    /// # Panics
    ///
    /// If the family does not have one of the labels.
    pub fn value(&self, family: &'static Family, labels: &[(&str, &str)]) -> Option<f64> {
        let values = self.series(family, labels).into_iter().map(|series| match &series.value {
            Value::Counter(n) => *n as f64,
            Value::FloatCounter(value) | Value::Gauge(value) => *value,
            Value::Histogram(reading) => reading.count() as f64,
        });
        values.reduce(|sum, value| sum + value)
    }

    /// The histogram of the one series that has these labels.
    ///
    /// # Panics
    ///
    /// If the family does not have one of the labels, or several series do.
    pub fn histogram(
        &self,
        family: &'static Family,
        labels: &[(&str, &str)],
    ) -> Option<&HistogramReading> {
        let series = self.series(family, labels);
        assert!(series.len() < 2, "{labels:?} are of {} series of {}", series.len(), family.name);
        match &series.first()?.value {
            Value::Histogram(reading) => Some(reading),
            _ => None,
        }
    }

    /// Checks that no request was lost or counted twice: those received are those that ended and
    /// those in flight; per model, those that ended are successes, failures and aborted ones.
    ///
    /// # Panics
    ///
    /// If it does not hold, with the numbers.
    pub fn assert_conserved(&self) {
        let sum = |family, labels: &[_]| self.value(family, labels).unwrap_or(0.0);
        let received = sum(&names::REQUESTS_RECEIVED_TOTAL, &[]);
        let ended = sum(&names::REQUEST_TOTAL, &[]);
        let in_flight = sum(&names::REQUESTS_IN_FLIGHT, &[]);
        assert_eq!(received, ended + in_flight, "received = {ended} ended + {in_flight} in flight");
        for series in self.0.series(&names::REQUEST_TOTAL) {
            let model = label_names(&names::REQUEST_TOTAL).zip(&series.labels);
            let model: Vec<_> = model.map(|(name, value)| (name, &**value)).collect();
            let ended = sum(&names::REQUEST_TOTAL, &model);
            let success = sum(&names::REQUEST_SUCCESS_TOTAL, &model);
            let failure = sum(&names::REQUEST_FAILURE_TOTAL, &model);
            let aborted = sum(&names::REQUEST_ABORTED_TOTAL, &model);
            assert_eq!(
                ended,
                success + failure + aborted,
                "{model:?}: ended = {success} successes + {failure} failures + {aborted} aborted"
            );
        }
    }

    /// How many requests ended so, under any model, endpoint and status.
    pub fn ended(&self, outcome: Outcome) -> u64 {
        let labels = [(label::OUTCOME, outcome.label()), (label::REASON, outcome.reason())];
        self.value(&names::REQUESTS_TOTAL, &labels).unwrap_or(0.0) as u64
    }

    fn series(&self, family: &'static Family, labels: &[(&str, &str)]) -> Vec<&Series> {
        let places: Vec<_> = labels
            .iter()
            .map(|(name, value)| {
                let place = labels_of(family).position(|known| known == *name);
                let Some(place) = place else {
                    panic!("{} has no label {name:?}; it has {:?}", family.name, family.labels)
                };
                (place, *value)
            })
            .collect();
        let has_all = |series: &&Series| {
            places
                .iter()
                .all(|(place, value)| series.labels.get(*place).is_some_and(|l| **l == **value))
        };
        self.0.series(family).iter().filter(has_all).collect()
    }
}

/// The labels that a test may ask for: those of upstreams where a family can have them.
fn labels_of(family: &'static Family) -> impl Iterator<Item = &'static str> {
    let can_have = family.labels.contains(&label::MODEL_NAME) || family.labels.is_empty();
    let most = if can_have { usize::MAX } else { family.labels.len() };
    label_names(family).take(most)
}
