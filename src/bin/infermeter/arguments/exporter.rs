//! The arguments of `infermeter exporter`.

use clap::Args;
use infermeter::engines::EngineMetrics;

use super::{Engine, EnginePid, EngineProcess, Gpu, Page};

#[derive(Args, Debug)]
#[command(mut_arg("engine_metrics", |argument| argument.help(
    "The engine, or its page: http://HOST:PORT or https://HOST:PORT, with the path of the page if \
     that is not /metrics. Required, but with `--engine none`",
)))]
pub(crate) struct Exporter {
    #[command(flatten)]
    pub(crate) engine: Engine,

    #[command(flatten)]
    pub(crate) process: EngineProcess,

    #[command(flatten)]
    pub(crate) page: Page,

    #[command(flatten)]
    pub(crate) gpu: Gpu,
}

// === impl Exporter ===

impl Exporter {
    /// Where the engine is whose process is to be found.
    pub(crate) fn process_of(&self, pid: EnginePid) -> Result<String, String> {
        let at = self.engine.engine_metrics.as_ref().map(|engine| engine.page_url());
        let missing = "--engine-pid auto: --engine-metrics has to say where it is";
        match pid {
            EnginePid::Auto => at.ok_or_else(|| missing.to_owned()),
            EnginePid::Is(_) => Ok(at.unwrap_or_default()),
        }
    }

    /// The engine; `None` where there is none on purpose.
    pub(crate) fn engine(&self) -> Result<Option<EngineMetrics>, String> {
        let engine = self.engine.metrics(None).map_err(|_| {
            "--engine-metrics <URL> is required: it says where the engine is; without one say \
             --engine none"
                .to_owned()
        })?;
        Ok(engine.map(|engine| engine.merge(self.engine.is_merged())))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use infermeter::engines::EngineKind;

    use super::*;
    use crate::arguments::{Arguments, Command};

    fn exporter(arguments: &[&str]) -> Result<Exporter, String> {
        let all = ["infermeter", "exporter"].iter().chain(arguments);
        match Arguments::try_parse_from(all) {
            Ok(Arguments { command: Command::Exporter(exporter) }) => Ok(*exporter),
            other => Err(other.unwrap_err().to_string()),
        }
    }

    #[test]
    fn what_is_usual() {
        let read = exporter(&["--engine-metrics", "http://h:8000"]).unwrap();
        assert_eq!(read.engine().unwrap().unwrap().page_url(), "http://h:8000/metrics");
        assert_eq!((read.engine.kind(), read.engine.is_merged()), (None, true));
        assert_eq!(read.page.address(), "127.0.0.1:8001");
    }

    #[test]
    fn each_engine_has_the_word_of_the_library() {
        for kind in EngineKind::ALL {
            let words = ["--engine-metrics", "http://h", "--engine", kind.as_str()];
            assert_eq!(exporter(&words).unwrap().engine.kind(), Some(*kind));
        }
    }

    #[test]
    fn wrong_values_say_the_key_the_value_and_what_is_allowed() {
        for (key, value, allowed) in [
            ("--engine-metrics", "127.0.0.1:8000", "http://HOST[:PORT]"),
            ("--engine-metrics", "http://h/metrics?x=1", "query"),
            (
                "--engine",
                "ollama",
                "auto, dynamo, llamacpp, mistralrs, sglang, tgi, triton, vllm, none",
            ),
            ("--engine-page", "both", "merge, off"),
            ("--engine-pid", "vllm", "auto"),
            ("--engine-pid", "-1", "number of a process"),
            ("--engine-pid", "0", "number of a process"),
            ("--metrics-port", "65536", "0..=65535"),
            ("--label", "engine=1", "allowed"),
            ("--labels", "variant", "KEY=VALUE"),
        ] {
            let usual = ["--engine-metrics", "http://h"];
            let usual = if key == usual[0] { &[] } else { &usual[..] };
            let error = exporter(&[usual, &[key, value]].concat()).unwrap_err();
            let says = |part: &str| assert!(error.contains(part), "{part:?}: {error}");
            [key, value, allowed].into_iter().for_each(says);
        }
        let error = exporter(&["--engine-metrics", "http://me:secret@h"]).unwrap_err();
        assert!(error.contains("--engine-metrics") && error.contains("passwords"), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }

    #[test]
    fn an_engine_is_there_or_is_not_on_purpose() {
        let error = exporter(&[]).unwrap().engine().unwrap_err();
        assert!(error.contains("--engine-metrics <URL>") && error.contains("--engine none"));
        let none = exporter(&["--engine", "none", "--engine-metrics", "http://h"]).unwrap();
        assert!(none.engine().unwrap().is_none());
    }
}
