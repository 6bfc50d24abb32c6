//! What happened to the probe, for a log.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

/// Something that happened; said once when it begins, and not with each sample.
///
/// ```
/// use infermeter::gpu::{GpuBackend, GpuProbe, GpuProbeBuilder, Notice};
///
/// fn log(notice: &Notice) {
///     let level = if notice.is_warning() { "warning" } else { "info" };
///     eprintln!("{level}: {notice}");
/// }
///
/// fn logged<B: GpuBackend>(backend: B) -> GpuProbeBuilder<B> {
///     GpuProbe::builder(backend).on_notice(log)
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    is_warning: bool,
    text: String,
}

/// Who is told.
#[derive(Clone, Default)]
pub(super) struct Listener(Option<Arc<Callback>>);

type Callback = dyn Fn(&Notice) + Send + Sync;

// === impl Notice ===

impl Notice {
    pub(super) fn info(text: impl Into<String>) -> Self {
        Self { is_warning: false, text: text.into() }
    }

    pub(super) fn warning(text: impl Into<String>) -> Self {
        Self { is_warning: true, text: text.into() }
    }

    /// Whether somebody should look at it.
    pub const fn is_warning(&self) -> bool {
        self.is_warning
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

// === impl Listener ===

impl Listener {
    pub(super) fn new(listener: impl Fn(&Notice) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(listener)))
    }

    /// NB: what the user does with it may panic, and costs nothing but the notice.
    pub(super) fn tell(&self, notice: &Notice) {
        if let Some(listener) = &self.0 {
            let _ = catch_unwind(AssertUnwindSafe(|| listener(notice)));
        }
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Listener").field(&self.0.is_some()).finish()
    }
}
