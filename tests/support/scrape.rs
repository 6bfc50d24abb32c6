//! One scrape, and what must hold in it at any moment.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use infermeter::{
    names::{Kind, Naming},
    record::{Collect, Readings, Value},
};

/// The samples of one scrape, by name and labels.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scrape {
    samples: HashMap<String, Vec<Sample>>,
}

#[derive(Clone, Debug)]
struct Sample {
    labels: Labels,
    value: f64,
    only_grows: bool,
}

/// In the order of the page. NB: a storm takes thousands of scrapes, so nothing is copied.
type Labels = Vec<(Cow<'static, str>, Arc<str>)>;

// === impl Scrape ===

impl Scrape {
    pub(crate) fn of(state: &impl Collect) -> Self {
        let Readings { families, .. } = state.collect();
        let (naming, mut scrape) = (Naming::vllm(), Self::default());
        for readings in &families {
            let (family, name) = (readings.family, naming.name(readings.family));
            for series in &readings.series {
                let labels = readings.labels(series);
                let labels: Labels =
                    labels.map(|(name, value)| (Cow::Borrowed(name), Arc::clone(value))).collect();
                assert_eq!(labels.len(), series.labels.len(), "{name}: {series:?}");
                let only_grows = family.kind != Kind::Gauge;
                match &series.value {
                    Value::Counter(n) => scrape.add(&name, labels, *n as f64, only_grows),
                    Value::Gauge(value) | Value::FloatCounter(value) => {
                        scrape.add(&name, labels, *value, only_grows);
                    }
                    Value::Histogram(reading) => {
                        let (sum, count) = (format!("{name}_sum"), format!("{name}_count"));
                        scrape.add(&sum, labels.clone(), reading.sum, only_grows);
                        scrape.add(&count, labels, reading.count() as f64, only_grows);
                    }
                    value => panic!("a value of a new kind: {value:?}"),
                }
            }
        }
        scrape
    }

    /// Reads a page in the text format.
    pub(crate) fn parse(page: &str) -> Self {
        let (mut scrape, mut kinds) = (Self::default(), HashMap::new());
        for line in page.lines() {
            if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').unwrap();
                kinds.insert(name.to_owned(), kind.to_owned());
            }
            if line.starts_with('#') || line.is_empty() {
                continue;
            }
            let (series, value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = match series.split_once('{') {
                Some((name, labels)) => (name, parse_labels(labels.strip_suffix('}').unwrap())),
                None => (series, Labels::new()),
            };
            let only_grows = kinds.get(name).is_none_or(|kind| kind != "gauge");
            scrape.add(name, labels, value.parse().unwrap(), only_grows);
        }
        scrape
    }

    /// The sum over the series that have these labels.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        let samples = self.samples.get(name).map_or(&[][..], Vec::as_slice);
        let has =
            |sample: &&Sample| labels.iter().all(|(name, value)| sample.label(name) == Some(value));
        let sum: f64 = samples.iter().filter(has).map(|sample| sample.value).sum();
        assert!(sum >= 0.0 && sum.fract() == 0.0, "{name} {labels:?} is {sum}");
        sum as u64
    }

    /// The values of one label.
    pub(crate) fn values(&self, name: &str, label: &str) -> Vec<&str> {
        let samples = self.samples.get(name).map_or(&[][..], Vec::as_slice);
        let mut values: Vec<&str> =
            samples.iter().filter_map(|sample| sample.label(label)).collect();
        values.sort_unstable();
        values.dedup();
        values
    }

    /// The series of a family that are not 0: label values, then the value.
    pub(crate) fn counted(&self, name: &str) -> Vec<String> {
        let samples = self.samples.get(name).map_or(&[][..], Vec::as_slice);
        samples
            .iter()
            .filter(|sample| sample.value > 0.0)
            .map(|Sample { labels, value, .. }| {
                let values: Vec<&str> = labels.iter().map(|(_, value)| &**value).collect();
                format!("{} {value}", values.join(" "))
            })
            .collect()
    }

    /// Every series, its labels in alphabetical order and its bound as a number: pages that differ
    /// in nothing else are the same.
    pub(crate) fn series(&self) -> BTreeMap<String, f64> {
        let samples =
            self.samples.iter().flat_map(|(name, all)| all.iter().map(move |s| (name, s)));
        let mut found = BTreeMap::new();
        for (name, Sample { labels, value, .. }) in samples {
            let mut labels: Vec<String> = labels
                .iter()
                .map(|(label, value)| match &**label {
                    "le" => format!("le={:?}", value.parse::<f64>().unwrap()),
                    label => format!("{label}={value:?}"),
                })
                .collect();
            labels.sort();
            let series = format!("{name}{{{}}}", labels.join(","));
            assert!(found.insert(series, *value).is_none(), "{name} {labels:?} is there twice");
        }
        found
    }

    pub(crate) fn in_flight(&self) -> u64 {
        self.sum("infermeter_requests_in_flight", &[])
    }

    /// What the contract promises of every scrape.
    pub(crate) fn assert_identities(&self) {
        for sample in self.samples.get("infermeter_requests_in_flight").into_iter().flatten() {
            assert!(sample.value >= 0.0, "in flight: {sample:?}");
        }
        let total = self.sum("vllm:request_total", &[]);
        assert_eq!(
            self.sum("infermeter_requests_received_total", &[]),
            total + self.in_flight(),
            "received = ended + in flight"
        );
        for sample in self.samples.get("vllm:request_total").into_iter().flatten() {
            let model = sample.labels.iter().map(|(name, value)| (&**name, &**value));
            let model: Vec<_> = model.collect();
            let total = self.sum("vllm:request_total", &model);
            let parts = ["success", "failure", "aborted"]
                .map(|outcome| self.sum(&format!("vllm:request_{outcome}_total"), &model));
            assert_eq!(total, parts.iter().sum::<u64>(), "{model:?}: {parts:?}");
            assert_eq!(total, self.sum("infermeter_requests_total", &model), "{model:?}");
        }
        let codes = self.values("infermeter_requests_total", "code");
        let codes = codes.into_iter().filter(|code| code.starts_with('2'));
        let ended_2xx: u64 =
            codes.map(|code| self.sum("infermeter_requests_total", &[("code", code)])).sum();
        let accounted = self.sum("infermeter_token_accounting_total", &[]);
        assert_eq!(accounted, ended_2xx, "each 2xx has a source of its token count");
    }

    /// No counter is smaller than it was, and none has gone.
    pub(crate) fn assert_grown_from(&self, before: &Self) {
        for (name, samples) in &before.samples {
            let now = self.samples.get(name).into_iter().flatten();
            let now: HashMap<&Labels, f64> =
                now.map(|sample| (&sample.labels, sample.value)).collect();
            for Sample { labels, value, .. } in samples.iter().filter(|s| s.only_grows) {
                let now = now.get(labels).copied();
                assert!(now.is_some_and(|now| now >= *value), "{name} {labels:?}: {value} {now:?}");
            }
        }
    }

    fn add(&mut self, name: &str, labels: Labels, value: f64, only_grows: bool) {
        let samples = match self.samples.get_mut(name) {
            Some(samples) => samples,
            None => self.samples.entry(name.to_owned()).or_default(),
        };
        samples.push(Sample { labels, value, only_grows });
    }
}

// === impl Sample ===

impl Sample {
    fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }
}

/// Of `a="b",c="d"`; no value here holds a quote.
fn parse_labels(text: &str) -> Labels {
    let mut parts = text.split('"');
    let mut labels = Labels::new();
    while let (Some(name), Some(value)) = (parts.next(), parts.next()) {
        let name = name.trim_start_matches(',').trim_end_matches('=');
        labels.push((name.to_owned().into(), value.into()));
    }
    labels
}
