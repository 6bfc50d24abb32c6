//! The calls of one sample.

use std::mem;

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
    errors::{absent, in_words},
    list::Listed,
    raw::{self, ALL_LINKS, Library},
    sink::{AS_IT_IS, Scale, Sink, number},
    unsupported::Question,
};
use crate::gpu::{Absent, DeviceReadings, ProbeError, Quantity, Wanted};

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

/// Reads one GPU. An error of the whole ends it; so do errors of the driver in all that was asked.
pub(super) fn all(
    library: &Library,
    listed: &mut Listed,
    wanted: &Wanted,
    out: &mut DeviceReadings,
) -> Result<(), ProbeError> {
    let mut unsupported = mem::take(&mut listed.unsupported);
    let mut sink = Sink::new(out, &mut unsupported);
    let asked = groups(library, listed, wanted, &mut sink).map_err(|error| in_words(&error));
    asked.and_then(|()| sink.end())?;
    // NB: after an error of the whole nothing is known: what is back may support other things.
    listed.unsupported = unsupported;
    Ok(())
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
        sink.each(&[], || listed.device.memory_info(), |_| [])?;
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
    // NB: of what supports nothing too it is found out whether it is there.
    if sink.has_asked { Ok(()) } else { sink.each(&[], || listed.device.memory_info(), |_| []) }
}

fn memory(device: &Handle<'_>, extended: bool, sink: &mut Sink<'_>) -> Result<(), NvmlError> {
    use Quantity::{MemoryFree, MemoryReserved, MemoryTotal, MemoryUsed};
    let quantities: &[Quantity] = match extended {
        true => &[MemoryTotal, MemoryUsed, MemoryReserved, MemoryFree],
        false => &[MemoryTotal, MemoryUsed, MemoryReserved],
    };
    sink.each(
        quantities,
        || device.memory_info(),
        |memory| {
            [memory.total, memory.used, memory.reserved, memory.free]
                .map(|bytes| number(bytes, AS_IT_IS))
        },
    )
}

fn load(device: &Handle<'_>, extended: bool, sink: &mut Sink<'_>) -> Result<(), NvmlError> {
    use Quantity::{MemoryBandwidthUtilization, Utilization};
    let quantities: &[Quantity] = match extended {
        true => &[Utilization, MemoryBandwidthUtilization],
        false => &[Utilization],
    };
    sink.each(
        quantities,
        || device.utilization_rates(),
        |load| [load.gpu, load.memory].map(|percent| number(percent.into(), Scale::Per(100.0))),
    )
}

fn power(device: &Handle<'_>, sink: &mut Sink<'_>) -> Result<(), NvmlError> {
    const MILLI: Scale = Scale::Per(1e3);
    sink.one(Quantity::Power, || device.power_usage(), MILLI)?;
    sink.one(Quantity::PowerLimit, || device.enforced_power_limit(), MILLI)?;
    sink.one(Quantity::Energy, || device.total_energy_consumption(), MILLI)
}

fn clocks(device: &Handle<'_>, sink: &mut Sink<'_>) -> Result<(), NvmlError> {
    const MEGAHERTZ: Scale = Scale::Times(1e6);
    let temperature = || device.temperature(TemperatureSensor::Gpu);
    sink.one(Quantity::Temperature, temperature, AS_IT_IS)?;
    sink.one(Quantity::SmClock, || device.clock_info(Clock::SM), MEGAHERTZ)?;
    sink.one(Quantity::MemoryClock, || device.clock_info(Clock::Memory), MEGAHERTZ)?;
    let reasons = [
        (Quantity::SwPowerCap, ThrottleReasons::SW_POWER_CAP),
        (Quantity::HwSlowdown, ThrottleReasons::HW_SLOWDOWN),
        (Quantity::SwThermal, ThrottleReasons::SW_THERMAL_SLOWDOWN),
        (Quantity::HwThermal, ThrottleReasons::HW_THERMAL_SLOWDOWN),
        (Quantity::HwPowerBrake, ThrottleReasons::HW_POWER_BRAKE_SLOWDOWN),
    ];
    let quantities = reasons.map(|(quantity, _)| quantity);
    sink.each(
        &quantities,
        || device.current_throttle_reasons(),
        |now| reasons.map(|(_, reason)| Ok(f64::from(u8::from(now.contains(reason))))),
    )
}

fn errors(device: &Handle<'_>, sink: &mut Sink<'_>) -> Result<(), NvmlError> {
    for (quantity, kind) in [
        (Quantity::EccCorrected, MemoryError::Corrected),
        (Quantity::EccUncorrected, MemoryError::Uncorrected),
    ] {
        let count = || device.total_ecc_errors(kind, EccCounter::Volatile);
        sink.one(quantity, count, AS_IT_IS)?;
    }
    Ok(())
}

/// What is only there as a field.
fn fields(device: &Handle<'_>, extended: bool, sink: &mut Sink<'_>) -> Result<(), NvmlError> {
    const NANOSECONDS: Scale = Scale::Per(1e9);
    let all = [
        (Quantity::MemoryTemperature, (MEMORY_TEMPERATURE, AS_IT_IS)),
        (Quantity::SwPowerCapTime, (POWER_TIME, NANOSECONDS)),
        (Quantity::SwThermalTime, (SW_THERMAL_TIME, NANOSECONDS)),
        (Quantity::HwThermalTime, (HW_THERMAL_TIME, NANOSECONDS)),
        (Quantity::HwPowerBrakeTime, (POWER_BRAKE_TIME, NANOSECONDS)),
    ];
    sink.batch(if extended { &all } else { &all[..1] }, |asked| {
        let ids: Vec<FieldId> = asked.iter().map(|(field, _)| FieldId(*field)).collect();
        let samples = device.field_values_for(&ids)?.into_iter();
        let values = samples.zip(asked).map(|(sample, (_, scale))| match sample?.value? {
            SampleValue::U32(value) => Ok(number(value.into(), *scale)),
            SampleValue::U64(value) => Ok(number(value, *scale)),
            other => Ok(Err(Absent::Failed(format!("{other:?} is no whole number")))),
        });
        Ok(values.collect())
    })
}

fn links(
    library: &Library,
    device: &Handle<'static>,
    sink: &mut Sink<'_>,
) -> Result<(), NvmlError> {
    let pcie = [Quantity::PcieTransmitted, Quantity::PcieReceived];
    sink.counts(pcie, || raw::counts(library, device, PCIE, 0), AS_IT_IS)?;
    let nvlink = [Quantity::NvLinkTransmitted, Quantity::NvLinkReceived];
    let all_links = |fields| raw::counts(library, device, fields, ALL_LINKS);
    match sink.told(Question::LinkBytes, || all_links(NVLINK_BYTES)) {
        Some(bytes) => {
            for (quantity, bytes) in nvlink.into_iter().zip(bytes) {
                sink.set(quantity, number(bytes, AS_IT_IS));
            }
            Ok(())
        }
        None => sink.counts(nvlink, || all_links(NVLINK_KIB), Scale::Times(1024.0)),
    }
}

/// The memory of the process that serves the model, where the driver tells of it.
fn process(device: &Handle<'_>, pids: &[u32], sink: &mut Sink<'_>) -> Result<(), NvmlError> {
    let call = || device.running_compute_processes();
    sink.each(&[Quantity::ProcessMemory], call, |mut processes| {
        processes.retain(|process| pids.contains(&process.pid));
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
    let Listed { identity, device, parent, activity, has_activity, .. } = listed;
    let whole = parent.as_ref().unwrap_or(device);
    let compared = || {
        // NB: the wrapper panics where a sample cannot be freed.
        let can_free = library.nvml().lib().nvmlGpmSampleFree.is_ok();
        *has_activity = *has_activity || (can_free && whole.gpm_support()?);
        let sample = match &identity.instance {
            _ if !*has_activity => return Err(NvmlError::NotSupported),
            Some(instance) => whole.gpm_mig_sample(instance.gpu_instance)?,
            None => whole.gpm_sample()?,
        };
        let before = activity.replace(sample);
        let (Some(before), Some(now)) = (before, activity) else { return Ok(None) };
        gpm_metrics_get(library.nvml(), &before, now, &metrics).map(Some)
    };
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
