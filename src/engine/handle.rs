//! The handle by which an engine tells, and the source that asks one.

use std::{
    any::Any,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{EngineState, KvUsage, Lora, state::Told};
use crate::{
    outcome::Dropped,
    record::{self, Meter, ModelId, Readings, SourceError},
};

/// Lets an engine say what only it knows. See the [module docs](super).
///
/// Cheap to clone, callable from anywhere; each call takes a short lock, so tell once a step rather
/// than for each request. All clones and all handles of the same model and rank are one.
///
/// ```
/// use infermeter::{Meter, names, record::Collect};
///
/// let meter = Meter::new().model("tiny-words");
/// let engine = meter.engine("0");
/// engine.running(3);
/// engine.iteration(512); // one step, which worked on so many tokens
///
/// assert_eq!(meter.collect().series(&names::NUM_REQUESTS_RUNNING)[0].gauge(), Some(3.0));
/// ```
#[derive(Clone, Debug)]
pub struct Engine {
    meter: Meter,
    model: ModelId,
    /// Dropped with the last handle: then nobody tells any more.
    cell: Arc<Cell>,
}

#[derive(Debug)]
struct Cell {
    /// Model and rank.
    labels: [Arc<str>; 2],
    told: Mutex<Told>,
}

// === impl Meter ===

impl Meter {
    /// The handle of an engine, for this meter's model; `rank` is the data-parallel rank, `"0"`
    /// where there is one engine. A fixed word, never what a client sent.
    pub fn engine(&self, rank: &str) -> Engine {
        let model = self.default_model();
        let labels = [self.model_label(model), rank.into()];
        let cell = self.told_by(
            |cell: &Cell| cell.labels == labels,
            || Cell { labels: labels.clone(), told: Mutex::default() },
        );
        Engine { meter: self.clone(), model, cell }
    }
}

// === impl Engine ===

impl Engine {
    /// How full the KV cache is. Where more is in use than there is, it is not published but
    /// counted in `infermeter_observations_dropped_total`.
    pub fn kv(&self, usage: KvUsage) {
        if !self.cell.told().kv(Some(usage)) {
            self.meter.dropped(Dropped::Invalid);
        }
    }

    /// How many requests wait for their start in the engine: from here on it tells
    /// `num_requests_waiting`, and not the layer.
    pub fn waiting(&self, requests: u64) {
        self.update(|state| state.waiting = Some(requests));
    }

    /// How many requests run in the engine: from here on it tells `num_requests_running`, and not
    /// the layer.
    pub fn running(&self, requests: u64) {
        self.update(|state| state.running = Some(requests));
    }

    /// How many requests may run at once.
    pub fn running_limit(&self, requests: u64) {
        self.update(|state| state.running_limit = Some(requests));
    }

    /// The LoRA adapters in use. What it was before vanishes.
    pub fn lora(&self, lora: Lora) {
        self.cell.told().lora(Some(lora));
    }

    /// One more step of the engine, which worked on so many tokens: those of prompts and those that
    /// were generated.
    pub fn iteration(&self, tokens: u64) {
        self.meter.iteration(self.model, tokens);
    }

    /// So many running requests more have lost their KV cache to others. Of none, the family
    /// exists from here on.
    pub fn preempted(&self, requests: u64) {
        self.update(|state| add(&mut state.preemptions, requests));
    }

    /// So many prompt tokens more were looked up in the prefix cache, and found there.
    pub fn prefix_cache(&self, queries: u64, hits: u64) {
        self.update(|state| {
            add(&mut state.prefix_cache_queries, queries);
            add(&mut state.prefix_cache_hits, hits);
        });
    }

    /// Everything at once; what is `None` vanishes.
    pub fn tell(&self, state: EngineState) {
        if !self.cell.told().all(state) {
            self.meter.dropped(Dropped::Invalid);
        }
    }

    /// Nothing is known any more but what has been counted: for an engine that stopped.
    pub fn clear(&self) {
        self.update(|state| {
            let EngineState { preemptions, prefix_cache_queries, prefix_cache_hits, .. } = *state;
            let counted = EngineState {
                preemptions,
                prefix_cache_queries,
                prefix_cache_hits,
                ..EngineState::default()
            };
            *state = counted;
        });
    }

    /// Has the engine asked from here on, by the thread of the exporter, as
    /// [`Meter::watch`] says; `name` is that of the source.
    pub fn watch(
        &self,
        name: &str,
        mut ask: impl FnMut() -> Result<EngineState, SourceError> + Send + 'static,
    ) {
        let labels = self.cell.labels.clone();
        let mut told = Told::default();
        self.meter.watch(name, move |out: &mut Readings| {
            let is_possible = told.all(ask()?);
            told.write(&labels, out);
            if is_possible { Ok(()) } else { Err("more is in use than there is".into()) }
        });
    }

    fn update(&self, change: impl FnOnce(&mut EngineState)) {
        change(&mut self.cell.told().state);
    }
}

// === impl Cell ===

impl Cell {
    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl record::Told for Cell {
    fn read(&self, out: &mut Readings) {
        self.told().write(&self.labels, out);
    }

    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

fn add(counter: &mut Option<u64>, more: u64) {
    *counter = Some(counter.unwrap_or(0).saturating_add(more));
}
