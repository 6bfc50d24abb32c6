//! Which GPUs are chosen, as it goes on while GPUs and processes come and go.

use super::{Absent, Device, DeviceSelection, Notice};

/// What was chosen.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Chosen {
    pub(super) places: Vec<usize>,
    /// Whether these are those that are meant; if not, the notice says why.
    pub(super) is_known: bool,
    /// What the user should know of it.
    pub(super) notice: Option<Notice>,
}

/// What came of choosing before.
#[derive(Debug, Default)]
pub(super) struct Before {
    /// Those chosen last, and of them those that were lost since: when a GPU is lost, the others may
    /// get other numbers, and CUDA's list would end at the lost one.
    pub(super) devices: Vec<Device>,
    /// The processes by which they were, the last that there were.
    pub(super) pids: Vec<u32>,
    /// Why it was not known which are meant.
    doubt: Option<Notice>,
}

#[derive(Debug)]
pub(super) struct Choosing {
    selection: DeviceSelection,
    before: Before,
    said: Option<Notice>,
}

// === impl Chosen ===

impl Chosen {
    pub(super) fn all(devices: &[Device]) -> Self {
        Self { places: (0..devices.len()).collect(), is_known: true, notice: None }
    }
}

// === impl Choosing ===

impl Choosing {
    pub(super) fn new(selection: DeviceSelection) -> Self {
        Self { selection, before: Before::default(), said: None }
    }

    pub(super) const fn selection(&self) -> &DeviceSelection {
        &self.selection
    }

    pub(super) fn choose(
        &mut self,
        devices: &[Device],
        processes: impl FnMut(usize) -> Result<Vec<u32>, Absent>,
    ) -> Chosen {
        // NB: an instance that is not there was taken apart, and its name may be another one's.
        let is_lost = |device: &Device| devices.iter().all(|d| d.uuid != device.whole());
        if self.selection.is_a_list() && self.before.devices.iter().any(is_lost) {
            return self.still_there(devices);
        }
        let chosen = self.selection.choose(devices, &self.before, processes);
        if !self.selection.is_a_choice() {
            return chosen;
        }
        let Before { devices: known, pids, doubt } = &mut self.before;
        *doubt = chosen.notice.clone().filter(|_| !chosen.is_known);
        known.retain(is_lost);
        known.extend(chosen.places.iter().map(|place| devices[*place].clone()));
        let now = self.selection.pids();
        if !now.is_empty() {
            *pids = now;
        }
        chosen
    }

    /// What is to be said, if it is new.
    pub(super) fn news(&mut self, chosen: &Chosen) -> Option<Notice> {
        let is_new = self.said != chosen.notice;
        self.said.clone_from(&chosen.notice);
        chosen.notice.clone().filter(|_| is_new)
    }

    /// Those of a list that are still there, with their instances.
    fn still_there(&self, devices: &[Device]) -> Chosen {
        let Before { devices: before, doubt, .. } = &self.before;
        let is_it = |(_, device): &(usize, &Device)| {
            before.iter().any(|known| known.uuid == device.uuid || known.uuid == device.whole())
        };
        let places = devices.iter().enumerate().filter(is_it).map(|(place, _)| place).collect();
        Chosen { places, is_known: doubt.is_none(), notice: doubt.clone() }
    }
}
