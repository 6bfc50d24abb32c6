//! The KV cache: a fixed pool of blocks, who holds which, and the keys and values in them.

use candle_core::{DType, Device, Result, Tensor};

/// Token slots in a block.
pub(crate) const BLOCK_SIZE: usize = 16;

/// Gives out the blocks of the pool.
#[derive(Debug)]
pub(crate) struct Allocator {
    free: Vec<u32>,
    total: usize,
}

/// The blocks of one sequence, in the order of its tokens. It goes back by [`Allocator::release`].
#[derive(Debug, Default)]
pub(crate) struct Table {
    blocks: Vec<u32>,
}

/// Keys and values of all blocks: for each layer one row a slot.
pub(crate) struct Pool {
    layers: Vec<(Tensor, Tensor)>,
    device: Device,
}

// === impl Allocator ===

impl Allocator {
    pub(crate) fn new(total: usize) -> Self {
        Self { free: (0..total as u32).rev().collect(), total }
    }

    /// Makes room for so many tokens in all. Takes none and says `false` where that does not leave
    /// `spare` blocks.
    #[must_use]
    pub(crate) fn grow(&mut self, table: &mut Table, tokens: usize, spare: usize) -> bool {
        let missing = tokens.div_ceil(BLOCK_SIZE).saturating_sub(table.blocks.len());
        if missing + spare > self.free.len() {
            return false;
        }
        table.blocks.extend(self.free.drain(self.free.len() - missing..).rev());
        true
    }

    /// Takes all blocks of a sequence back.
    pub(crate) fn release(&mut self, table: &mut Table) {
        self.free.append(&mut table.blocks);
    }

    pub(crate) fn used(&self) -> usize {
        self.total - self.free.len()
    }

    pub(crate) const fn total(&self) -> usize {
        self.total
    }
}

// === impl Table ===

impl Table {
    /// Where the tokens up to a position are, as rows of the pool.
    pub(crate) fn slots(&self, tokens: usize) -> Vec<u32> {
        let slots = self.blocks.iter().flat_map(|block| {
            let first = block * BLOCK_SIZE as u32;
            first..first + BLOCK_SIZE as u32
        });
        slots.take(tokens).collect()
    }
}

// === impl Pool ===

impl Pool {
    pub(crate) fn new(blocks: usize, layers: usize, width: usize, device: &Device) -> Result<Self> {
        let rows = || Tensor::zeros((blocks * BLOCK_SIZE, width), DType::F32, device);
        let layers = (0..layers).map(|_| Ok((rows()?, rows()?))).collect::<Result<_>>()?;
        Ok(Self { layers, device: device.clone() })
    }

    /// Writes one row of `keys` and `values` to each slot.
    pub(crate) fn write(
        &self,
        layer: usize,
        slots: &[u32],
        keys: &Tensor,
        values: &Tensor,
    ) -> Result<()> {
        let (all_keys, all_values) = &self.layers[layer];
        let mut row = 0;
        // Slots of a block lie side by side: one copy for each run of them.
        for run in slots.chunk_by(|a, b| a + 1 == *b) {
            let (length, first) = (run.len(), run[0] as usize);
            all_keys.slice_set(&keys.narrow(0, row, length)?, 0, first)?;
            all_values.slice_set(&values.narrow(0, row, length)?, 0, first)?;
            row += length;
        }
        Ok(())
    }

    /// The keys and values of some slots.
    pub(crate) fn read(&self, layer: usize, slots: &[u32]) -> Result<(Tensor, Tensor)> {
        let slots = Tensor::new(slots, &self.device)?;
        let (keys, values) = &self.layers[layer];
        Ok((keys.index_select(&slots, 0)?, values.index_select(&slots, 0)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_taken_for_each_16_tokens() {
        let (mut blocks, mut table) = (Allocator::new(3), Table::default());
        for (tokens, used) in [(0, 0), (1, 1), (16, 1), (17, 2), (16, 2), (48, 3)] {
            assert!(blocks.grow(&mut table, tokens, 0));
            assert_eq!(blocks.used(), used, "{tokens} tokens");
        }
        assert_eq!(table.slots(18)[15..], [15, 16, 17]);
    }

    #[test]
    fn nothing_is_taken_where_there_is_too_little() {
        let (mut blocks, mut one, mut other) =
            (Allocator::new(3), Table::default(), Table::default());
        assert!(blocks.grow(&mut one, 32, 0));
        assert!(!blocks.grow(&mut other, 17, 0));
        assert_eq!((blocks.used(), other.blocks.len()), (2, 0));
        assert!(!blocks.grow(&mut other, 16, 1), "the last one is to be left");
        blocks.release(&mut one);
        assert_eq!(blocks.used(), 0);
        assert!(blocks.grow(&mut other, 48, 0));
    }

    #[test]
    fn no_block_is_given_twice() {
        let (mut blocks, mut one, mut other) =
            (Allocator::new(8), Table::default(), Table::default());
        for tokens in (1..=64).step_by(7) {
            assert!(blocks.grow(&mut one, tokens, 0) && blocks.grow(&mut other, tokens, 0));
        }
        blocks.release(&mut one);
        assert!(blocks.grow(&mut one, 64, 0));
        let mut all = [one.blocks, other.blocks].concat();
        all.sort_unstable();
        assert_eq!(all, (0..8).collect::<Vec<_>>());
    }

    #[test]
    fn what_was_written_is_read_in_the_order_of_its_tokens() -> Result<()> {
        let pool = Pool::new(4, 1, 1, &Device::Cpu)?;
        let slots: Vec<u32> = (48..64).chain(0..4).collect(); // the last block, then the first
        let keys = Tensor::arange(0_f32, 20.0, &Device::Cpu)?.reshape((20, 1))?;
        pool.write(0, &slots, &keys, &keys.neg()?)?;
        let (read, values) = pool.read(0, &slots)?;
        assert_eq!(read.to_vec2::<f32>()?, keys.to_vec2::<f32>()?);
        assert_eq!(values.to_vec2::<f32>()?, keys.neg()?.to_vec2::<f32>()?);
        Ok(())
    }
}
