//! How many requests ended in which way: one cell for each way, and all sums are taken over one
//! reading of the cells.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hash, Hasher},
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicU64, Ordering::AcqRel, Ordering::Acquire},
    },
};

use super::{model::ModelId, tenant::TenantId};
use crate::outcome::{Outcome, Phase, TokenSource};

/// Everything that the end of a request is counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    /// The label that it was in flight under last.
    pub(super) flew_as: ModelId,
    pub(super) model: ModelId,
    /// Place among the meter's endpoints.
    pub(super) endpoint: u16,
    pub(super) outcome: Outcome,
    /// How far it had come.
    pub(super) phase: Phase,
    /// Status of the head, where one was sent.
    pub(super) code: Option<u16>,
    /// Where the token count came from, for a 2xx head.
    pub(super) source: Option<TokenSource>,
    /// Whom it belongs to, where that is asked for.
    pub(super) tenant: Option<TenantId>,
}

#[derive(Debug, Default)]
pub(super) struct Ends(RwLock<HashMap<End, AtomicU64, BuildHasherDefault<EndHasher>>>);

/// Mixes the few small numbers of an [`End`]. No client can choose them as it likes, and the
/// standard hasher takes longer than all the rest of an end.
#[derive(Debug, Default)]
struct EndHasher(u64);

// === impl Ends ===

impl Ends {
    pub(super) fn add(&self, end: End) {
        if let Some(cell) = self.0.read().unwrap_or_else(PoisonError::into_inner).get(&end) {
            cell.fetch_add(1, AcqRel);
            return;
        }
        let mut cells = self.0.write().unwrap_or_else(PoisonError::into_inner);
        cells.entry(end).or_default().fetch_add(1, AcqRel);
    }

    /// One reading of every cell, each once. What is read after it is at least as new.
    pub(super) fn read(&self) -> Vec<(End, u64)> {
        let cells = self.0.read().unwrap_or_else(PoisonError::into_inner);
        cells.iter().map(|(end, cell)| (*end, cell.load(Acquire))).collect()
    }
}

// === impl End ===

impl Hash for End {
    /// NB: in two words. That of a word for each field takes twice as long.
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Self { flew_as, model, endpoint, outcome, phase, code, source, tenant } = *self;
        let outcome = match outcome {
            Outcome::Success(reason) => reason as u8,
            Outcome::Failure(reason) => 0x40 | reason as u8,
            Outcome::Aborted(phase) => 0x80 | phase as u8,
        };
        let places = [flew_as, model, endpoint, tenant.map_or(u16::MAX, TenantId::place)];
        let bytes = [outcome, phase as u8, source.map_or(u8::MAX, |source| source as u8)];
        state.write_u64(places.into_iter().fold(0, |word, place| word << 16 | u64::from(place)));
        let code = u64::from(code.unwrap_or(0));
        state.write_u64(bytes.into_iter().fold(code, |word, byte| word << 8 | u64::from(byte)));
    }
}

// === impl EndHasher ===

impl Hasher for EndHasher {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u64(&mut self, n: u64) {
        // 2^64 divided by the golden ratio spreads neighbours over all bits.
        self.0 = (self.0.rotate_left(5) ^ n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0.rotate_left(32)
    }
}
