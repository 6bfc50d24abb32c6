//! The memory of a tree.

use std::time::Duration;

use tokio::time::Instant;

use super::members::Member;
use crate::process::{
    files::Files,
    text::{self, Stat},
};

/// What a sum of memory is a sum of.
///
/// ```
/// use infermeter::process::{MemoryKind, ProcessTree};
///
/// fn is_exact(tree: &ProcessTree) -> bool {
///     tree.memory_kind() == Some(MemoryKind::Pss)
/// }
///
/// let nobody_yet = ProcessTree::listening(["127.0.0.1:8000".parse().unwrap()]);
/// assert!(!is_exact(&nobody_yet));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MemoryKind {
    /// Proportional set sizes: what processes share counts once.
    Pss,
    /// Resident set sizes: what processes share counts for each of them.
    Rss,
}

/// To read proportional sizes the kernel walks the page tables, and the process cannot map memory
/// meanwhile: this takes at most the hundredth part of the time.
const SHARE: u32 = 100;

/// However long that takes.
const OLDEST: Duration = Duration::from_secs(60);

/// NB: the two kinds are never mixed. Once a process refuses to tell its proportional size, the sum
/// is of resident sizes for good, so that it changes its meaning once at most.
#[derive(Debug)]
pub(super) struct Memory {
    kind: MemoryKind,
    last: Option<u64>,
    next: Option<Instant>,
}

// === impl Memory ===

impl Default for Memory {
    fn default() -> Self {
        Self { kind: MemoryKind::Pss, last: None, next: None }
    }
}

impl Memory {
    pub(super) const fn kind(&self) -> MemoryKind {
        self.kind
    }

    /// The memory of all of them, in bytes; `None` if that of one cannot be read.
    pub(super) fn of(&mut self, files: &Files, members: &[Member]) -> Option<u64> {
        if self.kind == MemoryKind::Pss {
            let began = Instant::now();
            if self.next.is_some_and(|next| began < next) {
                return self.last;
            }
            self.last = sum(files, members, pss);
            self.next = Some(Instant::now() + pause(began.elapsed()));
            if self.last.is_some() {
                return self.last;
            }
            self.kind = MemoryKind::Rss;
        }
        sum(files, members, rss)
    }
}

/// Until it is read again.
fn pause(took: Duration) -> Duration {
    took.saturating_mul(SHARE).min(OLDEST)
}

/// The sum of what is read of each; `None` if one refuses.
pub(super) fn sum(
    files: &Files,
    members: &[Member],
    read: impl Fn(&Files, u32) -> Option<u64>,
) -> Option<u64> {
    members
        .iter()
        .try_fold(0_u64, |sum, member| Some(sum.saturating_add(read_of(files, member, &read)?)))
}

/// 0 of a process that has ended; `None` if it is there, and refuses.
fn read_of(
    files: &Files,
    member: &Member,
    read: impl Fn(&Files, u32) -> Option<u64>,
) -> Option<u64> {
    if !member.stat.has_memory() {
        return Some(0);
    }
    // NB: whoever is about to end refuses all kinds of things. Only who is still there after that has
    // refused.
    let is_there = |stat: Stat| stat.started == member.stat.started && stat.has_memory();
    read(files, member.pid).or_else(|| match files.stat(member.pid).is_some_and(is_there) {
        true => None,
        false => Some(0),
    })
}

fn pss(files: &Files, pid: u32) -> Option<u64> {
    text::pss(&files.read(format!("proc/{pid}/smaps_rollup"))?).map(bytes)
}

fn rss(files: &Files, pid: u32) -> Option<u64> {
    text::field(&files.status(pid)?, "VmRSS").map(bytes)
}

const fn bytes(kib: u64) -> u64 {
    kib.saturating_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dear_is_read_seldom() {
        let pause = |ms| pause(Duration::from_millis(ms));
        assert_eq!(pause(0), Duration::ZERO);
        assert_eq!(pause(5), Duration::from_millis(500));
        assert_eq!(pause(80), Duration::from_secs(8));
        assert_eq!(pause(5000), OLDEST);
    }
}
