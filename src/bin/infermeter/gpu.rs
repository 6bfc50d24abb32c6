//! The GPUs: watched beside the proxy, the exporter and the demo, or printed once.

use std::{error::Error, time::Duration};

use infermeter::{
    Meter,
    gpu::{
        Absent, DeviceSnapshot, GpuProbe, GpuProbeBuilder, GpuSnapshot, Nvml, ProbeError, Quantity,
    },
};

use crate::{
    arguments::{Gpu, GpuChoice, GpuMetrics, Gpus, Which},
    console::say,
    processes::{self, Ids},
};

/// How long a driver may take to open where somebody waits for it.
const LONGEST: Duration = Duration::from_secs(10);

/// Watches them, for as long as what it gives is there; nothing where they are not to be watched.
pub(crate) fn watch(
    settings: &Gpu,
    engine: Option<Ids>,
    meter: &Meter,
) -> Result<Option<GpuProbe>, Box<dyn Error>> {
    if settings.gpu == Which::Off {
        let never = "--require-gpu: --gpu off watches none; allowed are auto and nvml";
        return if settings.require_gpu { Err(never.into()) } else { Ok(None) };
    }
    let probe = builder(&settings.choice, engine).interval(settings.gpu_interval);
    let probe = probe.on_notice(|notice| match notice.is_warning() {
        true => tracing::warn!("{notice}"),
        false => tracing::info!("{notice}"),
    });
    let probe = probe.watch(meter)?;
    if settings.require_gpu {
        let seen = probe.first(LONGEST);
        // NB: the driver shows GPUs, and the engine may start later.
        let is_to_come = seen.up == Some(true) && seen.undecided.is_some();
        if !is_to_come && !seen.devices.iter().any(|device| device.is_up) {
            return Err(format!("--require-gpu: {}", why_none(&seen)).into());
        }
    }
    Ok(Some(probe))
}

/// Prints what can be read of each, and why something cannot.
pub(crate) fn print(settings: &Gpus) -> Result<(), Box<dyn Error>> {
    let Gpus { choice, engine_pid } = settings;
    let engine = engine_pid.map(processes::of_engine).transpose()?;
    // NB: what was read before a driver hangs must not be old by the time that this is known.
    let probe = builder(choice, engine).interval(LONGEST).deadline(LONGEST);
    let probe = probe.watch(&Meter::disabled())?;
    let seen = probe.first(LONGEST + Duration::from_secs(1));
    if seen.devices.is_empty() {
        return Err(why_none(&seen).into());
    }
    let extended = choice.gpu_metrics == GpuMetrics::Extended;
    let texts = seen.devices.iter().map(|device| text(device, seen.error.as_ref(), extended));
    say(&texts.collect::<Vec<_>>().join("\n"))?;
    seen.error.map_or(Ok(()), |error| Err(error.to_string().into()))
}

fn builder(choice: &GpuChoice, engine: Option<Ids>) -> GpuProbeBuilder<Nvml> {
    let library = choice.nvml_library.iter();
    let backend = library.fold(Nvml::new(), |backend, path| backend.library(path));
    let devices = choice.devices(engine);
    // Who names some, or all, or the engine, says whose they are.
    let is_tied = choice.gpu_devices.is_some() || devices.is_a_choice();
    let probe = GpuProbe::builder(backend)
        .devices(devices)
        .extended(choice.gpu_metrics == GpuMetrics::Extended);
    if is_tied { probe.engine("0") } else { probe }
}

fn why_none(seen: &GpuSnapshot) -> String {
    let of_device = seen.devices.iter().find_map(|device| device.error.as_ref());
    let why = match (seen.error.as_ref().or(of_device), seen.up, &seen.undecided) {
        (Some(error), ..) => error.to_string(),
        (None, None, _) => format!("no answer for {LONGEST:?}"),
        (None, _, Some(why)) => why.clone(),
        (None, _, None) => "the driver shows none, or none of the choice".to_owned(),
    };
    format!("no GPU can be read: {why}")
}

fn text(seen: &DeviceSnapshot, of_all: Option<&ProbeError>, extended: bool) -> String {
    let device = &seen.device;
    let known = [&device.name, &device.uuid, &device.pci_bus_id, &device.driver_version];
    let known: Vec<&str> =
        known.into_iter().map(String::as_str).filter(|t| !t.is_empty()).collect();
    let instance = device.instance.as_ref();
    let instance = instance.map(|part| format!(" instance {}", part.gpu_instance));
    let mut text =
        format!("GPU {}{}: {}\n", device.index, instance.unwrap_or_default(), known.join(", "));
    let Some(readings) = &seen.readings else {
        let why = seen.error.as_ref().or(of_all);
        let why = why.map_or_else(|| "too old".to_owned(), ToString::to_string);
        return text + &format!("  cannot be read: {why}\n");
    };
    for quantity in Quantity::ALL.iter().filter(|quantity| extended || !quantity.is_extended()) {
        let reading = match readings.get(*quantity) {
            Ok(value) => value.to_string(),
            // Of a part what is told of the whole, and the other way round.
            Err(Absent::NotAsked) => continue,
            Err(why) => format!("- ({why})"),
        };
        let name = quantity.family().name;
        let label = quantity.label().unwrap_or_default();
        text.push_str(&format!("  {name:<40} {label:<14} {reading}\n"));
    }
    text
}
