//! The meter: an instance that holds every number.

use std::sync::{
    Arc, OnceLock, PoisonError, RwLock,
    atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

use tokio::time::Instant;

use super::{
    Exporter, MeterBuilder, MeterError,
    collect::{Collect, Readings},
    ends::Ends,
    kept::{Conditions, Kept, KeptKind, KeptRequest},
    model::{ModelId, Models},
    moves::Moves,
    series::{Endpoint, Shapes},
    source::{Source, SourceStatus, Sources, Told},
    tenant::{TenantId, Tenants},
    upstream::{Upstream, Upstreams},
    view,
};
use crate::{
    names::{StaticLabel, UPSTREAM_LABELS},
    outcome::{Dropped, Unread},
};

/// The label of requests that no model name is known for.
const DEFAULT_MODEL: &str = "default";

/// Holds what is measured.
///
/// Cheap to clone; all clones share their numbers. Nothing of it is global, so that several meters
/// can live side by side, one in each test for instance.
///
/// ```
/// use infermeter::{InferenceLayer, Meter, names, record::{Collect, Value}};
///
/// let meter = Meter::new().model("tiny-words");
/// let layer = InferenceLayer::new(meter.clone());
///
/// assert_eq!(meter.collect().series(&names::REQUEST_TOTAL)[0].value, Value::Counter(0));
/// ```
#[derive(Clone, Debug)]
pub struct Meter {
    shared: Arc<Shared>,
    pub(super) upstream: Arc<Upstream>,
    model: Option<ModelId>,
}

/// What all clones of a meter share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(super) models: Models,
    pub(super) upstreams: Upstreams,
    pub(super) endpoints: RwLock<Vec<Arc<Endpoint>>>,
    /// In the queue, and after their start.
    pub(super) moved_in_queue: Moves,
    pub(super) moved_in_prefill: Moves,
    pub(super) ends: Ends,
    pub(super) unread: [AtomicU64; Unread::ALL.len()],
    pub(super) labels: Arc<[StaticLabel]>,
    pub(super) tenants: Tenants,
    pub(super) sources: Sources,
    /// Whether admission is on.
    pub(super) has_admission: AtomicBool,
    /// Once somebody has asked for requests that have ended.
    pub(super) kept: OnceLock<Kept>,
    default_model: OnceLock<ModelId>,
    is_disabled: bool,
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

    /// A meter that measures nothing, for a service whose metrics are off: layers pass every
    /// request by, handles do nothing, sources are never sampled, a view of it is empty.
    pub fn disabled() -> Self {
        // One, which `/readyz` names.
        let models = Models::new(1, Shapes::default());
        let mut shared = Shared::new(models, Tenants::new(0), Vec::new());
        shared.is_disabled = true;
        Self::of(shared)
    }

    pub(super) fn of(shared: Shared) -> Self {
        let upstream = Arc::clone(shared.upstreams.none());
        Self { shared: Arc::new(shared), upstream, model: None }
    }

    /// The same numbers, with `name` as the model label of requests that say nothing else: the
    /// normal case in a server of one model. Its series exist from here on, at 0.
    ///
    /// Without it, requests are counted under `default`.
    #[must_use]
    pub fn model(&self, name: &str) -> Self {
        let model = self.model_id(name);
        self.shared.default_model.get_or_init(|| model);
        Self { model: Some(model), ..self.clone() }
    }

    /// The same numbers, of one of several upstreams: what is measured through this handle carries
    /// the labels `upstream` and `variant`, which is the requests of its layers, the models that it
    /// names, the engines that tell it and the sources that it watches. It has no model yet.
    ///
    /// From the first call on, every series of a family that has `model_name` carries both labels,
    /// and is `none` in what belongs to no upstream, or to one without a variant. So call it before
    /// there are requests: it makes other series of those that were there.
    ///
    /// Both are fixed words, never what a client sent, and may be any text; an empty one is `none`.
    /// The same two are the same upstream; those beyond 62 are `other` and counted in
    /// `infermeter_label_overflow_total`. Static labels of these names make room for them;
    /// [`has_room_for_upstreams`](Self::has_room_for_upstreams) tells of that in time.
    ///
    /// ```
    /// use infermeter::{InferenceLayer, Meter};
    ///
    /// let meter = Meter::new();
    /// let thinking = meter.upstream("qwen-a", Some("thinking")).model("qwen");
    /// let instruct = meter.upstream("qwen-b", Some("instruct")).model("qwen");
    /// let layers = [thinking, instruct].map(InferenceLayer::new);
    /// ```
    #[must_use]
    pub fn upstream(&self, name: &str, variant: Option<&str>) -> Self {
        let upstream = self.shared.upstreams.named(name, variant);
        Self { shared: Arc::clone(&self.shared), upstream, model: None }
    }

    /// Whether upstreams can have their labels: no static label has one of their names.
    ///
    /// # Errors
    ///
    /// If one has, which would vanish beside them.
    pub fn has_room_for_upstreams(&self) -> Result<(), MeterError> {
        let taken = self.labels().iter().find(|label| UPSTREAM_LABELS.contains(&label.key()));
        match taken {
            Some(label) => Err(MeterError::UpstreamLabel(label.key().to_owned())),
            None => Ok(()),
        }
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

    /// Has a source sampled from here on, by the thread of the exporter. A source of the same
    /// name makes room for it.
    ///
    /// `name` is the label of `infermeter_source_up` and `infermeter_source_age_seconds`: a fixed
    /// word, never what a client sent. That of an [upstream](Self::upstream) stands behind it:
    /// `engine` of the upstream `qwen-a` is `engine:qwen-a`.
    ///
    /// ```
    /// use infermeter::{Meter, names, record::{Collect, Readings, Value}};
    ///
    /// let meter = Meter::new().model("tiny-words");
    /// meter.watch("scheduler", |out: &mut Readings| {
    ///     let waiting = 3.0; // asked of the scheduler
    ///     let labels = ["tiny-words".into(), "0".into()];
    ///     out.push(&names::NUM_REQUESTS_WAITING, labels, Value::Gauge(waiting));
    ///     Ok(())
    /// });
    /// meter.sample(); // an exporter does it
    /// assert_eq!(meter.sources()[0].up, Some(true));
    /// ```
    pub fn watch(&self, name: &str, source: impl Source) {
        if !self.is_disabled() {
            self.shared.sources.watch(name, &self.upstream, source);
        }
    }

    /// How each source does.
    pub fn sources(&self) -> Vec<SourceStatus> {
        self.shared.sources.status()
    }

    /// Keeps requests that end from here on, for [`kept_requests`](Self::kept_requests): 1280 at most,
    /// each with what engine and GPUs stood at, which is a few kilobytes, and more with many models or
    /// GPUs. An exporter of pages [does this](crate::exporter).
    pub fn keep_requests(&self) {
        self.shared.kept.get_or_init(Kept::new);
    }

    /// Requests that have ended, of one kind: the last first, or those with the most. None, unless
    /// they are [kept](Self::keep_requests).
    ///
    /// ```
    /// use infermeter::{InferenceLayer, Meter, record::KeptKind};
    /// use tower::{Layer, ServiceExt, service_fn};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let meter = Meter::new();
    /// meter.keep_requests();
    /// let service = InferenceLayer::new(meter.clone()).layer(service_fn(async |_| {
    ///     let answer = http::Response::builder().status(503);
    ///     Ok::<_, std::convert::Infallible>(answer.body(String::new()).unwrap())
    /// }));
    /// let request = http::Request::post("/v1/completions").header("x-request-id", "a1");
    /// service.oneshot(request.body(()).unwrap()).await.unwrap();
    ///
    /// let failed = meter.kept_requests(KeptKind::Failed);
    /// assert_eq!(failed[0].ended.request_id.as_deref(), Some("a1"));
    /// # }
    /// ```
    pub fn kept_requests(&self, kind: KeptKind) -> Vec<Arc<KeptRequest>> {
        self.shared.kept.get().map_or_else(Vec::new, |kept| kept.of(kind))
    }

    /// Tells those that are kept from here on what engine and GPUs stand at; an exporter does so
    /// once a second. It is also by this that time goes by for them.
    pub fn conditions(&self, conditions: Conditions) {
        if let Some(kept) = self.shared.kept.get() {
            kept.go_on(conditions);
        }
    }

    pub(crate) fn keeps_requests(&self) -> bool {
        self.shared.kept.get().is_some()
    }

    /// Whether it measures nothing.
    pub fn is_disabled(&self) -> bool {
        self.shared.is_disabled
    }

    /// Somebody who tells, read with every view: one who does already, or a new one.
    pub(crate) fn told_by<T: Told>(
        &self,
        is_it: impl Fn(&T) -> bool,
        new: impl FnOnce() -> T,
    ) -> Arc<T> {
        self.shared.sources.told_by(&self.upstream, is_it, new)
    }

    /// A reading cannot be published.
    pub(crate) fn dropped(&self, reason: Dropped) {
        self.shared.sources.dropped(reason);
    }

    /// An engine has gone one step further.
    pub(crate) fn iteration(&self, model: ModelId, tokens: u64) {
        if let Some(series) = self.shared.models.get(model) {
            series.iteration.record(tokens);
            if tokens > 0 {
                series.pulse.sign(Instant::now());
            }
        }
    }

    /// Admission is on, and lets so many run.
    pub(crate) fn admits(&self, limit: u64) {
        self.shared.has_admission.store(true, Relaxed);
        if let Some(series) = self.shared.models.get(self.default_model()) {
            series.running_limit.store(limit.saturating_add(1), Relaxed);
        }
    }

    /// The place of a tenant, within the cap.
    pub(crate) fn tenant_id(&self, name: Option<&str>) -> TenantId {
        self.shared.tenants.id(name)
    }

    pub(crate) fn model_label(&self, model: ModelId) -> Arc<str> {
        self.shared.model_label(model)
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The label of requests that say nothing else; known from the first call on.
    pub(crate) fn default_model(&self) -> ModelId {
        self.model.unwrap_or_else(|| self.model_id(DEFAULT_MODEL))
    }

    /// The place of a model label, within the cap.
    pub(crate) fn model_id(&self, name: &str) -> ModelId {
        self.shared.models.id(&self.upstream, name)
    }

    /// The series of an endpoint; they exist from here on, at 0.
    pub(crate) fn endpoint(&self, label: &str) -> Arc<Endpoint> {
        let mut all = self.shared.endpoints.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all.iter().find(|endpoint| &*endpoint.label == label) {
            return Arc::clone(known);
        }
        // NB: one for each configured name, never for what a client sent.
        let id = u16::try_from(all.len()).unwrap_or(u16::MAX);
        let endpoint = Arc::new(Endpoint::new(label, id, self.shared.models.row()));
        all.push(Arc::clone(&endpoint));
        endpoint
    }
}

impl Collect for Meter {
    fn collect(&self) -> Readings {
        if self.is_disabled() { Readings::default() } else { view::take(&self.shared) }
    }

    fn sample(&self) {
        self.shared.sources.sample();
    }
}

// === impl Shared ===

impl Shared {
    pub(super) fn new(models: Models, tenants: Tenants, labels: Vec<StaticLabel>) -> Self {
        Self {
            models,
            upstreams: Upstreams::default(),
            endpoints: RwLock::default(),
            moved_in_queue: Moves::default(),
            moved_in_prefill: Moves::default(),
            ends: Ends::default(),
            unread: Default::default(),
            labels: labels.into(),
            tenants,
            sources: Sources::default(),
            has_admission: AtomicBool::new(false),
            kept: OnceLock::new(),
            default_model: OnceLock::new(),
            is_disabled: false,
        }
    }

    pub(super) fn model_label(&self, model: ModelId) -> Arc<str> {
        let series = self.models.get(model);
        series.map_or_else(|| DEFAULT_MODEL.into(), |series| Arc::clone(&series.label))
    }

    pub(super) fn endpoint_label(&self, id: u16) -> Arc<str> {
        let all = self.endpoints.read().unwrap_or_else(PoisonError::into_inner);
        all.get(usize::from(id)).map_or_else(|| "other".into(), |known| Arc::clone(&known.label))
    }

    pub(super) fn unread(&self, reason: Unread) {
        self.unread[reason as usize].fetch_add(1, Relaxed);
    }
}
