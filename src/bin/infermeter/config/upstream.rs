//! One `[[upstream]]`.

use std::ops::Range;

use infermeter::{
    engines::EngineMetrics,
    proxy::{self, ProxyError},
};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::flaws::Found;
use crate::arguments::{EnginePid, Kind};

/// A service behind the proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Upstream {
    pub(crate) name: String,
    pub(crate) url: String,
    /// Empty where it is asked for them.
    pub(crate) models: Vec<String>,
    pub(crate) variant: Option<String>,
    pub(crate) engine: Kind,
    /// The page of the engine, where it is said.
    pub(crate) engine_metrics: Option<String>,
    pub(crate) engine_pid: Option<EnginePid>,
}

/// The same, and where it stands; what is missing is wrong, and was told.
#[derive(Debug, Default)]
pub(super) struct Read {
    pub(super) name: Option<Spanned<String>>,
    url: Option<Spanned<String>>,
    pub(super) models: Vec<Spanned<String>>,
    variant: Option<Spanned<String>>,
    engine: Option<Spanned<String>>,
    engine_metrics: Option<Spanned<String>>,
    engine_pid: Option<EnginePid>,
}

const KEYS: &str = "name, url, models, variant, engine, engine_metrics, engine_pid";

/// How long the name of a model may be, in bytes: as a label can have.
const LONGEST_MODEL: usize = 256;

// === impl Upstream ===

impl Upstream {
    /// What the proxy takes.
    pub(crate) fn build(&self) -> Result<proxy::Upstream, ProxyError> {
        let Self { name, url, models, variant, engine, .. } = self;
        let mut upstream = proxy::Upstream::new(name, url)?;
        upstream = models.iter().fold(upstream, proxy::Upstream::model);
        if let Some(kind) = engine.kind() {
            upstream = upstream.engine(kind);
        }
        match variant {
            Some(variant) => upstream.variant(variant),
            None => Ok(upstream),
        }
    }

    /// The engine whose page is read; `None` if none is.
    pub(crate) fn metrics(&self) -> Result<Option<EngineMetrics>, String> {
        let at = self.engine_metrics.as_deref().map(EngineMetrics::at).transpose();
        let at = at.map_err(|error| error.to_string())?;
        let engine = self.engine.metrics(at, Some(&self.url))?;
        Ok(engine.map(|engine| match self.models.first() {
            Some(model) => engine.model(model),
            None => engine,
        }))
    }
}

impl From<Read> for Upstream {
    /// NB: of one with which nothing is wrong.
    fn from(read: Read) -> Self {
        let Read { name, url, models, variant, engine, engine_metrics, engine_pid } = read;
        let text = |text: Option<Spanned<String>>| text.map(Spanned::into_inner);
        Self {
            name: text(name).unwrap_or_default(),
            url: text(url).unwrap_or_default(),
            models: models.into_iter().map(Spanned::into_inner).collect(),
            variant: text(variant),
            engine: text(engine).and_then(|word| Kind::of(&word)).unwrap_or_default(),
            engine_metrics: text(engine_metrics),
            engine_pid,
        }
    }
}

// === impl Read ===

impl Read {
    pub(super) fn new(table: &DeTable<'_>, place: Range<usize>, found: &mut Found<'_>) -> Self {
        let mut read = Self::default();
        for (key, value) in table {
            match &**key.get_ref() {
                "name" => read.name = string("name", value, found),
                "url" => read.url = string("url", value, found),
                "models" => read.models = models(value, found),
                "variant" => read.variant = string("variant", value, found),
                "engine" => read.engine = string("engine", value, found),
                "engine_metrics" => read.engine_metrics = string("engine_metrics", value, found),
                "engine_pid" => read.engine_pid = pid(value, found),
                other => {
                    let what = format!("upstream.{other}: it is not known; allowed are {KEYS}");
                    found.push(key.span(), what);
                }
            }
        }
        for key in ["name", "url"].into_iter().filter(|key| !table.contains_key(*key)) {
            found.push(place.clone(), format!("upstream.{key}: it is missing; it has to be there"));
        }
        read.check(found);
        read
    }

    /// Each by itself, so that all that is wrong is told.
    fn check(&self, found: &mut Found<'_>) {
        let any = || proxy::Upstream::new("any", "http://any");
        let named = |name: &str| proxy::Upstream::new(name, "http://any");
        let at = |url: &str| proxy::Upstream::new("any", url);
        let variant = |variant: &str| any()?.variant(variant);
        let engine = |word: &str| {
            let words: Vec<_> = Kind::words().collect();
            let wrong = || format!("{word:?} is not known; allowed are {}", words.join(", "));
            Kind::of(word).map(drop).ok_or_else(wrong)
        };
        let page = |url: &str| EngineMetrics::at(url).map(drop).map_err(|error| error.to_string());
        let mut check = |key: &str,
                         value: &Option<Spanned<String>>,
                         with: &dyn Fn(&str) -> Result<(), String>| {
            let Some(value) = value else { return };
            if let Err(error) = with(value.get_ref()) {
                found.push(value.span(), format!("upstream.{key}: {error}"));
            }
        };
        let of_proxy = |made: Result<proxy::Upstream, ProxyError>| {
            made.map(drop).map_err(|error| error.to_string())
        };
        check("name", &self.name, &|name| of_proxy(named(name)));
        check("url", &self.url, &|url| of_proxy(at(url)));
        check("variant", &self.variant, &|name| of_proxy(variant(name)));
        check("engine", &self.engine, &engine);
        check("engine_metrics", &self.engine_metrics, &page);
    }
}

fn string(
    key: &str,
    value: &Spanned<DeValue<'_>>,
    found: &mut Found<'_>,
) -> Option<Spanned<String>> {
    match value.get_ref() {
        DeValue::String(text) => Some(Spanned::new(value.span(), text.clone().into_owned())),
        other => {
            let what = format!(
                "upstream.{key}: it is of the type {}; allowed is a string",
                other.type_str()
            );
            found.push(value.span(), what);
            None
        }
    }
}

/// A number, or `auto`.
fn pid(value: &Spanned<DeValue<'_>>, found: &mut Found<'_>) -> Option<EnginePid> {
    let text = match value.get_ref() {
        DeValue::Integer(number) => number.as_str(),
        DeValue::String(text) => text,
        other => other.type_str(),
    };
    match text.parse() {
        Ok(pid) => Some(pid),
        Err(allowed) => {
            found.push(value.span(), format!("upstream.engine_pid: it is {text}; {allowed}"));
            None
        }
    }
}

/// The names of a list.
fn models(value: &Spanned<DeValue<'_>>, found: &mut Found<'_>) -> Vec<Spanned<String>> {
    const ALLOWED: &str = "allowed is a list of names, such as [\"tiny-words\"]; without the key the \
                           upstream is asked";
    let wrong = |what: String| format!("upstream.models: {what}; {ALLOWED}");
    let DeValue::Array(all) = value.get_ref() else {
        found
            .push(value.span(), wrong(format!("it is of the type {}", value.get_ref().type_str())));
        return Vec::new();
    };
    if all.is_empty() {
        found.push(value.span(), wrong("it is empty".to_owned()));
    }
    let mut models = Vec::new();
    for one in all {
        let what = match one.get_ref() {
            DeValue::String(name) if (1..=LONGEST_MODEL).contains(&name.len()) => {
                models.push(Spanned::new(one.span(), name.clone().into_owned()));
                continue;
            }
            DeValue::String(_) => format!("a name has 1 to {LONGEST_MODEL} bytes"),
            other => format!("a name is of the type {}", other.type_str()),
        };
        found.push(one.span(), wrong(what));
    }
    models
}
