//! Drivers that do what a test says: `driver.c`, compiled once for each kind, and copied for each
//! test.
//!
//! NB: two libraries of one file are one, with one state; a copy is another.

#![allow(unsafe_code, reason = "a library in C, by which the test tells the driver what to do")]

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use libloading::{Library, Symbol};

pub(crate) const MACHINE: i32 = 15;

/// What can be said of a GPU, as `driver.c` lists it.
#[derive(Clone, Copy, Debug)]
#[repr(i32)]
#[allow(dead_code, reason = "the list is that of `driver.c`")]
pub(crate) enum What {
    All,
    Memory,
    LoadCode,
    Power,
    Limit,
    EnergyCode,
    Temperature,
    Clock,
    ThrottleCode,
    Ecc,
    Fields,
    Events,
    Register,
    Processes,
    Identity,
    Hang,
    Used,
    Total,
    Load,
    Energy,
    Throttle,
    PartsMask,
    Pid,
    PidSlot,
    Xid,
    Gpm,
    Count,
    InitCode,
    Calls,
    Open,
}

/// A driver of one test.
pub(crate) struct Driver {
    path: PathBuf,
    /// Held, so that what was said is not forgotten while nobody else has it open.
    library: Library,
}

// === impl Driver ===

impl Driver {
    pub(crate) fn new() -> Self {
        Self::of_kind(&[])
    }

    pub(crate) fn of_kind(flags: &[&str]) -> Self {
        let path = copy(flags);
        // SAFETY: opening it runs nothing; it is our own.
        let library = unsafe { Library::new(&path) }.unwrap();
        let driver = Self { path, library };
        // Everything is prepared before the first word.
        driver.say(MACHINE, What::InitCode, 0);
        driver
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn say(&self, gpu: i32, what: What, value: i64) {
        // SAFETY: the function has this type in `driver.c`.
        unsafe {
            let fake: Symbol<'_, extern "C" fn(i32, i32, i64)> = self.library.get(b"fake").unwrap();
            fake(gpu, what as i32, value);
        }
    }

    pub(crate) fn asked(&self, gpu: i32, what: What) -> i64 {
        // SAFETY: as above.
        unsafe {
            let faked: Symbol<'_, extern "C" fn(i32, i32) -> i64> =
                self.library.get(b"faked").unwrap();
            faked(gpu, what as i32)
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // A thread that a test has left hanging goes on.
        (0..MACHINE).for_each(|gpu| self.say(gpu, What::Hang, 0));
        let _ = fs::remove_file(&self.path);
    }
}

/// A library of this kind, in a file of its own.
pub(crate) fn copy(flags: &[&str]) -> PathBuf {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let n = NEXT.fetch_add(1, Relaxed);
    let path = folder().join(format!("{}-{n}.so", std::process::id()));
    fs::copy(compiled(flags), &path).unwrap();
    path
}

fn compiled(flags: &[&str]) -> PathBuf {
    static COMPILED: Mutex<Option<HashMap<String, PathBuf>>> = Mutex::new(None);
    let mut all = COMPILED.lock().unwrap();
    let all = all.get_or_insert_with(HashMap::new);
    let key = flags.concat();
    let n = all.len();
    let compile = || {
        let path = folder().join(format!("{}-compiled-{n}.so", std::process::id()));
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/gpu/driver.c");
        let cc = Command::new("cc")
            .args(["-Wall", "-Wextra", "-Wno-unused", "-Werror", "-O1", "-shared", "-fPIC", "-o"])
            .args([&path, &source])
            .args(flags)
            .status();
        let status = cc.expect("these tests need a C compiler: install one that is `cc`");
        assert!(status.success(), "{} cannot be compiled", source.display());
        path
    };
    all.entry(key).or_insert_with(compile).clone()
}

fn folder() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("drivers");
    fs::create_dir_all(&folder).unwrap();
    folder
}
