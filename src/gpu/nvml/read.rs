//! The calls of one sample, and the units of what they say.

use nvml_wrapper::{
    Device as Handle,
    bitmasks::device::ThrottleReasons,
    enum_wrappers::device::{Clock, EccCounter, MemoryError, TemperatureSensor},
    enums::{
        device::{SampleValue, UsedGpuMemory},
        gpm::GpmMetricId,
    },
    error::NvmlError,
    gpm::gpm_metrics_get,
    structs::device::FieldId,
};

use super::{
    errors::{absent, in_words, is_of_one_reading},
    list::Listed,
    raw::{self, ALL_LINKS, Library},
};
use crate::gpu::{Absent, DeviceReadings, ProbeError, Quantity, Reading, Wanted};

// Fields, by the numbers that they have had since there are fields; the wrapper knows those of newer
// drivers.
const MEMORY_TEMPERATURE: u32 = 82;
const POWER_TIME: u32 = 74;
const SW_THERMAL_TIME: u32 = 251;
const HW_THERMAL_TIME: u32 = 252;
const POWER_BRAKE_TIME: u32 = 253;
const PCIE: [u32; 2] = [197, 198];
/// KiB over links up to the fourth generation, and bytes since the fifth.
const NVLINK_KIB: [u32; 2] = [138, 139];
const NVLINK_BYTES: [u32; 2] = [202, 204];

/// Where a value is not known, some calls succeed and say so by all bits of it,
const NOT_AVAILABLE: u64 = u32::MAX as u64;
/// or by the largest numbers that have a sign, or by one that is negative.
const BLANK: u64 = i64::MAX as u64 - 15;

/// What a driver's number is multiplied with, or divided by, to be in our unit.
#[derive(Clone, Copy)]
enum Scale {
    Times(f64),
    Per(f64),
}

const AS_IT_IS: Scale = Scale::Times(1.0);

/// Reads one GPU. An error of the whole ends it; so do errors of the driver in all that was asked.
pub(super) fn all(
    library: &Library,
    listed: &mut Listed,
    wanted: &Wanted,
    out: &mut DeviceReadings,
) -> Result<(), ProbeError> {
    let mut sink = Sink { out, has_any: false, failed: None };
    groups(library, listed, wanted, &mut sink).map_err(|error| in_words(&error))?;
    match sink.failed {
        Some(error) if !sink.has_any => Err(error),
        _ => Ok(()),
    }
}

fn groups(
    library: &Library,
    listed: &mut Listed,
    wanted: &Wanted,
    sink: &mut Sink<'_>,
) -> Result<(), NvmlError> {
    let is_whole = listed.parent.is_none();
    if listed.has_memory {
        memory(&listed.device, wanted.extended, sink)?;
    } else if !is_whole {
        // NB: its memory is told by another instance. It is asked whether it is there at all.
        sink.each(&[], listed.device.memory_info(), |_| [])?;
    }
    if is_whole {
        load(&listed.device, wanted.extended, sink)?;
        power(&listed.device, sink)?;
        clocks(&listed.device, sink)?;
        errors(&listed.device, sink)?;
        fields(&listed.device, wanted.extended, sink)?;
    }
    if wanted.extended {
        if is_whole {
            links(library, &listed.device, sink)?;
        }
        // NB: a whole that is split may name the processes of its instances too.
        if listed.has_memory || !is_whole {
            process(&listed.device, &wanted.processes, sink)?;
        }
        // NB: once for a GPU instance, and not for a whole that is split, like its memory.
        if listed.has_memory {
            activity(library, listed, sink)?;
        }
    }
    Ok(())
}

fn memory(device: &Handle<'_>, extended: bool, sink: &mut Sink<'_>) -> Result<(), NvmlError> {
    use Quantity::{MemoryFree, MemoryReserved, MemoryTotal, MemoryUsed};
    let quantities: &[Quantity] = match extended {
        true => &[MemoryTotal, MemoryUsed, MemoryReserved, MemoryFree],
        false => &[MemoryTotal, MemoryUsed, MemoryReserved],
    };
    sink.each(quantities, device.memory_info(), |memory| {
        [memory.total, memory.used, memory.reserved, memory.free]
            .map(|bytes| number(bytes, AS_IT_IS))
    })
}

fn load(device: &Handle<'_>, extended: bool, sink: &mut Sink<'_>) -> Result<(), NvmlError> {
    use Quantity::{MemoryBandwidthUtilization, Utilization};
    let quantities: &[Quantity] = match extended {
        true => &[Utilization, MemoryBandwidthUtilization],
        false => &[Utilization],
    };
    sink.each(quantities, device.utilization_rates(), |load| {
        [load.gpu, load.memory].map(|percent| number(percent.into(), Scale::Per(100.0)))
    })
}

fn power(device: &Handle<'_>, sink: &mut Sink<'_>) -> Result<(), NvmlError> {
    const MILLI: Scale = Scale::Per(1e3);
    sink.one(Quantity::Power, device.power_usage(), MILLI)?;
    sink.one(Quantity::PowerLimit, device.enforced_power_limit(), MILLI)?;
    sink.one(Quantity::Energy, device.total_energy_consumption(), MILLI)
}

fn clocks(device: &Handle<'_>, sink: &mut Sink<'_>) -> Result<(), NvmlError> {
    const MEGAHERTZ: Scale = Scale::Times(1e6);
    let temperature = device.temperature(TemperatureSensor::Gpu);
    sink.one(Quantity::Temperature, temperature, AS_IT_IS)?;
    sink.one(Quantity::SmClock, device.clock_info(Clock::SM), MEGAHERTZ)?;
    sink.one(Quantity::MemoryClock, device.clock_info(Clock::Memory), MEGAHERTZ)?;
    let reasons = [
        (Quantity::SwPowerCap, ThrottleReasons::SW_POWER_CAP),
        (Quantity::HwSlowdown, ThrottleReasons::HW_SLOWDOWN),
        (Quantity::SwThermal, ThrottleReasons::SW_THERMAL_SLOWDOWN),
        (Quantity::HwThermal, ThrottleReasons::HW_THERMAL_SLOWDOWN),
        (Quantity::HwPowerBrake, ThrottleReasons::HW_POWER_BRAKE_SLOWDOWN),
    ];
    let quantities = reasons.map(|(quantity, _)| quantity);
    sink.each(&quantities, device.current_throttle_reasons(), |now| {
        reasons.map(|(_, reason)| Ok(f64::from(u8::from(now.contains(reason)))))
    })
}

fn errors(device: &Handle<'_>, sink: &mut Sink<'_>) -> Result<(), NvmlError> {
    for (quantity, kind) in [
        (Quantity::EccCorrected, MemoryError::Corrected),
        (Quantity::EccUncorrected, MemoryError::Uncorrected),
    ] {
        sink.one(quantity, device.total_ecc_errors(kind, EccCounter::Volatile), AS_IT_IS)?;
    }
    Ok(())
}

/// What is only there as a field.
fn fields(device: &Handle<'_>, extended: bool, sink: &mut Sink<'_>) -> Result<(), NvmlError> {
    const NANOSECONDS: Scale = Scale::Per(1e9);
    let wanted = [
        (Quantity::MemoryTemperature, MEMORY_TEMPERATURE, AS_IT_IS),
        (Quantity::SwPowerCapTime, POWER_TIME, NANOSECONDS),
        (Quantity::SwThermalTime, SW_THERMAL_TIME, NANOSECONDS),
        (Quantity::HwThermalTime, HW_THERMAL_TIME, NANOSECONDS),
        (Quantity::HwPowerBrakeTime, POWER_BRAKE_TIME, NANOSECONDS),
    ];
    let wanted = if extended { &wanted[..] } else { &wanted[..1] };
    let ids: Vec<FieldId> = wanted.iter().map(|(_, field, _)| FieldId(*field)).collect();
    let values = match device.field_values_for(&ids) {
        Ok(values) => values,
        Err(error) => {
            let quantities: Vec<Quantity> = wanted.iter().map(|(quantity, ..)| *quantity).collect();
            return sink.failed(&quantities, error);
        }
    };
    // NB: by position. A value comes back under the number of a newer driver.
    for ((quantity, _, scale), sample) in wanted.iter().zip(values) {
        let value = match sample.and_then(|sample| sample.value) {
            Ok(SampleValue::U32(value)) => Ok(u64::from(value)),
            Ok(SampleValue::U64(value)) => Ok(value),
            Ok(other) => {
                let error = format!("{other:?} is no whole number");
                sink.out.set(*quantity, Err(Absent::Failed(error)));
                continue;
            }
            Err(error) => Err(error),
        };
        sink.one(*quantity, value, *scale)?;
    }
    Ok(())
}

fn links(
    library: &Library,
    device: &Handle<'static>,
    sink: &mut Sink<'_>,
) -> Result<(), NvmlError> {
    let pcie = [Quantity::PcieTransmitted, Quantity::PcieReceived];
    sink.counts(pcie, raw::counts(library, device, PCIE, 0), AS_IT_IS)?;
    let nvlink = [Quantity::NvLinkTransmitted, Quantity::NvLinkReceived];
    let bytes = raw::counts(library, device, NVLINK_BYTES, ALL_LINKS);
    if matches!(&bytes, Ok([Ok(_), Ok(_)])) {
        return sink.counts(nvlink, bytes, AS_IT_IS);
    }
    sink.counts(nvlink, raw::counts(library, device, NVLINK_KIB, ALL_LINKS), Scale::Times(1024.0))
}

/// The memory of the process that serves the model, where the driver tells of it.
fn process(device: &Handle<'_>, pids: &[u32], sink: &mut Sink<'_>) -> Result<(), NvmlError> {
    let processes = device.running_compute_processes().map(|mut processes| {
        processes.retain(|process| pids.contains(&process.pid));
        processes
    });
    sink.each(&[Quantity::ProcessMemory], processes, |processes| {
        let used = processes.iter().map(|process| match process.used_gpu_memory {
            // NB: whoever computes has memory; in a container, some drivers say that it is 0.
            UsedGpuMemory::Used(0) | UsedGpuMemory::Unavailable => None,
            UsedGpuMemory::Used(bytes) => Some(bytes),
        });
        let sum = used.sum::<Option<u64>>().filter(|_| !processes.is_empty());
        let none = || Absent::Failed("it tells no memory of this process".to_owned());
        [sum.ok_or_else(none).and_then(|bytes| number(bytes, AS_IT_IS))]
    })
}

/// How busy the parts are, between the sample before and this one: Hopper and later.
fn activity(library: &Library, listed: &mut Listed, sink: &mut Sink<'_>) -> Result<(), NvmlError> {
    let quantities = [Quantity::SmActive, Quantity::TensorActive, Quantity::DramActive];
    let metrics = [GpmMetricId::SmUtil, GpmMetricId::AnyTensorUtil, GpmMetricId::DramBwUtil];
    let lib = library.nvml().lib();
    let whole = listed.parent.as_ref().unwrap_or(&listed.device);
    // NB: the wrapper panics where a sample cannot be freed.
    let can_free = lib.nvmlGpmSampleFree.is_ok();
    let is_there = *listed
        .has_activity
        .get_or_insert_with(|| can_free && whole.gpm_support().unwrap_or(false));
    let sample = match (is_there, &listed.identity.instance) {
        (false, _) => Err(NvmlError::NotSupported),
        (true, Some(instance)) => whole.gpm_mig_sample(instance.gpu_instance),
        (true, None) => whole.gpm_sample(),
    };
    let compared = sample.and_then(|sample| {
        let before = listed.activity.replace(sample);
        let (Some(before), Some(now)) = (before, &listed.activity) else { return Ok(None) };
        gpm_metrics_get(library.nvml(), &before, now, &metrics).map(Some)
    });
    sink.each(&quantities, compared, |results| {
        let first = || Err(Absent::Failed("one more sample is needed".to_owned()));
        let Some(results) = results else { return quantities.map(|_| first()) };
        let mut results = results.into_iter();
        quantities.map(|_| match results.next() {
            Some(Ok(result)) => Ok(result.value / 100.0),
            Some(Err(error)) => Err(absent(&error)),
            None => first(),
        })
    })
}

/// Where readings go. An error of the whole GPU ends the sample.
struct Sink<'a> {
    out: &'a mut DeviceReadings,
    /// Whether there is any number.
    has_any: bool,
    /// An error of the driver, as opposed to what it does not support or allow.
    failed: Option<ProbeError>,
}

// === impl Sink ===

impl Sink<'_> {
    fn one(
        &mut self,
        quantity: Quantity,
        value: Result<impl Into<u64>, NvmlError>,
        scale: Scale,
    ) -> Result<(), NvmlError> {
        self.each(&[quantity], value, |value| [number(value.into(), scale)])
    }

    fn counts(
        &mut self,
        quantities: [Quantity; 2],
        values: Result<[Result<u64, NvmlError>; 2], NvmlError>,
        scale: Scale,
    ) -> Result<(), NvmlError> {
        self.each(&quantities, values, |values| {
            values.map(|value| value.map_err(|error| absent(&error)).and_then(|v| number(v, scale)))
        })
    }

    /// What one call says of several.
    fn each<T, const N: usize>(
        &mut self,
        quantities: &[Quantity],
        result: Result<T, NvmlError>,
        readings: impl FnOnce(T) -> [Reading; N],
    ) -> Result<(), NvmlError> {
        match result {
            Ok(value) => {
                for (quantity, reading) in quantities.iter().zip(readings(value)) {
                    self.has_any |= reading.is_ok();
                    self.out.set(*quantity, reading);
                }
                Ok(())
            }
            Err(error) => self.failed(quantities, error),
        }
    }

    fn failed(&mut self, quantities: &[Quantity], error: NvmlError) -> Result<(), NvmlError> {
        if !is_of_one_reading(&error) {
            return Err(error);
        }
        let reason = absent(&error);
        if matches!(reason, Absent::Failed(_)) {
            self.failed = Some(in_words(&error));
        }
        for quantity in quantities {
            self.out.set(*quantity, Err(reason.clone()));
        }
        Ok(())
    }
}

fn number(value: u64, scale: Scale) -> Reading {
    if value == NOT_AVAILABLE || value >= BLANK {
        return Err(Absent::NotSupported);
    }
    let value = value as f64;
    Ok(match scale {
        Scale::Times(times) => value * times,
        // NB: `7 / 100` is 0.07, `7 * 0.01` is not.
        Scale::Per(per) => value / per,
    })
}
