//! How a layer is set up.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use http::request::Parts;
use tower::Layer;

use super::{Endpoint, InferenceService, endpoint::Endpoints};
use crate::record::{Ended, Meter, ModelId, OnEnd};

/// Measures the requests that pass through. See the [module docs](crate::layer).
///
/// ```
/// use axum::{Router, routing::post};
/// use infermeter::{InferenceLayer, Meter};
///
/// let meter = Meter::new().model("tiny-words");
/// let app: Router = Router::new()
///     .route("/v1/completions", post(|| async { "three small words" }))
///     .layer(InferenceLayer::new(meter));
/// ```
#[derive(Clone, Debug)]
pub struct InferenceLayer {
    pub(super) config: Arc<Config>,
}

/// What marks the end of the queue.
///
/// ```
/// use infermeter::{InferenceLayer, Meter, Start};
///
/// assert_eq!(Start::default(), Start::Call);
/// let layer = InferenceLayer::new(Meter::new()).start(Start::Reported);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Start {
    /// The wrapped service becomes ready and is called.
    #[default]
    Call,
    /// The service says so: in the queue until the first of
    /// [`RequestMeter::started`](crate::RequestMeter::started), a
    /// [`StartedLayer`](super::StartedLayer), the first content of a stream. A request that ends
    /// without any has ended in the queue.
    Reported,
    /// The engine tells in its answer how long a request has waited, as some do: for a gateway in
    /// front of it. Until its first content a request counts as waiting; its queue time and what
    /// follows from it are recorded when it ends, and not at all where the engine did not tell, or
    /// told of a longer wait than there was.
    Told,
}

/// What every request needs; shared by all clones of a service.
#[derive(Clone)]
pub(super) struct Config {
    pub(super) meter: Meter,
    /// Known from the first use on: a label that is never used has no series.
    default_model: OnceLock<ModelId>,
    pub(super) endpoints: Endpoints,
    pub(super) start: Start,
    pub(super) model_from: Option<LabelFrom>,
    pub(super) tenant_from: Option<LabelFrom>,
    pub(super) on_end: Arc<[OnEnd]>,
    /// A request has to be asked what it says of itself.
    pub(super) asks_requests: bool,
}

pub(super) type LabelFrom = Arc<dyn Fn(&Parts) -> Option<String> + Send + Sync>;

// === impl InferenceLayer ===

impl InferenceLayer {
    /// Measures into `meter`; the queue ends at [`Start::Call`].
    pub fn new(meter: Meter) -> Self {
        let config = Config {
            default_model: OnceLock::new(),
            endpoints: Endpoints::new(&meter),
            meter,
            start: Start::default(),
            model_from: None,
            tenant_from: None,
            on_end: Arc::default(),
            asks_requests: false,
        };
        Self { config: Arc::new(config) }
    }

    /// Chooses what marks the end of the queue.
    #[must_use]
    pub fn start(self, start: Start) -> Self {
        self.with(|config| config.start = start)
    }

    /// Measures POST requests to one more path, or reads a known path in another way.
    ///
    /// The path is the whole one, as the client sends it; it has no wildcards. Given twice, the
    /// last one counts.
    #[must_use]
    pub fn endpoint(self, path: &str, endpoint: Endpoint) -> Self {
        self.with(|config| config.endpoints.add(path, &endpoint, &config.meter))
    }

    /// Measures every POST, for servers with routes of their own: what is not known otherwise has
    /// the `endpoint` label `other` and is read as OpenAI answers are.
    #[must_use]
    pub fn all(self) -> Self {
        self.with(|config| config.endpoints.add_other(&config.meter))
    }

    /// Takes the model label from the request head; `None` means the meter's own.
    ///
    /// The label is bounded, see
    /// [`MeterBuilder::max_models`](crate::record::MeterBuilder::max_models), but a client can
    /// still fill the places: look the name up among those you serve. A panic costs the label only.
    #[must_use]
    pub fn model_from(
        self,
        model: impl Fn(&Parts) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        self.with(|config| config.model_from = Some(Arc::new(model)))
    }

    /// Counts requests and tokens by tenant too, in families of their own; who it is comes from the
    /// request head, and `None` or an empty text means nobody: `none`.
    ///
    /// Nothing else that a client sends becomes a label, so take only what is trusted: a header
    /// that your gateway sets, and strips where a client did. The label is bounded, see
    /// [`MeterBuilder::max_tenants`](crate::record::MeterBuilder::max_tenants). A panic costs the
    /// label only.
    ///
    /// ```
    /// use infermeter::{InferenceLayer, Meter};
    ///
    /// let layer = InferenceLayer::new(Meter::new()).tenant_from(|head| {
    ///     Some(head.headers.get("x-tenant")?.to_str().ok()?.to_owned())
    /// });
    /// ```
    #[must_use]
    pub fn tenant_from(
        self,
        tenant: impl Fn(&Parts) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        self.with(|config| config.tenant_from = Some(Arc::new(tenant)))
    }

    /// Is told of each measured request once it has ended and was counted, however it ended: for a
    /// log, or a bill. Given twice, both are told.
    ///
    /// It is called where the request ends, often while its body is dropped, so it must not block:
    /// what takes long belongs behind a channel. A panic in it costs nothing but its own work.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use infermeter::{InferenceLayer, Meter, record::Ended};
    ///
    /// let layer = InferenceLayer::new(Meter::new()).on_end(|ended: &Ended| {
    ///     if ended.duration > Duration::from_secs(10) {
    ///         let id = ended.request_id.as_deref().unwrap_or("no id");
    ///         eprintln!("{id}: {:?} for {:?} tokens", ended.duration, ended.usage.completion);
    ///     }
    /// });
    /// ```
    #[must_use]
    pub fn on_end(self, on_end: impl Fn(&Ended) + Send + Sync + 'static) -> Self {
        let on_end: OnEnd = Arc::new(on_end);
        self.with(|config| {
            config.on_end = config.on_end.iter().cloned().chain([on_end]).collect();
        })
    }

    fn with(mut self, change: impl FnOnce(&mut Config)) -> Self {
        // A clone that was made before keeps its own settings.
        let config = Arc::make_mut(&mut self.config);
        change(config);
        let Config { model_from, tenant_from, on_end, .. } = config;
        config.asks_requests = model_from.is_some() || tenant_from.is_some() || !on_end.is_empty();
        self
    }
}

impl<S> Layer<S> for InferenceLayer {
    type Service = InferenceService<S>;

    fn layer(&self, inner: S) -> InferenceService<S> {
        if self.config.model_from.is_none() {
            self.config.default_model();
        }
        InferenceService::new(inner, Arc::clone(&self.config))
    }
}

// === impl Config ===

impl Config {
    /// The label of requests that say nothing else.
    #[inline]
    pub(super) fn default_model(&self) -> ModelId {
        *self.default_model.get_or_init(|| self.meter.default_model())
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config").field("start", &self.start).finish_non_exhaustive()
    }
}
