//! The thread that keeps samples of the user's own histograms from piling up.

use std::{
    io,
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use metrics_exporter_prometheus::PrometheusHandle;

/// Between scrapes, every sample is kept until this has passed.
const EVERY: Duration = Duration::from_secs(5);

/// The running thread. Dropped, it stops.
#[derive(Debug)]
pub(super) struct Upkeep {
    _alive: mpsc::Sender<()>,
}

// === impl Upkeep ===

impl Upkeep {
    pub(super) fn start(recorder: PrometheusHandle) -> io::Result<Self> {
        let (alive, dropped) = mpsc::channel::<()>();
        thread::Builder::new().name("infermeter-upkeep".to_owned()).spawn(move || {
            while dropped.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
                recorder.run_upkeep();
            }
        })?;
        Ok(Self { _alive: alive })
    }
}
