//! The GPUs that processes use, by what the driver says.

use super::{
    Absent, Device, Notice,
    chosen::{Before, Chosen},
};

/// Who computes on a GPU.
#[derive(Debug)]
enum User {
    /// One of the processes.
    Engine,
    Others,
    /// Nobody else: some of an engine may outlive its first process.
    Nobody,
    /// The driver does not tell.
    Unknown(Absent),
}

/// Those that these processes use; after them, while nobody else does, and where it cannot be told,
/// those that they have used before.
///
/// NB: what is idle stays so that a GPU which has ended its engine is seen, but only while the engine
/// is nowhere else.
pub(super) fn choose(
    pids: &[u32],
    devices: &[Device],
    before: &Before,
    mut processes: impl FnMut(usize) -> Result<Vec<u32>, Absent>,
) -> Chosen {
    // NB: of a GPU that is split, the driver may name the processes of instances at the whole too,
    // which others share.
    let is_split = |place: &usize| {
        let parent = |device: &Device| Some(device.instance.as_ref()?.parent_uuid.clone());
        devices.iter().any(|device| parent(device).as_ref() == Some(&devices[*place].uuid))
    };
    let asked = (0..devices.len()).filter(|place| !is_split(place));
    let users = asked.map(|place| (place, User::of(processes(place), pids, &before.pids)));
    let users: Vec<(usize, User)> = users.collect();
    let is_anywhere = users.iter().any(|(_, user)| matches!(user, User::Engine));
    let was = |place: usize| before.devices.iter().any(|known| known.uuid == devices[place].uuid);
    let is_chosen = |(place, user): &&(usize, User)| match user {
        User::Engine => true,
        User::Others => false,
        User::Nobody => was(*place) && !is_anywhere,
        User::Unknown(_) => was(*place),
    };
    let chosen: Vec<&(usize, User)> = users.iter().filter(is_chosen).collect();
    let places: Vec<usize> = chosen.iter().map(|(place, _)| *place).collect();
    let is_known = users.is_empty() || chosen.iter().any(|(_, user)| !matches!(user, User::Nobody));
    let names = |places: &[usize]| {
        let name = |place: &usize| match &devices[*place] {
            Device { instance: Some(_), uuid, .. } => uuid.clone(),
            Device { index, .. } => format!("GPU {index}"),
        };
        places.iter().map(name).collect::<Vec<_>>().join(", ")
    };
    let hidden = users.iter().filter_map(|(place, user)| match user {
        User::Unknown(reason) if !was(*place) => Some((*place, reason)),
        _ => None,
    });
    let (hidden, reasons): (Vec<usize>, Vec<&Absent>) = hidden.unzip();
    let notice = match reasons.first() {
        Some(reason) => Notice::warning(format!(
            "the driver does not tell which processes compute on {} ({reason}), so that it is not \
             shown whether the engine uses it or not; a list of the engine's GPUs helps",
            names(&hidden)
        )),
        None if is_known => Notice::info(format!("the engine computes on {}", names(&places))),
        None if places.is_empty() => Notice::info(
            "no process of the engine computes on a GPU, or the driver has other numbers for \
             processes, as outside of a container; no GPU is shown until one does",
        ),
        None => Notice::info(format!(
            "no process of the engine computes on a GPU any more; shown while nobody else does are \
             those that it had: {}",
            names(&places)
        )),
    };
    Chosen { places, is_known, notice: (!users.is_empty()).then_some(notice) }
}

// === impl User ===

impl User {
    fn of(processes: Result<Vec<u32>, Absent>, pids: &[u32], before: &[u32]) -> Self {
        match processes {
            Ok(found) if found.iter().any(|pid| pids.contains(pid)) => Self::Engine,
            Ok(found) if found.iter().all(|pid| before.contains(pid)) => Self::Nobody,
            Ok(_) => Self::Others,
            Err(reason) => Self::Unknown(reason),
        }
    }
}
