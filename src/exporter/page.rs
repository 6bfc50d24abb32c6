//! The page: the catalogue's families, what the user's own macros recorded, families of other pages.

use std::{
    collections::HashSet,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use metrics_exporter_prometheus::PrometheusHandle;
use tokio::time::Instant;

use super::{others, people::History, scrapes::Scrapes, text::Text, users};
use crate::{
    names::{self, Naming},
    record::{Collect, Conditions, Exporter, KeptKind, KeptRequest, Meter, Readings, Value},
};

pub(super) struct Page {
    naming: Naming,
    meter: Meter,
    /// Also what errors of requests say is shown.
    pub(super) has_messages: bool,
    state: OnceLock<Arc<dyn Collect>>,
    users: PrometheusHandle,
    pub(super) ready: AtomicBool,
    pub(super) scrapes: Arc<Scrapes>,
    pub(super) history: History,
}

// === impl Page ===

impl Page {
    pub(super) fn new(
        meter: Meter,
        naming: Naming,
        has_messages: bool,
        users: PrometheusHandle,
    ) -> Self {
        let (ready, scrapes) = (AtomicBool::new(true), Arc::default());
        Self {
            naming,
            meter,
            has_messages,
            state: OnceLock::new(),
            users,
            ready,
            scrapes,
            history: History::default(),
        }
    }

    pub(super) fn render(&self) -> String {
        let began = Instant::now();
        let readings = self.readings();

        let mut text = Text::new(&self.naming, &readings.labels);
        text.families(&readings);
        // Both describe the page, themselves included.
        let own = [&names::SCRAPE_DURATION_SECONDS, &names::SERIES];
        let taken = text.names().chain(own.map(|family| self.naming.name(family)));
        let mut taken: HashSet<String> = taken.collect();
        let mut users = users::each_once(&self.users.render(), taken.clone());
        let mut series = text.series() + series_of(&users) + 2;
        if !readings.others.is_empty() {
            taken.extend(others::names_on(&users));
            let (page, more) = others::render(&readings.others, &readings.labels, taken);
            users.push_str(&page);
            series += more;
        }
        let mut own = Readings::default();
        own.push(&names::SCRAPE_DURATION_SECONDS, [], Value::Gauge(began.elapsed().as_secs_f64()));
        own.push(&names::SERIES, [], Value::Gauge(series as f64));
        text.families(&own);
        text.finish(&users)
    }

    /// Requests that have ended, of one kind, under one label or any.
    pub(super) fn requests(&self, kind: KeptKind, model: Option<&str>) -> Vec<Arc<KeptRequest>> {
        let mut requests = self.meter.kept_requests(kind);
        requests.retain(|request| model.is_none_or(|model| *request.ended.model == *model));
        requests
    }

    /// A second has gone by: what is seen in it.
    pub(super) fn second(&self) {
        let readings = self.readings();
        self.history.add(&readings);
        self.meter.conditions(Conditions::of(&readings));
    }

    pub(super) fn model_name(&self) -> Option<Arc<str>> {
        self.meter.model_name()
    }

    fn readings(&self) -> Readings {
        self.state.get().map_or_else(Readings::default, |state| state.collect())
    }

    /// The answer of `/readyz`, and whether it is a yes.
    pub(super) fn readiness(&self) -> (bool, String) {
        let ready = self.ready.load(Relaxed);
        let model = self.model_name();
        let status = if ready { "ok" } else { "not ready" };
        let answer = serde_json::json!({ "status": status, "model_name": model.as_deref() });
        (ready, answer.to_string())
    }
}

impl Exporter for Page {
    fn attach(&self, state: Arc<dyn Collect>) {
        // Called once; a second state would publish every family twice.
        let _ = self.state.set(state);
    }
}

impl std::fmt::Debug for Page {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Page").field("naming", &self.naming).finish_non_exhaustive()
    }
}

fn series_of(page: &str) -> usize {
    page.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).count()
}
