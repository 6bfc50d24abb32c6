//! GPUs by their names in a list.

use std::fmt;

use super::Device;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum DeviceName {
    Index(u32),
    /// `GPU-…` or `MIG-…`, or how one begins.
    Uuid(String),
    /// `MIG-GPU-…/1/0`, as older drivers name instances.
    Instance {
        parent: String,
        gpu_instance: u32,
        compute_instance: u32,
    },
    /// Names no device.
    Invalid,
}

// === impl DeviceName ===

impl DeviceName {
    pub(super) fn parse(text: &str) -> Self {
        if let Some(rest) = text.strip_prefix("MIG-GPU-") {
            let mut parts = rest.split('/');
            let parent = format!("GPU-{}", parts.next().unwrap_or_default());
            let mut number = || parts.next().and_then(|part| part.parse().ok());
            return match (number(), number(), parts.next()) {
                (Some(gpu_instance), Some(compute_instance), None) => {
                    Self::Instance { parent, gpu_instance, compute_instance }
                }
                _ => Self::Invalid,
            };
        }
        if text.starts_with("GPU-") || text.starts_with("MIG-") {
            return Self::Uuid(text.to_owned());
        }
        // NB: `+1` is a number for Rust.
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|_| is_number);
        number.map_or(Self::Invalid, Self::Index)
    }

    /// Its place, if exactly one device is it.
    fn find(&self, devices: &[Device]) -> Option<usize> {
        let is_it = |device: &Device| match self {
            Self::Index(index) => device.instance.is_none() && device.index == *index,
            Self::Uuid(start) => device.uuid.starts_with(start.as_str()),
            Self::Instance { parent, gpu_instance, compute_instance } => {
                device.instance.as_ref().is_some_and(|instance| {
                    instance.parent_uuid == *parent
                        && instance.gpu_instance == *gpu_instance
                        && instance.compute_instance == *compute_instance
                })
            }
            Self::Invalid => false,
        };
        let mut found = devices.iter().enumerate().filter(|(_, device)| is_it(device));
        let (place, _) = found.next()?;
        found.next().is_none().then_some(place)
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Index(index) => write!(f, "{index}"),
            Self::Uuid(uuid) => f.write_str(uuid),
            Self::Instance { parent, gpu_instance, compute_instance } => {
                write!(f, "MIG-{parent}/{gpu_instance}/{compute_instance}")
            }
            Self::Invalid => f.write_str("?"),
        }
    }
}

// === Lists ===

/// The places of the devices of a list, each once, in the driver's order, and what is wrong with the
/// list; a whole GPU brings its instances.
pub(super) fn listed(
    names: &[DeviceName],
    is_cuda: bool,
    devices: &[Device],
) -> (Vec<usize>, Option<String>) {
    let mut places = Vec::new();
    let mut missing = Vec::new();
    for name in names {
        match name.find(devices) {
            Some(place) => places.push(place),
            None if is_cuda => break,
            None => missing.push(name.to_string()),
        }
    }
    for place in places.clone() {
        let parent = |device: &Device| Some(device.instance.as_ref()?.parent_uuid.clone());
        let is_part =
            |(_, device): &(usize, &Device)| parent(device).as_ref() == Some(&devices[place].uuid);
        let parts = devices.iter().enumerate().filter(is_part).map(|(part, _)| part);
        places.extend(parts);
    }
    places.sort_unstable();
    places.dedup();
    if !missing.is_empty() {
        return (places, Some(format!("no such GPU: {}", missing.join(", "))));
    }
    let is_in_vain = places.is_empty() && is_cuda && !names.is_empty();
    let problem =
        is_in_vain.then(|| String::from("CUDA_VISIBLE_DEVICES names no GPU that there is"));
    (places, problem)
}

pub(super) fn names(text: &str) -> Vec<DeviceName> {
    if text.trim().is_empty() {
        return Vec::new();
    }
    text.split(',').map(|name| DeviceName::parse(name.trim())).collect()
}
