//! The processor time of a tree: what it never loses, and never counts twice.
//!
//! A process that ends leaves its time, and that of all below it, to its parent, if that one waits
//! for it; so the sum of "own" and "of children" over all that are there is the time of all that ever
//! were. Lost is what nobody waits for inside of the tree: a parent that ignores its children, and a
//! process whose parent has ended before it. Of those the last that was seen is kept.

use std::collections::HashMap;

use super::members::{Id, Member};

/// In clock ticks.
#[derive(Debug, Default)]
pub(super) struct Cpu {
    last: HashMap<Id, Seen>,
    /// Of processes whose time nobody in the tree has got.
    kept: u64,
    told: u64,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    /// Who will get its time, if it is of the tree.
    parent: Option<Id>,
    own: u64,
    reaped: u64,
}

// === impl Cpu ===

impl Cpu {
    /// The time of all so far. `members` were read parents first; `reaped_now` is what a process has
    /// of children that have ended, read now.
    pub(super) fn of(&mut self, members: &[Member], reaped_now: impl Fn(Id) -> Option<u64>) -> u64 {
        let ids: HashMap<u32, Id> =
            members.iter().map(|member| (member.pid, member.id())).collect();
        let seen = members.iter().map(|member| {
            let parent = ids.get(&member.stat.parent).copied();
            let seen = Seen { parent, own: member.stat.cpu, reaped: member.stat.reaped };
            (member.id(), seen)
        });
        let now: HashMap<Id, Seen> = seen.collect();

        let mut left_to: HashMap<Id, u64> = HashMap::new();
        for (_, gone) in self.last.iter().filter(|(id, _)| !now.contains_key(*id)) {
            match self.heir(gone, &now) {
                Some(heir) => *left_to.entry(heir).or_default() += gone.own + gone.reaped,
                None => self.kept += gone.own + gone.reaped,
            }
        }
        for (heir, left) in left_to {
            // NB: who is gone was added to its parent before, so this has it. What else it has, of
            // children that were never seen, only makes what is kept less.
            let before = self.last.get(&heir).map_or(0, |seen| seen.reaped);
            let got = reaped_now(heir).unwrap_or(u64::MAX).saturating_sub(before);
            self.kept += left.saturating_sub(got);
        }
        let there: u64 = now.values().map(|seen| seen.own + seen.reaped).sum();
        self.last = now;
        // What has ended between the readings of its parent and of itself is missing until next time.
        self.told = self.told.max(there + self.kept);
        self.told
    }

    /// The first one above that is still there.
    fn heir(&self, gone: &Seen, now: &HashMap<Id, Seen>) -> Option<Id> {
        let mut parent = gone.parent;
        // NB: bounded, though no process is above itself.
        for _ in 0..=self.last.len() {
            let id = parent?;
            if now.contains_key(&id) {
                return Some(id);
            }
            parent = self.last.get(&id)?.parent;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::text::Stat;

    /// Number, parent, own time, time of children.
    type Line = (u32, u32, u64, u64);

    fn of(cpu: &mut Cpu, lines: &[Line]) -> u64 {
        let members: Vec<Member> = lines
            .iter()
            .map(|&(pid, parent, own, reaped)| {
                let text = format!(
                    "{pid} (a) S {parent} 0 0 0 0 0 0 0 0 0 {own} 0 {reaped} 0 0 0 1 0 5 9"
                );
                Member { pid, stat: Stat::parse(&text).unwrap() }
            })
            .collect();
        cpu.of(&members, |(pid, _)| Some(lines.iter().find(|line| line.0 == pid)?.3))
    }

    #[test]
    fn a_child_comes_and_ends_and_its_time_stays_once() {
        let mut cpu = Cpu::default();
        assert_eq!(of(&mut cpu, &[(1, 0, 100, 7)]), 107);
        assert_eq!(of(&mut cpu, &[(1, 0, 110, 7), (2, 1, 50, 0)]), 167);
        // It used 5 more before it ended.
        assert_eq!(of(&mut cpu, &[(1, 0, 110, 62)]), 172);
        assert_eq!(of(&mut cpu, &[(1, 0, 111, 62)]), 173);
    }

    #[test]
    fn children_that_were_never_seen_count() {
        let mut cpu = Cpu::default();
        assert_eq!(of(&mut cpu, &[(1, 0, 1, 0)]), 1);
        assert_eq!(of(&mut cpu, &[(1, 0, 1, 500)]), 501);
    }

    #[test]
    fn a_parent_that_does_not_wait_loses_nothing() {
        let mut cpu = Cpu::default();
        assert_eq!(of(&mut cpu, &[(1, 0, 100, 0), (2, 1, 50, 3)]), 153);
        assert_eq!(of(&mut cpu, &[(1, 0, 101, 0)]), 154);
        // It waits for some: what it got is not kept as well.
        assert_eq!(of(&mut cpu, &[(1, 0, 101, 0), (3, 1, 20, 0), (4, 1, 30, 0)]), 204);
        assert_eq!(of(&mut cpu, &[(1, 0, 101, 20)]), 204);
        assert_eq!(of(&mut cpu, &[(1, 0, 101, 20)]), 204);
    }

    #[test]
    fn a_branch_ends() {
        let mut cpu = Cpu::default();
        let before = [(1, 0, 100, 0), (2, 1, 50, 0), (3, 2, 30, 0), (4, 2, 10, 0)];
        assert_eq!(of(&mut cpu, &before), 190);
        // From below: all is the root's.
        assert_eq!(of(&mut cpu, &[(1, 0, 100, 90)]), 190);

        let mut cpu = Cpu::default();
        assert_eq!(of(&mut cpu, &before), 190);
        // The one between ends first, the others are children of nobody here, and end there.
        assert_eq!(of(&mut cpu, &[(1, 0, 100, 50), (3, 99, 31, 0), (4, 99, 10, 0)]), 191);
        assert_eq!(of(&mut cpu, &[(1, 0, 100, 50), (4, 99, 15, 0)]), 196);
        assert_eq!(of(&mut cpu, &[(1, 0, 100, 50)]), 196);

        let mut cpu = Cpu::default();
        assert_eq!(of(&mut cpu, &before), 190);
        // The same between two samples.
        assert_eq!(of(&mut cpu, &[(1, 0, 100, 50)]), 190);
    }

    /// Its parent was read before it ended, it would have been read after.
    #[test]
    fn what_ends_while_all_are_read_is_missing_once_and_never_there_twice() {
        let mut cpu = Cpu::default();
        assert_eq!(of(&mut cpu, &[(1, 0, 100, 0), (2, 1, 50, 0)]), 150);
        let root = "1 (a) S 0 0 0 0 0 0 0 0 0 0 103 0 0 0 0 0 1 0 5 9";
        let root = [Member { pid: 1, stat: Stat::parse(root).unwrap() }];
        // The sum is 103. It does not fall, and nothing is kept, for the root has got it by now.
        assert_eq!(cpu.of(&root, |_| Some(51)), 150);
        assert_eq!(of(&mut cpu, &[(1, 0, 104, 51)]), 155);
        // Nothing is known of an heir that has ended itself: nothing is kept.
        assert_eq!(of(&mut cpu, &[(1, 0, 104, 51), (3, 1, 10, 0)]), 165);
        assert_eq!(cpu.of(&root, |_| None), 165);
        assert_eq!(of(&mut cpu, &[(1, 0, 104, 61)]), 165);
    }

    #[test]
    fn any_history_never_falls_and_is_never_more_than_was_used() {
        // A tree of processes that live, end and are waited for, or not, by chance.
        let mut random = 12345_u64;
        let mut next = move |below: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (random >> 33) % below
        };
        let mut lines: Vec<Line> = vec![(1, 0, 0, 0)];
        let (mut cpu, mut used, mut told, mut number) = (Cpu::default(), 0, 0, 1);
        for _ in 0..2000 {
            for _ in 0..next(4) {
                let i = next(lines.len() as u64) as usize;
                match next(3) {
                    0 => {
                        let ticks = next(50);
                        lines[i].2 += ticks;
                        used += ticks;
                    }
                    1 if lines.len() < 30 => {
                        number += 1;
                        let parent = lines[i].0;
                        lines.push((number, parent, 0, 0));
                    }
                    _ if i > 0 => {
                        let (pid, parent, own, reaped) = lines.remove(i);
                        let waits = next(4) > 0;
                        let parent = lines.iter_mut().find(|line| line.0 == parent && waits);
                        if let Some(parent) = parent {
                            parent.3 += own + reaped;
                        }
                        for line in lines.iter_mut().filter(|line| line.1 == pid) {
                            line.1 = 0;
                        }
                    }
                    _ => {}
                }
            }
            let now = of(&mut cpu, &lines);
            assert!(told <= now && now <= used, "{told} {now} {used}");
            told = now;
        }
        assert!(told > used / 2, "{told} {used}");
    }
}
