//! The calls that the wrapper does not have, and the time for which the library is open.
//!
//! NB: the only file of this crate with `unsafe` in it. What it hands out borrows from the library
//! for `'static`, since it is kept beside the library; so it must be dropped before
//! [`Library`] is, which [`Open`](super::Open) sees to by the order of its fields.

#![allow(unsafe_code, reason = "raw calls of NVML; each says why it is sound")]

use std::{ffi::OsStr, mem, ptr::NonNull, time::Duration};

use nvml_wrapper::{
    Device, Nvml,
    bitmasks::event::EventTypes,
    error::{NvmlError, nvml_sym, nvml_try},
};
use nvml_wrapper_sys::bindings::{
    nvmlDevice_t, nvmlEventData_t, nvmlEventSet_t, nvmlFieldValue_t, nvmlReturn_t,
    nvmlValueType_enum_NVML_VALUE_TYPE_UNSIGNED_INT as UNSIGNED_INT,
    nvmlValueType_enum_NVML_VALUE_TYPE_UNSIGNED_LONG as UNSIGNED_LONG,
    nvmlValueType_enum_NVML_VALUE_TYPE_UNSIGNED_LONG_LONG as UNSIGNED_LONG_LONG,
};

/// All links of a GPU together, as the scope of a field.
pub(super) const ALL_LINKS: u32 = u32::MAX;

/// The open library.
///
/// NB: no reference: what a reference has lent cannot be freed by it.
pub(super) struct Library(NonNull<Nvml>);

// SAFETY: it owns the `Nvml`, which is `Send` and `Sync`.
unsafe impl Send for Library {}

/// What several GPUs report.
pub(super) struct Events {
    nvml: &'static Nvml,
    set: nvmlEventSet_t,
}

// SAFETY: a set may be used from any thread, by one at a time, and it is not `Sync`. The wrapper says
// the same of its own.
unsafe impl Send for Events {}

// === impl Library ===

impl Library {
    pub(super) fn open(path: Option<&OsStr>) -> Result<Self, NvmlError> {
        let mut builder = Nvml::builder();
        let builder = path.into_iter().fold(&mut builder, |builder, path| builder.lib_path(path));
        Ok(Self(NonNull::from(Box::leak(Box::new(builder.init()?)))))
    }

    pub(super) const fn nvml(&self) -> &'static Nvml {
        // SAFETY: it comes from `Box::leak` in `open` and is freed only by `drop`, before which all
        // that borrows from it is dropped, see the top of this file. Nobody has it to change it.
        unsafe { self.0.as_ref() }
    }

    /// Whether the library knows how to be closed.
    pub(super) fn can_close(&self) -> bool {
        self.nvml().lib().nvmlShutdown.is_ok()
    }
}

impl Drop for Library {
    fn drop(&mut self) {
        // NB: the wrapper panics where the library has no end. Then it stays open.
        if !self.can_close() {
            return;
        }
        // SAFETY: it comes from `Box::leak` in `open`, once, and all that borrows from it was dropped
        // before, see the top of this file.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

// === impl Events ===

impl Events {
    /// Those of no GPU yet; `None` if none can be waited for.
    ///
    /// NB: the wrapper's `register_events` consumes the set with the first GPU that it fails for, and
    /// its set panics when it is dropped where the library cannot free one.
    pub(super) fn of(library: &Library) -> Option<Self> {
        let nvml = library.nvml();
        nvml.lib().nvmlEventSetFree.as_ref().ok()?;
        let create = nvml.lib().nvmlEventSetCreate.as_ref().ok()?;
        let mut set: nvmlEventSet_t = std::ptr::null_mut();
        // SAFETY: the library is open, and `set` is a place for the handle that it writes.
        nvml_try(unsafe { create(&mut set) }).ok()?;
        Some(Self { nvml, set })
    }

    /// Those of this GPU too; `false` if they cannot be waited for.
    pub(super) fn register(&self, device: &Device<'static>) -> bool {
        let Ok(register) = self.nvml.lib().nvmlDeviceRegisterEvents.as_ref() else { return false };
        let types = EventTypes::CRITICAL_XID_ERROR.bits();
        // SAFETY: the handles of the GPU and of the set are of this library, which is open.
        nvml_try(unsafe { register(device.handle(), types, self.set) }).is_ok()
    }

    /// Waits for the next critical error: the GPU, and the code.
    pub(super) fn next(
        &self,
        at_most: Duration,
    ) -> Result<Option<(Device<'static>, u64)>, NvmlError> {
        let wait = nvml_sym(self.nvml.lib().nvmlEventSetWait_v2.as_ref())?;
        let millis = u32::try_from(at_most.as_millis()).unwrap_or(u32::MAX);
        // SAFETY: the type is plain numbers and a pointer, for all of which zero is a value.
        let mut data: nvmlEventData_t = unsafe { mem::zeroed() };
        // SAFETY: the set is of this library, which is open, and `data` is a place for one event.
        match nvml_try(unsafe { wait(self.set, &mut data, millis) }) {
            Ok(()) => {}
            Err(NvmlError::Timeout) => return Ok(None),
            Err(error) => return Err(error),
        }
        let is_xid = data.eventType & EventTypes::CRITICAL_XID_ERROR.bits() != 0;
        if !is_xid {
            return Ok(None);
        }
        // SAFETY: the library has just written the handle of one of its GPUs.
        let device = unsafe { Device::new(data.device, self.nvml) };
        Ok(Some((device, data.eventData)))
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        if let Ok(free) = self.nvml.lib().nvmlEventSetFree.as_ref() {
            // SAFETY: the set is of this library, which is open, and is freed only here.
            let _: nvmlReturn_t = unsafe { free(self.set) };
        }
    }
}

// === Calls ===

/// Whether two handles are of the same GPU.
pub(super) fn are_same(a: &Device<'_>, b: &Device<'_>) -> bool {
    // SAFETY: the handles are only compared.
    let [a, b]: [nvmlDevice_t; 2] = unsafe { [a.handle(), b.handle()] };
    a == b
}

/// The numbers of the GPU instance and of the compute instance that a MIG device is.
pub(super) fn instance_ids(
    library: &Library,
    device: &Device<'static>,
) -> Result<[u32; 2], NvmlError> {
    let lib = library.nvml().lib();
    let gpu = nvml_sym(lib.nvmlDeviceGetGpuInstanceId.as_ref())?;
    let compute = nvml_sym(lib.nvmlDeviceGetComputeInstanceId.as_ref())?;
    let mut ids = [0; 2];
    let [gpu_id, compute_id] = &mut ids;
    // SAFETY: the handle is of this library, which is open, and `gpu_id` a place for the number.
    nvml_try(unsafe { gpu(device.handle(), gpu_id) })?;
    // SAFETY: as above.
    nvml_try(unsafe { compute(device.handle(), compute_id) })?;
    Ok(ids)
}

/// Fields that count, each of them in a scope, and why one cannot be had.
///
/// NB: the wrapper's `field_values_for` has the scope 0 always, which is the first link.
pub(super) fn counts(
    library: &Library,
    device: &Device<'static>,
    fields: [u32; 2],
    scope: u32,
) -> Result<[Result<u64, NvmlError>; 2], NvmlError> {
    let call = nvml_sym(library.nvml().lib().nvmlDeviceGetFieldValues.as_ref())?;
    let mut values = fields.map(|field| {
        // SAFETY: the type is plain numbers and a union of them, for all of which zero is a value.
        let mut value: nvmlFieldValue_t = unsafe { mem::zeroed() };
        (value.fieldId, value.scopeId) = (field, scope);
        value
    });
    // SAFETY: the handle is of this library, which is open; there are two values, as is said.
    nvml_try(unsafe { call(device.handle(), 2, values.as_mut_ptr()) })?;
    Ok(values.map(|value| {
        nvml_try(value.nvmlReturn)?;
        match value.valueType {
            // SAFETY: each part of the union is a plain number, and the type says which was written;
            // the whole was zero before.
            UNSIGNED_INT => Ok(u64::from(unsafe { value.value.uiVal })),
            // SAFETY: as above.
            #[allow(clippy::useless_conversion, reason = "it is shorter on other systems")]
            UNSIGNED_LONG => Ok(u64::from(unsafe { value.value.ulVal })),
            // SAFETY: as above.
            UNSIGNED_LONG_LONG => Ok(unsafe { value.value.ullVal }),
            other => Err(NvmlError::UnexpectedVariant(other)),
        }
    }))
}
