//! A simulated inference engine: no model, no HTTP, but a scheduler and a KV cache that really fill.
//!
//! It works in steps, as real ones do. A step takes some milliseconds, more with more tokens; at its
//! end each sequence that it was about has one token more.

mod cache;
mod lengths;
mod scheduler;
mod sequence;
#[cfg(test)]
mod tests;
mod words;

use std::time::Duration;

use tokio::{
    sync::mpsc::{self, UnboundedSender},
    time::sleep,
};

pub(crate) use self::{
    cache::BLOCK_SIZE,
    lengths::Lengths,
    scheduler::{Limits, Scheduler, Step},
    sequence::Ask,
    words::{Token, hash, text, tokens},
};

/// A sequence that is asked for, and who waits for it. Its queue is as long as the answer at most.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) ask: Ask,
    /// Which of the answers to one request it is.
    pub(crate) choice: usize,
    pub(crate) events: UnboundedSender<(usize, Event)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// Out of the queue; so many tokens of the prompt were in the prefix cache.
    Started { cached: usize },
    /// A token.
    Word(&'static str),
    /// No more tokens.
    Over,
}

/// How long a step takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    pub(crate) step: Duration,
    /// On top, for each token.
    pub(crate) token: Duration,
}

/// Works until nobody can ask for anything any more; `watch` sees every step.
pub(crate) async fn run(
    limits: Limits,
    pace: Pace,
    mut jobs: mpsc::Receiver<Job>,
    mut watch: impl FnMut(&Scheduler, &Step),
) {
    let mut scheduler = Scheduler::new(limits);
    let mut clients = Clients::default();
    loop {
        if scheduler.is_idle() {
            let Some(job) = jobs.recv().await else { return };
            clients.take(job, &mut scheduler);
        }
        while let Ok(job) = jobs.try_recv() {
            clients.take(job, &mut scheduler);
        }
        clients.see_who_left(&mut scheduler);

        let step = scheduler.step();
        watch(&scheduler, &step);
        for &(id, cached) in &step.started {
            clients.tell(id, Event::Started { cached });
        }
        sleep(pace.step + pace.token * u32::try_from(step.tokens).unwrap_or(u32::MAX)).await;
        for word in &step.words {
            clients.tell(word.id, Event::Word(word.word));
            if word.is_last {
                clients.tell(word.id, Event::Over);
                clients.0.retain(|client| client.id != word.id);
            }
        }
    }
}

/// Who waits for which sequence; a few dozen.
#[derive(Debug, Default)]
struct Clients(Vec<Client>);

#[derive(Debug)]
struct Client {
    id: u64,
    choice: usize,
    events: UnboundedSender<(usize, Event)>,
}

// === impl Clients ===

impl Clients {
    fn take(&mut self, job: Job, scheduler: &mut Scheduler) {
        let Job { ask, choice, events } = job;
        self.0.push(Client { id: scheduler.submit(ask), choice, events });
    }

    fn see_who_left(&mut self, scheduler: &mut Scheduler) {
        self.0.retain(|client| {
            let has_left = client.events.is_closed();
            if has_left {
                scheduler.leave(client.id);
            }
            !has_left
        });
    }

    fn tell(&self, id: u64, event: Event) {
        for client in self.0.iter().filter(|client| client.id == id) {
            // Seen as gone before the next step.
            let _ = client.events.send((client.choice, event));
        }
    }
}
