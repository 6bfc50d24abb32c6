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

use super::{others, scrapes::Scrapes, text::Text, users};
use crate::{
    names::{self, Naming},
    record::{Collect, Meter, Readings, Value},
};

pub(super) struct Page {
    naming: Naming,
    state: OnceLock<(Arc<dyn Collect>, Meter)>,
    users: PrometheusHandle,
    pub(super) ready: AtomicBool,
    pub(super) scrapes: Arc<Scrapes>,
}

// === impl Page ===

impl Page {
    pub(super) fn new(naming: Naming, users: PrometheusHandle) -> Self {
        let (ready, scrapes) = (AtomicBool::new(true), Arc::default());
        Self { naming, state: OnceLock::new(), users, ready, scrapes }
    }

    pub(super) fn attach(&self, state: Arc<dyn Collect>, meter: Meter) {
        // Called once; a second state would publish every family twice.
        let _ = self.state.set((state, meter));
    }

    pub(super) fn render(&self) -> String {
        let began = Instant::now();
        let state = self.state.get();
        let readings = state.map_or_else(Readings::default, |(state, _)| state.collect());

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

    /// The answer of `/readyz`, and whether it is a yes.
    pub(super) fn readiness(&self) -> (bool, String) {
        let ready = self.ready.load(Relaxed);
        let model = self.state.get().and_then(|(_, meter)| meter.model_name());
        let status = if ready { "ok" } else { "not ready" };
        let answer = serde_json::json!({ "status": status, "model_name": model.as_deref() });
        (ready, answer.to_string())
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
