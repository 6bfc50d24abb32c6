//! What reads GPUs.

use std::{error::Error, fmt, time::Duration};

use super::{Absent, Device, DeviceReadings};

/// Reads the GPUs of one maker; every call is made on the probe's own thread.
///
/// ```
/// use infermeter::{Meter, gpu::*};
///
/// struct Accelerator;
///
/// impl GpuBackend for Accelerator {
///     fn name(&self) -> &'static str {
///         "accelerator"
///     }
///     fn open(&mut self) -> Result<(), ProbeError> {
///         Ok(())
///     }
///     fn list(&mut self) -> Result<Vec<Device>, ProbeError> {
///         Ok(vec![Device { uuid: "A-1".to_owned(), ..Device::default() }])
///     }
///     fn sample(
///         &mut self,
///         _place: usize,
///         _wanted: &Wanted,
///         out: &mut DeviceReadings,
///     ) -> Result<(), ProbeError> {
///         out.set(Quantity::Power, Ok(75.0));
///         Ok(())
///     }
///     fn close(&mut self) {}
/// }
///
/// let probe = GpuProbe::builder(Accelerator).watch(&Meter::new());
/// ```
pub trait GpuBackend: Send + 'static {
    /// The value of the label `backend`: a fixed word.
    fn name(&self) -> &'static str;

    /// Opens the driver. Called again after [`close`](Self::close), with pauses where it fails.
    ///
    /// # Errors
    ///
    /// If there is none, or it cannot be opened.
    fn open(&mut self) -> Result<(), ProbeError>;

    /// Every GPU that there is, each followed by its instances. Called after
    /// [`open`](Self::open) and now and then; the places in the list are what the other calls name.
    ///
    /// # Errors
    ///
    /// If it cannot be told which there are.
    fn list(&mut self) -> Result<Vec<Device>, ProbeError>;

    /// Reads one GPU.
    ///
    /// # Errors
    ///
    /// If the GPU as a whole cannot be read. A single reading that cannot be had is an
    /// [`Absent`] in `out`.
    fn sample(
        &mut self,
        place: usize,
        wanted: &Wanted,
        out: &mut DeviceReadings,
    ) -> Result<(), ProbeError>;

    /// The processes that compute on a GPU, by their ids.
    ///
    /// # Errors
    ///
    /// If that cannot be told.
    fn processes(&mut self, place: usize) -> Result<Vec<u32>, Absent> {
        let _ = place;
        Err(Absent::NotSupported)
    }

    /// Waits for the next event, but not longer than this.
    ///
    /// # Errors
    ///
    /// If there are none to wait for: then nothing waits until the driver is opened anew.
    fn event(&mut self, at_most: Duration) -> Result<Option<GpuEvent>, ProbeError> {
        let _ = at_most;
        Err(ProbeError::new(ErrorKind::Other, "it has no events"))
    }

    /// Lets go of the driver, of everything that is held of it.
    fn close(&mut self);
}

/// An error that a GPU reports by itself.
///
/// ```
/// use infermeter::gpu::{GpuEvent, ProbeError};
///
/// // What `GpuBackend::event` may answer: error 79 of the first GPU of the list.
/// let answer: Result<_, ProbeError> = Ok(Some(GpuEvent { place: 0, xid: 79 }));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GpuEvent {
    /// The place of the GPU in the list.
    pub place: usize,
    /// The code of the error.
    pub xid: u64,
}

/// What is to be read.
///
/// ```
/// use infermeter::gpu::{Quantity, Wanted};
///
/// let wanted = Wanted::default();
/// let is_read = |quantity: Quantity| wanted.extended || !quantity.is_extended();
/// assert_eq!([Quantity::Power, Quantity::SmActive].map(is_read), [true, false]);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Wanted {
    /// Whether what is [extended](super::Quantity::is_extended) is too.
    pub extended: bool,
    /// The processes that serve the model, by their ids.
    pub processes: Vec<u32>,
}

/// Why GPUs cannot be read.
///
/// ```
/// use infermeter::gpu::{ErrorKind, ProbeError};
///
/// let error = ProbeError::new(ErrorKind::Permission, "only root may open it");
/// assert_eq!(error.kind(), ErrorKind::Permission);
/// assert_eq!(error.to_string(), "only root may open it");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeError {
    kind: ErrorKind,
    message: String,
}

/// What kind of error it is.
///
/// ```
/// use infermeter::gpu::{ErrorKind, ProbeError};
///
/// let error = ProbeError::new(ErrorKind::Lost, "it fell off the bus");
/// assert_eq!(error.kind().label(), "lost");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// There is no driver here. Looked for again each minute.
    NotPresent,
    /// There is a GPU, but its driver is not loaded, not whole, or not open any more: it is opened
    /// anew.
    NotLoaded,
    /// The library and the driver are of different versions, as after an upgrade: it is opened anew.
    VersionMismatch,
    /// Not everybody may open it.
    Permission,
    /// The GPU fell off the bus, or must be reset.
    Lost,
    /// It did not answer in time.
    Timeout,
    /// Any other.
    Other,
}

// === impl ProbeError ===

impl ProbeError {
    /// An error, and what the driver says of it.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// What kind of error it is.
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl fmt::Display for ProbeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for ProbeError {}

// === impl ErrorKind ===

impl ErrorKind {
    pub(super) const ALL: [Self; 7] = [
        Self::NotPresent,
        Self::NotLoaded,
        Self::VersionMismatch,
        Self::Permission,
        Self::Lost,
        Self::Timeout,
        Self::Other,
    ];

    /// The value of the label `kind`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::NotPresent => "not_present",
            Self::NotLoaded => "not_loaded",
            Self::VersionMismatch => "version_mismatch",
            Self::Permission => "permission",
            Self::Lost => "lost",
            Self::Timeout => "timeout",
            Self::Other => "other",
        }
    }

    /// Whether the driver as a whole has to be opened anew.
    pub(super) const fn is_of_the_whole(self) -> bool {
        matches!(self, Self::NotPresent | Self::NotLoaded | Self::VersionMismatch)
    }
}
