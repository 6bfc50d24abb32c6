//! NVIDIA's GPUs, by NVML, the library that comes with their driver.
//!
//! It is looked for at run time: without it, this is a backend that finds nothing.

mod errors;
mod list;
mod raw;
mod read;
mod sink;
mod unsupported;

use std::{
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::time::Instant;

use self::{
    errors::{absent, in_words, is_of_one_reading},
    list::Listed,
    raw::{Events, Library},
    unsupported::Question,
};
use super::{
    Absent, Device, DeviceReadings, ErrorKind, GpuBackend, GpuEvent, GpuProbe, GpuProbeBuilder,
    ProbeError, Quantity, Wanted,
};

/// Reads NVIDIA's GPUs.
///
/// ```
/// use infermeter::{Meter, gpu::{GpuProbe, Nvml}};
///
/// let nvml = Nvml::new().library("/usr/lib/wsl/lib/libnvidia-ml.so.1");
/// let probe = GpuProbe::builder(nvml).watch(&Meter::new()).unwrap();
/// ```
#[derive(Default)]
pub struct Nvml {
    path: Option<OsString>,
    open: Option<Open>,
    /// The library cannot be closed, and is not opened a second time.
    is_broken: bool,
}

/// What is held of the driver.
///
/// NB: in this order it is dropped. The library must be the last.
struct Open {
    events: Option<Events>,
    listed: Vec<Listed>,
    driver_version: String,
    library: Library,
}

// === impl GpuProbe ===

impl GpuProbe {
    /// NVIDIA's GPUs, by the library of their driver; it is looked for at run time.
    pub fn nvml() -> GpuProbeBuilder<Nvml> {
        Self::builder(Nvml::new())
    }
}

// === impl Nvml ===

impl Nvml {
    /// By the library of the driver that is installed.
    pub fn new() -> Self {
        Self::default()
    }

    /// By the library in this file: where there are several, as in WSL (`/usr/lib/wsl/lib`).
    #[must_use]
    pub fn library(mut self, path: impl Into<PathBuf>) -> Self {
        self.path = Some(path.into().into_os_string());
        self
    }

    fn opened(&mut self) -> Result<&mut Open, ProbeError> {
        self.open.as_mut().ok_or_else(|| ProbeError::new(ErrorKind::NotLoaded, "it is not open"))
    }
}

impl GpuBackend for Nvml {
    fn name(&self) -> &'static str {
        "nvml"
    }

    fn open(&mut self) -> Result<(), ProbeError> {
        // NB: a library that is still mapped is the old one, also after an upgrade.
        self.close();
        let broken = || {
            let text = "the driver's library lacks nvmlShutdown: it is not whole";
            ProbeError::new(ErrorKind::Other, text)
        };
        if self.is_broken {
            return Err(broken());
        }
        let library = Library::open(self.path.as_deref()).map_err(|error| {
            let has_gpu = Path::new("/dev/nvidiactl").exists();
            with_hint(in_words(&error), has_gpu)
        })?;
        if !library.can_close() {
            self.is_broken = true;
            return Err(broken());
        }
        let driver_version = library.nvml().sys_driver_version().unwrap_or_default();
        self.open = Some(Open { events: None, listed: Vec::new(), driver_version, library });
        Ok(())
    }

    fn list(&mut self) -> Result<Vec<Device>, ProbeError> {
        let open = self.opened()?;
        let found = list::all(&open.library, &open.driver_version).map_err(|e| in_words(&e))?;
        let identity = |listed: &Listed| listed.identity.clone();
        let are_same = open.listed.iter().map(identity).eq(found.iter().map(identity));
        // NB: what was listed before has samples that the next ones are compared with, and events
        // that nobody has waited for yet.
        if are_same {
            for (known, found) in open.listed.iter_mut().zip(found) {
                (known.device, known.parent) = (found.device, found.parent);
            }
        } else {
            open.events = None;
            open.listed = found;
        }
        if open.events.is_none() {
            let events = Events::of(&open.library);
            for listed in &mut open.listed {
                let register = |events: &Events| events.register(&listed.device);
                listed.is_registered =
                    listed.identity.has_events && events.as_ref().is_some_and(register);
            }
            open.events = events.filter(|_| open.listed.iter().any(|listed| listed.is_registered));
        }
        // NB: what nobody waits for is not there, whatever the GPU supports.
        let device = |listed: &Listed| Device {
            has_events: listed.is_registered,
            ..listed.identity.clone()
        };
        Ok(open.listed.iter().map(device).collect())
    }

    fn sample(
        &mut self,
        place: usize,
        wanted: &Wanted,
        out: &mut DeviceReadings,
    ) -> Result<(), ProbeError> {
        let Open { listed, library, .. } = self.opened()?;
        let listed = listed.get_mut(place);
        let listed = listed.ok_or_else(|| ProbeError::new(ErrorKind::Lost, "it is not there"))?;
        read::all(library, listed, wanted, out)
    }

    fn processes(&mut self, place: usize) -> Result<Vec<u32>, Absent> {
        let listed = self.open.as_mut().and_then(|open| open.listed.get_mut(place));
        let Some(Listed { device, unsupported, .. }) = listed else {
            return Err(Absent::Failed("it is not there".to_owned()));
        };
        let call = || device.running_compute_processes();
        let question = Question::Of(Quantity::ProcessMemory);
        let processes = unsupported.ask(question, Instant::now(), call);
        let processes = processes.map_err(|error| absent(&error))?;
        Ok(processes.iter().map(|process| process.pid).collect())
    }

    fn event(&mut self, at_most: Duration) -> Result<Option<GpuEvent>, ProbeError> {
        let Open { events, listed, .. } = self.opened()?;
        let events = events.as_ref();
        let events = events.ok_or_else(|| ProbeError::new(ErrorKind::Other, "it has no events"))?;
        let next = match events.next(at_most) {
            Ok(next) => next,
            Err(error) if is_of_one_reading(&error) => None,
            Err(error) => return Err(in_words(&error)),
        };
        Ok(next.and_then(|(device, xid)| {
            let is_it = |listed: &Listed| raw::are_same(&listed.device, &device);
            Some(GpuEvent { place: listed.iter().position(is_it)?, xid })
        }))
    }

    fn close(&mut self) {
        self.open = None;
    }
}

impl fmt::Debug for Nvml {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, open, is_broken: _ } = self;
        f.debug_struct("Nvml").field("path", path).field("is_open", &open.is_some()).finish()
    }
}

/// The same, and what to do. Where there is a GPU, a library that is not there is an error too.
fn with_hint(error: ProbeError, has_gpu: bool) -> ProbeError {
    let (kind, hint) = match error.kind() {
        ErrorKind::NotPresent if has_gpu => (
            ErrorKind::NotLoaded,
            "there is a GPU: in a container, let NVIDIA_DRIVER_CAPABILITIES have `utility`, or name \
             the library's file",
        ),
        kind @ ErrorKind::NotLoaded => (kind, "load the driver's kernel module"),
        kind @ ErrorKind::VersionMismatch => {
            (kind, "the driver was upgraded: load its kernel module anew, or restart the machine")
        }
        kind @ ErrorKind::Permission => (kind, "let this user read and write /dev/nvidia*"),
        _ => return error,
    };
    ProbeError::new(kind, format!("{error}; {hint}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_that_is_not_there_is_an_error_where_there_is_a_gpu() {
        let error = || ProbeError::new(ErrorKind::NotPresent, "no such file");
        assert_eq!(with_hint(error(), false), error());
        let there = with_hint(error(), true);
        assert_eq!(there.kind(), ErrorKind::NotLoaded);
        assert!(there.to_string().starts_with("no such file; there is a GPU"), "{there}");
    }
}
