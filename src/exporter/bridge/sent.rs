//! What a recorder was given, series by series, so that the next push gives it the rest.

use std::{collections::HashMap, sync::Arc};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Label, Level, Metadata, Recorder};

use super::values::values;
use crate::{
    names::{Family, Kind, Naming, StaticLabel, Unit},
    record::{FamilyReadings, HistogramReading, Readings, Series, Value},
};

const METADATA: Metadata<'static> =
    Metadata::new(module_path!(), Level::INFO, Some(module_path!()));

/// Handles are resolved once for each series, which are as many as the meter has.
#[derive(Debug, Default)]
pub(super) struct Sent {
    pushes: u64,
    families: HashMap<&'static str, SentFamily>,
}

#[derive(Debug)]
struct SentFamily {
    name: KeyName,
    series: HashMap<Vec<Arc<str>>, SentSeries>,
}

#[derive(Debug)]
enum SentSeries {
    Counter(Counter, Counted),
    /// With the push that it was last seen in.
    Gauge(Gauge, u64),
    /// With all that was recorded so far.
    Histogram(Histogram, HistogramReading),
}

/// A counter as it was last read.
#[derive(Debug, Default)]
struct Counted {
    last: u64,
    /// What it came to before it last began anew.
    before: u64,
}

// === impl Sent ===

impl Sent {
    /// Brings a recorder from what it was given so far to what was read.
    pub(super) fn push(&mut self, readings: &Readings, naming: &Naming, recorder: &dyn Recorder) {
        self.pushes += 1;
        for told in &readings.families {
            let FamilyReadings { family, series, .. } = told;
            let sent = self.families.entry(family.name).or_insert_with(|| {
                let name = KeyName::from(naming.name(family));
                describe(family, &name, recorder);
                SentFamily { name, series: HashMap::new() }
            });
            for series in series {
                let Series { labels, value, .. } = series;
                let handle = match sent.series.get_mut(labels) {
                    Some(handle) => handle,
                    None => sent.series.entry(labels.clone()).or_insert_with(|| {
                        let labels = labels_of(told, series, &readings.labels);
                        let key = Key::from_parts(sent.name.clone(), labels);
                        SentSeries::register(value, &key, recorder)
                    }),
                };
                handle.push(value, self.pushes);
            }
        }
        // NB: of all families: one without series is not among the readings.
        for sent in self.families.values_mut() {
            sent.series.retain(|_, series| series.is_there(self.pushes));
        }
    }
}

// === impl SentSeries ===

impl SentSeries {
    fn register(value: &Value, key: &Key, recorder: &dyn Recorder) -> Self {
        match value {
            Value::Counter(_) | Value::FloatCounter(_) => {
                Self::Counter(recorder.register_counter(key, &METADATA), Counted::default())
            }
            Value::Gauge(_) => Self::Gauge(recorder.register_gauge(key, &METADATA), 0),
            Value::Histogram(reading) => {
                let handle = recorder.register_histogram(key, &METADATA);
                Self::Histogram(handle, nothing_yet(reading))
            }
        }
    }

    fn push(&mut self, value: &Value, push: u64) {
        match (self, value) {
            // NB: also where nothing has changed, so that no recorder takes it for idle.
            (Self::Counter(handle, counted), Value::Counter(n)) => {
                handle.absolute(counted.now(*n));
            }
            (Self::Counter(handle, counted), Value::FloatCounter(n)) => {
                // Rounded down: the rest comes once it is a whole one.
                handle.absolute(counted.now(*n as u64));
            }
            (Self::Gauge(handle, seen), Value::Gauge(value)) => {
                *seen = push;
                handle.set(*value);
            }
            (Self::Histogram(handle, sent), Value::Histogram(reading)) => {
                record(handle, sent, reading);
            }
            // A series of a family does not turn into one of another kind.
            _ => {}
        }
    }

    /// Whether to keep it. No recorder can drop a series, so that a gauge that has gone is no
    /// number until it comes back.
    fn is_there(&self, push: u64) -> bool {
        match self {
            Self::Gauge(handle, seen) if *seen != push => {
                handle.set(f64::NAN);
                false
            }
            _ => true,
        }
    }
}

// === impl Counted ===

impl Counted {
    fn now(&mut self, n: u64) -> u64 {
        if n < self.last {
            self.before = self.before.saturating_add(self.last);
        }
        self.last = n;
        self.before.saturating_add(n)
    }
}

fn record(handle: &Histogram, sent: &mut HistogramReading, reading: &HistogramReading) {
    let fell = sent.counts.iter().zip(&reading.counts).any(|(sent, now)| now < sent);
    if fell || sent.counts.len() != reading.counts.len() {
        // It began anew; what it holds now comes on top.
        *sent = nothing_yet(reading);
    }
    let counts = reading.counts.iter().zip(&sent.counts).map(|(now, sent)| now - sent);
    let counts: Vec<u64> = counts.collect();
    for (bucket, value) in values(&reading.bounds, &counts, reading.sum - sent.sum) {
        let count = counts[bucket];
        handle.record_many(value, usize::try_from(count).unwrap_or(usize::MAX));
        // What the recorder did not take, as it panicked, is left for the next push; and where the
        // sum is not what it should be, the next push makes up for it.
        sent.counts[bucket] += count;
        sent.sum += value * count as f64;
    }
}

fn nothing_yet(reading: &HistogramReading) -> HistogramReading {
    let HistogramReading { bounds, counts, sum: _ } = reading;
    HistogramReading { bounds: Arc::clone(bounds), counts: vec![0; counts.len()].into(), sum: 0.0 }
}

fn describe(family: &Family, name: &KeyName, recorder: &dyn Recorder) {
    let (name, unit, help) = (name.clone(), unit(family), family.help.into());
    match family.kind {
        Kind::Counter => recorder.describe_counter(name, unit, help),
        Kind::Gauge => recorder.describe_gauge(name, unit, help),
        Kind::Histogram => recorder.describe_histogram(name, unit, help),
    }
}

/// Where both have a word for it. What is a ratio here goes up to 1, and theirs are percents.
fn unit(family: &Family) -> Option<metrics::Unit> {
    match family.unit {
        Unit::Seconds => Some(metrics::Unit::Seconds),
        Unit::Bytes => Some(metrics::Unit::Bytes),
        Unit::Ratio | Unit::Bool | Unit::Info => None,
        _ => Some(metrics::Unit::Count),
    }
}

fn labels_of(told: &FamilyReadings, series: &Series, fixed: &[StaticLabel]) -> Vec<Label> {
    let own = told
        .labels(series)
        .map(|(key, value)| Label::new(key, metrics::SharedString::from_shared(Arc::clone(value))));
    // NB: no label stands twice; a series' own goes before.
    let is_free = |label: &&StaticLabel| told.labels(series).all(|(key, _)| key != label.key());
    let fixed = fixed.iter().filter(is_free);
    let fixed = fixed.map(|label| Label::new(label.key().to_owned(), label.value().to_owned()));
    own.chain(fixed).collect()
}
