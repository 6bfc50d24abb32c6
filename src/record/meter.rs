//! The meter: an instance that holds every number, and how it is set up.

use std::{
    collections::HashMap,
    error, fmt,
    sync::{
        Arc, OnceLock, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use super::{
    Exporter,
    collect::{Collect, Readings},
    ends::Ends,
    model::{ModelId, Models},
    series::{Endpoint, Shapes},
    view,
};
use crate::{
    names::{self, Buckets, BucketsError, Family, Kind, LabelError, StaticLabel},
    outcome::Unread,
};

/// The label of requests that no model name is known for.
const DEFAULT_MODEL: &str = "default";

/// How many model labels are told apart unless [`MeterBuilder::max_models`] says otherwise.
const MAX_MODELS: u16 = 64;

/// Holds what is measured.
///
/// Cheap to clone; all clones share their numbers. Nothing of it is global, so that several meters
/// can live side by side, one in each test for instance.
#[derive(Clone, Debug)]
pub struct Meter {
    shared: Arc<Shared>,
    model: Option<ModelId>,
}

/// Sets up a [`Meter`]: buckets, static labels, caps.
#[derive(Clone, Debug)]
pub struct MeterBuilder {
    labels: Vec<StaticLabel>,
    buckets: HashMap<&'static str, Buckets>,
    max_models: u16,
    error: Option<MeterError>,
}

/// A meter that cannot be; the message says what is wrong and what is allowed.
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
}

/// What all clones of a meter share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(super) models: Models,
    pub(super) endpoints: RwLock<Vec<Arc<Endpoint>>>,
    pub(super) ends: Ends,
    pub(super) unread: [AtomicU64; Unread::ALL.len()],
    pub(super) labels: Arc<[StaticLabel]>,
    default_model: OnceLock<ModelId>,
}

// === impl Meter ===

impl Default for Meter {
    fn default() -> Self {
        Self::new()
    }
}

impl Meter {
    /// A meter with the default buckets and no static labels.
    pub fn new() -> Self {
        MeterBuilder::default().meter()
    }

    /// Sets one up.
    pub fn builder() -> MeterBuilder {
        MeterBuilder::default()
    }

    /// The same numbers, with `name` as the model label of requests that say nothing else: the
    /// normal case in a server of one model. Its series exist from here on, at 0.
    ///
    /// Without it, requests are counted under `default`.
    #[must_use]
    pub fn model(&self, name: &str) -> Self {
        let model = self.shared.models.id(name);
        self.shared.default_model.get_or_init(|| model);
        Self { shared: Arc::clone(&self.shared), model: Some(model) }
    }

    /// The model named first, if any was.
    pub fn model_name(&self) -> Option<Arc<str>> {
        let model = self.shared.default_model.get()?;
        self.shared.models.get(*model).map(|series| Arc::clone(&series.label))
    }

    /// Gives an exporter the numbers to publish.
    pub fn attach(&self, exporter: &(impl Exporter + ?Sized)) {
        exporter.attach(Arc::new(self.clone()));
    }

    /// The labels on every series.
    pub fn labels(&self) -> &[StaticLabel] {
        &self.shared.labels
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The label of requests that say nothing else; known from the first call on.
    pub(crate) fn default_model(&self) -> ModelId {
        self.model.unwrap_or_else(|| self.shared.models.id(DEFAULT_MODEL))
    }

    /// The place of a model label, within the cap.
    pub(crate) fn model_id(&self, name: &str) -> ModelId {
        self.shared.models.id(name)
    }

    /// The series of an endpoint; they exist from here on, at 0.
    pub(crate) fn endpoint(&self, label: &str) -> Arc<Endpoint> {
        let mut all = self.shared.endpoints.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all.iter().find(|endpoint| &*endpoint.label == label) {
            return Arc::clone(known);
        }
        // NB: one for each configured name, never for what a client sent.
        let id = u16::try_from(all.len()).unwrap_or(u16::MAX);
        let endpoint = Arc::new(Endpoint::new(label, id, self.shared.models.places()));
        all.push(Arc::clone(&endpoint));
        endpoint
    }
}

impl Collect for Meter {
    fn collect(&self) -> Readings {
        view::take(&self.shared)
    }
}

// === impl MeterBuilder ===

impl Default for MeterBuilder {
    fn default() -> Self {
        Self { labels: Vec::new(), buckets: HashMap::new(), max_models: MAX_MODELS, error: None }
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

    /// How many model labels are told apart; those beyond are `other` and counted in
    /// `infermeter_label_overflow_total`. Default: 64.
    #[must_use]
    pub fn max_models(mut self, max: u16) -> Self {
        // One place is kept for `other`.
        if max == 0 || max == u16::MAX {
            return self.fail(MeterError::MaxModels(max));
        }
        self.max_models = max;
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

    fn meter(self) -> Meter {
        let Self { labels, buckets, max_models, error: _ } = self;
        let shared = Shared {
            models: Models::new(max_models, Shapes::new(&buckets)),
            endpoints: RwLock::default(),
            ends: Ends::default(),
            unread: Default::default(),
            labels: labels.into(),
            default_model: OnceLock::new(),
        };
        Meter { shared: Arc::new(shared), model: None }
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
                write!(f, "max_models is {max}; allowed are 1 to {}", u16::MAX - 1)
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

// === impl Shared ===

impl Shared {
    pub(super) fn unread(&self, reason: Unread) {
        self.unread[reason as usize].fetch_add(1, Relaxed);
    }
}
