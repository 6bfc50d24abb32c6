//! Requests that went over to another label on their way: they were received by one, and are in
//! flight and end under another.

use std::{
    collections::HashMap,
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicU64, Ordering::AcqRel, Ordering::Acquire},
    },
};

use super::model::ModelId;

/// Moves that were made in one phase, by where from and where to.
#[derive(Debug, Default)]
pub(super) struct Moves(RwLock<HashMap<(ModelId, ModelId), AtomicU64>>);

/// One reading of them.
#[derive(Debug, Default)]
pub(super) struct Moved(HashMap<ModelId, (u64, u64)>);

// === impl Moves ===

impl Moves {
    pub(super) fn add(&self, from: ModelId, to: ModelId) {
        let key = (from, to);
        if let Some(cell) = self.0.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            cell.fetch_add(1, AcqRel);
            return;
        }
        let mut cells = self.0.write().unwrap_or_else(PoisonError::into_inner);
        cells.entry(key).or_default().fetch_add(1, AcqRel);
    }

    /// NB: nobody moves meanwhile. A request may move twice, and whoever saw the second move alone
    /// would see it leave where it has never been.
    pub(super) fn read(&self) -> Moved {
        let cells = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let mut moved = Moved::default();
        for ((from, to), cell) in &*cells {
            let n = cell.load(Acquire);
            moved.0.entry(*from).or_default().1 += n;
            moved.0.entry(*to).or_default().0 += n;
        }
        moved
    }
}

// === impl Moved ===

impl Moved {
    /// How many came to a label, and how many left it.
    pub(super) fn of(&self, model: ModelId) -> (u64, u64) {
        self.0.get(&model).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_came_and_who_left() {
        let moves = Moves::default();
        for (from, to) in [(0, 1), (0, 1), (1, 2)] {
            moves.add(from, to);
        }
        let moved = moves.read();
        assert_eq!([0, 1, 2, 3].map(|model| moved.of(model)), [(0, 2), (2, 1), (1, 0), (0, 0)]);
    }
}
