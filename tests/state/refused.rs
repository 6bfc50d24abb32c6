//! What a source tells and nobody would want on the page.

use std::sync::Arc;

use infermeter::{
    InferenceLayer, Meter,
    exporter::Prometheus,
    names::{self, Family},
    record::{Collect, HistogramReading, Readings, Value},
};

use super::support::*;

/// A meter with one source that tells these, and then how many threads there are.
fn told(series: &[(&'static Family, &[&str], Value)]) -> Meter {
    let meter = Meter::new().model("m");
    drop(InferenceLayer::new(meter.clone()));
    let series: Vec<(_, Vec<Arc<str>>, _)> = series
        .iter()
        .map(|(family, labels, value)| {
            (*family, labels.iter().map(|label| Arc::from(*label)).collect(), value.clone())
        })
        .collect();
    meter.watch("odd", move |out: &mut Readings| {
        for (family, labels, value) in &series {
            out.push(family, labels.iter().cloned(), value.clone());
        }
        out.push(&names::PROCESS_THREADS, [], Value::Gauge(4.0));
        Ok(())
    });
    meter.sample();
    assert_eq!(shown(&meter, &names::PROCESS_THREADS), ["4"], "the rest is published");
    assert_eq!(meter.sources()[0].up, Some(true));
    meter
}

fn histogram(bounds: &[f64], counts: &[u64], sum: f64) -> Value {
    Value::Histogram(HistogramReading { bounds: bounds.into(), counts: counts.into(), sum })
}

#[test]
fn numbers_that_are_none() {
    let fds = &names::PROCESS_OPEN_FDS;
    let cpu = &names::PROCESS_CPU_SECONDS_TOTAL;
    for (family, value, reason) in [
        (fds, Value::Gauge(f64::NAN), "not_finite 1"),
        (fds, Value::Gauge(f64::INFINITY), "not_finite 1"),
        (fds, Value::Gauge(f64::NEG_INFINITY), "not_finite 1"),
        (fds, Value::Gauge(-1.0), "negative 1"),
        (cpu, Value::FloatCounter(f64::NAN), "not_finite 1"),
        (cpu, Value::FloatCounter(-0.5), "negative 1"),
        (cpu, Value::Gauge(1.0), "invalid 1"),
        (fds, Value::Counter(1), "invalid 1"),
        (fds, Value::FloatCounter(1.0), "invalid 1"),
        (fds, histogram(&[1.0], &[1, 2], 3.0), "invalid 1"),
    ] {
        let meter = told(&[(family, &[], value.clone())]);
        assert_eq!(dropped(&meter), [reason], "{value:?}");
        assert_eq!(shown(&meter, family), [""; 0], "{value:?}");
    }
    let meter = told(&[(fds, &[], Value::Gauge(0.0)), (cpu, &[], Value::Counter(3))]);
    assert_eq!(dropped(&meter), [""; 0]);
}

/// A ratio goes up to 1: percents are a mistake.
#[test]
fn a_ratio_above_1() {
    for family in [&names::GPU_CACHE_USAGE_RATIO, &names::KV_CACHE_USAGE_PERC] {
        let meter = told(&[(family, &["m", "0"], Value::Gauge(90.0))]);
        assert_eq!(dropped(&meter), ["invalid 1"]);
        assert_eq!(shown(&meter, family), [""; 0]);
        let meter = told(&[(family, &["m", "0"], Value::Gauge(1.0))]);
        assert_eq!(shown(&meter, family), ["m 0 1"]);
    }
}

#[test]
fn labels_that_are_not_those_of_the_family() {
    let waiting = &names::NUM_REQUESTS_WAITING;
    for labels in [&[][..], &["m"], &["m", "0", "x"]] {
        let meter = told(&[(waiting, labels, Value::Gauge(1.0))]);
        assert_eq!(dropped(&meter), ["invalid 1"], "{labels:?}");
        assert_eq!(shown(&meter, waiting), ["m 0 0"], "{labels:?}");
    }
}

#[test]
fn histograms_that_are_none() {
    let steps = &names::ITERATION_TOKENS_TOTAL;
    let good = histogram(&[1.0, 2.0], &[1, 0, 2], 7.0);
    let meter = told(&[(steps, &["m"], good)]);
    assert_eq!(shown(&meter, steps), ["m 3 7"]);
    for odd in [
        histogram(&[1.0, 2.0], &[1, 2], 3.0),
        histogram(&[1.0, 2.0], &[], 3.0),
        histogram(&[1.0, 2.0], &[1, 2, 3], f64::NAN),
        histogram(&[2.0, 1.0], &[1, 2, 3], 3.0),
        histogram(&[1.0, 1.0], &[1, 2, 3], 3.0),
        histogram(&[1.0, f64::INFINITY], &[1, 2, 3], 3.0),
        histogram(&[f64::NAN], &[1, 2], 3.0),
        Value::Counter(4),
    ] {
        let meter = told(&[(steps, &["m"], odd.clone())]);
        assert_eq!(dropped(&meter), ["invalid 1"], "{odd:?}");
        assert_eq!(shown(&meter, steps), [""; 0]);
    }
}

#[test]
fn what_is_counted_here_cannot_be_told() {
    let (one, gauge) = (Value::Counter(1), Value::Gauge(1.0));
    let time = histogram(&[1.0], &[1, 0], 0.5);
    let series: [(_, &[&str], _); 15] = [
        (&names::REQUEST_TOTAL, &["m"], one.clone()),
        (&names::REQUEST_TOTAL, &["a model of nobody"], one.clone()),
        (&names::REQUEST_SUCCESS_TOTAL, &["m", "a reason of nobody"], one.clone()),
        (&names::REQUESTS_TOTAL, &["m", "chat", "success", "stop", "200"], one.clone()),
        (&names::REQUESTS_RECEIVED_TOTAL, &["nowhere"], one.clone()),
        (&names::GENERATION_TOKENS_TOTAL, &["x"], one.clone()),
        (&names::TENANT_TOKENS_TOTAL, &["m", "t", "prompt"], one.clone()),
        (&names::TIME_IN_QUEUE_SECONDS, &["x"], time),
        (&names::REQUESTS_IN_FLIGHT, &["x", "queue"], gauge.clone()),
        (&names::LAST_TOKEN_AGE_SECONDS, &["m", "0"], gauge.clone()),
        (&names::SOURCE_UP, &["odd"], gauge.clone()),
        (&names::BUILD_INFO, &["1", "2", "3"], gauge.clone()),
        (&names::LABEL_OVERFLOW_TOTAL, &["model_name"], one.clone()),
        (&names::OBSERVATIONS_DROPPED_TOTAL, &["invalid"], one),
        (&names::SERIES, &[], gauge),
    ];
    let meter = told(&series);
    assert_eq!(dropped(&meter), [format!("invalid {}", series.len())]);
    assert_eq!(shown(&meter, &names::REQUEST_TOTAL), ["m 0"]);
    assert_eq!(shown(&meter, &names::SOURCE_UP), ["odd 1"]);
    samples(&Prometheus::builder().meter(meter).build().unwrap().render());
}
