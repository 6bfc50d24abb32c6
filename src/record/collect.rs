//! One consistent view of everything that is published.

use std::sync::Arc;

use super::OtherFamily;
use crate::names::{self, Family, StaticLabel};

/// Yields, whenever it is asked, one consistent view of every family.
///
/// Consistent means that the identities of the contract hold within one view, at any moment:
/// `infermeter_requests_received_total = request_total + infermeter_requests_in_flight` (summed)
/// and `request_total = success + failure + aborted` per model.
///
/// ```
/// use infermeter::{Meter, record::Collect};
///
/// let meter = Meter::new().model("tiny-words");
/// meter.sample(); // now and then
/// for family in meter.collect().families {
///     println!("{}: {} series", family.family.name, family.series.len());
/// }
/// ```
pub trait Collect: Send + Sync + 'static {
    /// Takes a view. A family or a series that is absent in it is gone.
    fn collect(&self) -> Readings;

    /// Samples every [`Source`](super::Source), which may take its time: call it now and then,
    /// once a second for instance, from a thread that may wait. Never on the way of a scrape.
    fn sample(&self) {}
}

/// Families in the order of the catalogue, each with its series.
///
/// ```
/// use infermeter::{names, record::{Readings, Value}};
///
/// let mut readings = Readings::default();
/// readings.push(&names::PROCESS_THREADS, [], Value::Gauge(4.0));
/// assert_eq!(readings.series(&names::PROCESS_THREADS)[0].gauge(), Some(4.0));
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Readings {
    /// Labels that stand on every series besides its own.
    pub labels: Arc<[StaticLabel]>,
    /// What was read. A family without series only keeps its name: a source tells it, and nothing
    /// of that could be published.
    pub families: Vec<FamilyReadings>,
    /// Families of other pages, for whoever publishes a page. Whatever is published already under
    /// one of their names goes before them.
    pub others: Vec<OtherReadings>,
}

/// A family of another page.
///
/// ```
/// use infermeter::record::{OtherReadings, Readings};
///
/// # #[cfg(feature = "proxy")] {
/// let page = b"# TYPE tiny_cache gauge\ntiny_cache 3\n";
/// let page = infermeter::engines::Page::parse(page).unwrap();
/// let mut readings = Readings::default();
/// readings.others = page.families().iter().cloned().map(OtherReadings::from).collect();
/// assert_eq!(&*readings.others[0].family.name, "tiny_cache");
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct OtherReadings {
    /// The family, as its page has it.
    pub family: Arc<OtherFamily>,
    /// The upstream whose page it is, by the values of
    /// [`UPSTREAM_LABELS`](crate::names::UPSTREAM_LABELS). Several upstreams may have a family of the
    /// same name, which is then one, with series of each.
    pub upstream: Option<[Arc<str>; 2]>,
}

/// The series of one family.
///
/// ```
/// use infermeter::{Meter, record::{Collect, FamilyReadings}};
///
/// let readings = Meter::new().model("tiny-words").collect();
/// let family: &FamilyReadings = &readings.families[0];
/// let (name, value) = family.labels(&family.series[0]).next().unwrap();
/// assert_eq!((name, &**value), ("model_name", "tiny-words"));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FamilyReadings {
    /// Name, kind, unit, help.
    pub family: &'static Family,
    /// Its series; [`labels`](Self::labels) says which values are of which label.
    pub series: Vec<Series>,
}

/// One series.
///
/// ```
/// use infermeter::{Meter, names, record::{Collect, Series}};
///
/// let readings = Meter::new().model("tiny-words").collect();
/// let series: &Series = &readings.series(&names::REQUEST_TOTAL)[0];
/// let model = series.label(&names::REQUEST_TOTAL, names::label::MODEL_NAME);
/// assert_eq!(model.map(|model| &**model), Some("tiny-words"));
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Series {
    /// A value for each of [`Family`]'s `labels`, and behind them, where there are several upstreams,
    /// those of [`UPSTREAM_LABELS`](crate::names::UPSTREAM_LABELS).
    pub labels: Vec<Arc<str>>,
    /// What it stands at.
    pub value: Value,
}

/// The value of a series.
///
/// ```
/// use infermeter::record::Value;
///
/// fn number(value: &Value) -> f64 {
///     match value {
///         Value::Counter(count) => *count as f64,
///         Value::Histogram(reading) => reading.count() as f64,
///         Value::FloatCounter(value) | Value::Gauge(value) => *value,
///         _ => f64::NAN,
///     }
/// }
///
/// assert_eq!(number(&Value::Counter(3)), 3.0);
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// A whole number that only grows.
    Counter(u64),
    /// A number that only grows.
    FloatCounter(f64),
    /// A number that goes up and down.
    Gauge(f64),
    /// Counts by bucket.
    Histogram(HistogramReading),
}

/// A histogram as it stood.
///
/// ```
/// use infermeter::record::HistogramReading;
///
/// let (bounds, counts) = ([0.1, 1.0].into(), [3, 1, 0].into());
/// let reading = HistogramReading { bounds, counts, sum: 0.9 };
/// assert_eq!(reading.count(), 4);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct HistogramReading {
    /// The upper bounds, rising, without `+Inf`.
    pub bounds: Arc<[f64]>,
    /// Observations in each bucket, one more than there are bounds; not cumulative.
    pub counts: Box<[u64]>,
    /// Sum of all observations.
    pub sum: f64,
}

// === impl Readings ===

impl Readings {
    /// Adds a series to a family; families come in the order in which they are first named.
    pub fn push(
        &mut self,
        family: &'static Family,
        labels: impl IntoIterator<Item = Arc<str>>,
        value: Value,
    ) {
        let labels = labels.into_iter().collect();
        self.family(family).push(Series { labels, value });
    }

    /// The series of a family, which is there from now on.
    pub(crate) fn family(&mut self, family: &'static Family) -> &mut Vec<Series> {
        let is_it = |readings: &FamilyReadings| std::ptr::eq(readings.family, family);
        let place = self.families.iter().position(is_it).unwrap_or_else(|| {
            self.families.push(FamilyReadings { family, series: Vec::new() });
            self.families.len() - 1
        });
        &mut self.families[place].series
    }

    /// Puts the families into the order of the page.
    pub(super) fn in_page_order(mut self) -> Self {
        let place = |family: &Family| {
            names::CATALOGUE.iter().position(|known| std::ptr::eq(*known, family))
        };
        self.families.sort_by_cached_key(|readings| place(readings.family));
        self
    }

    /// The series of a family.
    pub fn series(&self, family: &'static Family) -> &[Series] {
        self.families
            .iter()
            .find(|readings| std::ptr::eq(readings.family, family))
            .map_or(&[], |readings| &readings.series)
    }
}

// === impl Series ===

impl Series {
    /// The value of one of its labels, as a series of this family.
    pub fn label(&self, family: &'static Family, name: &str) -> Option<&Arc<str>> {
        label_names(family).zip(&self.labels).find(|(known, _)| *known == name).map(|(_, of)| of)
    }

    /// What a gauge stands at.
    pub const fn gauge(&self) -> Option<f64> {
        match self.value {
            Value::Gauge(value) => Some(value),
            _ => None,
        }
    }
}

// === impl FamilyReadings ===

impl FamilyReadings {
    /// The labels of one of its series, with their values: those of the family, and those of its
    /// upstream where it has one.
    pub fn labels<'a>(
        &self,
        series: &'a Series,
    ) -> impl Iterator<Item = (&'static str, &'a Arc<str>)> + use<'a> {
        label_names(self.family).zip(&series.labels)
    }
}

/// The names of all labels that a series of a family can have, but for static ones.
pub(super) fn label_names(family: &'static Family) -> impl Iterator<Item = &'static str> {
    family.labels.iter().copied().chain(names::UPSTREAM_LABELS)
}

// === impl OtherReadings ===

impl From<Arc<OtherFamily>> for OtherReadings {
    fn from(family: Arc<OtherFamily>) -> Self {
        Self { family, upstream: None }
    }
}

// === impl HistogramReading ===

impl HistogramReading {
    /// How many observations there are.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}
