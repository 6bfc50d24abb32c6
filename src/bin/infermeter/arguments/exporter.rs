//! The arguments of `infermeter exporter`.

use clap::{Args, ValueEnum};
use infermeter::engines::{EngineKind, EngineMetrics};

use super::Page;

#[derive(Args, Debug)]
pub(crate) struct Exporter {
    /// The engine, or its page: http://HOST:PORT or https://HOST:PORT, with the path of the page if
    /// that is not /metrics.
    #[arg(long, env = "INFERMETER_ENGINE_METRICS", value_name = "URL")]
    #[arg(value_parser = |url: &str| EngineMetrics::at(url).map_err(|error| error.to_string()))]
    pub(crate) engine_metrics: EngineMetrics,

    /// Which engine it is.
    #[arg(long, env = "INFERMETER_ENGINE", value_name = "ENGINE", default_value = "auto")]
    pub(crate) engine: Engine,

    /// What becomes of those families of its page that have no name of ours.
    #[arg(long, env = "INFERMETER_ENGINE_PAGE", value_name = "WHAT", default_value = "merge")]
    pub(crate) engine_page: EnginePage,

    #[command(flatten)]
    pub(crate) page: Page,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Engine {
    Auto,
    Vllm,
    #[value(name = "sglang")]
    SgLang,
    Tgi,
    #[value(name = "llamacpp")]
    LlamaCpp,
    Triton,
    #[value(name = "mistralrs")]
    MistralRs,
    Dynamo,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum EnginePage {
    /// They stand on the page.
    Merge,
    /// They do not.
    Off,
}

// === impl Engine ===

impl Engine {
    /// `None` where that is to be found out.
    pub(crate) const fn kind(self) -> Option<EngineKind> {
        match self {
            Self::Auto => None,
            Self::Vllm => Some(EngineKind::Vllm),
            Self::SgLang => Some(EngineKind::SgLang),
            Self::Tgi => Some(EngineKind::Tgi),
            Self::LlamaCpp => Some(EngineKind::LlamaCpp),
            Self::Triton => Some(EngineKind::Triton),
            Self::MistralRs => Some(EngineKind::MistralRs),
            Self::Dynamo => Some(EngineKind::Dynamo),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

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
        assert_eq!(read.engine_metrics.page_url(), "http://h:8000/metrics");
        assert_eq!((read.engine.kind(), read.engine_page), (None, EnginePage::Merge));
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
            ("--engine", "ollama", "auto, vllm, sglang, tgi, llamacpp, triton, mistralrs, dynamo"),
            ("--engine-page", "both", "merge, off"),
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
        assert!(exporter(&[]).unwrap_err().contains("--engine-metrics <URL>"));
    }
}
