//! A machine whose GPUs are all well.

use infermeter::{
    gpu::{DeviceSelection, Quantity},
    names,
};

use crate::{
    driver::{self, Driver, MACHINE, What},
    support::*,
};

#[test]
fn eight_gpus_in_the_units_of_the_contract() {
    let driver = Driver::new();
    let (meter, _probe) = watch(&driver);
    for (family, first) in [
        (&names::GPU_UP, "0 GPU-00000000 1"),
        (&names::GPU_INFO, "0 GPU-00000000 NVIDIA 00000000:10:00.0 550.54.15 1"),
        (&names::GPU_MEMORY_TOTAL_BYTES, "0 GPU-00000000 85899345920"),
        (&names::GPU_MEMORY_USED_BYTES, "0 GPU-00000000 1073741824"),
        (&names::GPU_MEMORY_RESERVED_BYTES, "0 GPU-00000000 524288000"),
        (&names::GPU_UTILIZATION_RATIO, "0 GPU-00000000 0.37"),
        (&names::GPU_POWER_WATTS, "0 GPU-00000000 312.345"),
        (&names::GPU_POWER_LIMIT_WATTS, "0 GPU-00000000 700"),
        (&names::GPU_ENERGY_JOULES_TOTAL, "0 GPU-00000000 1000.5"),
    ] {
        let shown = shown(&meter, family);
        assert_eq!((shown.len(), shown[0].as_str()), (8, first), "{}", family.name);
    }
    assert_eq!(shown(&meter, &names::GPU_PROBE_UP), ["nvml 1"]);
    assert_eq!(shown(&meter, &names::GPU_DEVICES), ["nvml 8"]);
    assert_eq!(shown(&meter, &names::GPU_SAMPLE_TIMESTAMP_SECONDS).len(), 8);
    let of_first = |family| {
        let mut shown = shown(&meter, family);
        shown.retain(|series| series.starts_with("0 "));
        shown
    };
    let temperatures = ["0 GPU-00000000 gpu 54", "0 GPU-00000000 memory 61"];
    assert_eq!(of_first(&names::GPU_TEMPERATURE_CELSIUS), temperatures);
    let clocks = ["0 GPU-00000000 sm 1980000000", "0 GPU-00000000 memory 2619000000"];
    assert_eq!(of_first(&names::GPU_CLOCK_HERTZ), clocks);
    // The volatile ones, and not the 999 of the aggregate.
    let ecc = ["0 GPU-00000000 corrected 1", "0 GPU-00000000 uncorrected 2"];
    assert_eq!(of_first(&names::GPU_ECC_ERRORS_TOTAL), ecc);
    assert_eq!(of_first(&names::GPU_THROTTLED).len(), 5);
    assert!(of_first(&names::GPU_XID_ERRORS_TOTAL).contains(&"0 GPU-00000000 79 0".to_owned()));
    for quantity in Quantity::ALL.iter().filter(|quantity| quantity.is_extended()) {
        assert_eq!(shown(&meter, quantity.family()), [""; 0], "{quantity:?}");
    }
    // Nobody has said whose they are.
    assert_eq!(shown(&meter, &names::ENGINE_GPU_INFO), [""; 0]);
}

#[test]
fn what_is_extended_is_there_where_asked_for() {
    let driver = Driver::new();
    driver.say(MACHINE, What::Count, 1);
    driver.say(0, What::Gpm, 25);
    driver.say(0, What::Pid, std::process::id().into());
    let (meter, _probe) = ready(builder(driver.path()).extended(true).engine("0"));
    let is = |family, expected: &[&str]| assert_eq!(shown(&meter, family), expected);
    is(&names::GPU_MEMORY_FREE_BYTES, &["0 GPU-00000000 84301316096"]);
    is(&names::GPU_MEMORY_BANDWIDTH_UTILIZATION_RATIO, &["0 GPU-00000000 0.07"]);
    is(
        &names::GPU_THROTTLED_SECONDS_TOTAL,
        &[
            "0 GPU-00000000 sw_power_cap 1.5",
            "0 GPU-00000000 sw_thermal 0.25",
            "0 GPU-00000000 hw_thermal 0.25",
        ],
    );
    let pcie = ["0 GPU-00000000 transmit 111", "0 GPU-00000000 receive 222"];
    is(&names::GPU_PCIE_BYTES_TOTAL, &pcie);
    // Over all links, and not over the first; KiB.
    let nvlink = ["0 GPU-00000000 transmit 18432000", "0 GPU-00000000 receive 19456000"];
    is(&names::GPU_NVLINK_BYTES_TOTAL, &nvlink);
    is(&names::GPU_PROCESS_MEMORY_USED_BYTES, &["0 GPU-00000000 5368709120"]);
    is(&names::ENGINE_GPU_INFO, &["0 0 GPU-00000000 1"]);
    // Between two samples.
    until_is(&meter, &names::GPU_SM_ACTIVE_RATIO, &["0 GPU-00000000 0.25"]);
    is(&names::GPU_TENSOR_ACTIVE_RATIO, &["0 GPU-00000000 0.25"]);
    is(&names::GPU_DRAM_ACTIVE_RATIO, &[]);
}

/// Whoever computes has memory.
#[test]
fn a_process_without_memory_is_not_known() {
    let driver = Driver::of_kind(&["-DPROCESS=0"]);
    driver.say(0, What::Pid, std::process::id().into());
    let (meter, _probe) = ready(builder(driver.path()).extended(true));
    assert_eq!(shown(&meter, &names::GPU_PROCESS_MEMORY_USED_BYTES), [""; 0]);
}

/// Since driver 580.82 some fields have other numbers, and others have theirs.
#[test]
fn fields_of_newer_drivers() {
    let path = driver::copy(&["-DRENUMBERED", "-DDRIVER=\"580.95.05\""]);
    let choice = DeviceSelection::list("0").unwrap();
    let (meter, _probe) = ready(builder(&path).extended(true).devices(choice));
    let expected = [
        "0 GPU-00000000 sw_power_cap 1.5",
        "0 GPU-00000000 sw_thermal 0.25",
        "0 GPU-00000000 hw_thermal 0.25",
    ];
    assert_eq!(shown(&meter, &names::GPU_THROTTLED_SECONDS_TOTAL), expected);
}

#[test]
fn only_those_of_the_choice_are_read() {
    let driver = Driver::new();
    let choice = DeviceSelection::list("2,GPU-00000005").unwrap();
    let (meter, _probe) = ready(builder(driver.path()).devices(choice).engine("3"));
    assert_eq!(shown(&meter, &names::GPU_UP), ["2 GPU-00000002 1", "5 GPU-00000005 1"]);
    assert_eq!(shown(&meter, &names::GPU_DEVICES), ["nvml 2"]);
    let engine = ["3 2 GPU-00000002 1", "3 5 GPU-00000005 1"];
    assert_eq!(shown(&meter, &names::ENGINE_GPU_INFO), engine);

    driver.say(4, What::Pid, 4711);
    let choice = DeviceSelection::processes(|| vec![4711]);
    let (meter, _probe) = ready(builder(driver.path()).devices(choice));
    assert_eq!(shown(&meter, &names::GPU_UP), ["4 GPU-00000004 1"]);
}

#[test]
fn reasons_to_throttle_are_bits() {
    let driver = Driver::new();
    driver.say(MACHINE, What::Count, 1);
    // The power cap, heat by hardware, and some that say nothing bad.
    driver.say(0, What::Throttle, 0x4 | 0x40 | 0x1 | 0x2 | 0x100 | 0x8000);
    let (meter, _probe) = watch(&driver);
    let expected = [
        "0 GPU-00000000 sw_power_cap 1",
        "0 GPU-00000000 hw_slowdown 0",
        "0 GPU-00000000 sw_thermal 0",
        "0 GPU-00000000 hw_thermal 1",
        "0 GPU-00000000 hw_power_brake 0",
    ];
    assert_eq!(shown(&meter, &names::GPU_THROTTLED), expected);
}

#[test]
fn errors_that_a_gpu_reports_are_counted_by_code() {
    let driver = Driver::new();
    driver.say(1, What::Events, 3);
    let (meter, _probe) = watch(&driver);
    let xids = shown(&meter, &names::GPU_XID_ERRORS_TOTAL);
    assert!(xids.iter().all(|xid| !xid.starts_with("1 ") && xid.ends_with(" 0")), "{xids:?}");
    for count in 1..=2 {
        driver.say(3, What::Xid, 79);
        until(&meter, &names::GPU_XID_ERRORS_TOTAL, |shown| {
            shown.contains(&format!("3 GPU-00000003 79 {count}"))
        });
    }
    driver.say(3, What::Xid, 31);
    until(&meter, &names::GPU_XID_ERRORS_TOTAL, |shown| {
        shown.contains(&"3 GPU-00000003 31 1".to_owned())
    });
}

/// Zeros would say that there are none.
#[test]
fn errors_that_nobody_can_wait_for_are_absent() {
    let driver = Driver::new();
    driver.say(MACHINE, What::Count, 2);
    driver.say(0, What::Register, 4);
    let (meter, _probe) = watch(&driver);
    let xids = shown(&meter, &names::GPU_XID_ERRORS_TOTAL);
    assert!(!xids.is_empty() && xids.iter().all(|xid| xid.starts_with("1 ")), "{xids:?}");
    driver.say(1, What::Xid, 79);
    until(&meter, &names::GPU_XID_ERRORS_TOTAL, |shown| {
        shown.contains(&"1 GPU-00000001 79 1".to_owned())
    });
}

#[test]
fn energy_goes_on_where_the_driver_counts_anew() {
    let driver = Driver::new();
    driver.say(MACHINE, What::Count, 1);
    let (meter, _probe) = watch(&driver);
    driver.say(0, What::Energy, 7000);
    until_is(&meter, &names::GPU_ENERGY_JOULES_TOTAL, &["0 GPU-00000000 1007.5"]);
}

/// Calls of the driver for a sample of eight GPUs, the cost that is not ours to spend.
#[test]
fn a_sample_costs_a_known_number_of_calls() {
    let driver = Driver::new();
    let (meter, probe) = watch(&driver);
    let calls = || driver.asked(MACHINE, What::Calls);
    let time = || shown(&meter, &names::GPU_SAMPLE_TIMESTAMP_SECONDS);
    // Between two moments that are right behind a sample.
    let next = || {
        let before = time();
        until(&meter, &names::GPU_SAMPLE_TIMESTAMP_SECONDS, |now| {
            now.iter().zip(&before).all(|(now, before)| now != before)
        });
        calls()
    };
    let first = next();
    let second = next();
    assert_eq!(second - first, 8 * 12, "calls for a sample of eight GPUs");
    assert!(probe.shutdown());
    assert_eq!(driver.asked(MACHINE, What::Open), 0);
}
