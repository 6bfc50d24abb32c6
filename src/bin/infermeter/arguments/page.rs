//! The arguments of whoever publishes metrics.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use infermeter::{Meter, names::Naming, record::MeterError};

use super::values::{address, label};

#[derive(Args, Debug)]
pub(crate) struct Page {
    /// Where the metrics are published; port 0 picks a free one.
    #[arg(long, env = "INFERMETER_METRICS_LISTEN", value_name = "HOST:PORT")]
    #[arg(value_parser = address, default_value = "127.0.0.1:8001")]
    pub(crate) metrics_listen: String,

    /// Publishes the metrics on this port of 127.0.0.1.
    #[arg(long, env = "INFERMETER_METRICS_PORT", value_name = "N")]
    #[arg(conflicts_with = "metrics_listen")]
    pub(crate) metrics_port: Option<u16>,

    /// Has whoever reads the metrics show the token that is in this file, as
    /// `Authorization: Bearer TOKEN`.
    #[arg(long, env = "INFERMETER_METRICS_TOKEN_FILE", value_name = "FILE")]
    pub(crate) metrics_token_file: Option<PathBuf>,

    /// Puts a label on every series; can be given several times (in the variable: with commas).
    #[arg(long = "label", env = "INFERMETER_LABEL", value_name = "KEY=VALUE")]
    #[arg(value_parser = label, value_delimiter = ',')]
    pub(crate) label: Vec<(String, String)>,

    /// The same, several at once.
    #[arg(long = "labels", env = "INFERMETER_LABELS", value_name = "KEY=VALUE,KEY=VALUE")]
    #[arg(value_parser = label, value_delimiter = ',')]
    pub(crate) labels: Vec<(String, String)>,

    /// Begins the names of the metrics with this. Default: `vllm:`.
    #[arg(long, env = "INFERMETER_METRIC_PREFIX", value_name = "PREFIX")]
    #[arg(value_parser = |text: &str| Naming::prefix(text).map_err(|error| error.to_string()))]
    pub(crate) metric_prefix: Option<Naming>,

    /// Publishes each quantity under one name only, not under vLLM's second one too.
    #[arg(long, env = "INFERMETER_NO_ALIASES")]
    pub(crate) no_aliases: bool,

    /// How the log on stderr is written.
    #[arg(long, env = "INFERMETER_LOG", value_name = "FORMAT", default_value = "text")]
    pub(crate) log: Log,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Log {
    Text,
    Json,
}

// === impl Page ===

impl Page {
    pub(crate) fn naming(&self) -> Naming {
        let naming = self.metric_prefix.clone().unwrap_or_default();
        if self.no_aliases { naming.without_aliases() } else { naming }
    }

    pub(crate) fn address(&self) -> String {
        match self.metrics_port {
            Some(port) => format!("127.0.0.1:{port}"),
            None => self.metrics_listen.clone(),
        }
    }

    /// The flag that said so.
    pub(crate) const fn key(&self) -> &'static str {
        if self.metrics_port.is_some() { "--metrics-port" } else { "--metrics-listen" }
    }

    /// A meter with the labels.
    pub(crate) fn meter(&self) -> Result<Meter, MeterError> {
        let labels = self.label.iter().chain(&self.labels);
        labels.fold(Meter::builder(), |meter, (key, value)| meter.label(key, value)).build()
    }
}
