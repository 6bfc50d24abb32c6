//! Everything that goes wrong with drivers.

use std::{
    fs,
    sync::{Arc, Mutex},
};

use infermeter::{
    Meter,
    gpu::{Absent, ErrorKind, GpuSnapshot, Quantity},
    names,
    record::Collect,
};

use crate::{
    driver::{self, Driver, MACHINE, What},
    support::*,
};

#[test]
fn no_library_is_no_gpu() {
    let notices: Arc<Mutex<Vec<String>>> = Arc::default();
    let said = Arc::clone(&notices);
    let nowhere = builder("/nowhere/libnvidia-ml.so.1".as_ref()).on_notice(move |notice| {
        said.lock().unwrap().push(format!("{notice} {}", notice.is_warning()))
    });
    let (meter, probe) = ready(nowhere);
    let GpuSnapshot { up, error, devices, .. } = probe.latest();
    assert_eq!((up, error.unwrap().kind(), devices.len()), (Some(false), ErrorKind::NotPresent, 0));
    assert_eq!(shown(&meter, &names::GPU_PROBE_UP), ["nvml 0"]);
    assert_eq!(shown(&meter, &names::GPU_DEVICES), ["nvml 0"]);
    assert_eq!(shown(&meter, &names::GPU_UP), [""; 0]);
    let notices = notices.lock().unwrap();
    assert!(notices.len() == 1 && notices[0].contains("/nowhere/"), "{notices:?}");
    assert!(notices[0].ends_with(" false"), "{notices:?}");
}

#[test]
fn libraries_that_lack_symbols() {
    let (_, probe) = ready(builder(&driver::copy(&["-DEMPTY"])));
    let error = probe.latest().error.unwrap();
    assert!(error.to_string().contains("nvmlInit_v2"), "{error}");
    // It opens, and can neither say what it has nor be closed.
    let (meter, probe) = ready(builder(&driver::copy(&["-DBARE"])));
    let error = probe.latest().error.unwrap();
    assert!(error.to_string().contains("lacks nvmlShutdown"), "{error}");
    assert_eq!(shown(&meter, &names::GPU_PROBE_UP), ["nvml 0"]);
    assert!(probe.shutdown());
}

#[test]
fn a_driver_that_cannot_be_opened_says_why() {
    for (code, kind, hint) in [
        (9, ErrorKind::NotLoaded, "load the driver's kernel module"),
        (18, ErrorKind::VersionMismatch, "upgraded"),
        (4, ErrorKind::Permission, "/dev/nvidia"),
        (999, ErrorKind::Other, "internal driver error"),
        (12, ErrorKind::NotPresent, "shared library"),
        (29, ErrorKind::Other, "29"),
    ] {
        let driver = Driver::new();
        driver.say(MACHINE, What::InitCode, code);
        let (meter, probe) = watch(&driver);
        let error = probe.latest().error.unwrap();
        assert_eq!(error.kind(), kind, "{code}");
        assert!(error.to_string().contains(hint), "{code}: {error}");
        let errors = shown(&meter, &names::GPU_PROBE_ERRORS_TOTAL);
        // That there is none is no error of it.
        let is_error = kind != ErrorKind::NotPresent;
        let error = format!("nvml {} 1", kind.label());
        assert_eq!(errors.contains(&error), is_error, "{errors:?}");
    }
}

#[test]
fn what_is_not_supported_or_not_allowed_is_absent() {
    for (code, reason) in [
        (3, Absent::NotSupported),
        (4, Absent::NoPermission),
        (17, Absent::NotSupported),
        (13, Absent::NotSupported),
        (26, Absent::NotSupported),
        (25, Absent::Failed("code 25".to_owned())),
        (999, Absent::Failed("an internal driver error occurred".to_owned())),
    ] {
        for (what, quantity) in [
            (What::Memory, Quantity::MemoryUsed),
            (What::LoadCode, Quantity::Utilization),
            (What::Power, Quantity::Power),
            (What::Limit, Quantity::PowerLimit),
            (What::EnergyCode, Quantity::Energy),
            (What::Temperature, Quantity::Temperature),
            (What::Clock, Quantity::SmClock),
            (What::ThrottleCode, Quantity::HwThermal),
            (What::Ecc, Quantity::EccUncorrected),
            (What::Fields, Quantity::MemoryTemperature),
        ] {
            let driver = Driver::new();
            driver.say(MACHINE, What::Count, 1);
            driver.say(0, what, code);
            let (meter, probe) = watch(&driver);
            let devices = probe.latest().devices;
            assert!(devices[0].is_up, "{what:?} {code}");
            let readings = devices[0].readings.as_ref().unwrap();
            assert_eq!(readings.get(quantity), Err(reason.clone()), "{what:?} {code}");
            let others = [&names::GPU_POWER_WATTS, &names::GPU_MEMORY_USED_BYTES];
            let there = others.iter().filter(|family| !shown(&meter, family).is_empty()).count();
            let own = others.iter().any(|family| std::ptr::eq(*family, quantity.family()));
            assert_eq!(there, 2 - usize::from(own), "{what:?} {code}");
        }
    }
}

#[test]
fn numbers_that_cannot_be_are_absent() {
    let driver = Driver::new();
    driver.say(MACHINE, What::Count, 1);
    driver.say(0, What::Load, 101);
    driver.say(0, What::Used, 1 << 50);
    driver.say(0, What::Energy, -1);
    driver.say(0, What::Total, i64::MAX);
    let (_, probe) = watch(&driver);
    let readings = probe.latest().devices[0].readings.clone().unwrap();
    assert_eq!(readings.get(Quantity::Utilization), Err(Absent::Impossible(1.01)));
    // All bits, or all but the sign: it is not known.
    assert_eq!(readings.get(Quantity::Energy), Err(Absent::NotSupported));
    assert_eq!(readings.get(Quantity::MemoryTotal), Err(Absent::NotSupported));

    driver.say(0, What::Total, 1 << 40);
    let (_, probe) = watch(&driver);
    let readings = probe.latest().devices[0].readings.clone().unwrap();
    let too_much = Err(Absent::Impossible((1_u64 << 50) as f64));
    assert_eq!(readings.get(Quantity::MemoryUsed), too_much);
}

/// It costs the name, and not the GPU.
#[test]
fn a_name_that_is_no_text_is_empty() {
    let (meter, probe) = ready(builder(&driver::copy(&["-DNAME=\"H\\xff\""])));
    let devices = probe.latest().devices;
    assert_eq!(devices.len(), 8);
    assert!(devices.iter().all(|device| device.is_up && device.device.name.is_empty()));
    assert_eq!(shown(&meter, &names::GPU_POWER_WATTS).len(), 8);
}

#[test]
fn a_gpu_that_is_lost_and_comes_back() {
    for code in [15, 16, 28] {
        let driver = Driver::new();
        driver.say(MACHINE, What::Count, 2);
        let (meter, _probe) = watch(&driver);
        driver.say(0, What::All, code);
        until_is(&meter, &names::GPU_UP, &["0 GPU-00000000 0", "1 GPU-00000001 1"]);
        assert_eq!(shown(&meter, &names::GPU_POWER_WATTS), ["1 GPU-00000001 312.345"]);
        assert_eq!(shown(&meter, &names::GPU_DEVICES), ["nvml 1"]);
        assert_eq!(shown(&meter, &names::GPU_PROBE_UP), ["nvml 1"]);
        assert_eq!(shown(&meter, &names::GPU_INFO).len(), 2);
        assert_eq!(shown(&meter, &names::GPU_ENERGY_JOULES_TOTAL).len(), 2);
        driver.say(0, What::All, 0);
        until_is(&meter, &names::GPU_UP, &["0 GPU-00000000 1", "1 GPU-00000001 1"]);
    }
}

#[test]
fn a_gpu_of_which_nothing_can_be_read_is_down() {
    let driver = Driver::new();
    driver.say(MACHINE, What::Count, 2);
    let (meter, _probe) = watch(&driver);
    // A container that lost its devices.
    driver.say(0, What::All, 999);
    until_is(&meter, &names::GPU_UP, &["0 GPU-00000000 0", "1 GPU-00000001 1"]);
}

#[test]
fn a_call_that_hangs_costs_what_comes_after_it_alone() {
    let driver = Driver::new();
    let notices: Arc<Mutex<Vec<String>>> = Arc::default();
    let said = Arc::clone(&notices);
    let builder = builder(driver.path())
        .on_notice(move |notice| said.lock().unwrap().push(notice.to_string()));
    let (meter, probe) = ready(builder);
    driver.say(5, What::Hang, 1);
    until_is(&meter, &names::GPU_PROBE_UP, &["nvml 0"]);
    let errors = shown(&meter, &names::GPU_PROBE_ERRORS_TOTAL);
    assert!(errors.contains(&"nvml timeout 1".to_owned()), "{errors:?}");
    assert_eq!(probe.latest().error.unwrap().kind(), ErrorKind::Timeout);
    // It cannot be told to let go, and says so.
    assert!(!probe.release());
    // Views are taken meanwhile; what is old goes, and what stays says so.
    until(&meter, &names::GPU_POWER_WATTS, <[String]>::is_empty);
    assert_eq!(shown(&meter, &names::GPU_DEVICES), ["nvml 0"]);
    assert!(shown(&meter, &names::GPU_UP).iter().all(|up| up.ends_with(" 0")));
    assert_eq!(shown(&meter, &names::GPU_UP).len(), 8);
    driver.say(5, What::Hang, 0);
    // The command is heard now.
    until(&meter, &names::GPU_PROBE_UP, |_| driver.asked(MACHINE, What::Open) == 0);
    probe.resume();
    until_is(&meter, &names::GPU_PROBE_UP, &["nvml 1"]);
    assert_eq!(shown(&meter, &names::GPU_POWER_WATTS).len(), 8);
    let notices = notices.lock().unwrap();
    let count = |text: &str| notices.iter().filter(|notice| notice.contains(text)).count();
    assert_eq!((count("has not answered"), count("answers again")), (1, 1), "{notices:?}");
}

#[test]
fn the_driver_is_let_go_of_for_an_operator() {
    let driver = Driver::new();
    let (meter, probe) = watch(&driver);
    assert_eq!(driver.asked(MACHINE, What::Open), 1);
    assert!(probe.release());
    assert_eq!(driver.asked(MACHINE, What::Open), 0);
    assert_eq!(shown(&meter, &names::GPU_PROBE_UP), ["nvml 0"]);
    assert_eq!(shown(&meter, &names::GPU_POWER_WATTS), [""; 0]);
    probe.resume();
    until_is(&meter, &names::GPU_PROBE_UP, &["nvml 1"]);
    drop(probe);
    until(&meter, &names::GPU_PROBE_UP, <[String]>::is_empty);
    assert!(meter.collect().series(&names::GPU_UP).is_empty());
}

#[test]
fn a_driver_that_was_replaced_is_loaded_anew() {
    let path = driver::copy(&["-DWORN=60"]);
    let (meter, _probe) = ready(builder(&path));
    let version = |shown: &[String], version: &str| {
        shown.len() == 8 && shown.iter().all(|info| info.contains(version))
    };
    assert!(version(&shown(&meter, &names::GPU_INFO), "550.54.15"));
    // As a package manager does: another file under the same name.
    fs::rename(driver::copy(&["-DDRIVER=\"560.1\""]), &path).unwrap();
    until(&meter, &names::GPU_INFO, |shown| version(shown, "560.1"));
    until_is(&meter, &names::GPU_PROBE_UP, &["nvml 1"]);
    let errors = shown(&meter, &names::GPU_PROBE_ERRORS_TOTAL);
    assert!(errors.iter().any(|error| error.starts_with("nvml version_mismatch")), "{errors:?}");
}

#[test]
fn a_meter_that_is_off_shows_nothing() {
    let driver = Driver::new();
    let meter = Meter::disabled();
    let probe = builder(driver.path()).watch(&meter).unwrap();
    assert_eq!(probe.first(LONG_ENOUGH).devices.len(), 8);
    assert!(meter.collect().families.is_empty());
}
