//! A recorder that panics.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering::Relaxed},
};

use infermeter::{
    Meter,
    exporter::{Bridge, Prometheus},
    names::Naming,
};
use metrics::{
    Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};
use metrics_exporter_prometheus::PrometheusRecorder;

use crate::{
    pages::{assert_same, stock},
    visits::visit,
};

/// Every third step panics.
struct Fragile {
    recorder: PrometheusRecorder,
    steps: Arc<AtomicU32>,
}

struct FragileHistogram {
    handle: Histogram,
    steps: Arc<AtomicU32>,
}

fn step(steps: &AtomicU32) {
    assert_ne!(steps.fetch_add(1, Relaxed) % 3, 2, "as it should be: the recorder panics");
}

impl Recorder for Fragile {
    fn describe_counter(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        step(&self.steps);
        self.recorder.describe_counter(key, unit, description);
    }

    fn describe_gauge(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        self.recorder.describe_gauge(key, unit, description);
    }

    fn describe_histogram(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        self.recorder.describe_histogram(key, unit, description);
    }

    fn register_counter(&self, key: &Key, metadata: &Metadata<'_>) -> Counter {
        step(&self.steps);
        self.recorder.register_counter(key, metadata)
    }

    fn register_gauge(&self, key: &Key, metadata: &Metadata<'_>) -> Gauge {
        self.recorder.register_gauge(key, metadata)
    }

    fn register_histogram(&self, key: &Key, metadata: &Metadata<'_>) -> Histogram {
        step(&self.steps);
        let handle = self.recorder.register_histogram(key, metadata);
        Histogram::from_arc(Arc::new(FragileHistogram { handle, steps: Arc::clone(&self.steps) }))
    }
}

impl HistogramFn for FragileHistogram {
    fn record(&self, value: f64) {
        self.record_many(value, 1);
    }

    fn record_many(&self, value: f64, count: usize) {
        step(&self.steps);
        self.handle.record_many(value, count);
    }
}

#[test]
fn a_recorder_that_panics_misses_nothing_for_ever() {
    let (recorder, page) = stock(&Naming::vllm());
    let bridge = Bridge::to(Fragile { recorder, steps: Arc::default() }).build();
    let meter = Meter::new().model("m");
    meter.attach(&bridge);
    for _ in 0..5 {
        visit(&meter);
        bridge.push();
    }
    // Each push comes two steps further at least.
    for _ in 0..100 {
        bridge.push();
    }
    let own = Prometheus::builder().process(false).meter(meter).build().unwrap();
    assert_same(&own.render(), &page.render());
}
