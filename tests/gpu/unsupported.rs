//! What is not supported is not asked for again and again.

use infermeter::{
    gpu::{Absent, DeviceReadings, GpuBackend, Nvml, ProbeError, Quantity, Reading, Wanted},
    names,
};

use crate::{
    driver::{Driver, MACHINE, What},
    support::*,
};

/// The backend alone, so that each sample is one that the test asks for.
struct Bench<'a> {
    driver: &'a Driver,
    nvml: Nvml,
    wanted: Wanted,
}

impl<'a> Bench<'a> {
    fn new(driver: &'a Driver, extended: bool) -> Self {
        let mut wanted = Wanted::default();
        wanted.extended = extended;
        let mut bench = Self { driver, nvml: Nvml::new().library(driver.path()), wanted };
        bench.open();
        bench
    }

    fn open(&mut self) {
        self.nvml.open().unwrap();
        self.nvml.list().unwrap();
    }

    /// Of the first GPU, and how many calls it took.
    fn sample(&mut self) -> Result<(i64, DeviceReadings), ProbeError> {
        let before = self.driver.asked(MACHINE, What::Calls);
        let mut readings = DeviceReadings::default();
        self.nvml.sample(0, &self.wanted, &mut readings)?;
        Ok((self.driver.asked(MACHINE, What::Calls) - before, readings))
    }

    fn calls(&mut self) -> i64 {
        self.sample().unwrap().0
    }

    fn power(&mut self) -> Reading {
        self.sample().unwrap().1.get(Quantity::Power)
    }
}

const NOT_SUPPORTED: Reading = Err(Absent::NotSupported);

#[test]
fn it_is_asked_once_and_still_said() {
    let driver = Driver::new();
    let mut bench = Bench::new(&driver, false);
    assert_eq!([bench.calls(), bench.calls()], [12, 12]);
    for (what, quantity) in [
        (What::Memory, Quantity::MemoryUsed),
        (What::LoadCode, Quantity::Utilization),
        (What::Power, Quantity::Power),
        (What::Limit, Quantity::PowerLimit),
        (What::EnergyCode, Quantity::Energy),
        (What::Temperature, Quantity::Temperature),
        (What::ThrottleCode, Quantity::HwThermal),
        (What::Fields, Quantity::MemoryTemperature),
    ] {
        for code in [3, 13, 26] {
            driver.say(0, what, code);
            let mut bench = Bench::new(&driver, false);
            assert_eq!(bench.calls(), 12, "{what:?} {code}");
            driver.say(0, what, 0);
            let (calls, readings) = bench.sample().unwrap();
            assert_eq!((calls, readings.get(quantity)), (11, NOT_SUPPORTED), "{what:?} {code}");
            // To list the same GPUs changes nothing of it.
            bench.nvml.list().unwrap();
            assert_eq!(bench.calls(), 11, "{what:?} {code}");
        }
    }
}

#[test]
fn what_is_refused_is_asked_for_again() {
    for (code, reason) in [
        (4, Absent::NoPermission),
        (17, Absent::NotSupported),
        (25, Absent::Failed("code 25".to_owned())),
    ] {
        let driver = Driver::new();
        driver.say(0, What::Power, code);
        let mut bench = Bench::new(&driver, false);
        assert_eq!(bench.power(), Err(reason), "{code}");
        assert_eq!(bench.calls(), 12, "{code}");
        driver.say(0, What::Power, 0);
        assert_eq!(bench.power(), Ok(312.345), "{code}");
    }
}

#[test]
fn what_is_back_is_asked_for_everything() {
    let driver = Driver::new();
    driver.say(0, What::Power, 3);
    let mut bench = Bench::new(&driver, false);
    assert_eq!([bench.calls(), bench.calls()], [12, 11]);
    driver.say(0, What::All, 15);
    bench.sample().unwrap_err();
    driver.say(0, What::All, 0);
    assert_eq!([bench.calls(), bench.calls()], [12, 11]);
    // Opened anew.
    bench.nvml.close();
    bench.open();
    assert_eq!([bench.calls(), bench.calls()], [12, 11]);
    // Others are there.
    driver.say(MACHINE, What::Count, 7);
    bench.nvml.list().unwrap();
    driver.say(0, What::Power, 0);
    assert_eq!(bench.power(), Ok(312.345));
}

/// A GPU that tells nothing would otherwise be there for ever.
#[test]
fn a_gpu_that_supports_nothing_is_asked_whether_it_is_there() {
    let driver = Driver::new();
    let mut bench = Bench::new(&driver, true);
    driver.say(0, What::All, 3);
    bench.calls();
    assert_eq!(bench.calls(), 1);
    driver.say(0, What::All, 15);
    bench.sample().unwrap_err();
}

/// Fields and counts one by one, and links that are told in KiB.
#[test]
fn what_is_extended_is_spared_too() {
    let driver = Driver::new();
    let mut bench = Bench::new(&driver, true);
    let (first, _) = bench.sample().unwrap();
    let (second, readings) = bench.sample().unwrap();
    // The traffic of NVLink in bytes.
    assert_eq!((first, second), (16, 15));
    assert_eq!(readings.get(Quantity::NvLinkTransmitted), Ok(18_432_000.0));
    assert_eq!(readings.get(Quantity::HwPowerBrakeTime), NOT_SUPPORTED);
    assert_eq!(readings.get(Quantity::SwPowerCapTime), Ok(1.5));
    assert_eq!(readings.get(Quantity::SmActive), NOT_SUPPORTED);
    driver.say(0, What::Processes, 3);
    driver.say(0, What::Fields, 3);
    let mut bench = Bench::new(&driver, true);
    // Fields, PCIe, NVLink in two units, processes.
    assert_eq!([bench.calls(), bench.calls()], [16, 16 - 5]);
}

#[test]
fn a_probe_shows_no_series_of_it() {
    let driver = Driver::new();
    driver.say(MACHINE, What::Count, 1);
    driver.say(0, What::Power, 3);
    let (meter, probe) = watch(&driver);
    driver.say(0, What::Power, 0);
    // The next ones too.
    let time = || shown(&meter, &names::GPU_SAMPLE_TIMESTAMP_SECONDS);
    for _ in 0..2 {
        let before = time();
        until(&meter, &names::GPU_SAMPLE_TIMESTAMP_SECONDS, |now| now != before);
        assert_eq!(shown(&meter, &names::GPU_POWER_WATTS), [""; 0]);
    }
    let readings = probe.latest().devices[0].readings.clone().unwrap();
    assert_eq!(readings.get(Quantity::Power), NOT_SUPPORTED);
    assert!(probe.release());
    probe.resume();
    until_is(&meter, &names::GPU_POWER_WATTS, &["0 GPU-00000000 312.345"]);
}
