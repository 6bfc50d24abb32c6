//! An engine that is asked now and then, and what it said last.

use std::{
    error, fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep};

use super::{EngineKind, Models, Page, fetch::Client, kind::Asked, told::Told};
use crate::record::{Meter, Readings, SourceError};

/// The name of the source.
const SOURCE: &str = "engine";

/// The label of a model that nobody names.
const UNNAMED: &str = "default";

/// How often it is asked what it serves.
const LISTED_EVERY: Duration = Duration::from_secs(30);

/// How long what it said is good for, beside the time between two questions: both may be slow once.
const GRACE: Duration = Duration::from_secs(5);

/// An engine whose page is read. See the [module docs](super).
#[derive(Clone, Debug)]
pub struct EngineMetrics {
    client: Client,
    kind: Option<EngineKind>,
    merge: bool,
    every: Duration,
}

/// A URL that cannot be used; the message says what is wrong and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineError {
    url: String,
    problem: String,
}

/// An engine that is a source of a meter. [`run`](Self::run) keeps its readings fresh; dropped, they
/// are gone.
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
}

/// What came of the last question.
#[derive(Clone, Debug)]
enum Last {
    Read { at: Instant, readings: Readings },
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
        let client = client.map_err(|problem| EngineError { url: url.to_owned(), problem })?;
        Ok(Self { client, kind: None, merge: false, every: Duration::from_secs(1) })
    }

    /// Which engine it is. Default: what its page, `/v1/models` or `/version` show.
    #[must_use]
    pub fn kind(mut self, kind: EngineKind) -> Self {
        self.kind = Some(kind);
        self
    }

    /// Whether those families of its page that are not published stand on our page too, each name
    /// once. Default: `false`.
    #[must_use]
    pub fn merge(mut self, merge: bool) -> Self {
        self.merge = merge;
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

    /// Asks it once, and makes it the source `engine` of a meter, whether it has answered or not.
    pub async fn watch(self, meter: &Meter) -> EngineWatch {
        // Unknown is treated as an engine that has some, so that no others are published before.
        meter.queue_is_told(self.kind.is_none_or(EngineKind::has_queue_times));
        let last = Arc::new(Mutex::new(Last::Failed("it was not asked yet".into())));
        let mut watch = EngineWatch {
            engine: self,
            meter: meter.clone(),
            last,
            found: None,
            model: None,
            listed: None,
        };
        watch.ask().await;
        let (last, good) = (Arc::clone(&watch.last), watch.engine.every + GRACE);
        meter.watch(SOURCE, move |out: &mut Readings| sample(&last, good, out));
        watch
    }
}

// === impl EngineWatch ===

impl EngineWatch {
    /// Asks for ever: to be spawned. Nothing of it waits for a scrape, nor a scrape for it.
    pub async fn run(mut self) {
        loop {
            sleep(self.engine.every).await;
            self.ask().await;
        }
    }

    async fn ask(&mut self) {
        let answer = self.read().await;
        let url = self.engine.page_url();
        let was_up = matches!(*lock(&self.last), Last::Read { .. });
        let now = match answer {
            Ok(readings) => {
                if !was_up {
                    let engine = self.kind().map_or("unknown", EngineKind::as_str);
                    tracing::info!(%url, engine, "the engine's page is read");
                }
                Last::Read { at: Instant::now(), readings }
            }
            Err(error) => {
                // It may be another one when it comes back.
                self.listed = None;
                let error: Arc<str> = error.into();
                let is_new = !matches!(&*lock(&self.last), Last::Failed(known) if *known == error);
                if is_new {
                    tracing::warn!(%url, %error, "the engine's page cannot be read");
                }
                Last::Failed(error)
            }
        };
        *lock(&self.last) = now;
    }

    async fn read(&mut self) -> Result<Readings, String> {
        let page = self.engine.client.fetch_page().await.map_err(|error| error.to_string())?;
        let page = Page::parse(&page).map_err(|error| error.to_string())?;
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
            model: self.model.as_deref().unwrap_or(UNNAMED),
            slots: slots.as_deref(),
        };
        if let Some(kind) = self.kind() {
            kind.read(&asked, &mut told);
            let has_queue = told.has_queue_times() || kind.has_queue_times();
            self.meter.queue_is_told(has_queue);
        }
        told.process(&page);
        if self.engine.merge {
            told.readings.others = page.families().to_vec();
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
        Last::Failed(error) => Err(error.to_string().into()),
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
        let Self { url, problem } = self;
        write!(f, "the URL {url:?} of the engine cannot be used: {problem}")
    }
}

impl error::Error for EngineError {}
