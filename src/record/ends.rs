//! How many requests ended in which way: one cell for each way, and all sums are taken over one
//! reading of the cells.

use std::{
    collections::HashMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering::AcqRel, Ordering::Acquire},
    },
};

use super::model::ModelId;
use crate::outcome::{Outcome, Phase, TokenSource};

/// Everything that the end of a request is counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct End {
    /// The label known at arrival: the one it was in flight under.
    pub(super) arrived_as: ModelId,
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
}

#[derive(Debug, Default)]
pub(super) struct Ends(RwLock<HashMap<End, Arc<AtomicU64>>>);

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
