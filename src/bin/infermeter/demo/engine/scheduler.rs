//! Which sequence is worked on in a step of the engine: continuous batching, as vLLM does it.
//!
//! A step gives every running sequence the tokens that it lacks, within a budget: many for a prompt,
//! one for an answer. Whoever has all of its tokens in the cache gets the next one. Sequences wait in
//! the order in which they came. Where no block is free, the youngest running one is preempted: it
//! loses its blocks, goes back to the front of the queue, and is computed again later.

use std::{collections::VecDeque, mem};

use super::{
    cache::{BLOCK_SIZE, Cache},
    sequence::{Ask, Sequence},
};

#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) blocks: usize,
    /// How many sequences run at once.
    pub(crate) running: usize,
    /// How many tokens a step computes.
    pub(crate) step_tokens: usize,
}

#[derive(Debug)]
pub(crate) struct Scheduler {
    limits: Limits,
    cache: Cache,
    waiting: VecDeque<Sequence>,
    /// The oldest first.
    running: Vec<Sequence>,
    next_id: u64,
}

/// What was done in a step.
#[derive(Debug, Default)]
pub(crate) struct Step {
    /// Tokens computed, of prompts and answers.
    pub(crate) tokens: usize,
    /// Sequences that run for the first time, and how much of each prompt was known.
    pub(crate) started: Vec<(u64, usize)>,
    pub(crate) words: Vec<Word>,
    pub(crate) preempted: u64,
    /// Tokens looked for in the prefix cache, and found there.
    pub(crate) queries: usize,
    pub(crate) hits: usize,
}

/// A token that was generated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    pub(crate) id: u64,
    pub(crate) word: &'static str,
    pub(crate) is_last: bool,
}

// === impl Scheduler ===

impl Scheduler {
    pub(crate) fn new(limits: Limits) -> Self {
        let cache = Cache::new(limits.blocks);
        Self { limits, cache, waiting: VecDeque::new(), running: Vec::new(), next_id: 0 }
    }

    /// Puts a sequence at the end of the queue. An answer that the cache could not hold is cut.
    pub(crate) fn submit(&mut self, mut ask: Ask) -> u64 {
        let slots = self.limits.blocks * BLOCK_SIZE;
        ask.prompt.truncate(slots - 1);
        ask.length = ask.length.min(slots - ask.prompt.len());
        self.next_id += 1;
        self.waiting.push_back(Sequence::new(self.next_id, ask));
        self.next_id
    }

    /// Nobody waits for this one any more: its blocks are free with the next step.
    pub(crate) fn leave(&mut self, id: u64) {
        self.waiting.retain(|sequence| sequence.id != id);
        for sequence in self.running.iter_mut().filter(|sequence| sequence.id == id) {
            sequence.is_over = true;
        }
    }

    pub(crate) fn step(&mut self) -> Step {
        let mut step = Step::default();
        self.clear();
        self.go_on(&mut step);
        // Who was preempted just now would only push others out again.
        if step.preempted == 0 {
            self.admit(&mut step);
        }
        step
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.running.is_empty()
    }

    pub(crate) fn cache(&self) -> &Cache {
        &self.cache
    }

    pub(crate) fn running(&self) -> usize {
        self.running.len()
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// The adapter of each running sequence that has one.
    pub(crate) fn running_adapters(&self) -> impl Iterator<Item = &'static str> {
        self.running.iter().filter_map(|sequence| sequence.adapter)
    }

    pub(crate) fn waiting_adapters(&self) -> impl Iterator<Item = &'static str> {
        self.waiting.iter().filter_map(|sequence| sequence.adapter)
    }

    fn clear(&mut self) {
        let cache = &mut self.cache;
        self.running.retain_mut(|sequence| {
            if sequence.is_over {
                cache.end(mem::take(&mut sequence.table));
            }
            !sequence.is_over
        });
    }

    fn go_on(&mut self, step: &mut Step) {
        let mut at = 0;
        while let Some(sequence) = self.running.get_mut(at) {
            let tokens = sequence.missing().min(self.limits.step_tokens - step.tokens);
            if compute(&mut self.cache, sequence, tokens, step) {
                at += 1;
            } else {
                self.preempt();
                step.preempted += 1;
            }
        }
    }

    /// Of the running sequences, the last to come is the first to go.
    fn preempt(&mut self) {
        let Some(mut youngest) = self.running.pop() else { return };
        self.cache.end(mem::take(&mut youngest.table));
        youngest.computed = 0;
        self.waiting.push_front(youngest);
    }

    fn admit(&mut self, step: &mut Step) {
        while self.running.len() < self.limits.running && step.tokens < self.limits.step_tokens {
            let Some(mut sequence) = self.waiting.pop_front() else { return };
            let table = self.cache.begin(sequence.salt(), &sequence.tokens);
            // Only where all of it has room, and the token after it.
            if table.lacks(sequence.tokens.len() + 1) > self.cache.free() {
                self.cache.end(table);
                self.waiting.push_front(sequence);
                return;
            }
            sequence.computed = table.tokens();
            sequence.table = table;
            if !mem::replace(&mut sequence.has_started, true) {
                step.queries += sequence.tokens.len();
                step.hits += sequence.computed;
                step.started.push((sequence.id, sequence.computed));
            }
            let tokens = sequence.missing().min(self.limits.step_tokens - step.tokens);
            compute(&mut self.cache, &mut sequence, tokens, step);
            self.running.push(sequence);
        }
    }
}

/// Computes so many of the tokens that a sequence lacks; false, and nothing is done, where there is
/// no block for them.
fn compute(cache: &mut Cache, sequence: &mut Sequence, tokens: usize, step: &mut Step) -> bool {
    let computed = sequence.computed + tokens;
    if !cache.grow(&mut sequence.table, computed) {
        return false;
    }
    cache.learn(&mut sequence.table, &sequence.tokens);
    sequence.computed = computed;
    step.tokens += tokens;
    if tokens > 0 && sequence.missing() == 0 {
        let word = sequence.generate();
        step.words.push(Word { id: sequence.id, word, is_last: sequence.is_over });
    }
    true
}
