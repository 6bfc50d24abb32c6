//! The arguments of whoever reads the page of an engine.

use std::ffi::OsStr;

use clap::{
    Args, ValueEnum,
    builder::{PossibleValuesParser, TypedValueParser},
    error::ErrorKind,
};
use infermeter::engines::{EngineKind, EngineMetrics};

#[derive(Args, Debug)]
pub(crate) struct Engine {
    /// The page of the engine, if it is not /metrics of the upstream: http://HOST:PORT or
    /// https://HOST:PORT, with its path if that is not /metrics.
    #[arg(long, env = "INFERMETER_ENGINE_METRICS", value_name = "URL")]
    #[arg(value_parser = At)]
    pub(crate) engine_metrics: Option<EngineMetrics>,

    /// Which engine it is; of `none` no page is read.
    #[arg(long, env = "INFERMETER_ENGINE", value_name = "ENGINE", default_value = AUTO)]
    #[arg(value_parser = kind())]
    pub(crate) engine: Kind,

    /// What becomes of those families of its page that have no name of ours.
    #[arg(long, env = "INFERMETER_ENGINE_PAGE", value_name = "WHAT", default_value = "merge")]
    pub(crate) engine_page: EnginePage,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Kind {
    /// To be found out.
    #[default]
    Auto,
    Known(EngineKind),
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum EnginePage {
    /// They stand on the page.
    Merge,
    /// They do not.
    Off,
}

/// Reads the URL of an engine.
#[derive(Clone, Debug)]
struct At;

const AUTO: &str = "auto";
const NONE: &str = "none";

// === impl Engine ===

impl Engine {
    /// The engine at its URL, else at that of the upstream; `None` where no page is read.
    pub(crate) fn metrics(&self, upstream: Option<&str>) -> Result<Option<EngineMetrics>, String> {
        self.engine.metrics(self.engine_metrics.clone(), upstream)
    }

    pub(crate) fn kind(&self) -> Option<EngineKind> {
        self.engine.kind()
    }

    pub(crate) fn is_merged(&self) -> bool {
        self.engine_page == EnginePage::Merge
    }
}

// === impl Kind ===

impl Kind {
    /// Every word for one.
    pub(crate) fn words() -> impl Iterator<Item = &'static str> {
        let known = EngineKind::ALL.iter().map(|kind| kind.as_str());
        [AUTO].into_iter().chain(known).chain([NONE])
    }

    /// `None` of a word that is none.
    pub(crate) fn of(word: &str) -> Option<Self> {
        match word {
            AUTO => Some(Self::Auto),
            NONE => Some(Self::None),
            word => word.parse().ok().map(Self::Known),
        }
    }

    /// The engine at this URL, else at that of the upstream; `None` where no page is read.
    pub(crate) fn metrics(
        self,
        at: Option<EngineMetrics>,
        upstream: Option<&str>,
    ) -> Result<Option<EngineMetrics>, String> {
        if self == Self::None {
            return Ok(None);
        }
        // Where nobody has said that there is a page, there need be none.
        let is_guess = self == Self::Auto && at.is_none();
        let at_upstream = || {
            let upstream = upstream.unwrap_or_default().trim_end_matches('/');
            EngineMetrics::at(&format!("{upstream}/metrics")).map_err(|error| error.to_string())
        };
        let engine = at.map_or_else(at_upstream, Ok)?.optional(is_guess);
        Ok(Some(match self.kind() {
            Some(kind) => engine.kind(kind),
            None => engine,
        }))
    }

    pub(crate) fn kind(self) -> Option<EngineKind> {
        match self {
            Self::Known(kind) => Some(kind),
            Self::Auto | Self::None => None,
        }
    }
}

// === impl At ===

impl TypedValueParser for At {
    type Value = EngineMetrics;

    /// NB: a parser of another kind would have its error repeat the value, password and all.
    fn parse_ref(
        &self,
        command: &clap::Command,
        _argument: Option<&clap::Arg>,
        url: &OsStr,
    ) -> Result<EngineMetrics, clap::Error> {
        EngineMetrics::at(&url.to_string_lossy()).map_err(|error| {
            clap::Error::raw(ErrorKind::ValueValidation, format!("--engine-metrics: {error}\n"))
                .with_cmd(command)
        })
    }
}

fn kind() -> impl TypedValueParser<Value = Kind> {
    // NB: no other word comes through.
    PossibleValuesParser::new(Kind::words()).map(|word| Kind::of(&word).unwrap_or_default())
}
