//! The arguments of whoever watches the processes of an engine.

use std::str::FromStr;

use clap::Args;

#[derive(Args, Debug)]
pub(crate) struct EngineProcess {
    /// The process of the engine on this machine, with all that it has started: its number, or
    /// `auto` for the one that listens on the engine's port. Without it `process_*` are what the
    /// engine's page says. The GPUs are those that these processes compute on, where neither
    /// `--gpu-devices` nor CUDA_VISIBLE_DEVICES says which.
    #[arg(long, env = "INFERMETER_ENGINE_PID", value_name = "PID")]
    #[arg(allow_negative_numbers = true)]
    pub(crate) engine_pid: Option<EnginePid>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EnginePid {
    /// Who listens.
    Auto,
    Is(u32),
}

// === impl EnginePid ===

impl FromStr for EnginePid {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse() {
            Ok(pid) if pid > 0 => Ok(Self::Is(pid)),
            _ if text == "auto" => Ok(Self::Auto),
            _ => Err("allowed is the number of a process, or auto"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_auto() {
        assert_eq!("4711".parse(), Ok(EnginePid::Is(4711)));
        assert_eq!("auto".parse(), Ok(EnginePid::Auto));
        for text in ["", "0", "-1", "Auto", "1.5", "4294967296", "vllm"] {
            let error = text.parse::<EnginePid>().unwrap_err();
            assert!(error.contains("number of a process, or auto"), "{text}");
        }
    }
}
