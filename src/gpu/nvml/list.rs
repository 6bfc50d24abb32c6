//! Which GPUs there are, and which instances of them.

use std::collections::HashSet;

use nvml_wrapper::{Device as Handle, GpmSample, bitmasks::event::EventTypes, error::NvmlError};

use super::{
    errors::is_of_one_reading,
    raw::{self, Library},
    unsupported::Unsupported,
};
use crate::gpu::{Device, Instance};

/// A GPU or an instance of one, and what is kept for it between samples.
pub(super) struct Listed {
    pub(super) identity: Device,
    pub(super) device: Handle<'static>,
    /// The whole, for what is asked of it in the name of its instance.
    pub(super) parent: Option<Handle<'static>>,
    /// Whether memory is told here: not for a whole that is split, and once for each GPU instance,
    /// whose compute instances share it.
    pub(super) has_memory: bool,
    /// Whether its events are waited for.
    pub(super) is_registered: bool,
    /// What the next sample of activity is compared with.
    pub(super) activity: Option<GpmSample<'static>>,
    /// Whether the GPU has said that it can be asked for that.
    pub(super) has_activity: bool,
    pub(super) unsupported: Unsupported,
}

/// All of them, each GPU followed by its instances. One that does not even say who it is is left out.
pub(super) fn all(library: &Library, driver_version: &str) -> Result<Vec<Listed>, NvmlError> {
    let mut all = Vec::new();
    for index in 0..library.nvml().device_count()? {
        match whole(library, index, driver_version) {
            Ok(listed) => with_instances(library, listed, &mut all),
            Err(error) if of_the_driver(&error) => return Err(error),
            Err(_) => {}
        }
    }
    Ok(all)
}

fn whole(library: &Library, index: u32, driver_version: &str) -> Result<Listed, NvmlError> {
    let device = library.nvml().device_by_index(index)?;
    let events = device.supported_event_types();
    let name = match device.name() {
        Err(error) if is_of_one_reading(&error) => String::new(),
        name => name?,
    };
    let identity = Device {
        index,
        uuid: device.uuid()?,
        name,
        vendor: "NVIDIA".to_owned(),
        pci_bus_id: device.pci_info().map(|pci| pci.bus_id).unwrap_or_default(),
        driver_version: driver_version.to_owned(),
        instance: None,
        has_events: events.is_ok_and(|types| types.contains(EventTypes::CRITICAL_XID_ERROR)),
    };
    Ok(Listed::new(identity, device, None, true))
}

fn with_instances(library: &Library, mut whole: Listed, all: &mut Vec<Listed>) {
    let is_split = whole.device.mig_mode().is_ok_and(|mode| mode.current == 1);
    let place = all.len();
    let mut with_memory = HashSet::new();
    let slots = if is_split { whole.device.mig_device_count().unwrap_or(0) } else { 0 };
    whole.has_memory = !is_split;
    let parent = whole.identity.clone();
    all.push(whole);
    for slot in 0..slots {
        // NB: slots that nothing is in are `NotFound`, also between others.
        let Ok(device) = all[place].device.mig_device_by_index(slot) else { continue };
        let Ok(again) = library.nvml().device_by_index(parent.index) else { continue };
        let Ok([gpu_instance, compute_instance]) = raw::instance_ids(library, &device) else {
            continue;
        };
        let (Ok(uuid), Ok(name)) = (device.uuid(), device.name()) else { continue };
        let profile = name.split_once(" MIG ").map_or("", |(_, profile)| profile);
        let identity = Device {
            uuid,
            instance: Some(Instance {
                parent_uuid: parent.uuid.clone(),
                gpu_instance,
                compute_instance,
                profile: profile.to_owned(),
            }),
            name: name.clone(),
            has_events: false,
            ..parent.clone()
        };
        let has_memory = with_memory.insert(gpu_instance);
        all.push(Listed::new(identity, device, Some(again), has_memory));
    }
}

/// Whether the error is of the driver rather than of one GPU.
const fn of_the_driver(error: &NvmlError) -> bool {
    !is_of_one_reading(error)
        && !matches!(
            error,
            NvmlError::GpuLost
                | NvmlError::ResetRequired
                | NvmlError::IrqIssue
                | NvmlError::UnexpectedVariant(_)
        )
}

// === impl Listed ===

impl Listed {
    fn new(
        identity: Device,
        device: Handle<'static>,
        parent: Option<Handle<'static>>,
        has_memory: bool,
    ) -> Self {
        Self {
            identity,
            device,
            parent,
            has_memory,
            is_registered: false,
            activity: None,
            has_activity: false,
            unsupported: Unsupported::default(),
        }
    }
}
