//! The names of the models behind an upstream: the only ones that become labels.

use std::sync::{Arc, PoisonError, RwLock};

use serde_json::value::RawValue;

use super::engine::Engine;

/// What is known of an upstream. Cheap to clone; all clones share it.
#[derive(Clone, Debug)]
pub(super) struct Known {
    listing: Arc<RwLock<Arc<Listing>>>,
    /// What was configured stays, whatever the upstream says.
    has_models: bool,
    has_engine: bool,
}

/// What an upstream says that it serves.
#[derive(Clone, Debug, Default)]
pub(super) struct Listing {
    pub(super) models: Vec<Arc<str>>,
    pub(super) engine: Engine,
    /// What it says of each model.
    pub(super) entries: Vec<Entry>,
    /// It has said something.
    pub(super) has_answered: bool,
}

/// What `/v1/models` says of a model.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) model: Arc<str>,
    /// As the upstream has written it.
    pub(super) json: Box<RawValue>,
}

/// The label of a model that is not among them.
pub(super) const OTHER: &str = "other";

// === impl Known ===

impl Known {
    /// These models and this engine, or whatever the upstream will say.
    pub(super) fn of(models: &[String], engine: Option<Engine>) -> Self {
        let listing = Listing {
            models: models.iter().map(|model| model.as_str().into()).collect(),
            engine: engine.unwrap_or_default(),
            ..Listing::default()
        };
        Self {
            listing: Arc::new(RwLock::new(Arc::new(listing))),
            has_models: !models.is_empty(),
            has_engine: engine.is_some(),
        }
    }

    /// Takes what the upstream has said now; `None` if its models and its engine are as before.
    pub(super) fn update(&self, mut said: Listing) -> Option<Arc<Listing>> {
        let before = self.get();
        // NB: who lists nothing now may have before.
        if self.has_models || said.models.is_empty() {
            said.models.clone_from(&before.models);
        }
        if self.has_engine {
            said.engine = before.engine;
        }
        // NB: of each model it may say something else each time, as vLLM does.
        let is_new = said.models != before.models || said.engine != before.engine;
        let new = Arc::new(said);
        *self.listing.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&new);
        is_new.then_some(new)
    }

    pub(super) fn get(&self) -> Arc<Listing> {
        Arc::clone(&self.listing.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether its models were configured.
    pub(super) const fn has_models(&self) -> bool {
        self.has_models
    }
}

// === impl Listing ===

impl Listing {
    /// The label of a request that names this model, or none; `None` where no model is known.
    pub(super) fn label(&self, asked: Option<&str>) -> Option<&str> {
        let first = self.models.first()?;
        let Some(asked) = asked else { return Some(first) };
        Some(self.find(asked).map_or(OTHER, |known| &**known))
    }

    /// The name of a model that it has.
    pub(super) fn find(&self, asked: &str) -> Option<&Arc<str>> {
        self.models.iter().find(|model| &***model == asked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_known_becomes_a_label() {
        let known = Known::of(&["a".to_owned(), "b".to_owned()], None);
        let label = |asked| known.get().label(asked).map(str::to_owned);
        assert_eq!(label(Some("b")).as_deref(), Some("b"));
        assert_eq!(label(Some("c")).as_deref(), Some("other"));
        assert_eq!(label(None).as_deref(), Some("a"));
        assert_eq!(Known::of(&[], None).get().label(Some("a")), None);
    }

    #[test]
    fn what_was_configured_stays() {
        let said = || Listing {
            models: vec!["b".into()],
            engine: Engine::Vllm,
            has_answered: true,
            ..Listing::default()
        };
        for (models, engine, expected) in [
            (&[][..], None, (&["b"][..], Engine::Vllm)),
            (&["a".to_owned()], None, (&["a"], Engine::Vllm)),
            (&[], Some(Engine::Tgi), (&["b"], Engine::Tgi)),
        ] {
            let known = Known::of(models, engine);
            let listing = known.update(said()).unwrap();
            let names: Vec<_> = listing.models.iter().map(|model| &**model).collect();
            assert_eq!((&names[..], listing.engine), expected);
            assert!(known.update(said()).is_none() && known.get().has_answered);
            // Nothing more is said than that it is there.
            let nothing = Listing { models: Vec::new(), ..said() };
            assert!(known.update(nothing).is_none());
            assert_eq!(known.get().models, listing.models);
        }
    }
}
