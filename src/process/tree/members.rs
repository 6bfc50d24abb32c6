//! Which processes belong to a tree.

use std::collections::{HashMap, HashSet, VecDeque};

use super::Ended;
use crate::process::{files::Files, text::Stat};

/// A process and when it started, since numbers are given again.
pub(super) type Id = (u32, u64);

/// A process of the tree, and what its `stat` says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    pub(super) pid: u32,
    pub(super) stat: Stat,
}

/// The root and all below it. Who was once seen there belongs to it until it ends, also when the
/// one between has ended and it is somebody else's child now.
#[derive(Debug)]
pub(super) struct Members {
    root: Id,
    known: HashSet<Id>,
}

// === impl Member ===

impl Member {
    pub(super) const fn id(&self) -> Id {
        (self.pid, self.stat.started)
    }
}

// === impl Members ===

impl Members {
    pub(super) fn new(root: Id) -> Self {
        Self { root, known: HashSet::new() }
    }

    pub(super) const fn root(&self) -> Id {
        self.root
    }

    /// The numbers of those who were there last.
    pub(super) fn ids(&self) -> Vec<u32> {
        self.known.iter().map(|(pid, _)| *pid).collect()
    }

    /// All who are there now, each behind its parent, the root first.
    ///
    /// NB: they are read in this order too. Whoever ends meanwhile and is added to its parent's
    /// account is then missing in one sample, and never in two accounts at once.
    pub(super) fn walk(&mut self, files: &Files) -> Result<Vec<Member>, Ended> {
        self.is_there(files.stat(self.root.0))?;
        let all = files.processes().map_err(Ended::Unknown)?;
        let all = all.into_iter().filter_map(|pid| Some((pid, files.stat(pid)?)));
        let all: HashMap<u32, Stat> = all.collect();
        let order = self.order(&all);
        let read = order.into_iter().filter_map(|(pid, started)| {
            let stat = files.stat(pid).filter(|stat| stat.started == started)?;
            Some(Member { pid, stat })
        });
        let read: Vec<Member> = read.collect();
        // It may have ended just now.
        self.is_there(read.iter().find(|member| member.id() == self.root).map(|root| root.stat))?;
        self.known = read.iter().map(Member::id).collect();
        Ok(read)
    }

    fn is_there(&self, stat: Option<Stat>) -> Result<(), Ended> {
        let (pid, started) = self.root;
        match stat {
            Some(stat) if stat.started != started => {
                Err(Ended::Root(format!("process {pid} has ended, and is another one now")))
            }
            Some(stat) if !stat.has_ended => Ok(()),
            _ => Err(Ended::Root(format!("process {pid} has ended"))),
        }
    }

    fn order(&self, all: &HashMap<u32, Stat>) -> Vec<Id> {
        let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
        for (pid, stat) in all {
            children.entry(stat.parent).or_default().push(*pid);
        }
        let is_known =
            |pid: u32| all.get(&pid).is_some_and(|s| self.known.contains(&(pid, s.started)));
        let is_adopted = |pid: &&u32| is_known(**pid) && !is_known(all[*pid].parent);
        let mut adopted: Vec<u32> = all.keys().filter(is_adopted).copied().collect();
        adopted.sort_unstable();

        let us = std::process::id();
        let (mut seen, mut order) = (HashSet::new(), Vec::new());
        for top in [self.root.0].into_iter().chain(adopted) {
            let mut next = VecDeque::from([top]);
            while let Some(pid) = next.pop_front() {
                let Some(stat) = all.get(&pid) else { continue };
                // Whoever watches is no part of what it watches, also if the same script has
                // started both.
                if pid == us || !seen.insert(pid) {
                    continue;
                }
                order.push((pid, stat.started));
                // A parent is older than its children, or it is not the one that is meant.
                let is_younger = |child: &&u32| all[*child].started >= stat.started;
                let below = children.get(&pid).into_iter().flatten();
                next.extend(below.filter(is_younger));
            }
        }
        order
    }
}
