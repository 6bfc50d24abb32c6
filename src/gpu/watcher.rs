//! What the probe's thread does: open, list, read, again and again.

use std::{
    collections::BTreeSet,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::time::Instant;

use super::{
    Device, DeviceReadings, DeviceSelection, ErrorKind, GpuBackend, Notice, ProbeError, Wanted,
    board::Board,
    chosen::Choosing,
    session::{Session, TRY_LOST_EVERY, Watched},
};

/// How often a driver is looked for where there is none.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// With some GPUs lost and others not, the driver is opened anew at most so often.
const REOPEN_EVERY: Duration = Duration::from_secs(60);
/// With all GPUs lost for so many rounds, the driver is opened anew.
const ALL_LOST_ROUNDS: u32 = 3;
/// How long a choice by processes holds at most; a list of processes is one of the dearest calls.
const LONGEST_CHOICE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

pub(super) struct Watcher {
    pub(super) backend: Box<dyn GpuBackend>,
    pub(super) board: Arc<Board>,
    choosing: Choosing,
    wanted: Wanted,
    interval: Duration,
    session: Option<Session>,
    is_released: bool,
    /// How often in a row the driver could not be opened.
    failures: u32,
    /// When it was opened anew because all GPUs were lost.
    reopened: Option<Instant>,
    /// GPUs that cannot be read, by their identity.
    lost: BTreeSet<String>,
    /// What was said last of the driver.
    said: Option<String>,
}

// === impl Watcher ===

impl Watcher {
    pub(super) fn new(
        backend: Box<dyn GpuBackend>,
        board: Arc<Board>,
        selection: DeviceSelection,
        extended: bool,
        interval: Duration,
    ) -> Self {
        Self {
            backend,
            board,
            choosing: Choosing::new(selection),
            wanted: Wanted { extended, ..Wanted::default() },
            interval,
            session: None,
            is_released: false,
            failures: 0,
            reopened: None,
            lost: BTreeSet::new(),
            said: None,
        }
    }

    /// One round, and how long to rest after it. A backend that panics is one that failed.
    pub(super) fn round(&mut self) -> Duration {
        let round = catch_unwind(AssertUnwindSafe(|| self.try_round()));
        let result = round.unwrap_or_else(|_| Err(panicked()));
        self.board.rest(Instant::now());
        match result {
            Ok(pause) => pause,
            Err(error) => self.failed(error),
        }
    }

    /// Waits for an event of a GPU, if there are any to wait for; `false` if not.
    ///
    /// NB: also if the driver did not wait: asked again at once, it would take all of a processor.
    pub(super) fn wait_for_event(&mut self, at_most: Duration) -> bool {
        let Some(session) = self.session.as_mut().filter(|session| session.has_events) else {
            return false;
        };
        // NB: it is meant to take that long, so the call is late only after that.
        let began = Instant::now();
        self.board.call(began + at_most);
        let backend = &mut self.backend;
        let event = catch_unwind(AssertUnwindSafe(|| backend.event(at_most)));
        self.board.rest(Instant::now());
        match event {
            Ok(Ok(Some(event))) => {
                let is_it = |watched: &&Watched| watched.place == event.place;
                if session.chosen.iter().any(|watched| is_it(&watched)) {
                    self.board.has_reported(&session.devices[event.place].uuid, event.xid);
                }
            }
            Ok(Ok(None)) => return began.elapsed() >= at_most / 2,
            // What is wrong shows with the next round.
            Ok(Err(_)) | Err(_) => session.has_events = false,
        }
        true
    }

    /// Lets go of the driver, until it may go on.
    pub(super) fn release(&mut self) {
        self.close();
        self.is_released = true;
        self.board.released();
    }

    pub(super) const fn resume(&mut self) {
        self.is_released = false;
        self.failures = 0;
    }

    fn try_round(&mut self) -> Result<Duration, ProbeError> {
        if self.is_released {
            return Ok(LONGEST_PAUSE);
        }
        let began = Instant::now();
        match &self.session {
            None => self.open()?,
            Some(session) if session.must_be_listed(began) => self.list()?,
            Some(session) if self.must_choose(session, began) => self.choose(),
            Some(_) => {}
        }
        let read_from = Instant::now();
        self.read()?;
        self.failures = 0;
        let now = Instant::now();
        self.board.round(now - read_from);
        if self.should_reopen(now) {
            self.reopened = Some(now);
            self.close();
            return Ok(self.interval);
        }
        // NB: rounds that were missed are not made up for.
        Ok(self.interval.saturating_sub(now - began).max(Duration::from_millis(1)))
    }

    /// Processes come and go while GPUs stay.
    fn must_choose(&self, session: &Session, now: Instant) -> bool {
        let pause = LONGEST_CHOICE.min(self.interval.saturating_mul(5));
        self.choosing.selection().is_by_processes() && now - session.chose >= pause
    }

    fn open(&mut self) -> Result<(), ProbeError> {
        self.board.call(Instant::now());
        self.backend.open()?;
        self.session = Some(Session::new(Instant::now()));
        self.list()?;
        let count = self.session.as_ref().map_or(0, |session| session.chosen.len());
        let text =
            format!("{}: the driver is open, GPUs and instances read: {count}", self.board.backend);
        self.say(Notice::info(text));
        Ok(())
    }

    fn list(&mut self) -> Result<(), ProbeError> {
        self.board.call(Instant::now());
        let devices = self.backend.list()?;
        if let Some(session) = &mut self.session {
            session.are_listed(devices, Instant::now());
        }
        self.choose();
        Ok(())
    }

    fn choose(&mut self) {
        let Self { backend, choosing, board, lost, session: Some(session), .. } = self else {
            return;
        };
        let chosen = choosing.choose(&session.devices, |place| {
            board.call(Instant::now());
            backend.processes(place)
        });
        let gone = board.listed(&session.devices, &chosen);
        for Device { index, uuid, .. } in gone.new {
            let text = format!("GPU {index} ({uuid}) is not shown by the driver any more");
            board.listener.tell(&Notice::warning(text));
        }
        session.are_chosen(&chosen.places, lost, gone.any, Instant::now());
        if let Some(notice) = choosing.news(&chosen) {
            board.listener.tell(&notice);
        }
    }

    fn read(&mut self) -> Result<(), ProbeError> {
        let Some(session) = &mut self.session else { return Ok(()) };
        let is_try = session.rounds % TRY_LOST_EVERY == 0;
        session.rounds += 1;
        // NB: each time, since the memory of all of them is a sum.
        self.wanted.processes = self.choosing.selection().pids();
        for watched in &mut session.chosen {
            if watched.is_lost && !is_try {
                continue;
            }
            let device = &session.devices[watched.place];
            let mut readings = DeviceReadings::default();
            self.board.call(Instant::now());
            match self.backend.sample(watched.place, &self.wanted, &mut readings) {
                Ok(()) => {
                    self.board.was_read(&device.uuid, readings, Instant::now());
                    if std::mem::take(&mut watched.is_lost) {
                        self.lost.remove(&device.uuid);
                        let text =
                            format!("GPU {} ({}) can be read again", device.index, device.uuid);
                        self.board.listener.tell(&Notice::info(text));
                    }
                }
                Err(error) if error.kind().is_of_the_whole() => return Err(error),
                Err(error) => {
                    if !std::mem::replace(&mut watched.is_lost, true) {
                        session.must_list = true;
                        self.lost.insert(device.uuid.clone());
                        let Device { index, uuid, .. } = device;
                        let text = format!("GPU {index} ({uuid}) cannot be read: {error}");
                        self.board.listener.tell(&Notice::warning(text));
                    }
                    self.board.is_down(&device.uuid, error);
                }
            }
        }
        let all_are = !session.chosen.is_empty() && session.chosen.iter().all(|w| w.is_lost);
        session.all_lost = if all_are { session.all_lost + 1 } else { 0 };
        Ok(())
    }

    fn should_reopen(&self, now: Instant) -> bool {
        let is_long_ago = |then: Instant| now - then >= REOPEN_EVERY;
        self.session.as_ref().is_some_and(|session| {
            let some_are_lost =
                session.is_one_gone || session.chosen.iter().any(|watched| watched.is_lost);
            let all_are = session.all_lost >= ALL_LOST_ROUNDS;
            // NB: the first time at once; then no more often than for a single one.
            (all_are && self.reopened.is_none_or(is_long_ago))
                || (some_are_lost && is_long_ago(session.opened))
        })
    }

    fn failed(&mut self, error: ProbeError) -> Duration {
        self.close();
        let text = format!("{}: {error}", self.board.backend);
        let is_absent = error.kind() == ErrorKind::NotPresent;
        self.say(if is_absent { Notice::info(text) } else { Notice::warning(text) });
        self.board.closed(error);
        if is_absent {
            return LOOK_EVERY;
        }
        let pause = Duration::from_secs(1 << self.failures.min(6)).min(LONGEST_PAUSE);
        self.failures = self.failures.saturating_add(1);
        // NB: all those on one machine see the driver fail at the same moment.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        pause.mul_f64(0.75 + f64::from(now.subsec_nanos()) / 4e9)
    }

    fn close(&mut self) {
        if self.session.take().is_some() {
            self.board.call(Instant::now());
        }
        // NB: also what was opened by half.
        let backend = &mut self.backend;
        let _ = catch_unwind(AssertUnwindSafe(|| backend.close()));
        self.board.rest(Instant::now());
    }

    fn say(&mut self, notice: Notice) {
        let text = notice.to_string();
        if self.said.as_ref() != Some(&text) {
            self.board.listener.tell(&notice);
            self.said = Some(text);
        }
    }
}

fn panicked() -> ProbeError {
    ProbeError::new(ErrorKind::Other, "what reads the GPUs panicked")
}
