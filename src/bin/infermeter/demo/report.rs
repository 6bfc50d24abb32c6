//! Tells the meter what the engine does, once a step.

use infermeter::{
    Meter,
    engine::{Engine, KvUsage, Lora},
};

use super::{
    engine::{BLOCK_SIZE, Limits, Scheduler, Step},
    openai::MODELS,
};

#[derive(Debug)]
pub(crate) struct Report {
    engine: Engine,
    /// The adapters in use as they were told last.
    running: Adapters,
    waiting: Adapters,
}

/// Which of [`MODELS`] are in use, by their place there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Adapters([bool; MODELS.len()]);

/// The data-parallel rank: there is one engine.
const RANK: &str = "0";

// === impl Report ===

impl Report {
    pub(crate) fn new(meter: &Meter, limits: Limits) -> Self {
        let engine = meter.engine(RANK);
        engine.running_limit(limits.running as u64);
        engine.preempted(0); // on the page from the start, as all else
        let report = Self { engine, running: Adapters::default(), waiting: Adapters::default() };
        report.lora();
        report.state(&Scheduler::new(limits));
        report
    }

    pub(crate) fn step(&mut self, scheduler: &Scheduler, step: &Step) {
        let Step { tokens, preempted, queries, hits, .. } = step;
        // The last step before a rest only clears up.
        if *tokens > 0 {
            self.engine.iteration(*tokens as u64);
        }
        if *preempted > 0 {
            self.engine.preempted(*preempted);
        }
        self.engine.prefix_cache(*queries as u64, *hits as u64);
        self.state(scheduler);

        let running = Adapters::of(scheduler.running_adapters());
        let waiting = Adapters::of(scheduler.waiting_adapters());
        if (running, waiting) != (self.running, self.waiting) {
            (self.running, self.waiting) = (running, waiting);
            self.lora();
        }
    }

    fn state(&self, scheduler: &Scheduler) {
        let cache = scheduler.cache();
        self.engine.kv(KvUsage {
            used_blocks: cache.used() as u64,
            total_blocks: cache.total() as u64,
            block_size: BLOCK_SIZE as u64,
            tokens: Some(cache.tokens_held() as u64),
        });
        self.engine.running(scheduler.running() as u64);
        self.engine.waiting(scheduler.waiting() as u64);
    }

    fn lora(&self) {
        let max = MODELS.iter().filter(|model| model.adapter.is_some()).count() as u64;
        let (running, waiting) = (self.running.names(), self.waiting.names());
        self.engine.lora(Lora { max, running, waiting });
    }
}

// === impl Adapters ===

impl Adapters {
    fn of(in_use: impl Iterator<Item = &'static str>) -> Self {
        let mut adapters = Self::default();
        for name in in_use {
            let place = MODELS.iter().position(|model| model.adapter == Some(name));
            adapters.0.iter_mut().enumerate().for_each(|(i, known)| *known |= Some(i) == place);
        }
        adapters
    }

    fn names(self) -> Vec<String> {
        let names = MODELS.iter().zip(self.0).filter(|(_, in_use)| *in_use);
        names.filter_map(|(model, _)| model.adapter).map(str::to_owned).collect()
    }
}
