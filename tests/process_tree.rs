//! The processes of an engine, as the meter tells of them and as the system does otherwise.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use infermeter::{
    Meter,
    names::{self, Family, source},
    process::{MemoryKind, Process, ProcessTree},
    record::{Collect, Readings, Source, Value},
};

const MIB: f64 = 1024.0 * 1024.0;

#[test]
fn processor_time_of_children_counts_while_they_run_and_once_they_have_ended() {
    let mut shell = Shell::start();
    let mut tree = ProcessTree::of(shell.id()).unwrap();
    let before = cpu(&mut tree);
    shell.tell("sh -c 'while :; do :; done' & child=$!");
    // However busy the machine is, it gets its part at last.
    let mut while_running = cpu(&mut tree);
    while while_running < before + 0.3 {
        while_running = cpu(&mut tree);
    }
    shell.tell("kill $child; wait $child; child=");
    let after = cpu(&mut tree);
    assert!(after >= while_running, "{after} {while_running}");
    // One that is never seen: it starts and ends between two samples.
    shell.tell("sh -c 'i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done'");
    let told = cpu(&mut tree);
    assert!(told > after, "{told} {after}");
    // What the kernel says that the shell and its children have used, and nothing twice.
    let said: u64 =
        fields(shell.id())[11..15].iter().map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    assert!((told - said as f64 / 100.0).abs() < 0.02, "{told} {said}");
}

#[test]
fn time_is_kept_where_the_parent_ends_first() {
    let mut shell = Shell::start();
    let mut tree = ProcessTree::of(shell.id()).unwrap();
    let said = shell
        .tell("sh -c 'sh -c \"while :; do :; done\" >/dev/null 2>&1 & echo $!; wait' & between=$!");
    // Who is in the background may say it later.
    let said = if said.is_empty() { shell.line() } else { said };
    let orphan: u32 = said.trim().parse().unwrap();
    let before = cpu(&mut tree);
    shell.tell("kill $between; wait $between");
    assert_ne!(fields(orphan)[1], shell.id().to_string());
    let mut told = cpu(&mut tree);
    while told < before + 0.2 {
        told = cpu(&mut tree);
    }
    let killed = Command::new("kill").args(["-9", &orphan.to_string()]).status().unwrap();
    assert!(killed.success());
    while fs::exists(format!("/proc/{orphan}")).unwrap() && fields(orphan)[0] != "Z" {}
    let after = cpu(&mut tree);
    assert!(after >= told, "{after} {told}");
    // Nothing of it is in the account of the shell.
    let said: u64 =
        fields(shell.id())[11..15].iter().map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    assert!(after > said as f64 / 100.0 + 0.15, "{after} {said}");
}

#[test]
fn memory_descriptors_and_threads_of_all() {
    let mut shell = Shell::start();
    let id = shell.id();
    let mut tree = ProcessTree::of(id).unwrap();
    let before = Reading::take(&mut tree);
    let said = shell.tell(
        "sh -c 'x=$(head -c 33554432 /dev/zero | tr \"\\0\" a); exec 7</dev/null 8</dev/null; \
         echo ready; kill -STOP $$' & child=$!",
    );
    if said.is_empty() {
        shell.line();
    }
    let after = Reading::take(&mut tree);
    let grown = (after.memory - before.memory) / MIB;
    assert!((32.0..120.0).contains(&grown), "{grown}");
    let all = family(id);
    assert_eq!(all.len(), 2, "{all:?}");
    let fds = |pid: &u32| fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    assert_eq!(after.fds, all.iter().map(fds).sum::<usize>() as f64);
    assert!(after.fds >= before.fds + 5.0, "{after:?} {before:?}");
    assert_eq!((before.threads, after.threads), (1.0, 2.0));
    let said = shell.tell("ulimit -n");
    assert_eq!(after.max_fds, said.trim().parse().ok());
    assert_eq!(after.started, before.started);
    shell.tell("kill -9 $child; wait $child");
    let ended = Reading::take(&mut tree);
    assert_eq!((ended.fds, ended.threads), (before.fds, 1.0));
}

/// All are the same program, and most of what is in memory of it is there once.
#[test]
fn what_processes_share_counts_once() {
    let mut shell = Shell::start();
    shell.tell("for i in 1 2 3 4 5 6 7 8; do sleep 1000 </dev/null >/dev/null & done");
    let all = family(shell.id());
    // Each is a shell before it becomes what it is to be.
    let name = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap();
    while all.iter().filter(|pid| name(pid) == "sleep\n").count() < 8 {}
    let mut tree = ProcessTree::of(shell.id()).unwrap();
    let told = Reading::take(&mut tree).memory;
    let kib = |pid: &u32, name: &str| -> f64 {
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
        let line = rollup.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    };
    let [pss, rss] = ["Pss:", "Rss:"].map(|name| all.iter().map(|pid| kib(pid, name)).sum::<f64>());
    assert_eq!(tree.memory_kind(), Some(MemoryKind::Pss));
    // Others on the machine come and go, and share it too.
    assert!(
        (told / 1024.0 - pss).abs() < pss * 0.3 && told / 1024.0 < rss * 0.8,
        "{told} {pss} {rss}"
    );
}

#[test]
fn the_end_of_the_first_process_is_the_end_of_all() {
    let shell = Shell::start();
    let mut tree = ProcessTree::of(shell.id()).unwrap();
    assert_eq!(tree.pid(), Some(shell.id()));
    Reading::take(&mut tree);
    let id = shell.id();
    drop(shell);
    let meter = Meter::new();
    meter.watch(source::PROCESS, tree);
    meter.sample();
    assert!(meter.collect().series(&names::PROCESS_CPU_SECONDS_TOTAL).is_empty());
    let error = meter.sources()[0].error.clone().unwrap();
    assert!(error.contains(&format!("process {id} has ended")), "{error}");
    assert!(ProcessTree::of(id).is_err());
}

/// This process listens, and watches itself: it is no part of what it watches.
#[test]
fn who_listens_is_found_unless_it_is_the_one_that_asks() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut tree = ProcessTree::listening([listener.local_addr().unwrap()]);
    let error = tree.sample(&mut Readings::default()).unwrap_err().to_string();
    assert!(error.contains("infermeter itself"), "{error}");
    assert!(tree.pid().is_none() && tree.memory_kind().is_none());
}

#[test]
fn who_watches_tells_of_itself_under_other_names() {
    let shell = Shell::start();
    let meter = Meter::new();
    meter.watch(source::PROCESS, ProcessTree::of(shell.id()).unwrap());
    meter.watch(source::INFERMETER_PROCESS, Process::observer().unwrap());
    meter.sample();
    let readings = meter.collect();
    let value = |family| value(&readings, family).unwrap();
    let engine = value(&names::PROCESS_START_TIME_SECONDS);
    assert!(engine >= value(&names::INFERMETER_PROCESS_START_TIME_SECONDS));
    assert_eq!(value(&names::PROCESS_THREADS), 1.0);
    assert!(value(&names::INFERMETER_PROCESS_THREADS) > 1.0);
    for family in names::CATALOGUE {
        let is_own =
            family.name.starts_with("infermeter_process_") && !family.name.contains("limit");
        assert!(!is_own || !readings.series(family).is_empty(), "{}", family.name);
    }
}

/// A shell that does what it is told.
struct Shell {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

// === impl Shell ===

impl Shell {
    fn start() -> Self {
        let mut child = Command::new("sh")
            .args(["-c", "while read -r line; do eval \"$line\"; echo done.; done"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut shell = Self { child, input, output: BufReader::new(output) };
        // It is a shell by now, and not this program any more.
        shell.tell(":");
        shell
    }

    fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has said when it was done.
    fn tell(&mut self, command: &str) -> String {
        writeln!(self.input, "{command}").unwrap();
        let mut said = String::new();
        loop {
            match self.line() {
                line if line == "done.\n" => return said,
                line => said.push_str(&line),
            }
        }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        assert!(self.output.read_line(&mut line).unwrap() > 0, "the shell has ended");
        line
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        // What it has started would go on.
        for pid in family(self.id()) {
            let _ = Command::new("kill").args(["-9", &pid.to_string()]).status();
        }
        let _ = self.child.wait();
    }
}

#[derive(Debug)]
struct Reading {
    memory: f64,
    fds: f64,
    max_fds: Option<f64>,
    threads: f64,
    started: f64,
}

// === impl Reading ===

impl Reading {
    fn take(tree: &mut ProcessTree) -> Self {
        let mut readings = Readings::default();
        tree.sample(&mut readings).unwrap();
        let value = |family| value(&readings, family);
        assert!(readings.series(&names::PROCESS_VIRTUAL_MEMORY_BYTES).is_empty());
        Self {
            memory: value(&names::PROCESS_RESIDENT_MEMORY_BYTES).unwrap(),
            fds: value(&names::PROCESS_OPEN_FDS).unwrap(),
            max_fds: value(&names::PROCESS_MAX_FDS),
            threads: value(&names::PROCESS_THREADS).unwrap(),
            started: value(&names::PROCESS_START_TIME_SECONDS).unwrap(),
        }
    }
}

fn cpu(tree: &mut ProcessTree) -> f64 {
    let mut readings = Readings::default();
    tree.sample(&mut readings).unwrap();
    value(&readings, &names::PROCESS_CPU_SECONDS_TOTAL).unwrap()
}

fn value(readings: &Readings, family: &'static Family) -> Option<f64> {
    match readings.series(family) {
        [] => None,
        [series] => match series.value {
            Value::Gauge(value) | Value::FloatCounter(value) => Some(value),
            ref other => panic!("{other:?}"),
        },
        more => panic!("{more:?}"),
    }
}

/// Of `/proc/PID/stat`, from the state on.
fn fields(pid: u32) -> Vec<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit_once(") ").map_or("Z", |(_, fields)| fields);
    fields.split_whitespace().map(str::to_owned).collect()
}

/// A process and its children, as `ps` says.
fn family(pid: u32) -> Vec<u32> {
    let said = Command::new("ps").args(["-e", "-o", "pid=,ppid="]).output().unwrap();
    let said = String::from_utf8(said.stdout).unwrap();
    let number = |word: Option<&str>| word.unwrap().parse::<u32>().unwrap();
    let lines = said.lines().map(|line| {
        let mut words = line.split_whitespace();
        (number(words.next()), number(words.next()))
    });
    lines.filter(|line| line.0 == pid || line.1 == pid).map(|line| line.0).collect()
}
