//! The arguments of whoever reads the page of an engine.

use clap::{
    Args, ValueEnum,
    builder::{PossibleValuesParser, TypedValueParser},
};
use infermeter::engines::{EngineKind, EngineMetrics};

#[derive(Args, Debug)]
pub(crate) struct Engine {
    /// The page of the engine, if it is not /metrics of the upstream: http://HOST:PORT or
    /// https://HOST:PORT, with its path if that is not /metrics.
    #[arg(long, env = "INFERMETER_ENGINE_METRICS", value_name = "URL")]
    #[arg(value_parser = |url: &str| EngineMetrics::at(url).map_err(|error| error.to_string()))]
    pub(crate) engine_metrics: Option<EngineMetrics>,

    /// Which engine it is; of `none` no page is read.
    #[arg(long, env = "INFERMETER_ENGINE", value_name = "ENGINE", default_value = AUTO)]
    #[arg(value_parser = kind())]
    pub(crate) engine: Kind,

    /// What becomes of those families of its page that have no name of ours.
    #[arg(long, env = "INFERMETER_ENGINE_PAGE", value_name = "WHAT", default_value = "merge")]
    pub(crate) engine_page: EnginePage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// To be found out.
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

const AUTO: &str = "auto";
const NONE: &str = "none";

// === impl Engine ===

impl Engine {
    /// The engine at its URL, else at that of the upstream; `None` where no page is read.
    pub(crate) fn metrics(&self, upstream: Option<&str>) -> Result<Option<EngineMetrics>, String> {
        let at_upstream = || {
            let upstream = upstream.unwrap_or_default().trim_end_matches('/');
            EngineMetrics::at(&format!("{upstream}/metrics")).map_err(|error| error.to_string())
        };
        let engine = match (&self.engine, &self.engine_metrics) {
            (Kind::None, _) => return Ok(None),
            (_, Some(engine)) => engine.clone(),
            (_, None) => at_upstream()?,
        };
        let engine = engine.merge(self.is_merged());
        Ok(Some(match self.kind() {
            Some(kind) => engine.kind(kind),
            None => engine,
        }))
    }

    pub(crate) fn kind(&self) -> Option<EngineKind> {
        match self.engine {
            Kind::Known(kind) => Some(kind),
            Kind::Auto | Kind::None => None,
        }
    }

    pub(crate) fn is_merged(&self) -> bool {
        self.engine_page == EnginePage::Merge
    }
}

fn kind() -> impl TypedValueParser<Value = Kind> {
    let known = EngineKind::ALL.iter().map(|kind| kind.as_str());
    let words = [AUTO].into_iter().chain(known).chain([NONE]);
    PossibleValuesParser::new(words).map(|word| match &*word {
        NONE => Kind::None,
        word => word.parse().map_or(Kind::Auto, Kind::Known),
    })
}
