//! One sequence: a prompt, and the answer that grows behind it.

use super::{
    cache::Table,
    words::{self, Token, hash},
};

/// What a sequence is to be.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) prompt: Vec<Token>,
    /// Which adapter answers; none is the base model.
    pub(crate) adapter: Option<&'static str>,
    /// Which answer is given.
    pub(crate) seed: u64,
    /// How many tokens it has, at least one.
    pub(crate) length: usize,
}

#[derive(Debug)]
pub(super) struct Sequence {
    pub(super) id: u64,
    pub(super) adapter: Option<&'static str>,
    /// The prompt, and what was generated.
    pub(super) tokens: Vec<Token>,
    /// How many of them are in the cache.
    pub(super) computed: usize,
    pub(super) table: Table,
    /// Has run before: it was preempted if it waits again.
    pub(super) has_started: bool,
    /// Has its last token, or nobody who waits for it.
    pub(super) is_over: bool,
    prompt: usize,
    length: usize,
    seed: u64,
}

// === impl Sequence ===

impl Sequence {
    pub(super) fn new(id: u64, ask: Ask) -> Self {
        let Ask { prompt: tokens, adapter, seed, length } = ask;
        Self {
            id,
            adapter,
            computed: 0,
            table: Table::default(),
            has_started: false,
            is_over: false,
            prompt: tokens.len(),
            length,
            seed,
            tokens,
        }
    }

    /// Nothing of one adapter is any use to another.
    pub(super) fn salt(&self) -> u64 {
        hash(self.adapter)
    }

    /// Tokens that are not in the cache yet.
    pub(super) fn missing(&self) -> usize {
        self.tokens.len() - self.computed
    }

    /// The next word of the answer; it is over with the last.
    pub(super) fn generate(&mut self) -> &'static str {
        let generated = self.tokens.len() - self.prompt;
        let word = words::word(self.seed, generated);
        self.tokens.push(words::token(word));
        self.is_over |= generated + 1 >= self.length;
        word
    }
}
