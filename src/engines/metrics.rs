//! An engine that is asked now and then, and what it said last.

use std::{
    error, fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep};

use super::{
    EngineKind, Models, Page,
    drift::Drift,
    fetch::{self, Client, FetchError},
    kind::{ALL_HISTOGRAMS, Asked},
    told::{Told, is_of_process},
};
use crate::{
    record::{Meter, Readings, SourceError},
    upstream::without_user,
};

/// The name of the source.
const SOURCE: &str = "engine";

/// The label of a model that nobody names.
const UNNAMED: &str = "default";

/// By how much it is asked less often while it has no page.
const SELDOM: u32 = 30;

/// How often it is asked what it serves.
const LISTED_EVERY: Duration = Duration::from_secs(30);

/// How long what it said is good for, beside the time between two questions: until an answer that
/// took as long as it may was read.
const GRACE: Duration = Duration::from_secs(fetch::LIMIT.as_secs() + 1);

/// An engine whose page is read. See the [module docs](super).
///
/// ```
/// use infermeter::engines::{EngineKind, EngineMetrics};
///
/// let engine = EngineMetrics::at("http://127.0.0.1:8000").unwrap().kind(EngineKind::Vllm);
/// assert_eq!(engine.page_url(), "http://127.0.0.1:8000/metrics");
/// ```
#[derive(Clone, Debug)]
pub struct EngineMetrics {
    client: Client,
    kind: Option<EngineKind>,
    model: Option<Arc<str>>,
    merge: bool,
    compare: bool,
    optional: bool,
    process: bool,
    every: Duration,
}

/// A URL, or certificates, that cannot be used; the message says what is wrong and what is allowed.
///
/// ```
/// use infermeter::engines::EngineMetrics;
///
/// let error = EngineMetrics::at("127.0.0.1:8000").unwrap_err();
/// assert!(error.to_string().contains("it is not a whole URL; allowed is http://HOST"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineError(String);

/// An engine that is a source of a meter. [`run`](Self::run) keeps its readings fresh; dropped, they
/// are gone.
///
/// ```no_run
/// use infermeter::{Meter, engines::{EngineMetrics, EngineWatch}};
///
/// # async fn run(meter: Meter) -> Result<(), infermeter::engines::EngineError> {
/// let watch: EngineWatch = EngineMetrics::at("http://127.0.0.1:8000")?.watch(&meter).await;
/// tokio::spawn(watch.run());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "nobody asks the engine again until it runs"]
pub struct EngineWatch {
    engine: EngineMetrics,
    meter: Meter,
    last: Arc<Mutex<Last>>,
    /// Which engine it was, while it was not said which.
    found: Option<EngineKind>,
    model: Option<Arc<str>>,
    listed: Option<Instant>,
    drift: Drift,
    is_source: bool,
}

/// What came of the last question.
#[derive(Clone, Debug)]
enum Last {
    Read { at: Instant, readings: Readings },
    Absent(Arc<str>),
    Failed(Arc<str>),
}

// === impl EngineMetrics ===

impl EngineMetrics {
    /// The engine at a URL, or at that of its page: `http://HOST:PORT` and
    /// `http://HOST:PORT/metrics` are the same.
    ///
    /// # Errors
    ///
    /// If it is not such a URL.
    pub fn at(url: &str) -> Result<Self, EngineError> {
        let client = Client::at(url);
        let client = client.map_err(|problem| {
            let url = without_user(url);
            EngineError(format!("the URL {url:?} of the engine cannot be used: {problem}"))
        })?;
        Ok(Self {
            client,
            kind: None,
            model: None,
            merge: false,
            compare: false,
            optional: false,
            process: true,
            every: Duration::from_secs(1),
        })
    }

    /// Trusts these certificates (PEM) for an `https` URL, and no others. Default: those that browsers
    /// trust.
    ///
    /// # Errors
    ///
    /// If they cannot be read.
    pub fn ca(mut self, pem: &[u8]) -> Result<Self, EngineError> {
        let wrong = |error| EngineError(format!("the certificates of the engine: {error}"));
        self.client = self.client.trusting(pem).map_err(wrong)?;
        Ok(self)
    }

    /// Which engine it is. Default: what its page, `/v1/models` or `/version` show.
    #[must_use]
    pub fn kind(mut self, kind: EngineKind) -> Self {
        self.kind = Some(kind);
        self
    }

    /// The label of a model that its page does not name. Default: the first one of `/v1/models`, else
    /// `default`.
    #[must_use]
    pub fn model(mut self, name: &str) -> Self {
        self.model = Some(name.into());
        self
    }

    /// Whether its token counters are compared with what the meter has counted, which becomes
    /// `infermeter_token_drift_total`: for an engine whose requests all go by here. Default: `false`.
    #[must_use]
    pub fn compare(mut self, compare: bool) -> Self {
        self.compare = compare;
        self
    }

    /// Whether it may be without a page. If it answers that it has none (a status of 4xx, or 501),
    /// nothing is told of it, it is no source, and it is asked again after 30 times the time between
    /// two questions. Default: `false`, and the source fails.
    #[must_use]
    pub fn optional(mut self, optional: bool) -> Self {
        self.optional = optional;
        self
    }

    /// Whether those families of its page that are not published stand on our page too, each name
    /// once. Default: `false`.
    #[must_use]
    pub fn merge(mut self, merge: bool) -> Self {
        self.merge = merge;
        self
    }

    /// Whether what its page says of its process (`process_*`) is told. Default: `true`.
    ///
    /// Say `false` where its processes are watched by a
    /// [`ProcessTree`](crate::process::ProcessTree): the two are not of the same processes, and where
    /// one stood in for the other for a while, its processor time would look like a restart or a
    /// burst. Then such families do not stand on our page unchanged either.
    #[must_use]
    pub fn process(mut self, tell: bool) -> Self {
        self.process = tell;
        self
    }

    /// The time between two questions. Default: a second.
    #[must_use]
    pub fn every(mut self, time: Duration) -> Self {
        self.every = time;
        self
    }

    /// The URL of its page.
    pub fn page_url(&self) -> String {
        self.client.page().to_string()
    }

    /// Asks it once, and makes it the source `engine` of a meter, whether it has answered or not;
    /// an [optional](Self::optional) one only where it has a page.
    pub async fn watch(self, meter: &Meter) -> EngineWatch {
        meter.has_page();
        // Unknown is treated as an engine that has all, so that no others are published before.
        meter.are_told(self.kind.map_or(&ALL_HISTOGRAMS[..], EngineKind::histograms));
        let last = Arc::new(Mutex::new(Last::Failed("it was not asked yet".into())));
        let mut watch = EngineWatch {
            engine: self,
            meter: meter.clone(),
            last,
            found: None,
            model: None,
            listed: None,
            drift: Drift::default(),
            is_source: false,
        };
        watch.ask().await;
        watch
    }
}

// === impl EngineWatch ===

impl EngineWatch {
    /// Asks for ever: to be spawned. Nothing of it waits for a scrape, nor a scrape for it.
    pub async fn run(mut self) {
        loop {
            let is_absent = matches!(*lock(&self.last), Last::Absent(_));
            sleep(self.engine.every * if is_absent { SELDOM } else { 1 }).await;
            self.ask().await;
        }
    }

    async fn ask(&mut self) {
        let now = match self.read().await {
            Ok(readings) => Last::Read { at: Instant::now(), readings },
            // It may be another one when it comes back.
            Err(error) => {
                self.listed = None;
                let why = error.to_string().into();
                if self.engine.optional && error.is_absent() {
                    self.meter.are_told(&[]);
                    Last::Absent(why)
                } else {
                    Last::Failed(why)
                }
            }
        };
        let is_absent = matches!(now, Last::Absent(_));
        let before = std::mem::replace(&mut *lock(&self.last), now);
        self.log_change(&before);
        if !self.is_source && !is_absent {
            self.is_source = true;
            let (last, good) = (Arc::clone(&self.last), self.engine.every + GRACE);
            self.meter.watch(SOURCE, move |out: &mut Readings| sample(&last, good, out));
        }
    }

    fn log_change(&self, before: &Last) {
        let url = self.engine.page_url();
        match (before, &*lock(&self.last)) {
            (Last::Read { .. }, Last::Read { .. }) => {}
            (_, Last::Read { .. }) => {
                let engine = self.kind().map_or("unknown", EngineKind::as_str);
                tracing::info!(%url, engine, "the engine's page is read");
            }
            (Last::Absent(_), Last::Absent(_)) => {}
            (_, Last::Absent(why)) => {
                tracing::info!(%url, %why, "the engine has no page of metrics");
            }
            (Last::Failed(known), Last::Failed(error)) if known == error => {}
            (_, Last::Failed(error)) => {
                tracing::warn!(%url, %error, "the engine's page cannot be read");
            }
        }
    }

    async fn read(&mut self) -> Result<Readings, FetchError> {
        let page = self.engine.client.fetch_page().await?;
        let page = Page::parse(&page).map_err(|error| FetchError::Failed(error.to_string()))?;
        if let Some(kind) = EngineKind::of(&page) {
            self.found = Some(kind);
        }
        if self.listed.is_none_or(|at| at.elapsed() >= LISTED_EVERY) {
            self.listed = Some(Instant::now());
            self.list().await;
        }
        let slots = match self.kind() {
            Some(EngineKind::LlamaCpp) => self.engine.client.fetch_json("/slots").await.ok(),
            _ => None,
        };
        let mut told = Told::default();
        let asked = Asked {
            page: &page,
            model: self.engine.model.as_deref().or(self.model.as_deref()).unwrap_or(UNNAMED),
            slots: slots.as_deref(),
        };
        if let Some(kind) = self.kind() {
            kind.read(&asked, &mut told);
            let known = kind.histograms().iter().copied();
            self.meter.are_told(&known.chain(told.histograms()).collect::<Vec<_>>());
            if self.engine.compare {
                self.drift.compare(&kind.counted(&asked), self.meter.counted());
                self.drift.tell(&mut told);
            }
        } else if self.model.is_some() {
            // It has said what it serves, and is none of those that have them.
            self.meter.are_told(&[]);
        }
        if self.engine.process {
            told.process(&page);
        }
        if self.engine.merge {
            let others = page.families().iter();
            let others = others.filter(|other| self.engine.process || !is_of_process(&other.name));
            told.readings.others = others.cloned().map(Into::into).collect();
        }
        Ok(told.readings)
    }

    /// What it serves, and where its page does not show it, which engine it is.
    async fn list(&mut self) {
        if let Ok(body) = self.engine.client.fetch_json("/v1/models").await {
            let models = Models::read(&body);
            if let Some(base) = models.as_ref().and_then(Models::base) {
                self.model = Some((*base.id).into());
                if self.kind().is_none() {
                    self.found = EngineKind::of_owner(&base.id, base.owned_by.as_deref());
                }
            }
        }
        if self.kind().is_none() {
            // Of those that are known, one has it.
            let version = self.engine.client.fetch_json("/version").await;
            self.found = version.ok().filter(has_version).map(|_| EngineKind::Vllm);
        }
    }

    fn kind(&self) -> Option<EngineKind> {
        self.engine.kind.or(self.found)
    }
}

impl Drop for EngineWatch {
    fn drop(&mut self) {
        *lock(&self.last) = Last::Failed("nobody asks the engine any more".into());
    }
}

/// Hands out what was read last. NB: called by the thread that samples all sources, so it waits for
/// nobody.
fn sample(last: &Mutex<Last>, good: Duration, out: &mut Readings) -> Result<(), SourceError> {
    match &*lock(last) {
        Last::Read { at, readings } if at.elapsed() <= good => {
            out.clone_from(readings);
            Ok(())
        }
        Last::Read { .. } => Err("nobody has asked the engine for a while".into()),
        Last::Absent(error) | Last::Failed(error) => Err(error.to_string().into()),
    }
}

fn lock(last: &Mutex<Last>) -> MutexGuard<'_, Last> {
    last.lock().unwrap_or_else(PoisonError::into_inner)
}

fn has_version(body: &bytes::Bytes) -> bool {
    let answer = serde_json::from_slice::<serde_json::Value>(body);
    answer.is_ok_and(|answer| answer["version"].is_string())
}

// === impl EngineError ===

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl error::Error for EngineError {}
