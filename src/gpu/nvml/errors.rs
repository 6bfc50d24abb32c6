//! What the errors of NVML mean here.

use nvml_wrapper::error::NvmlError;

use crate::gpu::{Absent, ErrorKind, ProbeError};

// Codes that the wrapper has no name for.
const DEPRECATED: u32 = 26;
const NOT_READY: u32 = 27;
const GPU_NOT_FOUND: u32 = 28;

/// The error of a whole GPU, or of the driver.
pub(super) fn in_words(error: &NvmlError) -> ProbeError {
    let kind = match error {
        NvmlError::LibloadingError(_) | NvmlError::LibraryNotFound => ErrorKind::NotPresent,
        NvmlError::DriverNotLoaded | NvmlError::Uninitialized => ErrorKind::NotLoaded,
        NvmlError::LibRmVersionMismatch => ErrorKind::VersionMismatch,
        NvmlError::NoPermission => ErrorKind::Permission,
        NvmlError::Timeout => ErrorKind::Timeout,
        NvmlError::GpuLost
        | NvmlError::ResetRequired
        | NvmlError::IrqIssue
        | NvmlError::NotFound
        | NvmlError::UnexpectedVariant(GPU_NOT_FOUND) => ErrorKind::Lost,
        // NB: the wrapper's list of errors grows.
        _ => ErrorKind::Other,
    };
    ProbeError::new(kind, error.to_string())
}

/// Whether an error is of one reading, so that others can still be had.
pub(super) const fn is_of_one_reading(error: &NvmlError) -> bool {
    !matches!(
        error,
        NvmlError::GpuLost
            | NvmlError::ResetRequired
            | NvmlError::IrqIssue
            | NvmlError::Uninitialized
            | NvmlError::DriverNotLoaded
            | NvmlError::LibRmVersionMismatch
            | NvmlError::UnexpectedVariant(GPU_NOT_FOUND)
    )
}

/// Whether the next call would be answered in the same way, for as long as the driver is open.
///
/// NB: not what a sandbox or a control group refuses, which can change.
pub(super) const fn is_lasting(error: &NvmlError) -> bool {
    matches!(
        error,
        NvmlError::NotSupported
            | NvmlError::FailedToLoadSymbol(_)
            | NvmlError::FunctionNotFound
            | NvmlError::UnexpectedVariant(DEPRECATED)
    )
}

/// Why one reading is absent.
pub(super) fn absent(error: &NvmlError) -> Absent {
    match error {
        // A library that is older than the call, or a sandbox that refuses it, is no better than a
        // device that does not know it.
        NvmlError::NotSupported
        | NvmlError::FailedToLoadSymbol(_)
        | NvmlError::FunctionNotFound
        | NvmlError::OperatingSystem
        | NvmlError::UnexpectedVariant(DEPRECATED) => Absent::NotSupported,
        NvmlError::NoPermission => Absent::NoPermission,
        NvmlError::UnexpectedVariant(NOT_READY) => Absent::Failed("not ready yet".to_owned()),
        NvmlError::UnexpectedVariant(code) => Absent::Failed(format!("code {code}")),
        error => Absent::Failed(error.to_string()),
    }
}
