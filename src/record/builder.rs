//! How a meter is set up.

use std::{collections::HashMap, error, fmt};

use super::{
    meter::{Meter, Shared},
    model::{MOST_MODELS, Models},
    series::Shapes,
    tenant::Tenants,
};
use crate::names::{self, Buckets, BucketsError, Family, Kind, LabelError, StaticLabel};

/// How many model labels are told apart unless [`MeterBuilder::max_models`] says otherwise.
const MAX_MODELS: u16 = 64;

/// The same for tenants.
const MAX_TENANTS: u16 = 64;

/// Sets up a [`Meter`]: buckets, static labels, caps.
///
/// ```
/// use infermeter::{Meter, names};
///
/// let meter = Meter::builder()
///     .label("region", "eu")
///     .buckets(&names::TIME_IN_QUEUE_SECONDS, [0.1, 1.0, 10.0])
///     .build()
///     .unwrap();
/// assert_eq!(meter.labels()[0].value(), "eu");
/// ```
#[derive(Clone, Debug)]
pub struct MeterBuilder {
    labels: Vec<StaticLabel>,
    buckets: HashMap<&'static str, Buckets>,
    max_models: u16,
    max_tenants: u16,
    error: Option<MeterError>,
}

/// A meter that cannot be; the message says what is wrong and what is allowed.
///
/// ```
/// use infermeter::{Meter, record::MeterError};
///
/// let error = Meter::builder().max_models(0).build().unwrap_err();
/// assert_eq!(error, MeterError::MaxModels(0));
/// assert!(error.to_string().starts_with("max_models is 0; allowed are 1 to"));
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum MeterError {
    /// A static label that cannot be used.
    Label(LabelError),
    /// The same static label twice.
    LabelTwice(String),
    /// Buckets that cannot be used, and for which family.
    Buckets(&'static str, BucketsError),
    /// Buckets for a family that is no histogram.
    NotAHistogram(&'static str),
    /// A number of models that cannot be.
    MaxModels(u16),
    /// A number of tenants that cannot be.
    MaxTenants(u16),
    /// A static label that upstreams have.
    UpstreamLabel(String),
}

// === impl MeterBuilder ===

impl Default for MeterBuilder {
    fn default() -> Self {
        Self {
            labels: Vec::new(),
            buckets: HashMap::new(),
            max_models: MAX_MODELS,
            max_tenants: MAX_TENANTS,
            error: None,
        }
    }
}

impl MeterBuilder {
    /// Puts a label on every series. [`StaticLabel::new`] says which names are refused.
    #[must_use]
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        match StaticLabel::new(key, value) {
            Ok(label) if self.labels.iter().any(|known| known.key() == label.key()) => {
                self.fail(MeterError::LabelTwice(label.key().to_owned()))
            }
            Ok(label) => {
                self.labels.push(label);
                self
            }
            Err(error) => self.fail(MeterError::Label(error)),
        }
    }

    /// Sets the buckets of a histogram family, such as
    /// [`names::TIME_IN_QUEUE_SECONDS`](crate::names::TIME_IN_QUEUE_SECONDS).
    #[must_use]
    pub fn buckets(
        mut self,
        family: &'static Family,
        bounds: impl IntoIterator<Item = f64>,
    ) -> Self {
        if family.kind != Kind::Histogram {
            return self.fail(MeterError::NotAHistogram(family.name));
        }
        match Buckets::new(bounds) {
            Ok(buckets) => {
                self.buckets.insert(family.name, buckets);
                self
            }
            Err(error) => self.fail(MeterError::Buckets(family.name, error)),
        }
    }

    /// Sets how long a context may be, which is where the buckets of token counts end.
    ///
    /// Default: 131072. Buckets that are set for a family stay.
    #[must_use]
    pub fn context_length(mut self, tokens: u64) -> Self {
        for family in [
            &names::REQUEST_PROMPT_TOKENS,
            &names::REQUEST_GENERATION_TOKENS,
            &names::REQUEST_MAX_NUM_GENERATION_TOKENS,
            &names::REQUEST_PARAMS_MAX_TOKENS,
        ] {
            self.buckets.entry(family.name).or_insert_with(|| Buckets::tokens(tokens));
        }
        self
    }

    /// How many model labels are told apart, of each [upstream](Meter::upstream) where there are
    /// some; those beyond are `other` and counted in `infermeter_label_overflow_total`. Default: 64.
    #[must_use]
    pub fn max_models(mut self, max: u16) -> Self {
        if max == 0 || max > MOST_MODELS {
            return self.fail(MeterError::MaxModels(max));
        }
        self.max_models = max;
        self
    }

    /// How many tenants are told apart; those beyond are `other` and counted in
    /// `infermeter_label_overflow_total`. Default: 64.
    #[must_use]
    pub fn max_tenants(mut self, max: u16) -> Self {
        // Places are kept for `other` and `none`.
        if max == 0 || max > u16::MAX - 2 {
            return self.fail(MeterError::MaxTenants(max));
        }
        self.max_tenants = max;
        self
    }

    /// Makes the meter.
    ///
    /// # Errors
    ///
    /// The first thing that could not be used.
    pub fn build(self) -> Result<Meter, MeterError> {
        match self.error {
            Some(error) => Err(error),
            None => Ok(self.meter()),
        }
    }

    pub(super) fn meter(self) -> Meter {
        let Self { labels, buckets, max_models, max_tenants, error: _ } = self;
        let models = Models::new(max_models, Shapes::new(&buckets));
        Meter::of(Shared::new(models, Tenants::new(max_tenants), labels))
    }

    fn fail(mut self, error: MeterError) -> Self {
        self.error.get_or_insert(error);
        self
    }
}

// === impl MeterError ===

impl fmt::Display for MeterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Label(error) => error.fmt(f),
            Self::LabelTwice(key) => {
                write!(f, "the static label {key:?} is given twice; allowed is once")
            }
            Self::Buckets(family, error) => write!(f, "buckets of {family}: {error}"),
            Self::MaxModels(max) => {
                write!(f, "max_models is {max}; allowed are 1 to {MOST_MODELS}")
            }
            Self::MaxTenants(max) => {
                write!(f, "max_tenants is {max}; allowed are 1 to {}", u16::MAX - 2)
            }
            Self::UpstreamLabel(key) => {
                let taken = names::UPSTREAM_LABELS.join(" and ");
                write!(
                    f,
                    "the static label {key:?} cannot be beside several upstreams, which have a \
                     label of that name; allowed is any name but {taken}"
                )
            }
            Self::NotAHistogram(family) => write!(
                f,
                "{family} has no buckets to set; allowed are the histogram families of \
                 infermeter::names"
            ),
        }
    }
}

impl error::Error for MeterError {}
