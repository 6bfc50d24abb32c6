//! How a probe is set up.

use std::{io, sync::Arc, time::Duration};

use super::{
    DeviceSelection, GpuBackend, GpuProbe, Notice, board::Board, notice::Listener, watcher::Watcher,
};
use crate::record::Meter;

/// Read more often, a GPU works slower, and tells nothing new.
const LEAST_INTERVAL: Duration = Duration::from_millis(200);

/// And not at all, read less often.
const LONGEST_INTERVAL: Duration = Duration::from_secs(86_400);

/// Sets up a [`GpuProbe`].
///
/// ```
/// use std::time::Duration;
///
/// use infermeter::{Meter, gpu::{DeviceSelection, GpuProbe}};
///
/// # #[cfg(feature = "nvml")] {
/// let probe = GpuProbe::nvml()
///     .devices(DeviceSelection::list("0,1").unwrap())
///     .interval(Duration::from_secs(5))
///     .on_notice(|notice| eprintln!("{notice}"))
///     .watch(&Meter::new())
///     .unwrap();
/// # }
/// ```
#[derive(Debug)]
#[must_use = "nothing is read before it is told which meter is to have it"]
pub struct GpuProbeBuilder<B> {
    backend: B,
    devices: DeviceSelection,
    interval: Duration,
    deadline: Duration,
    extended: bool,
    engine: Option<Arc<str>>,
    listener: Listener,
}

// === impl GpuProbeBuilder ===

impl<B: GpuBackend> GpuProbeBuilder<B> {
    pub(super) fn new(backend: B) -> Self {
        Self {
            backend,
            devices: DeviceSelection::cuda_visible(),
            interval: Duration::from_secs(1),
            deadline: Duration::from_secs(2),
            extended: false,
            engine: None,
            listener: Listener::default(),
        }
    }

    /// Which GPUs are read. Default: [`DeviceSelection::cuda_visible`].
    pub fn devices(mut self, devices: DeviceSelection) -> Self {
        self.devices = devices;
        self
    }

    /// How often they are read. Default: one second; from 200 ms to a day.
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval.clamp(LEAST_INTERVAL, LONGEST_INTERVAL);
        self
    }

    /// How long one GPU, or opening the driver, may take before `gpu_probe_up` is 0. Default: two
    /// seconds. (Without persistence mode, a driver may take as long to open.)
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Reads what is [extended](super::Quantity::is_extended) too, which costs more calls of the
    /// driver. Default: `false`.
    pub fn extended(mut self, extended: bool) -> Self {
        self.extended = extended;
        self
    }

    /// Ties the GPUs of the choice to the engine of this rank, in `infermeter_engine_gpu_info`.
    /// Default: to none.
    pub fn engine(mut self, rank: &str) -> Self {
        self.engine = Some(rank.into());
        self
    }

    /// Who is told what happens to the probe, for a log; called by the probe's thread, or, while that
    /// waits for the driver, by another one.
    pub fn on_notice(mut self, listener: impl Fn(&Notice) + Send + Sync + 'static) -> Self {
        self.listener = Listener::new(listener);
        self
    }

    /// Begins to read, on a thread of its own, and has the meter publish it. Readings are gone when
    /// they are older than five seconds, or three intervals if that is more.
    ///
    /// # Errors
    ///
    /// If no thread can be started. Without a driver or a GPU it is none: `gpu_probe_up` and
    /// `gpu_devices` are 0.
    pub fn watch(self, meter: &Meter) -> io::Result<GpuProbe> {
        let Self { backend, devices, interval, deadline, extended, engine, listener } = self;
        let stale_after = Duration::from_secs(5).max(interval * 3);
        let name = backend.name();
        // Nobody else is it: each probe has its own.
        let board = meter.told_by(
            |_: &Board| false,
            || Board::new(name, deadline, stale_after, listener, engine),
        );
        let watcher =
            Watcher::new(Box::new(backend), Arc::clone(&board), devices, extended, interval);
        GpuProbe::start(watcher, board)
    }
}
