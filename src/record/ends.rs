//! How many requests ended in which way: one cell for each way, and all sums are taken over one
//! reading of the cells.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
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
pub(super) struct Ends(RwLock<HashMap<Key, (End, AtomicU64), BuildHasherDefault<EndHasher>>>);

/// All of an [`End`] in two words: its fields would be hashed and compared one by one.
type Key = (u64, u64);

/// Mixes the few small numbers of an [`End`]. No client can choose them as it likes, and the
/// standard hasher takes longer than all the rest of an end.
#[derive(Debug, Default)]
struct EndHasher(u64);

// === impl Ends ===

impl Ends {
    pub(super) fn add(&self, end: End) {
        let key = end.key();
        if let Some((_, n)) = self.0.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            n.fetch_add(1, AcqRel);
            return;
        }
        let mut cells = self.0.write().unwrap_or_else(PoisonError::into_inner);
        cells.entry(key).or_insert((end, AtomicU64::new(0))).1.fetch_add(1, AcqRel);
    }

    /// One reading of every cell, each once. What is read after it is at least as new.
    pub(super) fn read(&self) -> Vec<(End, u64)> {
        let cells = self.0.read().unwrap_or_else(PoisonError::into_inner);
        cells.values().map(|(end, n)| (*end, n.load(Acquire))).collect()
    }
}

// === impl End ===

impl End {
    fn key(&self) -> Key {
        let Self { flew_as, model, endpoint, outcome, phase, code, source, tenant } = *self;
        let outcome = match outcome {
            Outcome::Success(reason) => reason as u8,
            Outcome::Failure(reason) => 0x40 | reason as u8,
            Outcome::Aborted(phase) => 0x80 | phase as u8,
        };
        let places = [flew_as, model, endpoint, tenant.map_or(u16::MAX, TenantId::place)];
        let bytes = [outcome, phase as u8, source.map_or(u8::MAX, |source| source as u8)];
        let places = places.into_iter().fold(0, |word, place| word << 16 | u64::from(place));
        let code = u64::from(code.unwrap_or(0));
        (places, bytes.into_iter().fold(code, |word, byte| word << 8 | u64::from(byte)))
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

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{super::tenant::Tenants, *};
    use crate::outcome::{FailureReason, FinishReason};

    #[test]
    fn all_that_tells_ends_apart_is_in_the_key() {
        let plain = End {
            flew_as: 0,
            model: 0,
            endpoint: 0,
            outcome: Outcome::Success(FinishReason::Stop),
            phase: Phase::Queue,
            code: None,
            source: None,
            tenant: None,
        };
        let mut ends = vec![plain];
        let places = [1, u16::MAX];
        ends.extend(places.map(|flew_as| End { flew_as, ..plain }));
        ends.extend(places.map(|model| End { model, ..plain }));
        ends.extend(places.map(|endpoint| End { endpoint, ..plain }));
        ends.extend([100, 999].map(|code| End { code: Some(code), ..plain }));
        ends.extend(Phase::ALL[1..].iter().map(|phase| End { phase: *phase, ..plain }));
        ends.extend(TokenSource::ALL.iter().map(|of| End { source: Some(*of), ..plain }));
        let reasons = FinishReason::ALL[1..].iter().map(|reason| Outcome::Success(*reason));
        let reasons = reasons.chain(FailureReason::ALL.iter().map(|of| Outcome::Failure(*of)));
        let outcomes = reasons.chain(Phase::ALL.iter().map(|phase| Outcome::Aborted(*phase)));
        ends.extend(outcomes.map(|outcome| End { outcome, ..plain }));
        let tenants = Tenants::new(u16::MAX - 2);
        ends.extend(["a", "b"].map(|of| End { tenant: Some(tenants.id(Some(of))), ..plain }));

        let keys: HashSet<Key> = ends.iter().map(End::key).collect();
        assert_eq!(keys.len(), ends.len());

        let counted = Ends::default();
        (0..3).for_each(|_| ends.iter().for_each(|end| counted.add(*end)));
        let mut read = counted.read();
        read.sort_by_key(|(end, _)| ends.iter().position(|known| known == end));
        assert_eq!(read, ends.iter().map(|end| (*end, 3)).collect::<Vec<_>>());
    }
}
