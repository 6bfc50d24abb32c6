//! How much memory the control groups of a process allow it.

use std::path::{Component, Path, PathBuf};

/// Where there is no limit, version 1 has the largest number that its kernel can hold, less what
/// is no whole page. No machine has so much.
const NO_LIMIT: u64 = 1 << 60;

/// A tree of control groups that has to do with memory, where it is mounted.
struct Mount<'a> {
    version: Version,
    /// The group that its top folder is: in a container it may be that of the container.
    root: &'a str,
    folder: PathBuf,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    V1,
    V2,
}

/// Whose group it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Group {
    Own,
    Other,
}

/// The lowest limit of the process's group and of all groups above it, as far as they can be seen.
///
/// `groups` and `mounts` are the texts of `/proc/PID/cgroup` and `/proc/PID/mountinfo`.
pub(super) fn memory_limit(
    whose: Group,
    groups: &str,
    mounts: &str,
    read: impl Fn(&Path) -> Option<String>,
) -> Option<u64> {
    let limits = [Version::V1, Version::V2].map(|version| {
        let group = version.group(groups)?;
        let mounts = mounts.lines().filter_map(Mount::parse);
        let mounts: Vec<Mount<'_>> = mounts.filter(|mount| mount.version == version).collect();
        let holds = |mount: &&Mount<'_>| mount.below(group).is_some();
        let found = mounts.iter().find(holds);
        // NB: a container may see the name of its group and not the folders above its own, which
        // are then at the top. Of another process that is not known, and the limit at the top may
        // be that of who asks.
        let mount = match whose {
            Group::Own => found.or_else(|| mounts.first())?,
            Group::Other => found?,
        };
        let below = mount.below(group).unwrap_or_else(|| Path::new(""));
        let folder = mount.folder.join(below);
        let is_known = below == Path::new("") || read(&folder.join(version.file())).is_some();
        if whose == Group::Other && !is_known {
            return None;
        }
        let folders = folder.ancestors().take_while(|folder| folder.starts_with(&mount.folder));
        let limits = folders.filter_map(|folder| read(&folder.join(version.file())));
        limits.filter_map(|limit| limit.trim().parse().ok()).min()
    });
    limits.into_iter().flatten().min().filter(|limit| *limit < NO_LIMIT)
}

// === impl Mount ===

impl<'a> Mount<'a> {
    /// Of a line of `mountinfo`, if it is a tree that limits memory.
    fn parse(line: &'a str) -> Option<Self> {
        let (place, kind) = line.split_once(" - ")?;
        let mut place = place.split(' ').skip(3);
        let (root, folder) = (place.next()?, place.next()?);
        let kind: Vec<&str> = kind.split(' ').collect();
        let version = match kind[..] {
            ["cgroup2", ..] => Version::V2,
            ["cgroup", _, options] if has_memory(options) => Version::V1,
            _ => return None,
        };
        Some(Self { version, root, folder: unescaped(folder).into() })
    }

    /// The path from its top to a group, where it holds it.
    fn below<'p>(&self, group: &'p str) -> Option<&'p Path> {
        let below = Path::new(group).strip_prefix(unescaped(self.root)).ok()?;
        // A group outside of what the process may see has `..` in its path.
        let is_inside = below.components().all(|part| matches!(part, Component::Normal(_)));
        is_inside.then_some(below)
    }
}

// === impl Version ===

impl Version {
    /// The group that limits the process's memory, of the text of `/proc/PID/cgroup`.
    fn group(self, groups: &str) -> Option<&str> {
        groups.lines().find_map(|line| {
            let mut parts = line.splitn(3, ':');
            let (id, controllers, group) = (parts.next()?, parts.next()?, parts.next()?);
            let is_it = match self {
                Self::V1 => has_memory(controllers),
                Self::V2 => id == "0" && controllers.is_empty(),
            };
            is_it.then_some(group)
        })
    }

    const fn file(self) -> &'static str {
        match self {
            Self::V1 => "memory.limit_in_bytes",
            Self::V2 => "memory.max",
        }
    }
}

fn has_memory(list: &str) -> bool {
    list.split(',').any(|controller| controller == "memory")
}

/// In `mountinfo`, what would end a field is written in octal.
fn unescaped(path: &str) -> String {
    let escapes = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    escapes.iter().fold(path.to_owned(), |path, (escape, char)| path.replace(escape, char))
}

#[cfg(test)]
mod tests {
    use super::*;

    const V2: &str =
        "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";
    const V1: &str = "34 31 0:31 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n\
                      35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n";

    fn limit(groups: &str, mounts: &str, files: &[(&str, &str)]) -> Option<u64> {
        limit_of(Group::Own, groups, mounts, files)
    }

    fn limit_of(whose: Group, groups: &str, mounts: &str, files: &[(&str, &str)]) -> Option<u64> {
        memory_limit(whose, groups, mounts, |path| {
            let file = files.iter().find(|(known, _)| Path::new(known) == path);
            file.map(|(_, text)| format!("{text}\n"))
        })
    }

    #[test]
    fn the_lowest_limit_on_the_way_up() {
        let of = |inner, outer, top| {
            let files = [
                ("/sys/fs/cgroup/a.slice/b.scope/memory.max", inner),
                ("/sys/fs/cgroup/a.slice/memory.max", outer),
                ("/sys/fs/cgroup/memory.max", top),
                ("/sys/fs/memory.max", "1"),
                ("/sys/fs/cgroup/a.slice/c.scope/memory.max", "2"),
            ];
            limit("0::/a.slice/b.scope\n", V2, &files)
        };
        assert_eq!(of("4096", "8192", "max"), Some(4096));
        assert_eq!(of("max", "8192", "9000"), Some(8192));
        assert_eq!(of("9000", "8192", "100"), Some(100));
        assert_eq!(of("max", "max", "max"), None);
        assert_eq!(of("0", "max", "max"), Some(0));
        assert_eq!(of("", "what", "-1"), None);
    }

    #[test]
    fn version_1_has_a_huge_number_for_no_limit() {
        let groups = "9:name=systemd:/x\n5:cpu,memory:/a/b\n0::/x\n";
        let of = |inner, outer| {
            let files = [
                ("/sys/fs/cgroup/memory/a/b/memory.limit_in_bytes", inner),
                ("/sys/fs/cgroup/memory/memory.limit_in_bytes", outer),
            ];
            limit(groups, V1, &files)
        };
        assert_eq!(of("536870912", "9223372036854771712"), Some(536_870_912));
        assert_eq!(of("9223372036854771712", "1024"), Some(1024));
        for huge in ["9223372036854771712", "9223372036854775807", "9223372036854710272"] {
            assert_eq!(of(huge, huge), None);
        }
    }

    #[test]
    fn both_versions_side_by_side() {
        let mounts = format!("{V1}41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
        let files = [("/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "77")];
        assert_eq!(limit("4:memory:/a\n0::/\n", &mounts, &files), Some(77));
    }

    #[test]
    fn in_a_container() {
        let at_top = [("/sys/fs/cgroup/memory.max", "500")];
        // Its own group is the top of what it sees; it sees the name of its group, but not the
        // folder; it has been moved out of what it sees.
        for groups in ["0::/\n", "0::/docker/abc\n", "0::/../../docker/abc\n"] {
            assert_eq!(limit(groups, V2, &at_top), Some(500), "{groups}");
        }
        // Version 1: the top folder is the container's group.
        let mounts = "3 2 0:3 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n";
        let file = |path, limit| [(path, limit)];
        let top = file("/sys/fs/cgroup/memory/memory.limit_in_bytes", "600");
        assert_eq!(limit("4:memory:/docker/abc\n", mounts, &top), Some(600));
        let below = file("/sys/fs/cgroup/memory/sub/memory.limit_in_bytes", "700");
        assert_eq!(limit("4:memory:/docker/abc/sub\n", mounts, &below), Some(700));
        assert_eq!(limit("4:memory:/docker/abcsub\n", mounts, &below), None);
    }

    /// Else it would be the limit of who asks.
    #[test]
    fn the_group_of_another_process_is_the_one_it_is_in_or_none() {
        let files = [("/sys/fs/cgroup/memory.max", "500"), ("/sys/fs/cgroup/a/memory.max", "max")];
        let other = |groups, mounts| limit_of(Group::Other, groups, mounts, &files);
        assert_eq!(other("0::/\n", V2), Some(500));
        assert_eq!(other("0::/a\n", V2), Some(500));
        // Of a container beside this one, and of one whose folders are not seen.
        for groups in ["0::/../b\n", "0::/docker/abc\n"] {
            assert_eq!(other(groups, V2), None, "{groups}");
        }
        let theirs = "9 2 0:3 /../b /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        assert_eq!(other("0::/../b\n", theirs), Some(500));
        assert_eq!(other("0::/../c\n", theirs), None);
    }

    #[test]
    fn the_mount_that_holds_the_group_goes_first() {
        let other = "9 2 0:3 /other /mnt/other rw - cgroup2 cgroup2 rw\n";
        let files = [("/mnt/other/memory.max", "1"), ("/sys/fs/cgroup/a/memory.max", "2")];
        assert_eq!(limit("0::/a\n", &format!("{other}{V2}"), &files), Some(2));
    }

    #[test]
    fn a_folder_with_a_space() {
        let mounts = "9 2 0:3 / /mnt/my\\040groups rw - cgroup2 cgroup2 rw\n";
        assert_eq!(limit("0::/a\n", mounts, &[("/mnt/my groups/memory.max", "5")]), Some(5));
    }

    #[test]
    fn without_groups_there_is_no_limit() {
        for (groups, mounts) in [("", V2), ("0::/\n", ""), ("4:memory:/\n", V2), ("0:\n", "- -\n")]
        {
            assert_eq!(limit(groups, mounts, &[("/sys/fs/cgroup/memory.max", "5")]), None);
        }
    }
}
