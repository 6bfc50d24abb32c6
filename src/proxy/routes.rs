//! Which upstream a request is for.

use std::sync::{Arc, PoisonError};

use super::{refusal::Refusal, route::Route};

/// All upstreams, in the order in which they were given. There is at least one.
#[derive(Debug)]
pub(super) struct Routes(Box<[Route]>);

// === impl Routes ===

impl Routes {
    /// `None` where there is none.
    pub(super) fn new(routes: Vec<Route>) -> Option<Self> {
        (!routes.is_empty()).then(|| Self(routes.into()))
    }

    pub(super) fn are_several(&self) -> bool {
        self.0.len() > 1
    }

    /// The one for all that names no model.
    pub(super) fn first(&self) -> &Route {
        &self.0[0]
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Route> {
        self.0.iter()
    }

    pub(super) fn get(&self, at: usize) -> &Route {
        &self.0[at]
    }

    /// Where a request for this model goes; `Err` where there are several upstreams and none of them
    /// has it.
    pub(super) fn for_model(&self, model: Option<&str>) -> Result<&Route, Refusal> {
        let Some(model) = model.filter(|model| self.are_several() && !model.is_empty()) else {
            return Ok(self.first());
        };
        if let Some(at) = self.find(model) {
            return Ok(self.get(at));
        }
        let silent: Vec<&str> =
            self.iter().filter(|route| route.is_silent()).map(Route::name).collect();
        if !silent.is_empty() {
            return Err(Refusal::not_ready(model, &silent));
        }
        let known: Vec<Arc<str>> =
            self.iter().flat_map(|route| route.known.get().models.clone()).collect();
        Err(Refusal::no_model(model, &known))
    }

    /// Warns, once, of models that an upstream has and that go to another one.
    pub(super) fn warn_of_hidden(&self) {
        for route in self.iter() {
            let mut told = route.hidden.lock().unwrap_or_else(PoisonError::into_inner);
            let mut models = route.known.get().models.clone();
            models.retain(|model| self.find(model) != Some(route.at));
            if *told != models && !models.is_empty() {
                let upstream = route.name();
                tracing::warn!(
                    upstream,
                    ?models,
                    "another upstream has these models too, and gets them"
                );
            }
            *told = models;
        }
    }

    /// The one that was set up for it, else the first one that lists it.
    pub(super) fn find(&self, model: &str) -> Option<usize> {
        let mut listed = None;
        for (at, route) in self.iter().enumerate() {
            if route.known.get().find(model).is_none() {
                continue;
            }
            if route.known.has_models() {
                return Some(at);
            }
            listed = listed.or(Some(at));
        }
        listed
    }
}
