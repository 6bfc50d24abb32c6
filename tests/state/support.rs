//! Views as short texts, and answers that come when they are told to.

use std::{
    collections::HashSet,
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures_util::stream;
use http::Response;
use http_body::Frame;
use http_body_util::StreamBody;
use infermeter::{
    Meter,
    names::{self, Family},
    record::{Collect, Value},
};
use tokio::time::sleep;

pub(crate) const SECOND: Duration = Duration::from_secs(1);

pub(crate) const CONTENT: &str =
    "data: {\"choices\":[{\"index\":0,\"text\":\"a\",\"finish_reason\":null}]}\n\n";
pub(crate) const FINISH: &str =
    "data: {\"choices\":[{\"index\":0,\"text\":\"\",\"finish_reason\":\"stop\"}]}\n\n";
pub(crate) const USAGE: &str =
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}\n\n";
pub(crate) const DONE: &str = "data: [DONE]\n\n";

/// Never, for a test.
pub(crate) const NEVER: u64 = 1_000_000_000;

pub(crate) type Events = StreamBody<stream::BoxStream<'static, Result<Frame<Bytes>, Infallible>>>;

/// A stream that sends each text so many milliseconds after the one before.
pub(crate) fn events(
    events: impl IntoIterator<Item = (u64, &'static str), IntoIter: Send + 'static>,
) -> Response<Events> {
    let frames = stream::unfold(events.into_iter(), |mut events| async {
        let (ms, text) = events.next()?;
        sleep(Duration::from_millis(ms)).await;
        Some((Ok(Frame::data(Bytes::from_static(text.as_bytes()))), events))
    });
    let body: Events = StreamBody::new(Box::pin(frames));
    Response::builder().header("content-type", "text/event-stream").body(body).unwrap()
}

/// The series of a family, sorted: label values, then the value; of a histogram, count and sum.
pub(crate) fn shown(state: &impl Collect, family: &'static Family) -> Vec<String> {
    let readings = state.collect();
    let series = readings.series(family).iter().map(|series| {
        let value = match &series.value {
            Value::Counter(n) => n.to_string(),
            Value::Gauge(value) | Value::FloatCounter(value) => value.to_string(),
            Value::Histogram(reading) => format!("{} {}", reading.count(), reading.sum),
            other => panic!("{other:?}"),
        };
        let labels = series.labels.iter().map(|label| &**label);
        labels.chain([&*value]).collect::<Vec<_>>().join(" ")
    });
    let mut series: Vec<String> = series.collect();
    series.sort_unstable();
    series
}

/// The one series of a family, whatever its labels.
pub(crate) fn gauge(state: &impl Collect, family: &'static Family) -> Option<f64> {
    let readings = state.collect();
    match readings.series(family) {
        [] => None,
        [series] => match series.value {
            Value::Gauge(value) => Some(value),
            ref other => panic!("{other:?}"),
        },
        more => panic!("{more:?}"),
    }
}

/// Samples until every source has been: the thread of an exporter may be at it.
pub(crate) fn sample_all(meter: &Meter) {
    while meter.sources().iter().any(|source| source.up.is_none()) {
        meter.sample();
    }
}

/// What was dropped so far, by reason, if any was.
pub(crate) fn dropped(state: &impl Collect) -> Vec<String> {
    let mut all = shown(state, &names::OBSERVATIONS_DROPPED_TOTAL);
    all.retain(|series| !series.ends_with(" 0"));
    all
}

/// What a closure of a test does next; shared with the test.
#[derive(Clone, Debug, Default)]
pub(crate) struct Script<T>(Arc<Mutex<T>>);

impl<T: Clone> Script<T> {
    pub(crate) fn new(first: T) -> Self {
        Self(Arc::new(Mutex::new(first)))
    }

    pub(crate) fn now(&self) -> T {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn set(&self, next: T) {
        *self.0.lock().unwrap() = next;
    }
}

/// Reads a page as strictly as the format is written, and gives its samples as written.
pub(crate) fn samples(page: &str) -> Vec<String> {
    let (mut families, mut samples) = (HashSet::new(), HashSet::new());
    let mut family = ("", "");
    let mut all = Vec::new();
    for line in page.lines().filter(|line| !line.is_empty()) {
        if let Some(typed) = line.strip_prefix("# TYPE ") {
            family = typed.split_once(' ').unwrap();
            assert!(families.insert(family.0), "{line} is there twice");
        } else if let Some(help) = line.strip_prefix("# HELP ") {
            assert!(!families.contains(help.split(' ').next().unwrap()), "{line}");
        } else {
            let (series, value) = line.rsplit_once(' ').unwrap();
            value.parse::<f64>().unwrap_or_else(|_| panic!("{line}"));
            let name = &series[..series.find('{').unwrap_or(series.len())];
            let suffixes: &[&str] = match family.1 {
                "histogram" => &["_bucket", "_sum", "_count"],
                "summary" => &["", "_sum", "_count"],
                _ => &[""],
            };
            let suffix = name.strip_prefix(family.0).unwrap_or_else(|| panic!("{line}"));
            assert!(suffixes.contains(&suffix), "{line} after {family:?}");
            assert_labels(&series[name.len()..], line);
            assert!(samples.insert(series), "{series} is there twice");
            all.push(line.to_owned());
        }
    }
    all
}

/// `{a="x",b="y"}`, or nothing.
fn assert_labels(labels: &str, line: &str) {
    let Some(mut rest) = labels.strip_prefix('{') else {
        assert_eq!(labels, "", "{line}");
        return;
    };
    let mut names = HashSet::new();
    loop {
        let (name, value) = rest.split_once("=\"").unwrap_or_else(|| panic!("{line}"));
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        assert!(!name.is_empty() && name.chars().all(is_word), "{line}");
        assert!(names.insert(name), "{line}");
        let mut chars = value.char_indices();
        let end = loop {
            match chars.next().unwrap_or_else(|| panic!("{line}")) {
                (_, '\\') => assert!(chars.next().is_some_and(|(_, c)| r#"\"n"#.contains(c))),
                (at, '"') => break at,
                _ => {}
            }
        };
        rest = &value[end + 1..];
        match rest.strip_prefix(',') {
            Some(more) => rest = more,
            None => break,
        }
    }
    assert_eq!(rest, "}", "{line}");
}
