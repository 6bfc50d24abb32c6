//! One upstream, as requests find it.

use std::{
    fmt,
    sync::{self, Arc},
};

use tokio::sync::Mutex;

use super::{Upstream, engine::Engine, models::Known, pool::Address};
use crate::record::{Meter, RequestMeter};

/// An upstream, and what is known of it.
#[derive(Debug)]
pub(super) struct Route {
    /// Its place among all.
    pub(super) at: usize,
    pub(super) name: Named,
    pub(super) address: Address,
    /// What its requests are counted in.
    pub(super) meter: Meter,
    pub(super) known: Known,
    /// Held by who asks the upstream what it serves.
    pub(super) listing: Mutex<()>,
    /// Its models of which was told that they go to another one.
    pub(super) hidden: sync::Mutex<Vec<Arc<str>>>,
}

/// What an upstream is called, where it is not the only one.
#[derive(Clone, Debug)]
pub(super) struct Named(pub(super) Option<Arc<str>>);

// === impl Route ===

impl Route {
    pub(super) fn new(at: usize, upstream: &Upstream, meter: &Meter) -> Self {
        let Upstream { name, address, models, engine, variant } = upstream;
        let meter = match name {
            Some(name) => meter.upstream(name, variant.as_deref()),
            None => meter.clone(),
        };
        let meter = models.first().map_or_else(|| meter.clone(), |first| meter.model(first));
        // Their series exist from here on.
        models.iter().for_each(|model| drop(meter.model(model)));
        Self {
            at,
            name: Named(name.as_deref().map(Into::into)),
            address: address.clone(),
            meter,
            known: Known::of(models, engine.map(Engine::from)),
            listing: Mutex::default(),
            hidden: sync::Mutex::default(),
        }
    }

    /// Nothing is known of its models: they were not named, and it has not said any.
    pub(super) fn is_silent(&self) -> bool {
        !self.known.has_models() && !self.known.get().has_answered
    }

    /// Empty where it is the only one.
    pub(super) fn name(&self) -> &str {
        self.name.0.as_deref().unwrap_or_default()
    }

    /// A request is sent to it, for the model of this label.
    pub(super) fn gets(&self, request: &RequestMeter, label: Option<&str>) {
        match (&self.name.0, label) {
            (Some(_), label) => request.routed(&self.meter, label),
            (None, Some(label)) => request.model(label),
            (None, None) => {}
        }
    }
}

// === impl Named ===

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(name) => write!(f, "upstream {name}"),
            None => f.write_str("upstream"),
        }
    }
}
