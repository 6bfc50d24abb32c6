//! What there is to say of a family, and how the catalogue says it.

use super::label;

/// What a family's values do over time; the word after `# TYPE`.
///
/// ```
/// use infermeter::names::{Kind, TIME_IN_QUEUE_SECONDS};
///
/// assert_eq!(TIME_IN_QUEUE_SECONDS.kind, Kind::Histogram);
/// assert_eq!(Kind::Histogram.as_str(), "histogram");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// Only grows, from 0 at the start of the process.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts observations by size, with their sum and number.
    Histogram,
}

/// What one unit of a family's value is.
///
/// ```
/// use infermeter::names::{TIME_IN_QUEUE_SECONDS, Unit};
///
/// assert_eq!(TIME_IN_QUEUE_SECONDS.unit, Unit::Seconds);
/// assert_eq!(Unit::Seconds.as_str(), "seconds");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unit {
    /// Seconds.
    Seconds,
    /// Tokens of the model's own tokenizer.
    Tokens,
    /// HTTP requests.
    Requests,
    /// Response bodies.
    Bodies,
    /// Alternative answers to one request (the `n` of a request).
    Choices,
    /// Label values.
    Values,
    /// Observations of a histogram or readings of a source.
    Observations,
    /// Time series.
    Series,
    /// A part of a whole, from 0 to 1.
    Ratio,
    /// Blocks of the KV cache.
    Blocks,
    /// Bytes.
    Bytes,
    /// Times that something happened.
    Events,
    /// Open file descriptors.
    Descriptors,
    /// Threads of a process.
    Threads,
    /// GPUs.
    Devices,
    /// Watts.
    Watts,
    /// Joules.
    Joules,
    /// Degrees Celsius.
    Celsius,
    /// Times per second.
    Hertz,
    /// Yes (1) or no (0).
    Bool,
    /// None: the labels carry the information.
    Info,
}

/// When a family is on the page.
///
/// ```
/// use infermeter::names::{LORA_REQUESTS_INFO, Presence, REQUEST_TOTAL};
///
/// assert_eq!(REQUEST_TOTAL.presence, Presence::Always);
/// if let Presence::When(condition) = LORA_REQUESTS_INFO.presence {
///     println!("{}: {condition}", LORA_REQUESTS_INFO.name);
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// From the first scrape on, at 0 where nothing has happened yet.
    Always,
    /// Under a condition, which the text names.
    When(&'static str),
}

/// One metric family: everything about it but its values.
///
/// ```
/// use infermeter::names::{CATALOGUE, REQUEST_TOTAL};
///
/// assert_eq!(REQUEST_TOTAL.labels, ["model_name"]);
/// for family in CATALOGUE {
///     println!("{} ({}): {}", family.name, family.unit.as_str(), family.help);
/// }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct Family {
    /// The name, without the prefix where the family is [`prefixed`](Family::prefixed).
    pub name: &'static str,
    /// Whether the name gets the prefix of a [`Naming`](super::Naming).
    pub prefixed: bool,
    /// The name, without prefix, that vLLM uses for the same quantity, where it is another one.
    pub alias: Option<&'static str>,
    /// Counter, gauge or histogram.
    pub kind: Kind,
    /// What one unit of the value is.
    pub unit: Unit,
    /// One sentence, used as `# HELP`: what is measured, from when to when.
    pub help: &'static str,
    /// The label names, in the order in which they are rendered. Static labels come on top.
    pub labels: &'static [&'static str],
    /// The default upper bounds, without `+Inf`; `Some` for histograms only.
    pub buckets: Option<&'static [f64]>,
    /// When the family is on the page.
    pub presence: Presence,
}

// Families that are divided by each other carry the model alone, so that the division matches.
pub(super) const MODEL: &[&str] = &[label::MODEL_NAME];
pub(super) const STATE: &[&str] = &[label::MODEL_NAME, label::ENGINE];

// === impl Kind ===

impl Kind {
    /// The word after `# TYPE`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

// === impl Unit ===

impl Unit {
    /// The unit in lower case, such as `seconds`; `info` where the labels are all there is.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Seconds => "seconds",
            Self::Tokens => "tokens",
            Self::Requests => "requests",
            Self::Bodies => "bodies",
            Self::Choices => "choices",
            Self::Values => "values",
            Self::Observations => "observations",
            Self::Series => "series",
            Self::Ratio => "ratio",
            Self::Blocks => "blocks",
            Self::Bytes => "bytes",
            Self::Events => "events",
            Self::Descriptors => "descriptors",
            Self::Threads => "threads",
            Self::Devices => "devices",
            Self::Watts => "watts",
            Self::Joules => "joules",
            Self::Celsius => "celsius",
            Self::Hertz => "hertz",
            Self::Bool => "bool",
            Self::Info => "info",
        }
    }
}

// === impl Family ===

pub(super) const fn counter(
    name: &'static str,
    unit: Unit,
    labels: &'static [&'static str],
    help: &'static str,
) -> Family {
    Family {
        name,
        prefixed: true,
        alias: None,
        kind: Kind::Counter,
        unit,
        help,
        labels,
        buckets: None,
        presence: Presence::Always,
    }
}

pub(super) const fn gauge(
    name: &'static str,
    unit: Unit,
    labels: &'static [&'static str],
    help: &'static str,
) -> Family {
    let mut family = counter(name, unit, labels, help);
    family.kind = Kind::Gauge;
    family
}

pub(super) const fn histogram(
    name: &'static str,
    unit: Unit,
    buckets: &'static [f64],
    help: &'static str,
) -> Family {
    let mut family = counter(name, unit, MODEL, help);
    family.kind = Kind::Histogram;
    family.buckets = Some(buckets);
    family
}

impl Family {
    pub(super) const fn unprefixed(mut self) -> Self {
        self.prefixed = false;
        self
    }

    pub(super) const fn alias(mut self, name: &'static str) -> Self {
        self.alias = Some(name);
        self
    }

    pub(super) const fn labels(mut self, labels: &'static [&'static str]) -> Self {
        self.labels = labels;
        self
    }

    pub(super) const fn when(mut self, condition: &'static str) -> Self {
        self.presence = Presence::When(condition);
        self
    }
}
