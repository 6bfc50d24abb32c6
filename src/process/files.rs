//! The files of the system that tell of processes.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use super::{
    cgroup::{self, Group},
    text::{self, Stat},
};

/// How many processes are looked at; on a machine that has more nothing is told.
const MOST_PROCESSES: usize = 10_000;

/// Below `/`, but in a test.
#[derive(Clone, Debug)]
pub(super) struct Files {
    root: PathBuf,
    /// How many processes are looked at.
    pub(super) most: usize,
}

// === impl Files ===

impl Files {
    pub(super) fn below(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), most: MOST_PROCESSES }
    }

    /// NB: the name of a process need not be UTF-8.
    pub(super) fn read(&self, path: impl AsRef<Path>) -> Option<String> {
        let bytes = fs::read(self.root.join(path)).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    pub(super) fn open(&self, path: impl AsRef<Path>) -> io::Result<fs::File> {
        fs::File::open(self.root.join(path))
    }

    /// All processes that can be seen.
    pub(super) fn processes(&self) -> Result<Vec<u32>, String> {
        let folder = fs::read_dir(self.root.join("proc"));
        let folder = folder.map_err(|error| format!("/proc cannot be read: {error}"))?;
        let names = folder.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        let all: Vec<u32> = names.take(self.most + 1).collect();
        if all.len() > self.most {
            return Err(format!("there are more than {} processes", self.most));
        }
        Ok(all)
    }

    pub(super) fn stat(&self, process: impl fmt::Display) -> Option<Stat> {
        Stat::parse(&self.read(format!("proc/{process}/stat"))?)
    }

    /// The short name of a process; 15 bytes at most.
    pub(super) fn name(&self, process: u32) -> Option<String> {
        Some(self.read(format!("proc/{process}/comm"))?.trim_end_matches('\n').to_owned())
    }

    pub(super) fn status(&self, process: impl fmt::Display) -> Option<String> {
        self.read(format!("proc/{process}/status"))
    }

    pub(super) fn max_fds(&self, process: impl fmt::Display) -> Option<u64> {
        text::max_fds(&self.read(format!("proc/{process}/limits"))?)
    }

    /// How many file descriptors a process has open.
    pub(super) fn open_fds(&self, process: impl fmt::Display) -> io::Result<u64> {
        let folder = self.root.join(format!("proc/{process}/fd"));
        self.told_fds(&folder).map_or_else(|| listed_fds(&folder), Ok)
    }

    /// How many this process has open.
    pub(super) fn own_open_fds(&self) -> Option<u64> {
        let folder = self.root.join("proc/self/fd");
        // NB: one of those that are listed is open only to list them.
        self.told_fds(&folder).or_else(|| listed_fds(&folder).ok()?.checked_sub(1))
    }

    /// Since Linux 6.2 the size of the folder tells it. NB: to list thousands takes milliseconds.
    fn told_fds(&self, folder: &Path) -> Option<u64> {
        let folder = (self.root == Path::new("/")).then(|| fs::metadata(folder).ok())?;
        folder.map(|folder| folder.len()).filter(|size| *size > 0)
    }

    /// What the file descriptors of a process lead to, such as `socket:[4711]`.
    pub(super) fn links(&self, process: u32) -> io::Result<impl Iterator<Item = PathBuf>> {
        let fds = fs::read_dir(self.root.join(format!("proc/{process}/fd")))?;
        Ok(fds.filter_map(|fd| fs::read_link(fd.ok()?.path()).ok()))
    }

    /// When the system started, in unix time.
    pub(super) fn boot(&self) -> Option<f64> {
        text::boot(&self.read("proc/stat")?)
    }

    /// The memory that the control groups of this process allow it.
    pub(super) fn own_memory_limit(&self) -> Option<u64> {
        let [groups, mounts] =
            ["proc/self/cgroup", "proc/self/mountinfo"].map(|path| self.read(path));
        cgroup::memory_limit(Group::Own, &groups?, &mounts?, |path| self.read(relative(path)))
    }

    /// The memory that the control groups of another process allow it, as far as this process sees
    /// them, and as far as that one does.
    pub(super) fn memory_limit(&self, process: u32) -> Option<u64> {
        let groups = self.read(format!("proc/{process}/cgroup"))?;
        let seen_from = |who: &str, root: &Path| {
            let mounts = self.read(format!("proc/{who}/mountinfo"))?;
            let read = |path: &Path| self.read(root.join(relative(path)));
            cgroup::memory_limit(Group::Other, &groups, &mounts, read)
        };
        let here = seen_from("self", Path::new(""));
        let root = format!("proc/{process}/root");
        let there = seen_from(&process.to_string(), Path::new(&root));
        here.into_iter().chain(there).min()
    }
}

fn relative(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}

fn listed_fds(folder: &Path) -> io::Result<u64> {
    Ok(fs::read_dir(folder)?.count() as u64)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    /// How often both are asked: other tests open files meanwhile.
    const TRIES: usize = 1000;

    #[test]
    fn what_the_system_tells_of_descriptors_is_what_it_lists() {
        let folder = Path::new("/proc/self/fd");
        let files = Files::below("/");
        // NB: before Linux 6.2 nothing is told.
        let is_same = || {
            let listed = listed_fds(folder).unwrap() - 1;
            files.told_fds(folder).is_none_or(|told| told == listed)
                && files.own_open_fds() == Some(listed)
        };
        assert!((0..TRIES).any(|_| is_same()));
        let held: Vec<fs::File> = (0..100).map(|_| files.open("proc/self/stat").unwrap()).collect();
        assert!(files.own_open_fds().unwrap() > held.len() as u64);
    }
}
