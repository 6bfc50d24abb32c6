//! What was read of an engine, as families of the catalogue.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use super::Page;
use crate::{
    names::{self, Family, Kind, Unit},
    record::{HistogramReading, OtherFamily, OtherSample, Readings, Value},
};

/// How many pairs of model and engine a page may have; beyond that they are left out.
const MOST_PLACES: usize = 256;

/// How many bytes a label may have.
const LONGEST_LABEL: usize = 256;

/// What is read from a page as it is: our family, and what the engine calls it, newest first.
pub(super) type Simple = (&'static Family, &'static [&'static str]);

/// The labels of a state: model and engine.
pub(super) type Place = [Arc<str>; 2];

/// The engine where there is one.
pub(super) const ONLY: &str = "0";

#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) readings: Readings,
    places: HashSet<Place>,
}

/// What an engine says of its KV cache; `None` where it does not.
#[derive(Clone, Debug, Default)]
pub(super) struct Kv {
    pub(super) used: Option<f64>,
    pub(super) total: Option<f64>,
    /// Blocks in use as a part of all.
    pub(super) usage: Option<f64>,
    pub(super) tokens: Option<f64>,
    pub(super) block_size: Option<f64>,
    /// Where it has another number of blocks than requests can use.
    pub(super) blocks: Option<f64>,
}

/// Those families that Python's client library has of a process, under names that are ours too.
static PROCESS: [&Family; 6] = [
    &names::PROCESS_CPU_SECONDS_TOTAL,
    &names::PROCESS_RESIDENT_MEMORY_BYTES,
    &names::PROCESS_VIRTUAL_MEMORY_BYTES,
    &names::PROCESS_OPEN_FDS,
    &names::PROCESS_MAX_FDS,
    &names::PROCESS_START_TIME_SECONDS,
];

// === impl Told ===

impl Told {
    /// One value; what cannot be published is dropped and counted where it is sampled.
    pub(super) fn push(&mut self, family: &'static Family, place: &Place, value: f64) {
        if self.has_room(place) {
            self.readings.push(family, place.clone(), value_of(family, value));
        }
    }

    /// Whatever is on the page as it is, of those samples that have a place.
    pub(super) fn simple(
        &mut self,
        page: &Page,
        simple: &[Simple],
        place: impl Fn(&OtherSample) -> Option<Place>,
    ) {
        for (family, theirs) in simple {
            let samples = theirs.iter().map(|name| page.samples(name));
            for sample in samples.into_iter().find(|samples| !samples.is_empty()).unwrap_or(&[]) {
                if let Some(place) = place(sample) {
                    self.push(family, &place, sample.value);
                }
            }
        }
    }

    pub(super) fn kv(&mut self, place: &Place, kv: &Kv) {
        let Kv { used, total, usage, tokens, block_size, blocks } = *kv;
        let part = |part: Option<f64>, all: Option<f64>| {
            let all = all.filter(|all| *all > 0.0)?;
            part.map(|part| part / all)
        };
        let slots = total.zip(block_size).map(|(total, size)| total * size);
        let in_use = part(used, total).or(usage);
        for (family, value) in [
            (&names::GPU_CACHE_USAGE_RATIO, part(tokens, slots).or(in_use)),
            (&names::KV_CACHE_USAGE_PERC, usage.or(in_use)),
            (&names::NUM_BLOCKS_USED, used),
            (&names::NUM_BLOCKS_TOTAL, total),
            (&names::KV_TOKENS_HELD, tokens),
        ] {
            if let Some(value) = value {
                self.push(family, place, value);
            }
        }
        if let Some((size, blocks)) = block_size.zip(blocks.or(total)) {
            let shape = [size, blocks].map(|n| n.to_string().into());
            self.info(&names::CACHE_CONFIG_INFO, place, shape, 1.0);
        }
    }

    /// A family with more labels than the place.
    pub(super) fn info<const N: usize>(
        &mut self,
        family: &'static Family,
        place: &Place,
        more: [Arc<str>; N],
        value: f64,
    ) {
        if self.has_room(place) {
            let labels = place.iter().cloned().chain(more);
            self.readings.push(family, labels, Value::Gauge(value));
        }
    }

    /// The first of these histograms, summed by model. What is broken keeps its name: the engine's
    /// family does not stand in for it.
    pub(super) fn histogram(
        &mut self,
        family: &'static Family,
        page: &Page,
        theirs: &[&str],
        place: impl Fn(&OtherSample) -> Option<Place>,
    ) {
        let Some(theirs) = theirs.iter().find_map(|name| page.family(name)) else { return };
        self.readings.family(family);
        for (model, reading) in histograms(theirs, |sample| place(sample).map(|[model, _]| model)) {
            if self.has_room(&[Arc::clone(&model), ONLY.into()]) {
                self.readings.push(family, [model], Value::Histogram(reading));
            }
        }
    }

    /// Those that the page has.
    pub(super) fn histograms(&self) -> impl Iterator<Item = &'static Family> {
        let families = self.readings.families.iter().map(|told| told.family);
        families.filter(|family| family.kind == Kind::Histogram)
    }

    /// What the page says of the process that it is from.
    pub(super) fn process(&mut self, page: &Page) {
        for family in PROCESS {
            if let [sample] = page.samples(family.name) {
                self.readings.push(family, [], value_of(family, sample.value));
            }
        }
    }

    fn has_room(&mut self, place: &Place) -> bool {
        let is_short = place.iter().all(|label| label.len() <= LONGEST_LABEL);
        let is_known = self.places.contains(place);
        if is_short && !is_known && self.places.len() < MOST_PLACES {
            return self.places.insert(place.clone());
        }
        is_known
    }
}

/// Whether a name is that of a family that describes the process which serves the model.
pub(super) fn is_of_process(name: &str) -> bool {
    names::CATALOGUE.iter().any(|family| family.name == name && name.starts_with("process_"))
}

/// A label, or what stands for it.
pub(super) fn label_or(sample: &OtherSample, names: &[&str], other: &str) -> Arc<str> {
    names.iter().find_map(|name| sample.label(name)).unwrap_or(other).into()
}

fn value_of(family: &Family, value: f64) -> Value {
    /// Beyond it, not every whole number is one.
    const WHOLE: f64 = 9_007_199_254_740_992.0;

    match family.kind {
        Kind::Counter if family.unit == Unit::Seconds => Value::FloatCounter(value),
        Kind::Counter if (0.0..=WHOLE).contains(&value) => Value::Counter(value.round() as u64),
        Kind::Counter => Value::FloatCounter(value),
        Kind::Gauge | Kind::Histogram => Value::Gauge(value),
    }
}

/// The histograms of a family, added up by model; one that is broken is left out.
fn histograms(
    family: &OtherFamily,
    model: impl Fn(&OtherSample) -> Option<Arc<str>>,
) -> BTreeMap<Arc<str>, HistogramReading> {
    /// One series: cumulative counts by bound, and the sum.
    type Steps = (Vec<(f64, f64)>, Option<f64>);

    let mut all: BTreeMap<Arc<str>, BTreeMap<String, Steps>> = BTreeMap::new();
    for sample in &family.samples {
        let Some(model) = model(sample) else { continue };
        let mut rest: Vec<_> = sample.labels.iter().filter(|(name, _)| &**name != "le").collect();
        rest.sort_unstable();
        let (steps, sum) = all.entry(model).or_default().entry(format!("{rest:?}")).or_default();
        match (sample.suffix, sample.label("le").and_then(|bound| bound.parse().ok())) {
            ("_bucket", Some(bound)) => steps.push((bound, sample.value)),
            ("_sum", _) => *sum = Some(sample.value),
            _ => {}
        }
    }
    let add = |series: BTreeMap<String, Steps>| {
        series.into_values().map(|(steps, sum)| reading(steps, sum)).reduce(add)?
    };
    all.into_iter().filter_map(|(model, series)| Some((model, add(series)?))).collect()
}

/// `None` where the counts do not rise up to `+Inf`, or are none.
fn reading(mut steps: Vec<(f64, f64)>, sum: Option<f64>) -> Option<HistogramReading> {
    steps.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    let (last, _) = *steps.last()?;
    let is_count = |n: f64| n.fract() == 0.0 && (0.0..1e18).contains(&n);
    let rises = steps.is_sorted_by(|(_, a), (_, b)| a <= b);
    if last != f64::INFINITY || !rises || !steps.iter().all(|(_, count)| is_count(*count)) {
        return None;
    }
    let bounds = steps.iter().map(|(bound, _)| *bound).filter(|bound| bound.is_finite()).collect();
    let mut before = 0;
    let counts = steps.iter().map(|(_, count)| {
        let count = *count as u64;
        count - std::mem::replace(&mut before, count)
    });
    Some(HistogramReading { bounds, counts: counts.collect(), sum: sum? })
}

/// Both together, with the bounds that both have: at each of those the counts are known.
fn add(a: Option<HistogramReading>, b: Option<HistogramReading>) -> Option<HistogramReading> {
    let (a, b) = (a?, b?);
    let bounds: Arc<[f64]> =
        a.bounds.iter().copied().filter(|bound| b.bounds.contains(bound)).collect();
    let up_to = |reading: &HistogramReading, bound: f64| -> u64 {
        let below = reading.bounds.iter().take_while(|known| **known <= bound).count();
        let below = if bound == f64::INFINITY { reading.counts.len() } else { below };
        reading.counts[..below].iter().sum()
    };
    let mut before = 0;
    let counts = bounds.iter().copied().chain([f64::INFINITY]).map(|bound| {
        let count = up_to(&a, bound) + up_to(&b, bound);
        count - std::mem::replace(&mut before, count)
    });
    Some(HistogramReading { counts: counts.collect(), sum: a.sum + b.sum, bounds })
}
