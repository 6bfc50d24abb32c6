//! Who runs in the next step, and in which blocks of the KV cache.

use std::collections::VecDeque;

use infermeter::{RequestMeter, engine::KvUsage, outcome::FinishReason};
use tokio::sync::mpsc::UnboundedSender;

use crate::{
    cache::{Allocator, BLOCK_SIZE, Table},
    model::{END, Part},
    sampling::Sampler,
};

/// What a request asks of the engine.
pub(crate) struct Job {
    pub(crate) prompt: Vec<u32>,
    pub(crate) max_tokens: usize,
    pub(crate) sampler: Sampler,
    pub(crate) meter: RequestMeter,
    /// Closed from the other side once the client has left. It holds at most `max_tokens`.
    pub(crate) answer: UnboundedSender<Result<Generated, String>>,
}

/// One token of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Generated {
    pub(crate) token: u32,
    /// Why this is the last one.
    pub(crate) finish: Option<FinishReason>,
}

pub(crate) struct Scheduler {
    /// The next one is in front.
    waiting: VecDeque<Sequence>,
    /// The one that started last is at the end.
    running: Vec<Sequence>,
    blocks: Allocator,
    limit: usize,
}

struct Sequence {
    job: Job,
    /// Prompt and answer.
    tokens: Vec<u32>,
    /// How many of them are in the cache.
    cached: usize,
    table: Table,
}

// === impl Scheduler ===

impl Scheduler {
    /// At most `limit` sequences run at once. The blocks have to be enough for any one of them.
    pub(crate) fn new(limit: usize, blocks: usize) -> Self {
        let blocks = Allocator::new(blocks);
        Self { waiting: VecDeque::new(), running: Vec::new(), blocks, limit }
    }

    pub(crate) fn add(&mut self, job: Job) {
        let tokens = job.prompt.clone();
        self.waiting.push_back(Sequence { job, tokens, cached: 0, table: Table::default() });
    }

    /// Decides who runs in the next step. Says how many have lost their blocks to others.
    pub(crate) fn plan(&mut self) -> u64 {
        self.waiting.retain(|sequence| !sequence.is_left());
        self.end(|sequence| sequence.is_left());

        // Each needs room for one token more. Where there is none, the one that started last gives
        // its blocks back, be it the one that asks, and is computed again later.
        let (mut granted, mut preempted) = (0, 0);
        while let Some(sequence) = self.running.get_mut(granted) {
            if self.blocks.grow(&mut sequence.table, sequence.tokens.len(), 0) {
                granted += 1;
            } else if let Some(mut last) = self.running.pop() {
                self.blocks.release(&mut last.table);
                last.cached = 0;
                self.waiting.push_front(last);
                preempted += 1;
            }
        }
        if preempted == 0 {
            self.admit();
        }
        preempted
    }

    /// What the next step has to compute, in the order of [`advance`](Self::advance).
    pub(crate) fn parts(&self) -> Vec<Part> {
        self.running.iter().map(Sequence::part).collect()
    }

    /// Draws a token for each running sequence, and lets those go that have ended.
    pub(crate) fn advance(&mut self, scores: &[Vec<f32>]) {
        let mut scores = scores.iter();
        self.end(|sequence| scores.next().is_some_and(|scores| sequence.advance(scores)));
    }

    /// The step has failed, and with it all that run.
    pub(crate) fn fail(&mut self, why: &str) {
        self.end(|sequence| {
            let _ = sequence.job.answer.send(Err(why.to_owned()));
            true
        });
    }

    pub(crate) fn waiting(&self) -> u64 {
        self.waiting.len() as u64
    }

    pub(crate) fn running(&self) -> u64 {
        self.running.len() as u64
    }

    pub(crate) fn kv(&self) -> KvUsage {
        let tokens = self.running.iter().map(|sequence| sequence.cached as u64).sum();
        KvUsage {
            used_blocks: self.blocks.used() as u64,
            total_blocks: self.blocks.total() as u64,
            block_size: BLOCK_SIZE as u64,
            tokens: Some(tokens),
        }
    }

    /// First come, first served: one that does not fit holds up those behind it.
    fn admit(&mut self) {
        while let Some(mut next) = self.waiting.pop_front() {
            // A block for each that runs is left, so that the newcomer is not the next to go.
            let spare = self.running.len();
            let is_room = spare < self.limit;
            if !is_room || !self.blocks.grow(&mut next.table, next.tokens.len(), spare) {
                self.waiting.push_front(next);
                return;
            }
            next.job.meter.started(); // the queue time ends here; the second time it does nothing
            self.running.push(next);
        }
    }

    /// Takes the blocks of those that have ended.
    fn end(&mut self, mut has_ended: impl FnMut(&mut Sequence) -> bool) {
        let Self { running, blocks, .. } = self;
        running.retain_mut(|sequence| {
            let has_ended = has_ended(sequence);
            if has_ended {
                blocks.release(&mut sequence.table);
            }
            !has_ended
        });
    }
}

// === impl Sequence ===

impl Sequence {
    fn is_left(&self) -> bool {
        self.job.answer.is_closed()
    }

    fn part(&self) -> Part {
        let Self { tokens, cached, table, .. } = self;
        Part { tokens: tokens[*cached..].to_vec(), slots: table.slots(tokens.len()) }
    }

    /// Adds the next token. Says whether it was the last one.
    fn advance(&mut self, scores: &[f32]) -> bool {
        let Self { job, tokens, cached, .. } = self;
        let token = job.sampler.draw(scores);
        *cached = tokens.len();
        tokens.push(token);
        let generated = tokens.len() - job.prompt.len();
        let finish = if token == END {
            Some(FinishReason::Stop)
        } else {
            (generated == job.max_tokens).then_some(FinishReason::Length)
        };
        // Said before the client can see the token, and so before the request can end.
        job.meter.first_token(); // the first one counts
        job.meter.add_generated_tokens(1);
        if let Some(reason) = finish {
            job.meter.finished(reason);
        }
        // Where the client has left, the next plan sees it.
        let _ = job.answer.send(Ok(Generated { token, finish }));
        finish.is_some()
    }
}

#[cfg(test)]
mod tests;
