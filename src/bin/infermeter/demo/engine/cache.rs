//! The KV cache: blocks of token slots, and a prefix cache over them.
//!
//! A sequence holds whole blocks, so its last one is partly empty: that is the fragmentation which
//! "blocks used" cannot show. A full block is known by all tokens up to its end; sequences that
//! begin alike share it. A known block that nobody holds is not in use, but stays known until its
//! place is needed; those let go first go first.

use std::collections::{BTreeSet, HashMap};

use super::words::{Token, hash};

/// Token slots of a block.
pub(crate) const BLOCK_SIZE: usize = 16;

#[derive(Debug)]
pub(crate) struct Cache {
    blocks: Vec<Block>,
    /// Those that nobody holds, in the order in which they are taken: empty ones first.
    free: BTreeSet<(u64, usize)>,
    /// Blocks by what they and all before them say.
    known: HashMap<u64, usize>,
    /// Filled slots of the blocks in use; a shared block counts once.
    tokens_held: usize,
    /// Goes on whenever a known block is let go.
    clock: u64,
}

#[derive(Clone, Debug, Default)]
struct Block {
    holders: usize,
    filled: usize,
    prefix: Option<u64>,
    /// Its place among the free ones; 0 for those of which nothing is known.
    let_go: u64,
}

/// The blocks of one sequence, in order.
#[derive(Debug, Default)]
pub(crate) struct Table {
    blocks: Vec<usize>,
    tokens: usize,
    /// How many of the blocks are full and have been looked at, and what they say together.
    read: usize,
    prefix: u64,
}

// === impl Cache ===

impl Cache {
    pub(crate) fn new(blocks: usize) -> Self {
        Self {
            blocks: vec![Block::default(); blocks],
            free: (0..blocks).map(|block| (0, block)).collect(),
            known: HashMap::new(),
            tokens_held: 0,
            clock: 0,
        }
    }

    pub(crate) fn total(&self) -> usize {
        self.blocks.len()
    }

    pub(crate) fn used(&self) -> usize {
        self.blocks.len() - self.free.len()
    }

    pub(crate) fn free(&self) -> usize {
        self.free.len()
    }

    pub(crate) fn tokens_held(&self) -> usize {
        self.tokens_held
    }

    /// Begins a sequence with the blocks that are known already. At least one token is left to be
    /// computed: it takes one to know the next. Caches of different `salt` share nothing.
    pub(crate) fn begin(&mut self, salt: u64, tokens: &[Token]) -> Table {
        let mut table = Table { prefix: salt, ..Table::default() };
        let most = tokens.len().saturating_sub(1);
        for full in tokens[..most].chunks_exact(BLOCK_SIZE) {
            let prefix = hash((table.prefix, full));
            let Some(&block) = self.known.get(&prefix) else { break };
            self.hold(block);
            table.blocks.push(block);
            table.tokens += BLOCK_SIZE;
            (table.read, table.prefix) = (table.read + 1, prefix);
        }
        table
    }

    /// Makes room for so many tokens in all, and fills it; false, and nothing is changed, where
    /// there are too few blocks.
    pub(crate) fn grow(&mut self, table: &mut Table, tokens: usize) -> bool {
        if table.lacks(tokens) > self.free.len() {
            return false;
        }
        for at in table.tokens / BLOCK_SIZE..tokens.div_ceil(BLOCK_SIZE) {
            if at == table.blocks.len() {
                let Some(block) = self.take() else { return false };
                table.blocks.push(block);
            }
            let block = &mut self.blocks[table.blocks[at]];
            let filled = BLOCK_SIZE.min(tokens - at * BLOCK_SIZE);
            self.tokens_held += filled - block.filled;
            block.filled = filled;
        }
        table.tokens = tokens;
        true
    }

    /// Makes the full blocks of a sequence known.
    pub(crate) fn learn(&mut self, table: &mut Table, tokens: &[Token]) {
        let full = tokens[..table.tokens].chunks_exact(BLOCK_SIZE).skip(table.read);
        for tokens in full {
            let block = table.blocks[table.read];
            table.prefix = hash((table.prefix, tokens));
            table.read += 1;
            // Computed twice at the same time: the first is the known one.
            self.known.entry(table.prefix).or_insert_with(|| {
                self.blocks[block].prefix = Some(table.prefix);
                block
            });
        }
    }

    /// Lets the blocks of a sequence go.
    pub(crate) fn end(&mut self, table: Table) {
        // The end of a prefix is worth less than its beginning: it goes first.
        for id in table.blocks.into_iter().rev() {
            let block = &mut self.blocks[id];
            block.holders -= 1;
            if block.holders > 0 {
                continue;
            }
            self.tokens_held -= block.filled;
            if block.prefix.is_some() {
                self.clock += 1;
                block.let_go = self.clock;
            } else {
                *block = Block::default();
            }
            self.free.insert((block.let_go, id));
        }
    }

    fn hold(&mut self, id: usize) {
        let block = &mut self.blocks[id];
        block.holders += 1;
        if block.holders == 1 {
            self.tokens_held += block.filled;
            self.free.remove(&(block.let_go, id));
        }
    }

    /// The next block that nobody holds; what was known of it is forgotten.
    fn take(&mut self) -> Option<usize> {
        let (_, id) = self.free.pop_first()?;
        let block = &mut self.blocks[id];
        if let Some(prefix) = block.prefix.take() {
            self.known.remove(&prefix);
        }
        *block = Block { holders: 1, ..Block::default() };
        Some(id)
    }
}

// === impl Table ===

impl Table {
    pub(crate) fn tokens(&self) -> usize {
        self.tokens
    }

    /// How many blocks more so many tokens in all would take.
    pub(crate) fn lacks(&self, tokens: usize) -> usize {
        tokens.div_ceil(BLOCK_SIZE).saturating_sub(self.blocks.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(n: u64) -> Vec<Token> {
        (0..n).collect()
    }

    /// A sequence with all of its tokens computed.
    fn whole(cache: &mut Cache, tokens: &[Token]) -> Table {
        let mut table = cache.begin(0, tokens);
        assert!(cache.grow(&mut table, tokens.len()));
        cache.learn(&mut table, tokens);
        table
    }

    #[test]
    fn the_last_block_is_partly_empty() {
        let mut cache = Cache::new(4);
        let mut table = whole(&mut cache, &tokens(17));
        assert_eq!((cache.used(), cache.tokens_held(), cache.free()), (2, 17, 2));
        assert!(cache.grow(&mut table, 33));
        assert_eq!((cache.used(), cache.tokens_held()), (3, 33));
        assert!(!cache.grow(&mut table, 65), "there are four blocks");
        assert_eq!((cache.used(), cache.tokens_held(), table.tokens()), (3, 33, 33));
        cache.end(table);
        assert_eq!((cache.used(), cache.tokens_held(), cache.free()), (0, 0, 4));
    }

    #[test]
    fn blocks_that_begin_alike_are_shared_and_count_once() {
        let mut cache = Cache::new(8);
        let first = whole(&mut cache, &tokens(40));
        let second = whole(&mut cache, &tokens(40));
        assert_eq!((cache.used(), cache.tokens_held()), (4, 48), "two shared, two with 8 tokens");
        cache.end(first);
        assert_eq!((cache.used(), cache.tokens_held()), (3, 40));
        cache.end(second);
        assert_eq!((cache.used(), cache.tokens_held()), (0, 0));

        // Known still, though not in use; one token is left to compute.
        let table = cache.begin(0, &tokens(32));
        assert_eq!((table.tokens(), cache.used(), cache.tokens_held()), (16, 1, 16));
        cache.end(table);
        let other = cache.begin(1, &tokens(32));
        assert_eq!(other.tokens(), 0, "of another adapter");
        cache.end(other);
        let mut changed = tokens(32);
        changed[3] = 99;
        let other = cache.begin(0, &changed);
        assert_eq!(other.tokens(), 0);
    }

    #[test]
    fn what_was_let_go_first_is_forgotten_first() {
        let mut cache = Cache::new(4);
        let old: Vec<Token> = (100..133).collect();
        let table = whole(&mut cache, &old);
        cache.end(table);
        let table = whole(&mut cache, &tokens(17));
        assert_eq!(cache.known.len(), 3, "the empty blocks were taken");
        cache.end(table);
        let third = whole(&mut cache, &(200..225).collect::<Vec<_>>());
        let known = |cache: &mut Cache, tokens: &[Token]| {
            let table = cache.begin(0, tokens);
            let known = table.tokens();
            cache.end(table);
            known
        };
        assert_eq!(known(&mut cache, &tokens(17)), 16);
        assert_eq!(known(&mut cache, &old), 16, "its end went first");
        cache.end(third);
    }
}
