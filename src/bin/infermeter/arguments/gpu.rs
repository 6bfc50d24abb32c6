//! The arguments of whoever watches GPUs.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};
use infermeter::gpu::DeviceSelection;

use super::values::duration;
use crate::processes::Ids;

#[derive(Args, Debug)]
pub(crate) struct Gpu {
    /// Whose GPUs are watched; `auto` is every maker's that is known: NVIDIA's.
    #[arg(long, env = "INFERMETER_GPU", value_name = "WHICH", default_value = "auto")]
    pub(crate) gpu: Which,

    /// How often the GPUs are read, 200ms or more.
    #[arg(long, env = "INFERMETER_GPU_INTERVAL", value_name = "TIME", value_parser = interval)]
    #[arg(default_value = "1s")]
    pub(crate) gpu_interval: Duration,

    #[command(flatten)]
    pub(crate) choice: GpuChoice,

    /// Ends at once if no GPU can be read.
    #[arg(long, env = "INFERMETER_REQUIRE_GPU")]
    pub(crate) require_gpu: bool,
}

/// The arguments of `infermeter gpus`.
#[derive(Args, Debug)]
pub(crate) struct Gpus {
    #[command(flatten)]
    pub(crate) choice: GpuChoice,

    /// The number of the engine's process: prints only those GPUs that it and what it has started
    /// compute on, where neither `--gpu-devices` nor CUDA_VISIBLE_DEVICES says which.
    // NB: no variable: that of the proxy may be `auto`.
    #[arg(long, value_name = "PID")]
    pub(crate) engine_pid: Option<u32>,
}

/// Which of them, and what of each.
#[derive(Args, Debug)]
pub(crate) struct GpuChoice {
    /// The GPUs that the engine uses: numbers as nvidia-smi shows them, or how a GPU-… or MIG-…
    /// begins, with commas; or `all`. Default: what CUDA_VISIBLE_DEVICES says, else those that the
    /// engine's processes compute on, if it is said which they are, else all.
    #[arg(long, env = "INFERMETER_GPU_DEVICES", value_name = "LIST")]
    #[arg(value_parser = |text: &str| DeviceSelection::list(text).map_err(|error| error.to_string()))]
    pub(crate) gpu_devices: Option<DeviceSelection>,

    /// What is read of each GPU.
    #[arg(long, env = "INFERMETER_GPU_METRICS", value_name = "WHICH", default_value = "default")]
    pub(crate) gpu_metrics: GpuMetrics,

    /// The driver's library, where it is not the one that the system finds.
    #[arg(long, env = "INFERMETER_NVML_LIBRARY", value_name = "PATH")]
    pub(crate) nvml_library: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Which {
    Auto,
    Nvml,
    Off,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum GpuMetrics {
    Default,
    Extended,
}

// === impl GpuChoice ===

impl GpuChoice {
    /// Those of an engine's processes where nothing else says which.
    pub(crate) fn devices(&self, engine: Option<Ids>) -> DeviceSelection {
        if let Some(list) = &self.gpu_devices {
            return list.clone();
        }
        let visible = DeviceSelection::cuda_visible();
        match engine {
            Some(ids) if !visible.is_a_choice() => DeviceSelection::processes(ids),
            _ => visible,
        }
    }
}

fn interval(text: &str) -> Result<Duration, String> {
    const LEAST: Duration = Duration::from_millis(200);
    duration(text)
        .ok()
        .filter(|interval| *interval >= LEAST)
        .ok_or_else(|| "allowed is a time from 200ms on, such as 500ms or 5s".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Alone {
        #[command(flatten)]
        gpu: Gpu,
    }

    #[test]
    fn what_is_usual() {
        let Alone { gpu } = Alone::try_parse_from(["x"]).unwrap();
        assert_eq!((gpu.gpu, gpu.gpu_interval), (Which::Auto, Duration::from_secs(1)));
        assert_eq!(gpu.choice.gpu_metrics, GpuMetrics::Default);
        assert!(!gpu.require_gpu && gpu.choice.gpu_devices.is_none());
        let Alone { gpu } = Alone::try_parse_from(["x", "--gpu-devices", "0,GPU-1"]).unwrap();
        assert!(gpu.choice.devices(None).is_a_choice());
    }

    #[test]
    fn wrong_values_say_the_key_the_value_and_what_is_allowed() {
        for (key, value, allowed) in [
            ("--gpu", "amd", "auto, nvml, off"),
            ("--gpu-interval", "100ms", "from 200ms on"),
            ("--gpu-interval", "often", "from 200ms on"),
            ("--gpu-devices", "first", "numbers, GPU-"),
            ("--gpu-metrics", "all", "default, extended"),
        ] {
            let error = Alone::try_parse_from(["x", key, value]).unwrap_err().to_string();
            let says = |part: &str| assert!(error.contains(part), "{part:?}: {error}");
            [key, value, allowed].into_iter().for_each(says);
        }
    }
}
