//! The process that asks.

use super::{
    files::Files,
    text::{self, seconds},
};
use crate::{
    names::{self, Family},
    record::{Readings, Source, SourceError, Value},
};

/// This process, read anew with each sample. See the [module docs](super).
///
/// ```
/// use infermeter::{Meter, names::{PROCESS_THREADS, source}, process::Process, record::Collect};
///
/// let meter = Meter::new();
/// if let Some(process) = Process::own() {
///     meter.watch(source::PROCESS, process);
///     meter.sample(); // an exporter does it
///     println!("{:?} threads", meter.collect().series(&PROCESS_THREADS)[0].gauge());
/// }
/// ```
#[derive(Debug)]
pub struct Process {
    files: Files,
    names: &'static Names,
    /// When it started, in unix time, once that is known.
    started: Option<f64>,
}

/// What is told under which name.
#[derive(Debug)]
struct Names {
    cpu: &'static Family,
    resident: &'static Family,
    address_space: &'static Family,
    memory_limit: &'static Family,
    open_fds: &'static Family,
    max_fds: &'static Family,
    threads: &'static Family,
    started: &'static Family,
}

static SERVES: Names = Names {
    cpu: &names::PROCESS_CPU_SECONDS_TOTAL,
    resident: &names::PROCESS_RESIDENT_MEMORY_BYTES,
    address_space: &names::PROCESS_VIRTUAL_MEMORY_BYTES,
    memory_limit: &names::PROCESS_MEMORY_LIMIT_BYTES,
    open_fds: &names::PROCESS_OPEN_FDS,
    max_fds: &names::PROCESS_MAX_FDS,
    threads: &names::PROCESS_THREADS,
    started: &names::PROCESS_START_TIME_SECONDS,
};

static WATCHES: Names = Names {
    cpu: &names::INFERMETER_PROCESS_CPU_SECONDS_TOTAL,
    resident: &names::INFERMETER_PROCESS_RESIDENT_MEMORY_BYTES,
    address_space: &names::INFERMETER_PROCESS_VIRTUAL_MEMORY_BYTES,
    memory_limit: &names::INFERMETER_PROCESS_MEMORY_LIMIT_BYTES,
    open_fds: &names::INFERMETER_PROCESS_OPEN_FDS,
    max_fds: &names::INFERMETER_PROCESS_MAX_FDS,
    threads: &names::INFERMETER_PROCESS_THREADS,
    started: &names::INFERMETER_PROCESS_START_TIME_SECONDS,
};

// === impl Process ===

impl Process {
    /// The process that asks, where it serves the model: `process_*`. `None` elsewhere than on
    /// Linux.
    pub fn own() -> Option<Self> {
        Self::here(&SERVES)
    }

    /// The process that asks, where it only watches the one that serves the model:
    /// `infermeter_process_*`. `None` elsewhere than on Linux.
    pub fn observer() -> Option<Self> {
        Self::here(&WATCHES)
    }

    fn here(names: &'static Names) -> Option<Self> {
        cfg!(target_os = "linux").then(|| Self::below("/", names))
    }

    fn below(root: impl Into<std::path::PathBuf>, names: &'static Names) -> Self {
        Self { files: Files::below(root), names, started: None }
    }

    /// When it started, in unix time.
    ///
    /// NB: read once. The moment of the boot that it is counted from moves with the clock, and
    /// whoever looks for restarts would see one.
    fn started(&mut self, since_boot: Option<f64>) -> Option<f64> {
        if self.started.is_none() {
            self.started = self.files.boot().zip(since_boot).map(|(boot, started)| boot + started);
        }
        self.started
    }
}

impl Source for Process {
    fn sample(&mut self, out: &mut Readings) -> Result<(), SourceError> {
        let stat = self.files.stat("self");
        let status = self.files.status("self").unwrap_or_default();
        let kib = |name| text::field(&status, name).map(|kib| kib.saturating_mul(1024));

        if let Some(stat) = &stat {
            out.push(self.names.cpu, [], Value::FloatCounter(seconds(stat.cpu)));
        }
        let whole = [
            (self.names.resident, kib("VmRSS")),
            (self.names.address_space, kib("VmSize")),
            (self.names.memory_limit, self.files.own_memory_limit()),
            (self.names.open_fds, self.files.own_open_fds()),
            (self.names.max_fds, self.files.max_fds("self")),
            (self.names.threads, text::field(&status, "Threads")),
        ];
        for (family, value) in whole {
            if let Some(value) = value {
                out.push(family, [], Value::Gauge(value as f64));
            }
        }
        if let Some(started) = self.started(stat.map(|stat| seconds(stat.started))) {
            out.push(self.names.started, [], Value::Gauge(started));
        }
        if out.families.is_empty() {
            return Err("nothing below /proc/self can be read: is /proc mounted?".into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::fake::{System, Told};

    fn sample(system: &System, names: &'static Names) -> Result<Vec<Told>, String> {
        system.sample(&mut Process::below(system.root(), names))
    }

    const STAT: &[u8] = b"7 (caf\xc3) S 1 7 7 0 -1 0 1 0 0 0 150 25 0 0 20 0 3 0 1234 8192 2 0";

    #[test]
    fn everything_of_a_small_system() {
        let files = System::with(&[
            ("proc/stat", b"cpu 1 2 3\nbtime 1700000000\n"),
            ("proc/self/stat", STAT),
            ("proc/self/status", b"VmSize:\t    8 kB\nVmRSS:\t    4 kB\nThreads:\t3\n"),
            ("proc/self/limits", b"Max open files            1024     4096     files\n"),
            ("proc/self/fd/0", b""),
            ("proc/self/fd/1", b""),
            ("proc/self/fd/2", b""),
            ("proc/self/cgroup", b"0::/a.slice/b\n"),
            ("proc/self/mountinfo", b"1 2 0:1 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"),
            ("sys/fs/cgroup/a.slice/b/memory.max", b"max\n"),
            ("sys/fs/cgroup/a.slice/memory.max", b"4096\n"),
        ]);
        assert_eq!(
            sample(&files, &SERVES).unwrap(),
            [
                ("process_cpu_seconds_total", 1.75),
                ("process_resident_memory_bytes", 4096.0),
                ("process_virtual_memory_bytes", 8192.0),
                ("process_memory_limit_bytes", 4096.0),
                ("process_open_fds", 2.0),
                ("process_max_fds", 1024.0),
                ("process_threads", 3.0),
                ("process_start_time_seconds", 1_700_000_012.34),
            ]
        );
        // Whoever watches tells the same of itself.
        let watches = sample(&files, &WATCHES).unwrap();
        for ((serves, value), (watches, same)) in
            sample(&files, &SERVES).unwrap().into_iter().zip(&watches)
        {
            assert_eq!((format!("infermeter_{serves}").as_str(), value), (*watches, *same));
        }
        assert_eq!(watches.len(), 8);
    }

    #[test]
    fn what_cannot_be_read_is_absent_and_nothing_at_all_is_an_error() {
        let files = System::with(&[("proc/self/stat", STAT), ("proc/self/status", b"\n")]);
        assert_eq!(sample(&files, &SERVES).unwrap(), [("process_cpu_seconds_total", 1.75)]);
        let files = System::with(&[]);
        assert!(sample(&files, &SERVES).unwrap_err().contains("is /proc mounted?"));
    }

    #[test]
    fn the_start_stays_where_it_is() {
        let files = System::with(&[("proc/self/stat", STAT), ("proc/stat", b"btime 100\n")]);
        let mut process = Process::below(files.root(), &SERVES);
        let mut started = || {
            let mut out = Readings::default();
            process.sample(&mut out).unwrap();
            out.series(&names::PROCESS_START_TIME_SECONDS)[0].value.clone()
        };
        assert_eq!(started(), Value::Gauge(112.34));
        files.write("proc/stat", "btime 101\n");
        assert_eq!(started(), Value::Gauge(112.34));
    }
}
