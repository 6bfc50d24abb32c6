//! The running probe.

use std::{
    io,
    sync::{
        Arc,
        mpsc::{self, Receiver, RecvTimeoutError, Sender, TryRecvError},
    },
    thread,
    time::Duration,
};

use tokio::time::Instant;

use super::{GpuBackend, GpuProbeBuilder, GpuSnapshot, board::Board, watcher::Watcher};

/// With events to wait for, a command is seen at most so much later.
const STEP: Duration = Duration::from_millis(250);

/// Reads GPUs, on a thread of its own. See the [module docs](super).
///
/// Dropped, it stops, and its series vanish.
///
/// ```
/// use std::time::Duration;
///
/// use infermeter::{Meter, gpu::GpuProbe};
///
/// # #[cfg(feature = "nvml")] {
/// let probe = GpuProbe::nvml().watch(&Meter::new()).unwrap();
/// let known = probe.first(Duration::from_secs(2));
/// println!("{} GPUs, up: {:?}", known.devices.len(), known.up);
/// # }
/// ```
#[derive(Debug)]
pub struct GpuProbe {
    board: Arc<Board>,
    commands: Sender<(Command, Sender<()>)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Command {
    Release,
    Resume,
    Stop,
}

// === impl GpuProbe ===

impl GpuProbe {
    /// The GPUs of a backend.
    pub fn builder<B: GpuBackend>(backend: B) -> GpuProbeBuilder<B> {
        GpuProbeBuilder::new(backend)
    }

    /// What was read last. It never calls the driver.
    pub fn latest(&self) -> GpuSnapshot {
        self.board.snapshot(Instant::now())
    }

    /// Waits until every GPU was read once, or it is known that none can be; then gives what is known.
    /// It blocks, for the given time at most.
    pub fn first(&self, at_most: Duration) -> GpuSnapshot {
        self.board.wait_for_first(at_most);
        self.latest()
    }

    /// Lets go of the driver, so that an operator can reset a GPU or change how it is split; blocks
    /// until that is done. Its series vanish but for `gpu_up`, which is 0, and counters.
    ///
    /// `false` if the driver still holds the thread when the deadline is over; it lets go as soon as
    /// it can.
    pub fn release(&self) -> bool {
        self.command(Command::Release)
    }

    /// Opens the driver anew after [`release`](Self::release).
    pub fn resume(&self) {
        let (done, _) = mpsc::channel();
        let _ = self.commands.send((Command::Resume, done));
    }

    /// Lets go of the driver and stops; blocks until that is done. `false` as with
    /// [`release`](Self::release).
    pub fn shutdown(self) -> bool {
        self.command(Command::Stop)
    }

    pub(super) fn start(watcher: Watcher, board: Arc<Board>) -> io::Result<Self> {
        let (commands, received) = mpsc::channel();
        // NB: never joined: a call that the driver does not return from holds its thread for ever.
        thread::Builder::new()
            .name("infermeter-gpu".to_owned())
            .spawn(move || run(watcher, &received))?;
        Ok(Self { board, commands })
    }

    fn command(&self, command: Command) -> bool {
        let (done, is_done) = mpsc::channel();
        let _ = self.commands.send((command, done));
        is_done.recv_timeout(self.board.deadline.saturating_add(STEP)).is_ok()
    }
}

fn run(mut watcher: Watcher, commands: &Receiver<(Command, Sender<()>)>) {
    loop {
        let next = Instant::now() + watcher.round();
        loop {
            let rest = next.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                break;
            }
            let received = match commands.try_recv() {
                Err(TryRecvError::Empty) if watcher.wait_for_event(rest.min(STEP)) => continue,
                Err(TryRecvError::Empty) => commands.recv_timeout(rest),
                Err(TryRecvError::Disconnected) => Err(RecvTimeoutError::Disconnected),
                Ok(received) => Ok(received),
            };
            match received {
                Ok((Command::Release, done)) => {
                    watcher.release();
                    let _ = done.send(());
                }
                Ok((Command::Resume, _)) => {
                    watcher.resume();
                    break;
                }
                Ok((Command::Stop, done)) => {
                    watcher.release();
                    let _ = done.send(());
                    return;
                }
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => {
                    watcher.release();
                    return;
                }
            }
        }
    }
}
