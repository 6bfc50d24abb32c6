//! What the probe's thread writes and views read.

use std::{
    any::Any,
    collections::BTreeSet,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use tokio::time::Instant;

use super::{
    Device, DeviceReadings, ErrorKind, GpuSnapshot, Notice, ProbeError, chosen::Chosen,
    known::Known, notice::Listener,
};
use crate::{
    names,
    record::{Readings, Told, Value},
};

/// The most GPUs and instances that are remembered; of those that are gone, the oldest go first.
const MOST_KNOWN: usize = 256;

#[derive(Debug)]
pub(super) struct Board {
    pub(super) backend: &'static str,
    /// How long one call of the driver may take.
    pub(super) deadline: Duration,
    /// How old readings may be.
    pub(super) stale_after: Duration,
    pub(super) listener: Listener,
    /// The engine that uses the GPUs.
    pub(super) engine: Option<Arc<str>>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    phase: Phase,
    /// When the call of the driver began that is still under way.
    call: Option<Instant>,
    /// Whether it was found to be too late.
    is_late: bool,
    errors: [u64; ErrorKind::ALL.len()],
    /// How long the last whole round took.
    duration: Option<Duration>,
    known: Vec<Known>,
    /// Why it is not known which GPUs are meant.
    undecided: Option<String>,
}

/// GPUs that are not there any more.
#[derive(Debug, Default)]
pub(super) struct Lost {
    pub(super) any: bool,
    /// Since the last time.
    pub(super) new: Vec<Device>,
}

#[derive(Debug, Default)]
enum Phase {
    #[default]
    Starting,
    Open,
    Closed(ProbeError),
    Released,
}

// === impl Board ===

impl Board {
    pub(super) fn new(
        backend: &'static str,
        deadline: Duration,
        stale_after: Duration,
        listener: Listener,
        engine: Option<Arc<str>>,
    ) -> Self {
        let (state, changed) = Default::default();
        Self { backend, deadline, stale_after, listener, engine, state, changed }
    }

    /// A call of the driver begins; it ends with the next of these, or with [`rest`](Self::rest).
    pub(super) fn call(&self, now: Instant) {
        self.end_call(now, Some(now));
    }

    /// The driver is not called for now.
    pub(super) fn rest(&self, now: Instant) {
        self.end_call(now, None);
    }

    pub(super) fn closed(&self, error: ProbeError) {
        let mut state = self.state();
        state.errors[error.kind() as usize] += 1;
        state.is_down(Phase::Closed(error));
        drop(state);
        self.changed.notify_all();
    }

    pub(super) fn released(&self) {
        self.state().is_down(Phase::Released);
        self.changed.notify_all();
    }

    /// What there is, and which of it is chosen. Instances that are not there any more were taken
    /// apart; a GPU that is not is lost, with its instances. Gives those of them that were not known
    /// to be.
    pub(super) fn listed(&self, devices: &[Device], choice: &Chosen) -> Lost {
        let chosen: Vec<&Device> = choice.places.iter().map(|place| &devices[*place]).collect();
        // NB: of an instance, whether its GPU is.
        let is_there = |known: &Known| devices.iter().any(|d| d.uuid == known.device.whole());
        let is_chosen = |known: &Known| chosen.iter().any(|d| d.uuid == known.device.uuid);
        let mut state = self.state();
        let why = choice.notice.as_ref().filter(|_| !choice.is_known);
        state.undecided = why.map(ToString::to_string);
        state.known.retain(|known| is_chosen(known) || !is_there(known));
        for device in &chosen {
            match state.known.iter_mut().find(|known| known.device.uuid == device.uuid) {
                Some(known) => known.is_found(device),
                None => state.known.push(Known::new((*device).clone())),
            }
        }
        while state.known.len() > MOST_KNOWN.max(chosen.len()) {
            let is_gone = |known: &Known| !is_chosen(known);
            let Some(oldest) = state.known.iter().position(is_gone) else { break };
            state.known.remove(oldest);
        }
        let mut lost = Lost::default();
        for known in state.known.iter_mut().filter(|known| !is_chosen(known)) {
            let error = "the driver does not show it any more";
            let error = ProbeError::new(ErrorKind::Lost, error);
            lost.any = true;
            if known.error.as_ref() != Some(&error) {
                lost.new.push(known.device.clone());
            }
            known.is_down(Some(error));
        }
        state.known.sort_by_key(|known| {
            let instance = known.device.instance.as_ref();
            let parts = instance.map(|part| (part.gpu_instance, part.compute_instance));
            (known.device.index, parts)
        });
        lost
    }

    pub(super) fn was_read(&self, uuid: &str, readings: DeviceReadings, at: Instant) {
        if let Some(known) = self.state().known(uuid) {
            known.was_read(readings, at);
        }
    }

    /// A GPU cannot be read; `is_new` says that this is no repetition.
    pub(super) fn is_down(&self, uuid: &str, error: ProbeError) {
        let mut state = self.state();
        state.errors[error.kind() as usize] += 1;
        if let Some(known) = state.known(uuid) {
            known.is_down(Some(error));
        }
    }

    pub(super) fn has_reported(&self, uuid: &str, xid: u64) {
        if let Some(known) = self.state().known(uuid) {
            known.has_reported(xid);
        }
    }

    /// Every GPU was tried.
    ///
    /// NB: only now is the probe up. Before, there is nothing that was read, and no GPU would be
    /// shown where there are eight.
    pub(super) fn round(&self, took: Duration) {
        let mut state = self.state();
        state.phase = Phase::Open;
        state.duration = Some(took);
        drop(state);
        self.changed.notify_all();
    }

    /// Waits for the first round, or until it is known that there is none.
    pub(super) fn wait_for_first(&self, at_most: Duration) {
        let is_waiting = |state: &mut State| matches!(state.phase, Phase::Starting);
        drop(self.changed.wait_timeout_while(self.state(), at_most, is_waiting));
    }

    pub(super) fn snapshot(&self, now: Instant) -> GpuSnapshot {
        let is_late = self.look_for_late(now);
        let state = self.state();
        let error = match &state.phase {
            _ if is_late => Some(ProbeError::new(ErrorKind::Timeout, self.late())),
            Phase::Closed(error) => Some(error.clone()),
            _ => None,
        };
        let devices = state.known.iter().map(|known| known.snapshot(now, self.stale_after));
        let up = state.up(is_late);
        let (devices, undecided) = (devices.collect(), state.undecided.clone());
        GpuSnapshot { backend: self.backend, up, error, devices, undecided }
    }

    pub(super) fn write(&self, now: Instant, out: &mut Readings) {
        let is_late = self.look_for_late(now);
        let state = self.state();
        let backend: Arc<str> = self.backend.into();
        if let Some(up) = state.up(is_late) {
            let is_up = |known: &&Known| known.is_up(now, self.stale_after);
            let up_now = state.known.iter().filter(is_up);
            // An instance is a part of a GPU, and not one more.
            let gpus: BTreeSet<u32> = up_now.map(|known| known.device.index).collect();
            let mut gauge =
                |family, value| out.push(family, [Arc::clone(&backend)], Value::Gauge(value));
            gauge(&names::GPU_PROBE_UP, f64::from(u8::from(up)));
            // NB: none of those that are meant, if it is not known which are, is not 0 of them.
            if state.undecided.is_none() || !state.known.is_empty() {
                gauge(&names::GPU_DEVICES, gpus.len() as f64);
            }
            if let Some(duration) = state.duration.filter(|_| up) {
                gauge(&names::GPU_PROBE_DURATION_SECONDS, duration.as_secs_f64());
            }
        }
        // NB: that there is no driver is no error, and goes on for ever on a machine without GPUs.
        let errors = ErrorKind::ALL.iter().zip(state.errors);
        for (kind, count) in errors.filter(|(kind, _)| **kind != ErrorKind::NotPresent) {
            let labels = [Arc::clone(&backend), kind.label().into()];
            out.push(&names::GPU_PROBE_ERRORS_TOTAL, labels, Value::Counter(count));
        }
        let engine = self.engine.as_ref().filter(|_| state.undecided.is_none());
        for known in &state.known {
            let is_down = state.up(is_late) == Some(false);
            known.write(now, self.stale_after, is_down, engine, out);
        }
    }

    /// Whether the driver is late. Nobody but who looks can find that out: the thread waits for it.
    ///
    /// NB: who looks may hold a lock, and waits for nobody: the listener is told by a thread of its own.
    fn look_for_late(&self, now: Instant) -> bool {
        let (is_late, notice) = self.find_late(now);
        if let Some(notice) = notice {
            let listener = self.listener.clone();
            let teller = thread::Builder::new().name("infermeter-gpu-late".to_owned());
            let _ = teller.spawn(move || listener.tell(&notice));
        }
        is_late
    }

    /// Whether the driver is late, and what there is to say if that is new.
    fn find_late(&self, now: Instant) -> (bool, Option<Notice>) {
        let mut state = self.state();
        let is_late =
            state.call.is_some_and(|began| now.saturating_duration_since(began) > self.deadline);
        if !is_late || state.is_late {
            return (is_late, None);
        }
        state.is_late = true;
        state.errors[ErrorKind::Timeout as usize] += 1;
        (true, Some(Notice::warning(self.late())))
    }

    fn end_call(&self, now: Instant, next: Option<Instant>) {
        let (_, notice) = self.find_late(now);
        let mut state = self.state();
        let was_late = std::mem::take(&mut state.is_late);
        state.call = next;
        drop(state);
        notice.iter().for_each(|notice| self.listener.tell(notice));
        if was_late {
            let notice = format!("{}: the driver answers again", self.backend);
            self.listener.tell(&Notice::info(notice));
        }
    }

    fn late(&self) -> String {
        let Self { backend, deadline, .. } = self;
        format!("{backend}: the driver has not answered for {deadline:?}; it may hang")
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Told for Board {
    fn read(&self, out: &mut Readings) {
        self.write(Instant::now(), out);
    }

    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

// === impl State ===

impl State {
    fn up(&self, is_late: bool) -> Option<bool> {
        match self.phase {
            Phase::Starting if !is_late => None,
            Phase::Open => Some(!is_late),
            Phase::Starting | Phase::Closed(_) | Phase::Released => Some(false),
        }
    }

    fn is_down(&mut self, phase: Phase) {
        self.phase = phase;
        self.duration = None;
        for known in &mut self.known {
            known.is_down(None);
        }
    }

    fn known(&mut self, uuid: &str) -> Option<&mut Known> {
        self.known.iter_mut().find(|known| known.device.uuid == uuid)
    }
}
