//! The arguments of whoever watches the processes of an engine.

use clap::Args;

#[derive(Args, Debug)]
pub(crate) struct EngineProcess {
    /// The process of the engine on this machine, with all that it has started: its number, or
    /// `auto` for the one that listens on the engine's port. Without it `process_*` are what the
    /// engine's page says.
    #[arg(long, env = "INFERMETER_ENGINE_PID", value_name = "PID", value_parser = which)]
    #[arg(allow_negative_numbers = true)]
    pub(crate) engine_pid: Option<EnginePid>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EnginePid {
    /// Who listens.
    Auto,
    Is(u32),
}

fn which(text: &str) -> Result<EnginePid, String> {
    match text.parse() {
        Ok(pid) if pid > 0 => Ok(EnginePid::Is(pid)),
        _ if text == "auto" => Ok(EnginePid::Auto),
        _ => Err("allowed is the number of a process, or auto".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_auto() {
        assert_eq!(which("4711"), Ok(EnginePid::Is(4711)));
        assert_eq!(which("auto"), Ok(EnginePid::Auto));
        for text in ["", "0", "-1", "Auto", "1.5", "4294967296", "vllm"] {
            assert!(which(text).unwrap_err().contains("number of a process, or auto"), "{text}");
        }
    }
}
