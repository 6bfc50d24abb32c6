//! The engine: one thread that runs all sequences together, step by step, and tells of each step.

use std::{sync::mpsc, thread};

use candle_core::{Device, Result};
use infermeter::{Meter, engine::Engine};

use crate::{
    cache::{BLOCK_SIZE, Pool},
    model::{CONTEXT, LAYERS, Model, WIDTH},
    scheduler::{Job, Scheduler},
};

/// How many sequences run at once.
pub(crate) const SLOTS: usize = 8;
/// The KV cache. It is too small for as many of the longest, so that some are preempted.
pub(crate) const BLOCKS: usize = 64;

const _: () = assert!(CONTEXT <= BLOCKS * BLOCK_SIZE, "the longest has to fit alone");

/// Starts the engine. It ends once nobody can give it a job any more.
pub(crate) fn start(model: Model, meter: &Meter) -> Result<mpsc::Sender<Job>> {
    let pool = Pool::new(BLOCKS, LAYERS, WIDTH, &Device::Cpu)?;
    let told = meter.engine("0"); // its data-parallel rank: there is one
    told.running_limit(SLOTS as u64);
    told.preempted(0); // so that the family is there from the start

    // NB: there is no limit to this queue. `infermeter::AdmissionLayer` can set one.
    let (queue, jobs) = mpsc::channel();
    let run = move || run(&model, &pool, &told, &jobs);
    thread::Builder::new().name("engine".to_owned()).spawn(run)?;
    Ok(queue)
}

fn run(model: &Model, pool: &Pool, told: &Engine, jobs: &mpsc::Receiver<Job>) {
    let mut scheduler = Scheduler::new(SLOTS, BLOCKS);
    loop {
        let preempted = scheduler.plan();
        if preempted > 0 {
            told.preempted(preempted);
        }
        tell(&scheduler, told);

        let parts = scheduler.parts();
        if parts.is_empty() {
            // Nobody waits either: alone, each one fits.
            let Ok(job) = jobs.recv() else { return };
            scheduler.add(job);
        } else {
            told.iteration(parts.iter().map(|part| part.tokens.len() as u64).sum());
            match model.forward(&parts, pool) {
                Ok(scores) => scheduler.advance(&scores),
                Err(error) => scheduler.fail(&error.to_string()),
            }
        }
        jobs.try_iter().for_each(|job| scheduler.add(job));
    }
}

/// Once a step: between two of them nothing changes.
fn tell(scheduler: &Scheduler, told: &Engine) {
    told.running(scheduler.running());
    told.waiting(scheduler.waiting());
    told.kv(scheduler.kv());
}
