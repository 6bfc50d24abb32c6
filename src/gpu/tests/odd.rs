//! Drivers that say or do what they should not, and settings that nobody needs.

use super::*;
use crate::record::Meter;

#[test]
fn sentinels_and_numbers_that_wrapped_are_absent() {
    let mut readings = DeviceReadings::default();
    // -5 degrees, as a number without a sign.
    for (quantity, value) in [
        (Quantity::Temperature, f64::from(u32::MAX - 4)),
        (Quantity::MemoryTemperature, -300.0),
        (Quantity::MemoryTotal, i64::MAX as f64),
        (Quantity::Energy, i64::MAX as f64),
    ] {
        readings.set(quantity, Ok(value));
        assert_eq!(readings.get(quantity), Err(Absent::Impossible(value)), "{quantity:?}");
    }
}

/// As where memory is the system's, and the driver fills in what it does not know.
#[test]
fn no_memory_at_all_is_not_known() {
    let mut readings = DeviceReadings::default();
    for quantity in [Quantity::MemoryTotal, Quantity::MemoryUsed, Quantity::MemoryReserved] {
        readings.set(quantity, Ok(0.0));
    }
    let checked = readings.checked();
    for quantity in [Quantity::MemoryTotal, Quantity::MemoryUsed, Quantity::MemoryReserved] {
        assert_eq!(checked.get(quantity), Err(Absent::Impossible(0.0)), "{quantity:?}");
    }
}

/// Else its thread would ask again and again without a rest.
#[test]
fn a_backend_that_does_not_wait_for_events_is_not_asked_again_at_once() {
    let mut bench = Bench::new(&[Device { has_events: true, ..gpu(0, "GPU-a", "H100") }]);
    bench.watcher.round();
    assert!(!bench.watcher.wait_for_event(SECOND * 60));
    assert_eq!(bench.script.0.lock().unwrap().waits, 1);
    // But after the next round.
    bench.watcher.round();
    assert!(!bench.watcher.wait_for_event(SECOND * 60));
    assert_eq!(bench.script.0.lock().unwrap().waits, 2);
}

#[test]
fn an_instance_is_lost_with_its_gpu() {
    let all = machine();
    let mut bench = Bench::choosing(&all, DeviceSelection::list("MIG-12").unwrap());
    bench.watcher.round();
    assert_eq!(bench.shown(&names::GPU_UP), ["1 MIG-12 H100 1"]);
    let lost = bench.watcher.board.listed(&all[..1], &places(&[]));
    assert!(lost.any);
    assert_eq!(bench.shown(&names::GPU_UP), ["1 MIG-12 H100 0"]);
    assert_eq!(bench.shown(&names::GPU_DEVICES), ["scripted 0"]);
    // The GPU is back, and not split any more.
    assert!(!bench.watcher.board.listed(&all[..2], &places(&[])).any);
    assert_eq!(bench.shown(&names::GPU_UP), [""; 0]);
}

#[test]
fn no_setting_is_too_long() {
    let script = Scripted::default();
    let builder = GpuProbe::builder(script).interval(Duration::MAX).deadline(Duration::MAX);
    let probe = builder.watch(&Meter::new()).unwrap();
    assert_eq!(probe.first(Duration::MAX).up, Some(true));
    assert!(probe.release());
    probe.resume();
    assert!(probe.shutdown());
}

#[test]
fn a_lost_gpu_costs_no_instance_of_another_one() {
    let all = machine();
    let mut bench = Bench::choosing(&all, DeviceSelection::list("0,MIG-12").unwrap());
    bench.watcher.round();
    let up = ["0 GPU-8932f937 H100 1", "1 MIG-12 H100 1"];
    assert_eq!(bench.shown(&names::GPU_UP), up);
    bench.says(|script| {
        // And its number is that of the other one now.
        script.devices = all[1..].iter().map(|d| Device { index: 0, ..d.clone() }).collect();
        script.samples[0] = Err(ErrorKind::Lost);
    });
    bench.watcher.round();
    bench.says(|script| script.samples[0] = Ok(0.5));
    bench.watcher.round();
    let up = ["0 GPU-8932f937 H100 0", "0 MIG-12 H100 1"];
    assert_eq!(bench.shown(&names::GPU_UP), up);
}
