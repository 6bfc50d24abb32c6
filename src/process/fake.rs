//! A system of a few files in a folder of its own, for tests.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering::Relaxed},
};

use crate::record::{Readings, Source, Value};

pub(super) struct System(PathBuf);

/// A family and its one value.
pub(super) type Told = (&'static str, f64);

/// What its files say of a process.
#[derive(Clone, Copy)]
pub(super) struct Fake {
    pub(super) pid: u32,
    pub(super) parent: u32,
    pub(super) state: char,
    pub(super) cpu: u64,
    pub(super) reaped: u64,
    pub(super) started: u64,
    pub(super) rss: u64,
    /// `None`: there is no `smaps_rollup`.
    pub(super) pss: Option<u64>,
    /// `None`: they cannot be listed.
    pub(super) fds: Option<u32>,
}

// === impl System ===

impl System {
    pub(super) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Relaxed);
        let name = format!("infermeter-system-{}-{number}", std::process::id());
        let system = Self(std::env::temp_dir().join(name));
        fs::create_dir_all(system.0.join("proc")).unwrap();
        system
    }

    pub(super) fn with(files: &[(&str, &[u8])]) -> Self {
        let system = Self::new();
        files.iter().for_each(|(path, bytes)| system.write(path, bytes));
        system
    }

    pub(super) fn root(&self) -> &Path {
        &self.0
    }

    pub(super) fn write(&self, path: &str, bytes: impl AsRef<[u8]>) {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// As it is now, with nothing of what it was.
    pub(super) fn process(&self, process: Fake) {
        let Fake { pid, parent, state, cpu, reaped, started, rss, pss, fds } = process;
        self.end(pid);
        let space = if state == 'Z' { 0 } else { 65536 };
        let stat = format!(
            "{pid} (a b) {state} {parent} 7 7 0 -1 0 1 0 0 0 {cpu} 0 {reaped} 0 20 0 2 0 {started} \
             {space} 1\n"
        );
        self.write(&format!("proc/{pid}/stat"), stat);
        self.write(&format!("proc/{pid}/comm"), format!("p{pid}\n"));
        self.write(&format!("proc/{pid}/status"), format!("VmRSS:\t{rss} kB\nThreads:\t2\n"));
        if let Some(pss) = pss {
            self.write(&format!("proc/{pid}/smaps_rollup"), format!("Rss: 9 kB\nPss: {pss} kB\n"));
        }
        if let Some(fds) = fds {
            fs::create_dir_all(self.0.join(format!("proc/{pid}/fd"))).unwrap();
            (0..fds).for_each(|fd| self.write(&format!("proc/{pid}/fd/{fd}"), ""));
        }
    }

    /// A file descriptor of a process that is a socket.
    #[cfg(unix)]
    pub(super) fn socket(&self, pid: u32, inode: u32) {
        let fd = self.0.join(format!("proc/{pid}/fd/{inode}"));
        fs::create_dir_all(fd.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(format!("socket:[{inode}]"), fd).unwrap();
    }

    pub(super) fn end(&self, pid: u32) {
        let _ = fs::remove_dir_all(self.0.join(format!("proc/{pid}")));
    }

    /// The values that a source tells, in the order in which it does.
    pub(super) fn sample(&self, source: &mut impl Source) -> Result<Vec<Told>, String> {
        let mut out = Readings::default();
        source.sample(&mut out).map_err(|error| error.to_string())?;
        let all = out.families.iter().map(|readings| match readings.series[..] {
            [ref series] => match series.value {
                Value::Gauge(value) | Value::FloatCounter(value) => (readings.family.name, value),
                ref other => panic!("{other:?}"),
            },
            ref more => panic!("{more:?}"),
        });
        Ok(all.collect())
    }
}

impl Drop for System {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

// === impl Fake ===

impl Fake {
    pub(super) const fn new(pid: u32, parent: u32) -> Self {
        let (pss, fds) = (Some(100), Some(3));
        Self { pid, parent, state: 'S', cpu: 0, reaped: 0, started: 500, rss: 400, pss, fds }
    }

    pub(super) const fn cpu(self, own: u64, reaped: u64) -> Self {
        Self { cpu: own, reaped, ..self }
    }
}
