//! Which GPUs are read.

use std::{env, error::Error, fmt, sync::Arc};

use super::Device;

const CUDA_DEVICES: &str = "CUDA_VISIBLE_DEVICES";
const CUDA_ORDER: &str = "CUDA_DEVICE_ORDER";

/// Which of the GPUs that the driver knows are read, and published.
///
/// In front of one engine of many on a machine, choose the engine's: else each of them repeats the
/// GPUs of the whole machine. `NVIDIA_VISIBLE_DEVICES` is an instruction to the container runtime,
/// and is not looked at: the driver shows only what the container was given.
#[derive(Clone, Debug, Default)]
pub struct DeviceSelection(Choice);

#[derive(Clone, Default)]
enum Choice {
    #[default]
    All,
    List {
        names: Vec<DeviceName>,
        /// Whether the list is CUDA's own: it ends at the first name that is none, and its numbers
        /// may be in another order than the driver's.
        is_cuda: bool,
        is_in_bus_order: bool,
    },
    Processes(Arc<dyn Fn() -> Vec<u32> + Send + Sync>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum DeviceName {
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

/// The text is no list of devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelectionError(String);

/// What was chosen.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Chosen {
    pub(super) places: Vec<usize>,
    /// What the user should know of it.
    pub(super) problem: Option<String>,
}

// === impl DeviceSelection ===

impl DeviceSelection {
    /// Every GPU that the driver shows: in a container, those that it was given.
    pub const fn all() -> Self {
        Self(Choice::All)
    }

    /// What `CUDA_VISIBLE_DEVICES` lets this process use, by the rules of CUDA: numbers, or how a
    /// `GPU-…` or `MIG-…` begins; the first that is none ends the list; empty means no GPU, and not
    /// set means all.
    ///
    /// Its numbers are in CUDA's order. That is the driver's where all GPUs are equal or
    /// `CUDA_DEVICE_ORDER=PCI_BUS_ID`; else all GPUs are chosen, and a [`Notice`](super::Notice) says
    /// so.
    pub fn cuda_visible() -> Self {
        let read = |name| env::var_os(name).map(|value| value.to_string_lossy().into_owned());
        Self::cuda(read(CUDA_DEVICES).as_deref(), read(CUDA_ORDER).as_deref())
    }

    pub(super) fn cuda(devices: Option<&str>, order: Option<&str>) -> Self {
        let Some(devices) = devices else { return Self::all() };
        let is_in_bus_order = order == Some("PCI_BUS_ID");
        Self(Choice::List { names: names(devices), is_cuda: true, is_in_bus_order })
    }

    /// Those of a list with commas: the numbers that `nvidia-smi` shows, or how a `GPU-…` or `MIG-…`
    /// begins; or the word `all`.
    ///
    /// # Errors
    ///
    /// If something else is in it.
    pub fn list(text: &str) -> Result<Self, SelectionError> {
        if text.trim() == "all" {
            return Ok(Self::all());
        }
        let names = names(text);
        if names.is_empty() || names.contains(&DeviceName::Invalid) {
            return Err(SelectionError(text.to_owned()));
        }
        Ok(Self(Choice::List { names, is_cuda: false, is_in_bus_order: true }))
    }

    /// Those on which these processes compute, by what the driver says; asked anew twice a minute.
    ///
    /// NB: in a container, a driver may tell the ids that processes have outside of it. Then none is
    /// found.
    pub fn processes(pids: impl Fn() -> Vec<u32> + Send + Sync + 'static) -> Self {
        Self(Choice::Processes(Arc::new(pids)))
    }

    /// Whether this names the devices of one engine rather than all there are.
    pub const fn is_a_choice(&self) -> bool {
        !matches!(self.0, Choice::All)
    }

    pub(super) const fn is_a_list(&self) -> bool {
        matches!(self.0, Choice::List { .. })
    }

    /// The processes that serve the model; this one, where nothing else is known.
    pub(super) fn pids(&self) -> Vec<u32> {
        match &self.0 {
            Choice::Processes(pids) => pids(),
            _ => vec![std::process::id()],
        }
    }

    pub(super) fn choose(
        &self,
        devices: &[Device],
        mut processes: impl FnMut(usize) -> Option<Vec<u32>>,
    ) -> Chosen {
        match &self.0 {
            Choice::All => Chosen { places: (0..devices.len()).collect(), problem: None },
            Choice::List { names, is_cuda, is_in_bus_order } => {
                let has_index = names.iter().any(|name| matches!(name, DeviceName::Index(_)));
                let mut whole = devices.iter().filter(|device| device.instance.is_none());
                let first = whole.next();
                let is_mixed = whole.any(|device| Some(&device.name) != first.map(|d| &d.name));
                if has_index && is_mixed && !is_in_bus_order {
                    let problem = format!(
                        "{CUDA_DEVICES} has numbers, and GPUs are of several kinds: which is which \
                         is known only with {CUDA_ORDER}=PCI_BUS_ID; all are shown"
                    );
                    let places = (0..devices.len()).collect();
                    return Chosen { places, problem: Some(problem) };
                }
                listed(names, *is_cuda, devices)
            }
            Choice::Processes(pids) => {
                let pids = pids();
                let mut is_used = |place: &usize| {
                    processes(*place).is_some_and(|found| found.iter().any(|p| pids.contains(p)))
                };
                let used: Vec<usize> = (0..devices.len()).filter(&mut is_used).collect();
                // NB: the driver may name an instance's processes at the whole too, which others
                // share.
                let is_split = |place: &usize| {
                    let uuid = &devices[*place].uuid;
                    let parent = |p: usize| Some(&devices[p].instance.as_ref()?.parent_uuid);
                    used.iter().any(|used| parent(*used) == Some(uuid))
                };
                let places = used.iter().copied().filter(|place| !is_split(place)).collect();
                Chosen { places, problem: None }
            }
        }
    }
}

/// The devices of a list, each once, in the driver's order; a whole GPU brings its instances.
fn listed(names: &[DeviceName], is_cuda: bool, devices: &[Device]) -> Chosen {
    let mut chosen = Chosen::default();
    let mut missing = Vec::new();
    for name in names {
        match name.find(devices) {
            Some(place) => chosen.places.push(place),
            None if is_cuda => break,
            None => missing.push(name.to_string()),
        }
    }
    for place in chosen.places.clone() {
        let parent = |device: &Device| Some(device.instance.as_ref()?.parent_uuid.clone());
        let is_part =
            |(_, device): &(usize, &Device)| parent(device).as_ref() == Some(&devices[place].uuid);
        let parts = devices.iter().enumerate().filter(is_part).map(|(part, _)| part);
        chosen.places.extend(parts);
    }
    chosen.places.sort_unstable();
    chosen.places.dedup();
    if !missing.is_empty() {
        chosen.problem = Some(format!("no such GPU: {}", missing.join(", ")));
    } else if chosen.places.is_empty() && is_cuda && !names.is_empty() {
        chosen.problem = Some(format!("{CUDA_DEVICES} names no GPU that there is"));
    }
    chosen
}

fn names(text: &str) -> Vec<DeviceName> {
    if text.trim().is_empty() {
        return Vec::new();
    }
    text.split(',').map(|name| DeviceName::parse(name.trim())).collect()
}

impl fmt::Debug for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("All"),
            Self::List { names, .. } => f.debug_tuple("List").field(names).finish(),
            Self::Processes(_) => f.write_str("Processes"),
        }
    }
}

// === impl DeviceName ===

impl DeviceName {
    fn parse(text: &str) -> Self {
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

// === impl SelectionError ===

impl fmt::Display for SelectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is no list of GPUs; allowed are `all`, or numbers, GPU-… and MIG-… with commas, \
             such as 0,1 or GPU-8932f937",
            self.0
        )
    }
}

impl Error for SelectionError {}
