//! The time from opening the driver until closing it.

use std::{collections::BTreeSet, time::Duration};

use tokio::time::Instant;

use super::Device;

/// How often it is looked which GPUs there are.
const LIST_EVERY: Duration = Duration::from_secs(30);
/// A lost GPU is tried once in so many rounds.
pub(super) const TRY_LOST_EVERY: u64 = 10;

pub(super) struct Session {
    pub(super) opened: Instant,
    listed: Instant,
    pub(super) chose: Instant,
    /// What there is has changed, as it seems.
    pub(super) must_list: bool,
    /// A GPU is not there any more.
    pub(super) is_one_gone: bool,
    pub(super) devices: Vec<Device>,
    pub(super) chosen: Vec<Watched>,
    pub(super) rounds: u64,
    pub(super) all_lost: u32,
    pub(super) has_events: bool,
}

/// A GPU that is read.
pub(super) struct Watched {
    pub(super) place: usize,
    pub(super) is_lost: bool,
}

// === impl Session ===

impl Session {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            opened: now,
            listed: now,
            chose: now,
            must_list: false,
            is_one_gone: false,
            devices: Vec::new(),
            chosen: Vec::new(),
            rounds: 0,
            all_lost: 0,
            has_events: false,
        }
    }

    pub(super) fn must_be_listed(&self, now: Instant) -> bool {
        let is_try = self.is_one_gone && self.rounds % TRY_LOST_EVERY == 0;
        self.must_list || is_try || now - self.listed >= LIST_EVERY
    }

    /// What there is, of which is chosen next.
    pub(super) fn are_listed(&mut self, devices: Vec<Device>, now: Instant) {
        (self.devices, self.listed, self.must_list) = (devices, now, false);
    }

    pub(super) fn are_chosen(
        &mut self,
        places: &[usize],
        lost: &BTreeSet<String>,
        is_one_gone: bool,
        now: Instant,
    ) {
        let devices = &self.devices;
        let is_lost = |place: usize| lost.contains(&devices[place].uuid);
        let watched = |place: &usize| Watched { place: *place, is_lost: is_lost(*place) };
        self.chosen = places.iter().map(watched).collect();
        self.has_events = places.iter().any(|place| devices[*place].has_events);
        (self.chose, self.is_one_gone) = (now, is_one_gone);
    }
}
