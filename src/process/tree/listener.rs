//! Which process is the engine, told by the port that it listens on.

use std::{collections::HashSet, net::SocketAddr, path::Path};

use super::{members::Id, sockets};
use crate::process::files::Files;

/// Where an engine listens.
#[derive(Clone, Debug)]
pub(super) struct Listener {
    addresses: Vec<SocketAddr>,
}

/// Who listens for somebody else: they pass on, or hand sockets over. Names have 15 bytes.
const PASS_ON: [&str; 20] = [
    "caddy",
    "conmon",
    "docker-proxy",
    "envoy",
    "haproxy",
    "infermeter",
    "kubectl",
    "nginx",
    "passt",
    "passt.avx2",
    "pasta",
    "pasta.avx2",
    "rootlesskit",
    "rootlessport",
    "slirp4netns",
    "socat",
    "ssh",
    "sshd",
    "systemd",
    "systemd-socket-",
];

/// Who starts all kinds of programs: what two of them have in common is not that they are one engine.
const START_ANYTHING: [&str; 14] = [
    "bash",
    "containerd-shim",
    "dash",
    "dumb-init",
    "fish",
    "init",
    "s6-svscan",
    "screen",
    "sh",
    "supervisord",
    "systemd",
    "tini",
    "tmux: server",
    "zsh",
];

/// The server of TGI is a child of its launcher, as those are that run the model; all are called so,
/// as far as 15 bytes tell.
const LAUNCHED: &str = "text-generation";

// === impl Listener ===

impl Listener {
    pub(super) fn new(addresses: impl IntoIterator<Item = SocketAddr>) -> Self {
        Self { addresses: addresses.into_iter().map(sockets::target).collect() }
    }

    /// The process that listens, or the one that all of those have above them.
    pub(super) fn find(&self, files: &Files) -> Result<Id, String> {
        let Some(first) = self.addresses.first() else {
            return Err("the engine has no address that is known".into());
        };
        if let Some(far) = self.addresses.iter().find(|at| !sockets::is_local(at.ip())) {
            return Err(format!("{} is not an address of this machine", far.ip()));
        }
        let all = sockets::listening(files)?;
        let reached = self.addresses.iter().flat_map(|at| sockets::reached(&all, *at));
        let inodes: HashSet<u64> = reached.map(|socket| socket.inode).collect();
        if inodes.is_empty() {
            let port = first.port();
            return Err(format!("nothing listens on port {port} in the network of infermeter"));
        }
        let holders = engines_among(files, holders(files, &inodes, first.port())?)?;
        let root = common(files, &holders).map(|root| launcher(files, root));
        let root = root.ok_or_else(|| {
            format!(
                "processes {holders:?} listen there, and it is not clear that they are one engine"
            )
        })?;
        let stat = files.stat(root).ok_or_else(|| format!("process {root} has ended"))?;
        Ok((root, stat.started))
    }
}

/// The processes that have one of these sockets.
fn holders(files: &Files, inodes: &HashSet<u64>, port: u16) -> Result<Vec<u32>, String> {
    let (mut holders, mut hidden) = (Vec::new(), 0);
    for pid in files.processes()? {
        match files.links(pid) {
            Ok(mut links) => {
                if links.any(|link| inode_of(&link).is_some_and(|inode| inodes.contains(&inode))) {
                    holders.push(pid);
                }
            }
            // What has ended has none to show.
            Err(_) => {
                hidden += usize::from(files.stat(pid).is_some_and(|stat| stat.has_memory()));
            }
        }
    }
    holders.sort_unstable();
    if holders.is_empty() {
        return Err(format!(
            "of the processes that infermeter sees, none shows that it listens on port {port}, and \
             {hidden} do not show what they have open: let it run as the user of the engine, in its \
             process namespace, or with CAP_SYS_PTRACE"
        ));
    }
    Ok(holders)
}

fn inode_of(link: &Path) -> Option<u64> {
    link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// Those who do not listen for somebody else.
fn engines_among(files: &Files, holders: Vec<u32>) -> Result<Vec<u32>, String> {
    if holders.contains(&std::process::id()) {
        return Err("infermeter itself listens there".into());
    }
    let named = |pid: u32| (pid, files.name(pid).unwrap_or_default());
    let named: Vec<(u32, String)> = holders.into_iter().map(named).collect();
    let is_engine = |(_, name): &&(u32, String)| !PASS_ON.contains(&name.as_str());
    let engines: Vec<u32> = named.iter().filter(is_engine).map(|(pid, _)| *pid).collect();
    match named.first() {
        Some((pid, name)) if engines.is_empty() => {
            Err(format!("{name} (process {pid}) listens there, which only passes on to the engine"))
        }
        _ => Ok(engines),
    }
}

/// The lowest process that all of them are, or have above them, if that one is an engine.
fn common(files: &Files, holders: &[u32]) -> Option<u32> {
    let lines: Vec<Vec<u32>> = holders.iter().map(|pid| line(files, *pid)).collect();
    let (first, others) = lines.split_first()?;
    let root = *first.iter().find(|pid| others.iter().all(|line| line.contains(pid)))?;
    let starts_anything =
        || files.name(root).is_none_or(|name| START_ANYTHING.contains(&name.as_str()));
    let has_us = || line(files, std::process::id()).contains(&root);
    let is_engine = holders.contains(&root) || (root != 1 && !starts_anything() && !has_us());
    is_engine.then_some(root)
}

/// A process, and all above it.
fn line(files: &Files, pid: u32) -> Vec<u32> {
    let above = |pid: &u32| files.stat(pid).map(|stat| stat.parent).filter(|parent| *parent > 0);
    std::iter::successors(Some(pid), above).take(files.most).collect()
}

fn launcher(files: &Files, root: u32) -> u32 {
    let is_one = |pid: &u32| files.name(*pid).is_some_and(|name| name == LAUNCHED);
    line(files, root).into_iter().take_while(is_one).last().unwrap_or(root)
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;
    use crate::process::fake::{Fake, System};

    const LOOPBACK: [u8; 4] = [127, 0, 0, 1];

    /// What listens on port 8000: an address and an inode each.
    fn system(sockets: &[([u8; 4], u32)], processes: &[(u32, u32, &str)]) -> System {
        let system = System::new();
        let line = |(ip, inode): &([u8; 4], u32)| {
            let ip = u32::from_ne_bytes(*ip);
            format!("0: {ip:08X}:1F40 0:0 0A 0:0 0:0 0 0 0 {inode} 1\n")
        };
        let lines: String = sockets.iter().map(line).collect();
        system.write("proc/net/tcp", format!("sl ...\n{lines}"));
        for (pid, parent, name) in processes {
            system.process(Fake::new(*pid, *parent));
            system.write(&format!("proc/{pid}/comm"), format!("{name}\n"));
        }
        system
    }

    fn find(system: &System) -> Result<u32, String> {
        let listener = Listener::new(["127.0.0.1:8000".parse().unwrap()]);
        listener.find(&Files::below(system.root())).map(|(pid, _)| pid)
    }

    #[test]
    fn who_listens_is_the_engine_and_not_who_has_started_it() {
        let processes = [(1, 0, "init"), (5, 1, "bash"), (6, 5, "vllm"), (7, 6, "python3")];
        let system = system(&[(LOOPBACK, 70), ([10, 0, 0, 1], 71)], &processes);
        system.socket(6, 70);
        system.socket(5, 71);
        assert_eq!(find(&system), Ok(6));
        // A child that has got the socket too is below it anyway.
        system.socket(7, 70);
        assert_eq!(find(&system), Ok(6));
    }

    #[test]
    fn several_servers_are_one_engine_if_an_engine_has_started_them() {
        let with = |top: (u32, u32, &str), sockets: &[(u32, u32)]| {
            let processes = [(1, 0, "init"), top, (11, 10, "python3"), (12, 10, "python3")];
            let system = system(&[(LOOPBACK, 70), (LOOPBACK, 71)], &processes);
            sockets.iter().for_each(|(pid, inode)| system.socket(*pid, *inode));
            find(&system)
        };
        assert_eq!(with((10, 1, "vllm"), &[(11, 70), (12, 71)]), Ok(10));
        assert_eq!(with((10, 1, "vllm"), &[(10, 70), (11, 70), (12, 70)]), Ok(10));
        // Two engines of one script, of one user.
        for top in [(10, 1, "bash"), (10, 1, "containerd-shim"), (99, 1, "vllm")] {
            let error = with(top, &[(11, 70), (12, 71)]).unwrap_err();
            assert!(error.contains("[11, 12]") && error.contains("not clear"), "{error}");
        }
        // A shell that serves itself is what was asked for.
        assert_eq!(with((10, 1, "bash"), &[(10, 70), (11, 71)]), Ok(10));
    }

    #[test]
    fn the_first_process_is_it_only_if_it_listens() {
        let two = [(1, 0, "vllm"), (11, 1, "python3"), (12, 1, "python3")];
        let system = system(&[(LOOPBACK, 70)], &two);
        system.socket(11, 70);
        assert_eq!(find(&system), Ok(11));
        system.socket(12, 70);
        assert!(find(&system).unwrap_err().contains("not clear"));
        system.socket(1, 70);
        assert_eq!(find(&system), Ok(1));
    }

    #[test]
    fn who_only_passes_on_is_not_the_engine() {
        let all = [(1, 0, "systemd"), (10, 1, "docker-proxy"), (11, 1, "vllm")];
        let one = system(&[(LOOPBACK, 70)], &all);
        one.socket(10, 70);
        let error = find(&one).unwrap_err();
        assert!(error.contains("docker-proxy (process 10)"), "{error}");
        // Who has handed the socket over still has it.
        one.socket(1, 70);
        one.socket(11, 70);
        assert_eq!(find(&one), Ok(11));
    }

    #[test]
    fn a_launcher_has_the_model_too() {
        let tgi = [(1, 0, "bash"), (10, 1, LAUNCHED), (11, 10, LAUNCHED), (12, 10, "python3")];
        let system = system(&[(LOOPBACK, 70)], &tgi);
        system.socket(11, 70);
        assert_eq!(find(&system), Ok(10));
    }

    #[test]
    fn nobody_is_found_and_it_is_said_why() {
        let says = |found: Result<u32, String>, what: &str| {
            let error = found.unwrap_err();
            assert!(error.contains(what), "{error}");
        };
        says(find(&system(&[], &[(1, 0, "init")])), "nothing listens on port 8000 in the network");
        // In another container, or somebody else's.
        let none = system(&[(LOOPBACK, 70)], &[(1, 0, "init"), (2, 1, "a"), (3, 1, "b")]);
        std::fs::remove_dir_all(none.root().join("proc/3/fd")).unwrap();
        says(find(&none), "and 1 do not show what they have open");
        says(find(&System::new()), "cannot be read");

        let us = system(&[(LOOPBACK, 70)], &[(1, 0, "init"), (std::process::id(), 1, "me")]);
        us.socket(std::process::id(), 70);
        says(find(&us), "infermeter itself");

        let files = Files::below(none.root());
        let far = ["127.0.0.1:8000", "192.0.2.1:8000"].map(|at| at.parse().unwrap());
        let error = Listener::new(far).find(&files).unwrap_err();
        assert_eq!(error, "192.0.2.1 is not an address of this machine");
        assert!(Listener::new([]).find(&files).unwrap_err().contains("no address"));
    }
}
