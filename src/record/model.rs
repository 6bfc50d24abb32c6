//! The bounded set of model labels.

use std::sync::{
    Arc, OnceLock, PoisonError,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use super::{
    places::Places,
    series::{ModelSeries, Shapes},
    upstream::{MOST_ROWS, Upstream},
};

/// The label of values beyond the cap.
pub(super) const OTHER: &str = "other";

/// How many bytes a label value that comes from a request may have; a longer one is [`OTHER`].
pub(super) const LONGEST_LABEL: usize = 256;

/// Place of a model in the table.
pub(crate) type ModelId = u16;

/// How many labels can be told apart of one upstream: so many of each have a place.
pub(super) const MOST_MODELS: u16 = u16::MAX / MOST_ROWS as u16 - 1;

/// Models by label: of each upstream at most `cap` of them and [`OTHER`]. None is ever removed, so
/// a place can be looked up without a lock.
#[derive(Debug)]
pub(super) struct Models {
    /// A row for each upstream.
    places: Places<OnceLock<ModelSeries>>,
    shapes: Shapes,
    overflow: AtomicU64,
}

// === impl Models ===

impl Models {
    pub(super) fn new(cap: u16, shapes: Shapes) -> Self {
        let places = Places::new(MOST_ROWS, usize::from(cap) + 1);
        Self { places, shapes, overflow: AtomicU64::new(0) }
    }

    /// How many places a row has.
    pub(super) fn row(&self) -> usize {
        self.places.row()
    }

    /// The place of a label of an upstream, made if there is room for it, else that of `other`.
    pub(super) fn id(&self, upstream: &Arc<Upstream>, label: &str) -> ModelId {
        let ids = upstream.ids.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(id) = ids.get(label) {
            return *id;
        }
        // NB: `other` takes no place from the named ones, so it is not in the map.
        let cap = self.row() - 1;
        let is_full = ids.len() == cap;
        drop(ids);
        if label == OTHER || is_full || label.len() > LONGEST_LABEL {
            return self.overflown(upstream, label);
        }
        let mut ids = upstream.ids.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(id) = ids.get(label) {
            return *id;
        }
        if ids.len() == cap {
            drop(ids);
            return self.overflown(upstream, label);
        }
        let id = self.make(upstream, ids.len(), label);
        ids.insert(label.into(), id);
        id
    }

    fn overflown(&self, upstream: &Arc<Upstream>, label: &str) -> ModelId {
        if label != OTHER {
            self.overflow.fetch_add(1, Relaxed);
        }
        // The last place of each row.
        self.make(upstream, self.row() - 1, OTHER)
    }

    fn make(&self, upstream: &Arc<Upstream>, column: usize, label: &str) -> ModelId {
        // NB: within `MOST_ROWS` and `MOST_MODELS` each has a number.
        let id = (upstream.row * self.row() + column) as ModelId;
        if let Some(place) = self.places.make(id) {
            place.get_or_init(|| ModelSeries::new(label, upstream, &self.shapes));
        }
        id
    }

    pub(super) fn get(&self, id: ModelId) -> Option<&ModelSeries> {
        self.places.get(id).and_then(OnceLock::get)
    }

    /// Every model that is known, the first one first.
    pub(super) fn iter(&self) -> impl Iterator<Item = (ModelId, &ModelSeries)> {
        self.places.iter().filter_map(|(id, place)| Some((id, place.get()?)))
    }

    pub(super) fn overflow(&self) -> u64 {
        self.overflow.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::upstream::Upstreams, *};

    fn models(cap: u16) -> (Models, Upstreams) {
        (Models::new(cap, Shapes::default()), Upstreams::default())
    }

    #[test]
    fn beyond_the_cap_is_other_and_counted() {
        let (models, upstreams) = models(2);
        let id = |label| models.id(upstreams.none(), label);
        assert_eq!((id("a"), id("b"), id("a")), (0, 1, 0));
        assert_eq!((id("c"), id("d"), id("c")), (2, 2, 2));
        assert_eq!(models.overflow(), 3);
        let labels: Vec<&str> = models.iter().map(|(_, model)| &*model.label).collect();
        assert_eq!(labels, ["a", "b", "other"]);
        assert_eq!(id("other"), 2);
        assert_eq!(models.overflow(), 3);
    }

    #[test]
    fn other_leaves_the_places_of_the_named() {
        let (models, upstreams) = models(1);
        assert_eq!(models.id(upstreams.none(), "other"), 1);
        assert_eq!(models.id(upstreams.none(), "a"), 0);
    }

    #[test]
    fn a_label_that_is_too_long_is_other() {
        let (models, upstreams) = models(1);
        let long = "x".repeat(LONGEST_LABEL + 1);
        assert_eq!(models.id(upstreams.none(), &long), 1);
        assert_eq!(models.id(upstreams.none(), &long[1..]), 0);
        assert_eq!(models.overflow(), 1);
    }

    #[test]
    fn each_upstream_has_a_cap_of_its_own() {
        let (models, upstreams) = models(1);
        let [a, b] = ["a", "b"].map(|name| upstreams.named(name, None));
        let ids = [&b, &a, &b, &a].map(|upstream| models.id(upstream, "m"));
        assert_eq!(ids, [4, 2, 4, 2]);
        assert_eq!(models.id(&a, "n"), 3);
        let known = models.iter().map(|(id, model)| (id, &*model.label, model.upstream.row));
        assert_eq!(known.collect::<Vec<_>>(), [(2, "m", 1), (3, "other", 1), (4, "m", 2)]);
    }

    #[test]
    fn the_last_place_of_the_last_upstream_has_a_number() {
        let last = MOST_ROWS * (usize::from(MOST_MODELS) + 1) - 1;
        assert!(u16::try_from(last).is_ok(), "{last}");
    }
}
