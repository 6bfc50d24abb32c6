//! Which GPUs are read.

use std::{env, error::Error, fmt, sync::Arc};

use super::{
    Absent, Device, Notice,
    chosen::{Before, Chosen},
    name::{DeviceName, listed, names},
    used,
};

const CUDA_DEVICES: &str = "CUDA_VISIBLE_DEVICES";
const CUDA_ORDER: &str = "CUDA_DEVICE_ORDER";

/// Which of the GPUs that the driver knows are read, and published.
///
/// In front of one engine of many on a machine, choose the engine's: else each of them repeats the
/// GPUs of the whole machine. `NVIDIA_VISIBLE_DEVICES` is an instruction to the container runtime,
/// and is not looked at: the driver shows only what the container was given.
///
/// ```
/// use infermeter::gpu::DeviceSelection;
///
/// let two = DeviceSelection::list("0,GPU-8932f937").unwrap();
/// assert!(two.is_a_choice());
/// assert!(!DeviceSelection::all().is_a_choice());
/// ```
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

/// The text is no list of devices.
///
/// ```
/// use infermeter::gpu::DeviceSelection;
///
/// let error = DeviceSelection::list("first").unwrap_err();
/// assert!(error.to_string().starts_with(r#""first" is no list of GPUs; allowed are `all`"#));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelectionError(String);

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

    /// Those on which these processes compute, by what the driver says: an engine's, with
    /// [`ProcessTree::ids`](crate::process::ProcessTree::ids). It is asked anew every five seconds, or
    /// after five intervals if that is less.
    ///
    /// While none of them computes on any GPU, it is not known which are chosen, and none is, but those
    /// that were last and on which nobody computes since. A GPU of which the driver does not tell it
    /// stays what it was. Of a GPU that is split, the instances are chosen and not the whole.
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

    /// Whether another one may be right while the GPUs are the same.
    pub(super) const fn is_by_processes(&self) -> bool {
        matches!(self.0, Choice::Processes(_))
    }

    /// The processes that serve the model; this one, where nothing else is known.
    pub(super) fn pids(&self) -> Vec<u32> {
        match &self.0 {
            Choice::Processes(pids) => pids(),
            _ => vec![std::process::id()],
        }
    }

    /// Which of the devices it means, after what came of it before.
    pub(super) fn choose(
        &self,
        devices: &[Device],
        before: &Before,
        processes: impl FnMut(usize) -> Result<Vec<u32>, Absent>,
    ) -> Chosen {
        match &self.0 {
            Choice::All => Chosen::all(devices),
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
                    let notice = Some(Notice::warning(problem));
                    return Chosen { is_known: false, notice, ..Chosen::all(devices) };
                }
                let (places, problem) = listed(names, *is_cuda, devices);
                Chosen { places, is_known: true, notice: problem.map(Notice::warning) }
            }
            Choice::Processes(pids) => used::choose(&pids(), devices, before, processes),
        }
    }
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
