//! The thread that samples the sources, takes down what is seen each second, and keeps samples of
//! the user's own histograms from piling up.

use std::{
    io,
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

use metrics_exporter_prometheus::PrometheusHandle;
use tokio::time::Instant;

use super::page::Page;
use crate::record::{Collect, Meter};

/// How often the sources are sampled.
const EVERY: Duration = Duration::from_secs(1);

/// Between scrapes, every sample of the user's histograms is kept until so many rounds have passed.
const UPKEEP_ROUNDS: u32 = 5;

/// The running thread. Dropped, it stops.
#[derive(Debug)]
pub(super) struct Upkeep {
    _alive: mpsc::Sender<()>,
}

// === impl Upkeep ===

impl Upkeep {
    pub(super) fn start(
        meter: Meter,
        page: Arc<Page>,
        recorder: PrometheusHandle,
    ) -> io::Result<Self> {
        let (alive, dropped) = mpsc::channel::<()>();
        thread::Builder::new().name("infermeter-upkeep".to_owned()).spawn(move || {
            let mut rounds = 0_u32;
            loop {
                let began = Instant::now();
                meter.sample();
                page.second();
                if dropped.recv_timeout(EVERY.saturating_sub(began.elapsed()))
                    != Err(RecvTimeoutError::Timeout)
                {
                    break;
                }
                rounds = rounds.wrapping_add(1);
                if rounds % UPKEEP_ROUNDS == 0 {
                    recorder.run_upkeep();
                }
            }
        })?;
        Ok(Self { _alive: alive })
    }
}
