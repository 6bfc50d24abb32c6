//! The names of the models behind the upstream: the only ones that become labels.

use std::sync::{Arc, PoisonError, RwLock};

use super::engine::Engine;

/// What is known of the upstream. Cheap to clone; all clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Known(Arc<RwLock<Arc<Listing>>>);

/// What an upstream says that it serves.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Listing {
    pub(super) models: Vec<Arc<str>>,
    pub(super) engine: Engine,
}

/// The label of a model that is not among them.
pub(super) const OTHER: &str = "other";

// === impl Known ===

impl Known {
    pub(super) fn of(models: &[String]) -> Self {
        let known = Self::default();
        let models = models.iter().map(|model| model.as_str().into()).collect();
        known.set(Listing { models, engine: Engine::default() });
        known
    }

    pub(super) fn set(&self, listing: Listing) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(listing);
    }

    pub(super) fn get(&self) -> Arc<Listing> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

// === impl Listing ===

impl Listing {
    /// The label of a request that names this model, or none; `None` where no model is known.
    pub(super) fn label(&self, asked: Option<&str>) -> Option<&str> {
        let first = self.models.first()?;
        let Some(asked) = asked else { return Some(first) };
        let known = self.models.iter().find(|model| &***model == asked);
        Some(known.map_or(OTHER, |known| &**known))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_known_becomes_a_label() {
        let known = Known::of(&["a".to_owned(), "b".to_owned()]);
        let label = |asked| known.get().label(asked).map(str::to_owned);
        assert_eq!(label(Some("b")).as_deref(), Some("b"));
        assert_eq!(label(Some("c")).as_deref(), Some("other"));
        assert_eq!(label(None).as_deref(), Some("a"));
        assert_eq!(Known::default().get().label(Some("a")), None);
    }
}
