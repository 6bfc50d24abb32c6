//! The bounded set of model labels.

use std::{
    collections::HashMap,
    sync::{
        Arc, OnceLock, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use super::series::{ModelSeries, Shapes};

/// The label of values beyond the cap.
pub(super) const OTHER: &str = "other";

/// How many bytes a label value that comes from a request may have; a longer one is [`OTHER`].
pub(super) const LONGEST_LABEL: usize = 256;

/// Place of a model in the table.
pub(crate) type ModelId = u16;

/// Models by label: at most `cap` of them and [`OTHER`]. None is ever removed, so a place can be
/// looked up without a lock.
#[derive(Debug)]
pub(super) struct Models {
    places: Box<[OnceLock<ModelSeries>]>,
    ids: RwLock<HashMap<Arc<str>, ModelId>>,
    shapes: Shapes,
    overflow: AtomicU64,
}

// === impl Models ===

impl Models {
    pub(super) fn new(cap: u16, shapes: Shapes) -> Self {
        let places = (0..=usize::from(cap)).map(|_| OnceLock::new()).collect();
        Self { places, ids: RwLock::default(), shapes, overflow: AtomicU64::new(0) }
    }

    /// How many places there are.
    pub(super) fn places(&self) -> usize {
        self.places.len()
    }

    /// The place of a label, made if there is room for it, else that of `other`.
    pub(super) fn id(&self, label: &str) -> ModelId {
        let ids = self.ids.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(id) = ids.get(label) {
            return *id;
        }
        // NB: `other` takes no place from the named ones, so it is not in the map.
        let is_full = ids.len() == usize::from(self.other());
        drop(ids);
        if label == OTHER || is_full || label.len() > LONGEST_LABEL {
            return self.overflown(label);
        }
        let mut ids = self.ids.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(id) = ids.get(label) {
            return *id;
        }
        let id = ids.len() as ModelId;
        if id == self.other() {
            drop(ids);
            return self.overflown(label);
        }
        let series =
            self.places[usize::from(id)].get_or_init(|| ModelSeries::new(label, &self.shapes));
        ids.insert(Arc::clone(&series.label), id);
        id
    }

    fn overflown(&self, label: &str) -> ModelId {
        if label != OTHER {
            self.overflow.fetch_add(1, Relaxed);
        }
        let other = self.other();
        self.places[usize::from(other)].get_or_init(|| ModelSeries::new(OTHER, &self.shapes));
        other
    }

    /// The last place.
    fn other(&self) -> ModelId {
        (self.places.len() - 1) as ModelId
    }

    pub(super) fn get(&self, id: ModelId) -> Option<&ModelSeries> {
        self.places.get(usize::from(id)).and_then(OnceLock::get)
    }

    /// Every model that is known, the first one first.
    pub(super) fn iter(&self) -> impl Iterator<Item = (ModelId, &ModelSeries)> {
        (0..).zip(&self.places).filter_map(|(id, place)| Some((id, place.get()?)))
    }

    pub(super) fn overflow(&self) -> u64 {
        self.overflow.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_the_cap_is_other_and_counted() {
        let models = Models::new(2, Shapes::default());
        assert_eq!((models.id("a"), models.id("b"), models.id("a")), (0, 1, 0));
        assert_eq!((models.id("c"), models.id("d"), models.id("c")), (2, 2, 2));
        assert_eq!(models.overflow(), 3);
        let labels: Vec<&str> = models.iter().map(|(_, model)| &*model.label).collect();
        assert_eq!(labels, ["a", "b", "other"]);
        assert_eq!(models.id("other"), 2);
        assert_eq!(models.overflow(), 3);
    }

    #[test]
    fn other_leaves_the_places_of_the_named() {
        let models = Models::new(1, Shapes::default());
        assert_eq!(models.id("other"), 1);
        assert_eq!(models.id("a"), 0);
    }

    #[test]
    fn a_label_that_is_too_long_is_other() {
        let models = Models::new(1, Shapes::default());
        let long = "x".repeat(LONGEST_LABEL + 1);
        assert_eq!(models.id(&long), 1);
        assert_eq!(models.id(&long[1..]), 0);
        assert_eq!(models.overflow(), 1);
    }
}
