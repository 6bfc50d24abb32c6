//! Series that go, come back, or begin anew.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use infermeter::{
    exporter::Bridge,
    names::{self, Naming},
    record::{Collect, Exporter, HistogramReading, Readings, Value},
};
use metrics_exporter_prometheus::PrometheusBuilder;
use metrics_util::MetricKindMask;

use crate::pages::{has_line, stock};

/// A state that the test sets.
#[derive(Clone, Default)]
struct Stage(Arc<Mutex<Readings>>);

impl Collect for Stage {
    fn collect(&self) -> Readings {
        self.0.lock().unwrap().clone()
    }
}

impl Stage {
    fn set(&self, values: impl IntoIterator<Item = (&'static names::Family, &'static str, Value)>) {
        let mut readings = Readings::default();
        for (family, label, value) in values {
            let labels = family.labels.iter().map(|_| Arc::from(label));
            readings.push(family, labels, value);
        }
        *self.0.lock().unwrap() = readings;
    }
}

#[test]
fn a_gauge_that_has_gone_is_no_number_until_it_comes_back() {
    let (recorder, page) = stock(&Naming::vllm());
    let (stage, bridge) = (Stage::default(), Bridge::to(recorder).build());
    bridge.attach(Arc::new(stage.clone()));
    let running = &names::NUM_REQUESTS_RUNNING;
    let line = |label: &str, value: &str| {
        let line =
            format!("vllm:num_requests_running{{model_name=\"{label}\",engine=\"{label}\"}}");
        has_line(&page, &format!("{line} {value}"))
    };
    let pushed = |values: &[(&'static str, f64)]| {
        stage.set(values.iter().map(|(label, value)| (running, *label, Value::Gauge(*value))));
        bridge.push();
    };
    pushed(&[("a", 2.0), ("b", 3.0)]);
    assert!(line("a", "2") && line("b", "3"));
    pushed(&[("b", 4.0)]);
    assert!(line("a", "NaN") && line("b", "4"));
    pushed(&[]);
    assert!(line("a", "NaN") && line("b", "NaN"));
    pushed(&[("a", 5.0)]);
    assert!(line("a", "5") && line("b", "NaN"));
}

#[test]
fn an_idle_timeout_takes_gauges_away_until_they_come_back() {
    let timeout = Some(Duration::from_millis(1));
    let builder = PrometheusBuilder::new().idle_timeout(MetricKindMask::GAUGE, timeout);
    let recorder = builder.build_recorder();
    let page = recorder.handle();
    let (stage, bridge) = (Stage::default(), Bridge::to(recorder).build());
    bridge.attach(Arc::new(stage.clone()));
    for _ in 0..3 {
        stage.set([(&names::NUM_REQUESTS_RUNNING, "a", Value::Gauge(2.0))]);
        bridge.push();
        assert!(page.render().contains("vllm:num_requests_running{"));
        stage.set([]);
        bridge.push();
        while page.render().contains("vllm:num_requests_running{") {
            std::thread::yield_now();
        }
    }
}

#[test]
fn fractions_of_a_counter_wait_until_they_are_whole() {
    let (recorder, page) = stock(&Naming::vllm());
    let (stage, bridge) = (Stage::default(), Bridge::to(recorder).build());
    bridge.attach(Arc::new(stage.clone()));
    for (seconds, whole) in [(0.9, 0), (1.8, 1), (2.7, 2), (3.6, 3), (0.2, 3), (1.1, 4)] {
        stage.set([(&names::PROCESS_CPU_SECONDS_TOTAL, "", Value::FloatCounter(seconds))]);
        bridge.push();
        assert!(has_line(&page, &format!("process_cpu_seconds_total {whole}")), "{seconds}");
    }
}

#[test]
fn what_began_anew_comes_on_top() {
    let (recorder, page) = stock(&Naming::vllm());
    let (stage, bridge) = (Stage::default(), Bridge::to(recorder).build());
    bridge.attach(Arc::new(stage.clone()));
    let size = &names::REQUEST_PROMPT_TOKENS;
    let bounds = size.buckets.unwrap();
    for (ones, sum) in [(5, 5.0), (7, 7.0), (1, 1.0), (1, 1.0), (2, 2.0)] {
        let mut counts = vec![0; bounds.len() + 1];
        counts[0] = ones;
        let reading = HistogramReading { bounds: bounds.into(), counts: counts.into(), sum };
        stage.set([
            (size, "m", Value::Histogram(reading)),
            (&names::REQUEST_TOTAL, "m", Value::Counter(ones)),
        ]);
        bridge.push();
    }
    assert!(
        has_line(&page, "vllm:request_prompt_tokens_sum{model_name=\"m\"} 9"),
        "{}",
        page.render()
    );
    assert!(has_line(&page, "vllm:request_prompt_tokens_count{model_name=\"m\"} 9"));
    assert!(has_line(&page, "vllm:request_total{model_name=\"m\"} 9"));
}
