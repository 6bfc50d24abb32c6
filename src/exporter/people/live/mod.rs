//! The last quarter of an hour, second by second: what the live page shows.

mod files;
mod point;
mod window;

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use axum::{
    Router,
    extract::{Query, State},
    response::Response,
    routing::get,
};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

pub(super) use self::files::FILES;
use self::{point::Point, window::Window};
use super::json;
use crate::{exporter::page::Page, record::Readings};

/// What was seen, each second, no more than [`MOST`] of them.
#[derive(Debug)]
pub(in crate::exporter) struct History {
    /// Tells it from that of a process before.
    began: f64,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    window: Window,
    points: VecDeque<Arc<Point>>,
    /// How many there were, and when the last one came.
    number: u64,
    last: Option<Instant>,
}

/// A quarter of an hour.
const MOST: usize = 15 * 60;

/// What is asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    /// Only what came after that number.
    #[serde(default)]
    since: u64,
}

#[derive(Serialize)]
struct Answer {
    began: f64,
    model: Option<Arc<str>>,
    /// Since the last point came, in seconds. NB: the clock of the system may have been set.
    age: Option<f64>,
    points: Vec<Arc<Point>>,
}

pub(super) fn router() -> Router<Arc<Page>> {
    Router::new().route("/live", get(live))
}

async fn live(State(page): State<Arc<Page>>, Query(asked): Query<Asked>) -> Response {
    json(&page.history.answer(page.model_name(), asked.since))
}

// === impl History ===

impl Default for History {
    fn default() -> Self {
        Self { began: since_1970(), seen: Mutex::default() }
    }
}

impl History {
    /// Adds what is seen now.
    pub(in crate::exporter) fn add(&self, readings: &Readings) {
        let mut seen = self.seen();
        seen.number += 1;
        seen.last = Some(Instant::now());
        let number = seen.number;
        let point = seen.window.add(number, readings);
        if seen.points.len() == MOST {
            seen.points.pop_front();
        }
        seen.points.push_back(Arc::new(point));
    }

    fn answer(&self, model: Option<Arc<str>>, since: u64) -> Answer {
        let seen = self.seen();
        let age = seen.last.map(|last| last.elapsed().as_secs_f64());
        let points = seen.points.iter().filter(|point| point.number > since).cloned().collect();
        Answer { began: self.began, model, age, points }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn since_1970() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
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
        let points = |since| history.answer(None, since).points;
        assert_eq!(points(0).len(), MOST);
        let last = points(0)[MOST - 1].number;
        assert_eq!(last, MOST as u64 + 5);
        assert_eq!(points(last - 1).len(), 1);
        assert!(points(last).is_empty());
    }
}
