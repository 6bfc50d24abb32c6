//! The two publishers: the page, and the bridge into a recorder.

use std::sync::Arc;

use infermeter::{
    Meter,
    exporter::{Bridge, Prometheus},
    names,
    record::Collect,
};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};

use super::support::scrape::Scrape;

#[test]
fn the_bridge_carries_the_same_series() {
    let meter = Meter::builder().label("variant", "ours").label("zone", "z").build().unwrap();
    let a = meter.upstream("a", Some("x")).model("m");
    drop(meter.upstream("b", None).model("m"));
    let engine = a.engine("0");
    engine.preempted(3);
    let naming = names::Naming::vllm().without_aliases();
    let mut builder = PrometheusBuilder::new();
    for (name, bounds) in names::buckets(&naming) {
        builder = builder.set_buckets_for_metric(Matcher::Full(name), bounds).unwrap();
    }
    let recorder = Arc::new(builder.build_recorder());
    let bridge = Bridge::to(Arc::clone(&recorder)).naming(naming.clone()).build();
    meter.attach(&bridge);
    bridge.push();
    let exporter =
        Prometheus::builder().meter(meter).naming(naming).process(false).build().unwrap();

    let of_upstreams = |page: &str| {
        let mut series = Scrape::parse(page).series();
        series.retain(|key, _| key.contains("upstream=\"a\"") || key.contains("upstream=\"b\""));
        // It goes on by itself.
        series.retain(|key, _| !key.contains("_age_seconds"));
        series
    };
    let (ours, theirs) =
        (of_upstreams(&exporter.render()), of_upstreams(&recorder.handle().render()));
    assert!(ours.len() > 500, "{}", ours.len());
    assert_eq!(ours, theirs);
    let lost = r#"vllm:num_preemptions_total{engine="0",model_name="m",upstream="a",variant="x",zone="z"}"#;
    assert_eq!(theirs.get(lost), Some(&3.0), "{:?}", theirs.keys().next());
}

#[test]
fn readings_name_the_labels_of_each_series() {
    let meter = Meter::new();
    drop(meter.upstream("a", Some("x")).model("m"));
    let readings = meter.collect();
    let total = readings.families.iter().find(|told| told.family.name == "request_total").unwrap();
    let labels = total.labels(&total.series[0]).map(|(name, value)| (name, &**value));
    assert_eq!(
        labels.collect::<Vec<_>>(),
        [("model_name", "m"), ("upstream", "a"), ("variant", "x")]
    );
}
