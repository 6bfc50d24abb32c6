//! GPUs that are split (MIG).

use infermeter::{gpu::DeviceSelection, names};

use crate::{
    driver::{Driver, MACHINE, What},
    support::*,
};

/// Instances in slots 0, 2, 5 and 6, of which the last two share one GPU instance.
const PARTS: i64 = 0b110_0101;

fn split() -> Driver {
    let driver = Driver::new();
    driver.say(MACHINE, What::Count, 2);
    driver.say(1, What::PartsMask, PARTS);
    driver
}

#[test]
fn memory_is_told_once_and_all_else_of_the_whole() {
    let driver = split();
    let (meter, _probe) = watch(&driver);
    let used = 2_u64 << 30;
    let used = |uuid: &str, instance: u32| format!("1 {uuid} {instance} {}", used / 7);
    let expected = [
        "0 GPU-00000000 1073741824".to_owned(),
        used("MIG-0001-0", 7),
        used("MIG-0001-2", 9),
        used("MIG-0001-5", 12),
    ];
    assert_eq!(shown(&meter, &names::GPU_MEMORY_USED_BYTES), expected);
    let whole = ["0 GPU-00000000 312.345", "1 GPU-00000001 312.345"];
    assert_eq!(shown(&meter, &names::GPU_POWER_WATTS), whole);
    assert_eq!(shown(&meter, &names::GPU_DEVICES), ["nvml 2"]);
    assert_eq!(shown(&meter, &names::GPU_UP).len(), 6);
    let info = shown(&meter, &names::GPU_INFO);
    let part = "1 MIG-0001-2 NVIDIA 00000000:11:00.0 550.54.15 1g.10gb GPU-00000001 1";
    assert!(info.contains(&part.to_owned()), "{info:?}");
}

#[test]
fn an_instance_alone_does_not_bring_its_gpu() {
    let driver = split();
    let choice = DeviceSelection::list("MIG-0001-2").unwrap();
    let (meter, _probe) = ready(builder(driver.path()).devices(choice));
    assert_eq!(shown(&meter, &names::GPU_UP), ["1 MIG-0001-2 1"]);
    assert_eq!(shown(&meter, &names::GPU_POWER_WATTS), [""; 0]);
    assert_eq!(shown(&meter, &names::GPU_MEMORY_USED_BYTES).len(), 1);
}

#[test]
fn load_of_instances_where_the_gpu_tells_it() {
    let driver = split();
    driver.say(1, What::Gpm, 10);
    let (meter, _probe) = ready(builder(driver.path()).extended(true));
    let expected = ["1 MIG-0001-0 7 0.17", "1 MIG-0001-2 9 0.19", "1 MIG-0001-5 12 0.22"];
    until_is(&meter, &names::GPU_SM_ACTIVE_RATIO, &expected);
    assert_eq!(shown(&meter, &names::GPU_UTILIZATION_RATIO), ["0 GPU-00000000 0.37"]);
}

#[test]
fn an_instance_that_was_taken_apart_is_gone() {
    let driver = split();
    let (meter, _probe) = watch(&driver);
    driver.say(1, What::PartsMask, 0b1);
    until(&meter, &names::GPU_UP, |shown| {
        shown == ["0 GPU-00000000 1", "1 GPU-00000001 1", "1 MIG-0001-0 1"]
    });
    assert_eq!(shown(&meter, &names::GPU_MEMORY_USED_BYTES).len(), 2);
}

/// The driver may name the processes of instances at the whole too.
#[test]
fn memory_of_a_process_is_told_once() {
    let driver = split();
    driver.say(1, What::PartsMask, 0b1);
    driver.say(1, What::Pid, std::process::id().into());
    let (meter, _probe) = ready(builder(driver.path()).extended(true));
    let expected = ["1 MIG-0001-0 7 5368709120"];
    assert_eq!(shown(&meter, &names::GPU_PROCESS_MEMORY_USED_BYTES), expected);
}

/// Also one whose memory is told by another one.
#[test]
fn an_instance_that_cannot_be_read_is_down() {
    let driver = split();
    let (meter, _probe) = watch(&driver);
    driver.say(1, What::Memory, 999);
    until(&meter, &names::GPU_UP, |shown| {
        let of = |part: &str| shown.iter().any(|up| up == part);
        of("1 GPU-00000001 1") && of("1 MIG-0001-5 0") && of("1 MIG-0001-6 0")
    });
}
