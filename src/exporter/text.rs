//! The Prometheus [text format] 0.0.4.
//!
//! [text format]: https://prometheus.io/docs/instrumenting/exposition_formats/

use std::{fmt::Write as _, sync::Arc};

use crate::{
    names::{Kind, Naming, StaticLabel, UPSTREAM_LABELS},
    record::{FamilyReadings, HistogramReading, Readings, Series, Value},
};

/// How the lines of a histogram are told apart.
const HISTOGRAM: [&str; 3] = ["_bucket", "_sum", "_count"];

/// A page in the making.
pub(super) struct Text<'a> {
    naming: &'a Naming,
    /// Static labels, ready to be appended to others; and those beside the labels of an upstream.
    labels: String,
    labels_beside: String,
    page: String,
    names: Vec<String>,
    series: usize,
    buckets: Buckets,
}

/// What a line ends with.
enum Number {
    Whole(u64),
    Float(f64),
}

/// What the lines of buckets end with, up to their numbers: `le="0.5"} `. Most series have the bounds
/// of the one before.
#[derive(Default)]
struct Buckets {
    bounds: Arc<[f64]>,
    ends: Vec<String>,
}

// === impl Text ===

impl<'a> Text<'a> {
    pub(super) fn new(naming: &'a Naming, labels: &[StaticLabel]) -> Self {
        let (mut all, mut beside) = (String::new(), String::new());
        for label in labels {
            push_label(&mut all, label.key(), label.value());
            // NB: no label stands twice on a line; a series' own goes before.
            if !UPSTREAM_LABELS.contains(&label.key()) {
                push_label(&mut beside, label.key(), label.value());
            }
        }
        let (page, names, buckets) = (String::new(), Vec::new(), Buckets::default());
        Self { naming, labels: all, labels_beside: beside, page, names, series: 0, buckets }
    }

    pub(super) fn families(&mut self, readings: &Readings) {
        for readings in &readings.families {
            self.family(&self.naming.name(readings.family), readings);
            if let Some(alias) = self.naming.alias(readings.family) {
                self.family(&alias, readings);
            }
        }
    }

    /// The families that are there so far, and what else their lines start with.
    pub(super) fn names(&self) -> impl Iterator<Item = String> {
        self.names.iter().cloned()
    }

    /// How many series there are so far, one for each line.
    pub(super) const fn series(&self) -> usize {
        self.series
    }

    /// The page, with another one after it.
    pub(super) fn finish(mut self, other: &str) -> String {
        self.page.push_str(other);
        self.page
    }

    fn family(&mut self, name: &str, readings: &FamilyReadings) {
        let FamilyReadings { family, series, .. } = readings;
        self.names.push(name.to_owned());
        if family.kind == Kind::Histogram {
            self.names.extend(HISTOGRAM.map(|suffix| format!("{name}{suffix}")));
        }
        if series.is_empty() {
            return;
        }
        push_head(&mut self.page, name, Some(family.help), family.kind.as_str());
        let mut labels = String::new();
        for series in series {
            self.labels_of(readings, series, &mut labels);
            match &series.value {
                Value::Counter(n) => self.line(name, "", &labels, Number::Whole(*n)),
                Value::Gauge(value) | Value::FloatCounter(value) => {
                    self.line(name, "", &labels, Number::Float(*value));
                }
                Value::Histogram(reading) => self.histogram(name, &labels, reading),
            }
        }
    }

    fn histogram(&mut self, name: &str, labels: &str, reading: &HistogramReading) {
        let [bucket, sum, count] = HISTOGRAM;
        let separator = if labels.is_empty() { "" } else { "," };
        let start = [name, bucket, "{", labels, separator].concat();
        let mut seen = 0;
        for (end, count) in self.buckets.ends(&reading.bounds).iter().zip(&reading.counts) {
            seen += count;
            self.page.push_str(&start);
            self.page.push_str(end);
            push_whole(&mut self.page, seen);
            self.page.push('\n');
        }
        self.series += reading.counts.len();
        self.line(name, sum, labels, Number::Float(reading.sum));
        self.line(name, count, labels, Number::Whole(seen));
    }

    fn line(&mut self, name: &str, suffix: &str, labels: &str, number: Number) {
        self.page.push_str(name);
        self.page.push_str(suffix);
        if !labels.is_empty() {
            self.page.push('{');
            self.page.push_str(labels);
            self.page.push('}');
        }
        self.page.push(' ');
        match number {
            Number::Whole(n) => push_whole(&mut self.page, n),
            // NB: as Prometheus 3 and vLLM write it: `1.0`, not `1`. Writing into a String cannot fail.
            Number::Float(value) => _ = write!(self.page, "{value:?}"),
        }
        self.page.push('\n');
        self.series += 1;
    }

    fn labels_of(&self, readings: &FamilyReadings, series: &Series, text: &mut String) {
        text.clear();
        for (key, value) in readings.labels(series) {
            push_label(text, key, value);
        }
        let has_upstream = series.labels.len() > readings.family.labels.len();
        let fixed = if has_upstream { &self.labels_beside } else { &self.labels };
        if !text.is_empty() && !fixed.is_empty() {
            text.push(',');
        }
        text.push_str(fixed);
    }
}

// === impl Buckets ===

impl Buckets {
    fn ends(&mut self, bounds: &Arc<[f64]>) -> &[String] {
        if self.ends.is_empty() || !Arc::ptr_eq(&self.bounds, bounds) {
            let each = bounds.iter().map(|bound| format!("le=\"{bound:?}\"}} "));
            self.ends = each.chain(["le=\"+Inf\"} ".to_owned()]).collect();
            self.bounds = Arc::clone(bounds);
        }
        &self.ends
    }
}

/// NB: most lines end with one, and `write!` costs more than all the rest of them.
fn push_whole(page: &mut String, mut n: u64) {
    let mut digits = [0; 20];
    let mut first = digits.len();
    loop {
        first -= 1;
        digits[first] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 {
            break;
        }
    }
    page.push_str(std::str::from_utf8(&digits[first..]).unwrap_or_default());
}

/// The lines before the samples of a family.
pub(super) fn push_head(page: &mut String, name: &str, help: Option<&str>, kind: &str) {
    // Writing into a String cannot fail.
    if let Some(help) = help {
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        let _ = writeln!(page, "# HELP {name} {help}");
    }
    let _ = writeln!(page, "# TYPE {name} {kind}");
}

pub(super) fn push_label(text: &mut String, key: &str, value: &str) {
    if !text.is_empty() {
        text.push(',');
    }
    text.push_str(key);
    text.push_str("=\"");
    let mut rest = value;
    while let Some(at) = memchr::memchr3(b'\\', b'"', b'\n', rest.as_bytes()) {
        text.push_str(&rest[..at]);
        text.push_str(match rest.as_bytes()[at] {
            b'\\' => "\\\\",
            b'"' => "\\\"",
            _ => "\\n",
        });
        rest = &rest[at + 1..];
    }
    text.push_str(rest);
    text.push('"');
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::names;

    #[test]
    fn values_and_labels() {
        let labels = [StaticLabel::new("zone", "a\"b\\c\nd").unwrap()];
        let mut readings = Readings::default();
        readings.push(&names::SERIES, [], Value::Gauge(3.0));
        readings.push(&names::REQUEST_TOTAL, [Arc::from("m")], Value::Counter(7));
        let reading =
            HistogramReading { bounds: [0.5, 1.0].into(), counts: [1, 2, 3].into(), sum: 9.25 };
        let queue = &names::TIME_IN_QUEUE_SECONDS;
        readings.push(queue, [Arc::from("m")], Value::Histogram(reading));

        let naming = Naming::neutral();
        let mut text = Text::new(&naming, &labels);
        text.families(&readings);
        assert_eq!(text.series(), 7);
        let page = text.finish("");
        let lines: Vec<&str> = page.lines().filter(|line| !line.starts_with('#')).collect();
        let zone = r#"zone="a\"b\\c\nd""#;
        assert_eq!(
            lines,
            [
                format!("infermeter_series{{{zone}}} 3.0"),
                format!("llm_request_total{{model_name=\"m\",{zone}}} 7"),
                format!("llm_time_in_queue_seconds_bucket{{model_name=\"m\",{zone},le=\"0.5\"}} 1"),
                format!("llm_time_in_queue_seconds_bucket{{model_name=\"m\",{zone},le=\"1.0\"}} 3"),
                format!(
                    "llm_time_in_queue_seconds_bucket{{model_name=\"m\",{zone},le=\"+Inf\"}} 6"
                ),
                format!("llm_time_in_queue_seconds_sum{{model_name=\"m\",{zone}}} 9.25"),
                format!("llm_time_in_queue_seconds_count{{model_name=\"m\",{zone}}} 6"),
            ]
        );
        assert_eq!(page.matches("# TYPE ").count(), 3);
        assert_eq!(page.matches("# HELP ").count(), 3);
    }

    #[test]
    fn an_alias_is_the_same_series_once_more() {
        let mut readings = Readings::default();
        let reading = HistogramReading { bounds: [].into(), counts: [2].into(), sum: 1.0 };
        readings.push(&names::TIME_IN_QUEUE_SECONDS, [Arc::from("m")], Value::Histogram(reading));
        let naming = Naming::vllm();
        let mut text = Text::new(&naming, &[]);
        text.families(&readings);
        let page = text.finish("");
        assert!(page.contains("vllm:time_in_queue_seconds_count{model_name=\"m\"} 2\n"));
        assert!(page.contains("vllm:request_queue_time_seconds_count{model_name=\"m\"} 2\n"));
    }
}
