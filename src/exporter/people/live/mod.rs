//! The last quarter of an hour, second by second: what the live page shows.

mod files;
mod point;
mod window;

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{
    Router,
    extract::{Query, State},
    response::Response,
    routing::get,
};
use serde::{Deserialize, Serialize};

pub(super) use self::files::FILES;
use self::{point::Point, window::Window};
use super::json;
use crate::{exporter::page::Page, record::Readings};

/// What was seen, each second, no more than [`MOST`] of them.
#[derive(Debug, Default)]
pub(in crate::exporter) struct History(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    window: Window,
    points: VecDeque<Arc<Point>>,
}

/// A quarter of an hour.
const MOST: usize = 15 * 60;

/// What is asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    /// Only what came after that, in seconds since 1970.
    #[serde(default)]
    since: f64,
}

#[derive(Serialize)]
struct Answer {
    model: Option<Arc<str>>,
    points: Vec<Arc<Point>>,
}

pub(super) fn router() -> Router<Arc<Page>> {
    Router::new().route("/live", get(live))
}

async fn live(State(page): State<Arc<Page>>, Query(asked): Query<Asked>) -> Response {
    let (model, points) = (page.model_name(), page.history.since(asked.since));
    json(&Answer { model, points })
}

// === impl History ===

impl History {
    /// Adds what is seen now.
    pub(in crate::exporter) fn add(&self, readings: &Readings) {
        let mut seen = self.seen();
        let point = seen.window.add(readings);
        if seen.points.len() == MOST {
            seen.points.pop_front();
        }
        seen.points.push_back(Arc::new(point));
    }

    fn since(&self, since: f64) -> Vec<Arc<Point>> {
        self.seen().points.iter().filter(|point| point.at > since).cloned().collect()
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_kept_than_is_shown() {
        let history = History::default();
        for _ in 0..MOST + 5 {
            history.add(&Readings::default());
        }
        let all = history.since(0.0);
        assert_eq!(all.len(), MOST);
        let last = all[MOST - 1].at;
        assert!(history.since(last).is_empty());
    }
}
