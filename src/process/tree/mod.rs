//! A process and all that it has started.

mod cpu;
mod listener;
mod members;
mod memory;
mod sockets;
#[cfg(test)]
mod tests;

use std::{
    error, fmt,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

pub use self::memory::MemoryKind;
use self::{
    cpu::Cpu,
    listener::Listener,
    members::{Id, Members},
    memory::Memory,
};
use super::{files::Files, text::seconds};
use crate::{
    names,
    record::{Readings, Source, SourceError, Value},
};

/// How often an engine is looked for.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The processes of an engine: the first one and all below it, read anew with each sample.
///
/// Engines start processes of their own, and most memory and processor time is theirs. What is told
/// is a sum over all of them, this process left out; who has once been seen among them belongs to
/// them until it ends.
///
/// | family | of them |
/// | --- | --- |
/// | `process_cpu_seconds_total` | the sum, of those included that have ended; it never falls |
/// | `process_resident_memory_bytes` | the sum, as [`memory_kind`](Self::memory_kind) says |
/// | `process_open_fds`, `process_threads` | the sums |
/// | `process_max_fds`, `process_memory_limit_bytes`, `process_start_time_seconds` | those of the first one |
///
/// What cannot be read of all of them is not told. When the first one ends, or its number is that of
/// another process, the sample fails, and all of it vanishes.
///
/// ```
/// use infermeter::{Meter, names::source, process::ProcessTree};
///
/// // Whoever listens there, now or later.
/// let tree = ProcessTree::listening(["127.0.0.1:8000".parse().unwrap()]);
/// assert_eq!(tree.pid(), None); // looked for by the first sample
/// Meter::new().watch(source::PROCESS, tree);
/// ```
#[derive(Debug)]
pub struct ProcessTree {
    files: Files,
    engine: Engine,
    tree: Option<Tree>,
    /// When it was looked for last, and why it was not found.
    looked: Option<(Instant, String)>,
    ids: Ids,
}

/// The numbers of all of them, as others see them.
type Ids = Arc<Mutex<Vec<u32>>>;

/// Why there is no such process; the message says what is allowed.
///
/// ```
/// use infermeter::process::ProcessTree;
///
/// let own = std::process::id();
/// let error = ProcessTree::of(own).unwrap_err();
/// assert!(error.to_string().starts_with(&format!("process {own} cannot be watched: ")));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessError {
    pid: u32,
    problem: &'static str,
}

/// Which processes they are.
#[derive(Debug)]
enum Engine {
    Process(u32),
    Listener(Listener),
}

#[derive(Debug)]
struct Tree {
    members: Members,
    cpu: Cpu,
    memory: Memory,
    /// When the first one started, in unix time. NB: read once, as that of [`Process`](super::Process).
    started: Option<f64>,
}

/// Why there is no sample.
#[derive(Debug)]
enum Ended {
    Root(String),
    Unknown(String),
}

// === impl ProcessTree ===

impl ProcessTree {
    /// This process and all below it.
    ///
    /// # Errors
    ///
    /// If there is none of this number, it is the one that asks, or this is not Linux.
    pub fn of(pid: u32) -> Result<Self, ProcessError> {
        let wrong = |problem| Err(ProcessError { pid, problem });
        if !cfg!(target_os = "linux") {
            return wrong("processes can be watched on Linux only");
        }
        if pid == std::process::id() {
            return wrong("it is infermeter itself");
        }
        let files = Files::below("/");
        match files.stat(pid) {
            Some(stat) if !stat.has_ended => Ok(Self::process(files, (pid, stat.started))),
            _ => wrong("there is none, or it is in another process namespace"),
        }
    }

    /// The process that listens at these addresses, all of one port, and all below it; of several,
    /// the one that they have above them. The addresses have to be of this machine.
    ///
    /// While there is none the samples fail, and say why. It is looked for every five seconds, also
    /// when the one that was found has ended. A process that is known to pass on only, such as
    /// `docker-proxy`, is not taken for the engine.
    pub fn listening(addresses: impl IntoIterator<Item = SocketAddr>) -> Self {
        let engine = Engine::Listener(Listener::new(addresses));
        Self { files: Files::below("/"), engine, tree: None, looked: None, ids: Ids::default() }
    }

    /// The number of the first process, while there is one.
    pub fn pid(&self) -> Option<u32> {
        self.tree.as_ref().map(|tree| tree.members.root().0)
    }

    /// What tells the numbers of all of them, as the last sample found them: none before the first
    /// one, and while there is no first process. It goes on when a meter watches the tree.
    ///
    /// By it a probe finds the GPUs of an engine:
    ///
    /// ```no_run
    /// use infermeter::{Meter, gpu::{DeviceSelection, GpuProbe}, names::source, process::ProcessTree};
    ///
    /// # #[cfg(feature = "nvml")] {
    /// let meter = Meter::new();
    /// let tree = ProcessTree::of(4711)?;
    /// let devices = DeviceSelection::processes(tree.ids());
    /// meter.watch(source::PROCESS, tree);
    /// let probe = GpuProbe::nvml().devices(devices).engine("0").watch(&meter);
    /// # }
    /// # Ok::<(), infermeter::process::ProcessError>(())
    /// ```
    pub fn ids(&self) -> impl Fn() -> Vec<u32> + Send + Sync + use<> {
        let ids = Arc::clone(&self.ids);
        move || ids.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What the sum of memory is a sum of, while there is one: [`MemoryKind::Pss`] where that can be
    /// read of all processes. Once it cannot it is [`MemoryKind::Rss`], for as long as the first
    /// process lives.
    pub fn memory_kind(&self) -> Option<MemoryKind> {
        self.tree.as_ref().map(|tree| tree.memory.kind())
    }

    fn process(files: Files, root: Id) -> Self {
        let tree = Some(Tree::new(&files, root));
        let (engine, ids) = (Engine::Process(root.0), Ids::default());
        Self { files, engine, tree, looked: None, ids }
    }

    /// Looks for who listens, now and then.
    fn look(&mut self) -> Result<(), String> {
        let listener = match &self.engine {
            Engine::Process(pid) => return Err(format!("process {pid} has ended")),
            Engine::Listener(listener) => listener,
        };
        if let Some((_, error)) = self.looked.as_ref().filter(|(at, _)| at.elapsed() < LOOK_EVERY) {
            return Err(error.clone());
        }
        let found = listener.find(&self.files);
        self.looked = found.as_ref().err().map(|error| (Instant::now(), error.clone()));
        self.tree = Some(Tree::new(&self.files, found?));
        Ok(())
    }

    fn try_sample(&mut self, out: &mut Readings) -> Result<(), SourceError> {
        if let Some(tree) = &mut self.tree {
            match tree.sample(&self.files, out) {
                Ok(()) => return Ok(()),
                Err(Ended::Unknown(error)) => return Err(error.into()),
                Err(Ended::Root(error)) => {
                    self.tree = None;
                    if matches!(self.engine, Engine::Process(_)) {
                        return Err(error.into());
                    }
                }
            }
        }
        self.look()?;
        match self.tree.as_mut().map(|tree| tree.sample(&self.files, out)) {
            Some(Err(Ended::Root(error) | Ended::Unknown(error))) => Err(error.into()),
            _ => Ok(()),
        }
    }
}

impl Source for ProcessTree {
    fn sample(&mut self, out: &mut Readings) -> Result<(), SourceError> {
        let sampled = self.try_sample(out);
        let ids = self.tree.as_ref().map(|tree| tree.members.ids()).unwrap_or_default();
        *self.ids.lock().unwrap_or_else(PoisonError::into_inner) = ids;
        sampled
    }
}

// === impl Tree ===

impl Tree {
    fn new(files: &Files, root: Id) -> Self {
        let started = files.boot().map(|boot| boot + seconds(root.1));
        Self {
            members: Members::new(root),
            cpu: Cpu::default(),
            memory: Memory::default(),
            started,
        }
    }

    fn sample(&mut self, files: &Files, out: &mut Readings) -> Result<(), Ended> {
        let members = self.members.walk(files)?;
        let (root, _) = self.members.root();
        let cpu = self.cpu.of(&members, |(pid, started)| {
            let stat = files.stat(pid).filter(|stat| stat.started == started)?;
            Some(stat.reaped)
        });
        let cpu = Value::FloatCounter(seconds(cpu));
        out.push(&names::PROCESS_CPU_SECONDS_TOTAL, [], cpu);

        let running = members.iter().filter(|member| !member.stat.has_ended);
        let fds = memory::sum(files, &members, |files, pid| files.open_fds(pid).ok());
        let whole = [
            (&names::PROCESS_RESIDENT_MEMORY_BYTES, self.memory.of(files, &members)),
            (&names::PROCESS_MEMORY_LIMIT_BYTES, files.memory_limit(root)),
            (&names::PROCESS_OPEN_FDS, fds),
            (&names::PROCESS_MAX_FDS, files.max_fds(root)),
            (&names::PROCESS_THREADS, Some(running.map(|member| member.stat.threads).sum())),
        ];
        for (family, value) in whole {
            if let Some(value) = value {
                out.push(family, [], Value::Gauge(value as f64));
            }
        }
        if let Some(started) = self.started {
            out.push(&names::PROCESS_START_TIME_SECONDS, [], Value::Gauge(started));
        }
        Ok(())
    }
}

// === impl ProcessError ===

impl fmt::Display for ProcessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pid, problem } = self;
        write!(
            f,
            "process {pid} cannot be watched: {problem}; allowed is the number of one that runs"
        )
    }
}

impl error::Error for ProcessError {}
