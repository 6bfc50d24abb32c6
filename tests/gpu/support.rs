//! A probe over a driver of the test, and its series as short texts.

use std::{path::Path, thread, time::Duration};

use infermeter::{
    Meter,
    gpu::{DeviceSelection, GpuProbe, GpuProbeBuilder, Nvml},
    names::Family,
    record::{Collect, Value},
};
use tokio::time::Instant;

use crate::driver::Driver;

pub(crate) const LONG_ENOUGH: Duration = Duration::from_secs(60);

/// Reads as often as it may.
pub(crate) fn builder(path: &Path) -> GpuProbeBuilder<Nvml> {
    GpuProbe::builder(Nvml::new().library(path))
        .devices(DeviceSelection::all())
        .interval(Duration::ZERO)
        .deadline(Duration::from_millis(300))
}

/// A probe that has read everything once.
pub(crate) fn watch(driver: &Driver) -> (Meter, GpuProbe) {
    ready(builder(driver.path()))
}

pub(crate) fn ready(builder: GpuProbeBuilder<Nvml>) -> (Meter, GpuProbe) {
    let meter = Meter::new();
    let probe = builder.watch(&meter).unwrap();
    probe.first(LONG_ENOUGH);
    (meter, probe)
}

/// The series of a family: label values that are not empty, but for the name, and the value.
pub(crate) fn shown(meter: &Meter, family: &'static Family) -> Vec<String> {
    let readings = meter.collect();
    let series = readings.series(family).iter().map(|series| {
        let value = match &series.value {
            Value::Counter(n) => n.to_string(),
            Value::Gauge(value) | Value::FloatCounter(value) => value.to_string(),
            other => panic!("{other:?}"),
        };
        let labels = family.labels.iter().zip(&series.labels);
        let labels = labels.filter(|(key, value)| **key != "name" && !value.is_empty());
        labels.map(|(_, value)| &**value).chain([&*value]).collect::<Vec<_>>().join(" ")
    });
    series.collect()
}

/// Waits until a family shows what is expected.
#[track_caller]
pub(crate) fn until(
    meter: &Meter,
    family: &'static Family,
    is_it: impl Fn(&[String]) -> bool,
) -> Vec<String> {
    let end = Instant::now() + LONG_ENOUGH;
    loop {
        let shown = shown(meter, family);
        if is_it(&shown) {
            return shown;
        }
        assert!(Instant::now() < end, "{}: still {shown:?}", family.name);
        thread::sleep(Duration::from_millis(10));
    }
}

pub(crate) fn until_is(meter: &Meter, family: &'static Family, expected: &[&str]) {
    until(meter, family, |shown| shown == expected);
}
