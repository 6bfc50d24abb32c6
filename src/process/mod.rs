//! What the system says of a process: processor time, memory, file descriptors, threads.
//!
//! Read from `/proc`, so on Linux only. A Prometheus exporter watches its own process by itself;
//! with an exporter of your own, watch it like any other source:
//!
//! ```
//! use infermeter::{Meter, process::Process};
//!
//! let meter = Meter::new();
//! if let Some(process) = Process::own() {
//!     meter.watch("process", process);
//! }
//! ```
//!
//! What cannot be read is not published, whatever the rest says.

mod cgroup;
mod text;

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    names,
    record::{Readings, Source, SourceError, Value},
};

/// A process, read anew with each sample. See the [module docs](self).
#[derive(Debug)]
pub struct Process {
    /// Where all files of the system are, `/` but in a test.
    root: PathBuf,
    /// When it started, in unix time, once that is known.
    started: Option<f64>,
}

// === impl Process ===

impl Process {
    /// The process that asks; `None` elsewhere than on Linux.
    pub fn own() -> Option<Self> {
        cfg!(target_os = "linux").then(|| Self::below("/"))
    }

    fn below(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), started: None }
    }

    /// When it started, in unix time.
    ///
    /// NB: read once. The moment of the boot that it is counted from moves with the clock, and
    /// whoever looks for restarts would see one.
    fn started(&mut self, since_boot: Option<f64>) -> Option<f64> {
        if self.started.is_none() {
            let boot = self.read("proc/stat").and_then(|stat| text::boot(&stat));
            self.started = boot.zip(since_boot).map(|(boot, started)| boot + started);
        }
        self.started
    }

    fn open_fds(&self) -> Option<u64> {
        let fds = fs::read_dir(self.root.join("proc/self/fd")).ok()?;
        // One of them is open only to be able to list them.
        (fds.count() as u64).checked_sub(1)
    }

    fn memory_limit(&self) -> Option<u64> {
        let [groups, mounts] =
            ["proc/self/cgroup", "proc/self/mountinfo"].map(|path| self.read(path));
        let below_root = |path: &Path| self.read(path.strip_prefix("/").unwrap_or(path));
        cgroup::memory_limit(&groups?, &mounts?, below_root)
    }

    /// NB: the name of a process need not be UTF-8.
    fn read(&self, path: impl AsRef<Path>) -> Option<String> {
        let bytes = fs::read(self.root.join(path)).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }
}

impl Source for Process {
    fn sample(&mut self, out: &mut Readings) -> Result<(), SourceError> {
        let stat = self.read("proc/self/stat").and_then(|stat| text::Stat::parse(&stat));
        let status = self.read("proc/self/status").unwrap_or_default();
        let kib = |name| text::field(&status, name).map(|kib| kib.saturating_mul(1024));
        let limits = self.read("proc/self/limits");

        if let Some(stat) = &stat {
            out.push(&names::PROCESS_CPU_SECONDS_TOTAL, [], Value::FloatCounter(stat.cpu));
        }
        let whole = [
            (&names::PROCESS_RESIDENT_MEMORY_BYTES, kib("VmRSS")),
            (&names::PROCESS_VIRTUAL_MEMORY_BYTES, kib("VmSize")),
            (&names::PROCESS_MEMORY_LIMIT_BYTES, self.memory_limit()),
            (&names::PROCESS_OPEN_FDS, self.open_fds()),
            (&names::PROCESS_MAX_FDS, limits.and_then(|limits| text::max_fds(&limits))),
            (&names::PROCESS_THREADS, text::field(&status, "Threads")),
        ];
        for (family, value) in whole {
            if let Some(value) = value {
                out.push(family, [], Value::Gauge(value as f64));
            }
        }
        if let Some(started) = self.started(stat.map(|stat| stat.started)) {
            out.push(&names::PROCESS_START_TIME_SECONDS, [], Value::Gauge(started));
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

    /// A system of a few files in a folder of its own.
    struct Files(PathBuf);

    impl Files {
        fn new(name: &str, files: &[(&str, &[u8])]) -> Self {
            let root =
                std::env::temp_dir().join(format!("infermeter-{name}-{}", std::process::id()));
            for (path, bytes) in files {
                let path = root.join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, bytes).unwrap();
            }
            Self(root)
        }

        fn sample(&self) -> Result<Vec<(&'static str, f64)>, String> {
            let mut out = Readings::default();
            Process::below(&self.0).sample(&mut out).map_err(|error| error.to_string())?;
            let all = out.families.iter().map(|readings| {
                let value = match readings.series[..] {
                    [ref series] => series.value.clone(),
                    ref more => panic!("{more:?}"),
                };
                match value {
                    Value::Gauge(value) | Value::FloatCounter(value) => {
                        (readings.family.name, value)
                    }
                    other => panic!("{other:?}"),
                }
            });
            Ok(all.collect())
        }
    }

    impl Drop for Files {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    const STAT: &[u8] = b"7 (caf\xc3) S 1 7 7 0 -1 0 1 0 0 0 150 25 0 0 20 0 3 0 1234 8192 2 0";

    #[test]
    fn everything_of_a_small_system() {
        let files = Files::new(
            "all",
            &[
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
            ],
        );
        assert_eq!(
            files.sample().unwrap(),
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
    }

    #[test]
    fn what_cannot_be_read_is_absent_and_nothing_at_all_is_an_error() {
        let files = Files::new("few", &[("proc/self/stat", STAT), ("proc/self/status", b"\n")]);
        assert_eq!(files.sample().unwrap(), [("process_cpu_seconds_total", 1.75)]);
        let files = Files::new("none", &[]);
        assert!(files.sample().unwrap_err().contains("is /proc mounted?"));
    }

    #[test]
    fn the_start_stays_where_it_is() {
        let files = Files::new("start", &[("proc/self/stat", STAT), ("proc/stat", b"btime 100\n")]);
        let mut process = Process::below(&files.0);
        let mut started = || {
            let mut out = Readings::default();
            process.sample(&mut out).unwrap();
            out.series(&names::PROCESS_START_TIME_SECONDS)[0].value.clone()
        };
        assert_eq!(started(), Value::Gauge(112.34));
        fs::write(files.0.join("proc/stat"), "btime 101\n").unwrap();
        assert_eq!(started(), Value::Gauge(112.34));
    }
}
