//! The GPUs that the processes of an engine compute on, as the driver tells.

use std::sync::{Arc, Mutex};

use infermeter::{
    Meter,
    gpu::{DeviceSelection, GpuProbe},
    names,
};

use crate::{
    driver::{Driver, MACHINE, What},
    support::*,
};

const OTHER: i64 = 1;
const ENGINE: i64 = 4711;
const WORKER: i64 = 4712;

type Pids = Arc<Mutex<Vec<u32>>>;

/// A probe that has looked once for the GPUs of an engine, and the engine's processes.
fn engine(driver: &Driver) -> (Meter, GpuProbe, Pids) {
    let pids = Pids::new(Mutex::new(vec![ENGINE as u32]));
    let theirs = Arc::clone(&pids);
    let choice = DeviceSelection::processes(move || theirs.lock().unwrap().clone());
    let builder = builder(driver.path()).devices(choice).extended(true).engine("0");
    let (meter, probe) = ready(builder);
    (meter, probe, pids)
}

fn is_shown(meter: &Meter, gpus: &[&str]) {
    until_is(meter, &names::GPU_UP, gpus);
    let tied = gpus.iter().map(|gpu| format!("0 {} 1", gpu.rsplit_once(' ').unwrap().0));
    let tied: Vec<String> = tied.collect();
    assert_eq!(shown(meter, &names::ENGINE_GPU_INFO), tied);
}

#[test]
fn they_are_shown_as_its_processes_come() {
    let driver = Driver::new();
    driver.say(5, What::Pid, OTHER);
    let (meter, probe, pids) = engine(&driver);
    assert_eq!(shown(&meter, &names::GPU_PROBE_UP), ["nvml 1"]);
    for family in [&names::GPU_UP, &names::GPU_INFO, &names::GPU_DEVICES, &names::ENGINE_GPU_INFO] {
        assert_eq!(shown(&meter, family), [""; 0], "{}", family.name);
    }
    assert!(probe.latest().undecided.unwrap().contains("no process of the engine"));

    driver.say(2, What::Pid, ENGINE);
    // One that the engine has not started yet is another one's.
    driver.say(3, What::Pid, WORKER);
    is_shown(&meter, &["2 GPU-00000002 1"]);
    assert_eq!(shown(&meter, &names::GPU_DEVICES), ["nvml 1"]);
    pids.lock().unwrap().push(WORKER as u32);
    is_shown(&meter, &["2 GPU-00000002 1", "3 GPU-00000003 1"]);
    assert_eq!(probe.latest().undecided, None);
    let memory = ["2 GPU-00000002 5368709120", "3 GPU-00000003 5368709120"];
    until_is(&meter, &names::GPU_PROCESS_MEMORY_USED_BYTES, &memory);

    // The engine ends; then another one takes one of the GPUs.
    pids.lock().unwrap().clear();
    [2, 3].into_iter().for_each(|gpu| driver.say(gpu, What::Pid, 0));
    until(&meter, &names::ENGINE_GPU_INFO, <[String]>::is_empty);
    assert_eq!(shown(&meter, &names::GPU_POWER_WATTS).len(), 2);
    driver.say(2, What::Pid, OTHER);
    until_is(&meter, &names::GPU_UP, &["3 GPU-00000003 1"]);
}

#[test]
fn a_driver_that_does_not_tell_processes_shows_none() {
    for (code, says) in [(3, "not supported"), (4, "no permission"), (999, "internal driver error")]
    {
        let driver = Driver::new();
        driver.say(MACHINE, What::Count, 2);
        driver.say(0, What::Pid, ENGINE);
        [0, 1].into_iter().for_each(|gpu| driver.say(gpu, What::Processes, code));
        let (meter, probe, _pids) = engine(&driver);
        assert_eq!(shown(&meter, &names::GPU_PROBE_UP), ["nvml 1"]);
        assert_eq!(shown(&meter, &names::GPU_UP), [""; 0]);
        assert_eq!(shown(&meter, &names::GPU_DEVICES), [""; 0]);
        let why = probe.latest().undecided.unwrap();
        assert!(why.contains("on GPU 0, GPU 1") && why.contains(says), "{why}");
        [0, 1].into_iter().for_each(|gpu| driver.say(gpu, What::Processes, 0));
        if code == 3 {
            // That is not asked for again before it is opened anew.
            assert!(probe.release());
            probe.resume();
        }
        is_shown(&meter, &["0 GPU-00000000 1"]);
        // What was told once stays, also for an engine whose GPU is lost.
        driver.say(0, What::Processes, 4);
        driver.say(0, What::All, 15);
        is_shown(&meter, &["0 GPU-00000000 0"]);
    }
}

#[test]
fn of_a_gpu_that_is_split_its_instance() {
    let driver = Driver::new();
    driver.say(1, What::PartsMask, 0b101);
    driver.say(1, What::Pid, ENGINE);
    driver.say(1, What::PidSlot, 3);
    let (meter, _probe, _pids) = engine(&driver);
    is_shown(&meter, &["1 MIG-0001-2 1"]);
    assert_eq!(shown(&meter, &names::GPU_POWER_WATTS), [""; 0]);
    assert_eq!(shown(&meter, &names::GPU_MEMORY_USED_BYTES).len(), 1);
    let memory = ["1 MIG-0001-2 9 5368709120"];
    assert_eq!(shown(&meter, &names::GPU_PROCESS_MEMORY_USED_BYTES), memory);
    assert_eq!(shown(&meter, &names::GPU_DEVICES), ["nvml 1"]);
    driver.say(1, What::PidSlot, 1);
    is_shown(&meter, &["1 MIG-0001-0 1"]);
}
