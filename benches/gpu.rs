//! What a sample of eight GPUs and a view with them cost us, over a driver of our own that answers at
//! once: what a real one takes comes on top. How many calls it is, `tests/gpu` holds.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a benchmark ends at the first surprise"
)]

#[path = "../tests/gpu/driver.rs"]
#[allow(dead_code, reason = "this uses a part of it")]
mod driver;

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use driver::{Driver, MACHINE, What};
use infermeter::{
    Meter,
    gpu::{DeviceReadings, DeviceSelection, GpuBackend, GpuProbe, Nvml, Wanted},
    record::Collect,
};

fn gpu(criterion: &mut Criterion) {
    let driver = Driver::new();
    let mut backend = Nvml::new().library(driver.path());
    backend.open().expect("it opens");
    let devices = backend.list().expect("it lists");
    for extended in [false, true] {
        let mut wanted = Wanted::default();
        wanted.extended = extended;
        let mut sample = || {
            for place in 0..devices.len() {
                let mut readings = DeviceReadings::default();
                backend.sample(place, &wanted, &mut readings).expect("it reads");
            }
        };
        let before = driver.asked(MACHINE, What::Calls);
        sample();
        let calls = driver.asked(MACHINE, What::Calls) - before;
        let which = if extended { "extended" } else { "default" };
        println!("{which}: {calls} calls for a sample of {} GPUs", devices.len());
        criterion.bench_function(&format!("sample, {which}"), |b| b.iter(&mut sample));
    }

    let meter = Meter::new();
    criterion.bench_function("view, no GPU", |b| b.iter(|| meter.collect()));
    let probe = GpuProbe::builder(Nvml::new().library(driver.path()));
    let probe = probe.devices(DeviceSelection::all()).watch(&meter).expect("it starts");
    probe.first(Duration::from_secs(10));
    criterion.bench_function("view, eight GPUs", |b| b.iter(|| meter.collect()));
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(1));
    targets = gpu
}
criterion_main!(benches);
