use super::*;
use crate::{
    names::Family,
    process::fake::{Fake, System, Told},
};

static CPU: &Family = &names::PROCESS_CPU_SECONDS_TOTAL;
static MEMORY: &Family = &names::PROCESS_RESIDENT_MEMORY_BYTES;
static FDS: &Family = &names::PROCESS_OPEN_FDS;
static THREADS: &Family = &names::PROCESS_THREADS;
static STARTED: &Family = &names::PROCESS_START_TIME_SECONDS;

/// Number 10, and what there is besides.
fn system(processes: &[Fake]) -> System {
    let system = System::with(&[("proc/stat", b"btime 1700000000\n")]);
    system.process(Fake::new(10, 1));
    processes.iter().for_each(|process| system.process(*process));
    system
}

fn tree_of(system: &System) -> ProcessTree {
    ProcessTree::process(Files::below(system.root()), (10, 500))
}

fn value(told: &[Told], of: &Family) -> Option<f64> {
    told.iter().find(|(name, _)| *name == of.name).map(|(_, value)| *value)
}

#[test]
fn everything_of_a_small_tree() {
    let system = system(&[Fake::new(11, 10).cpu(100, 20), Fake::new(12, 11).cpu(30, 0)]);
    // Beside it, above it, and one that is older than its parent: that one's number was another's.
    system.process(Fake { pss: Some(9000), ..Fake::new(1, 0).cpu(9000, 9000) });
    system.process(Fake { pss: Some(9000), ..Fake::new(20, 1).cpu(9000, 0) });
    system.process(Fake { started: 499, ..Fake::new(21, 11).cpu(9000, 0) });
    system.write("proc/10/limits", "Max open files            1024     4096     files\n");
    system.write("proc/10/cgroup", "0::/a\n");
    system.write("proc/self/mountinfo", "1 2 0:1 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
    system.write("sys/fs/cgroup/a/memory.max", "4096\n");
    let mut tree = tree_of(&system);
    assert_eq!(
        system.sample(&mut tree).unwrap(),
        [
            (CPU.name, 1.5),
            (MEMORY.name, 300.0 * 1024.0),
            (names::PROCESS_MEMORY_LIMIT_BYTES.name, 4096.0),
            (FDS.name, 9.0),
            (names::PROCESS_MAX_FDS.name, 1024.0),
            (THREADS.name, 6.0),
            (STARTED.name, 1_700_000_005.0),
        ]
    );
    assert_eq!((tree.pid(), tree.memory_kind()), (Some(10), Some(MemoryKind::Pss)));
}

#[tokio::test(start_paused = true)]
async fn a_child_ends_waits_to_be_reaped_and_is() {
    let system = system(&[Fake::new(11, 10).cpu(100, 0)]);
    let mut tree = tree_of(&system);
    let mut sample = || system.sample(&mut tree).unwrap();
    assert_eq!(value(&sample(), CPU), Some(1.0));
    system.process(Fake { state: 'Z', pss: None, fds: None, ..Fake::new(11, 10).cpu(120, 0) });
    let told = sample();
    assert_eq!(value(&told, CPU), Some(1.2));
    assert_eq!((value(&told, MEMORY), value(&told, FDS)), (Some(102_400.0), Some(3.0)));
    assert_eq!(value(&told, THREADS), Some(2.0));
    system.end(11);
    system.process(Fake::new(10, 1).cpu(0, 120));
    assert_eq!(value(&sample(), CPU), Some(1.2));
    assert_eq!(tree.memory_kind(), Some(MemoryKind::Pss));
}

#[test]
fn who_loses_its_parent_stays_and_brings_its_children() {
    let system = system(&[Fake::new(11, 10).cpu(10, 0), Fake::new(12, 11).cpu(100, 0)]);
    let mut tree = tree_of(&system);
    let mut sample = || value(&system.sample(&mut tree).unwrap(), CPU).unwrap();
    assert_eq!(sample(), 1.1);
    system.end(11);
    system.process(Fake::new(10, 1).cpu(0, 10));
    system.process(Fake::new(12, 1).cpu(200, 0));
    system.process(Fake::new(13, 12).cpu(50, 0));
    assert_eq!(sample(), 2.6);
    // Another one with its number does not.
    system.process(Fake { started: 600, ..Fake::new(12, 1).cpu(9000, 0) });
    assert_eq!(sample(), 2.6);
    system.end(13);
    assert_eq!(sample(), 2.6);
}

#[test]
fn when_the_root_has_ended_or_is_another_one_nothing_is_told() {
    let system = system(&[]);
    let mut tree = tree_of(&system);
    assert!(system.sample(&mut tree).is_ok());
    system.process(Fake { started: 501, ..Fake::new(10, 1) });
    assert!(system.sample(&mut tree).unwrap_err().contains("is another one now"));
    // For good, whoever has the number then.
    system.process(Fake::new(10, 1));
    assert!(system.sample(&mut tree).unwrap_err().contains("process 10 has ended"));
    assert_eq!((tree.pid(), tree.memory_kind()), (None, None));

    let mut tree = tree_of(&system);
    system.process(Fake { state: 'Z', ..Fake::new(10, 1) });
    assert!(system.sample(&mut tree).unwrap_err().contains("process 10 has ended"));
}

#[tokio::test(start_paused = true)]
async fn memory_is_of_one_kind_and_changes_it_once() {
    let system = system(&[Fake::new(11, 10)]);
    let mut tree = tree_of(&system);
    let mut memory = || value(&system.sample(&mut tree).unwrap(), MEMORY);
    assert_eq!(memory(), Some(200.0 * 1024.0));
    // The clock stands still, so that reading is cheap.
    system.process(Fake { pss: None, ..Fake::new(12, 11) });
    let rss = Some(1200.0 * 1024.0);
    assert_eq!(memory(), rss);
    system.process(Fake::new(12, 11));
    assert_eq!(memory(), rss);
    assert_eq!(tree.memory_kind(), Some(MemoryKind::Rss));
    // That of one that cannot be read at all is not left out of a sum: there is none.
    system.write("proc/12/status", "Threads: 2\n");
    assert_eq!(value(&system.sample(&mut tree).unwrap(), MEMORY), None);
}

#[test]
fn descriptors_of_all_or_none() {
    let system = system(&[Fake { fds: None, ..Fake::new(11, 10) }]);
    let mut tree = tree_of(&system);
    let told = system.sample(&mut tree).unwrap();
    assert_eq!((value(&told, FDS), value(&told, THREADS)), (None, Some(4.0)));
    system.process(Fake::new(11, 10));
    assert_eq!(value(&system.sample(&mut tree).unwrap(), FDS), Some(6.0));
}

#[test]
fn too_many_processes_are_an_error_and_not_a_part_of_the_sum() {
    let system = system(&[]);
    let mut tree = tree_of(&system);
    assert_eq!(tree.files.most, 10_000);
    tree.files.most = 3;
    system.process(Fake::new(20, 1));
    system.process(Fake::new(21, 1));
    assert!(system.sample(&mut tree).is_ok());
    system.process(Fake::new(22, 1));
    let error = system.sample(&mut tree).unwrap_err();
    assert!(error.contains("more than 3 processes"), "{error}");
    // It is the same tree when there are fewer.
    system.end(22);
    assert!(system.sample(&mut tree).is_ok());
}

#[test]
fn a_process_that_is_none_is_an_error() {
    for (pid, says) in
        [(0, "there is none"), (u32::MAX, "there is none"), (std::process::id(), "itself")]
    {
        let error = ProcessTree::of(pid).unwrap_err().to_string();
        let is_linux = cfg!(target_os = "linux");
        let says = if is_linux { says } else { "Linux" };
        assert!(error.contains(says) && error.contains("allowed is"), "{error}");
    }
}

/// As they come and go, also while they cannot be listed for once.
#[test]
fn the_numbers_of_all_follow_the_tree() {
    let system = system(&[Fake::new(11, 10), Fake::new(20, 1)]);
    let mut tree = tree_of(&system);
    let ids = tree.ids();
    let ids = || {
        let mut ids = ids();
        ids.sort_unstable();
        ids
    };
    assert_eq!(ids(), [0; 0]);
    system.sample(&mut tree).unwrap();
    assert_eq!(ids(), [10, 11]);
    system.process(Fake::new(12, 11));
    system.end(11);
    system.sample(&mut tree).unwrap();
    assert_eq!(ids(), [10]);
    system.process(Fake::new(13, 10));
    system.sample(&mut tree).unwrap();
    tree.files.most = 1;
    system.sample(&mut tree).unwrap_err();
    assert_eq!(ids(), [10, 13]);
    system.end(10);
    system.sample(&mut tree).unwrap_err();
    assert_eq!(ids(), [0; 0]);
}

/// As soon as it is asked again.
#[cfg(unix)]
#[tokio::test(start_paused = true)]
async fn an_engine_that_starts_anew_is_found() {
    let system = system(&[]);
    let ip = u32::from_ne_bytes([127, 0, 0, 1]);
    let mut tree = ProcessTree::listening(["127.0.0.1:8000".parse().unwrap()]);
    tree.files = Files::below(system.root());
    system.write("proc/net/tcp", "sl\n");
    let error = system.sample(&mut tree).unwrap_err();
    assert!(error.contains("nothing listens") && tree.pid().is_none(), "{error}");

    system.write("proc/net/tcp", format!("sl\n0: {ip:08X}:1F40 0:0 0A 0:0 0:0 0 0 0 70 1\n"));
    system.socket(10, 70);
    assert_eq!(system.sample(&mut tree).unwrap_err(), error);
    tokio::time::advance(LOOK_EVERY).await;
    assert!(system.sample(&mut tree).is_ok());
    assert_eq!(tree.pid(), Some(10));

    system.end(10);
    assert!(system.sample(&mut tree).unwrap_err().contains("none shows that it listens"));
    assert_eq!(tree.pid(), None);
    system.process(Fake { started: 900, ..Fake::new(30, 1).cpu(7, 0) });
    system.socket(30, 70);
    tokio::time::advance(LOOK_EVERY).await;
    let told = system.sample(&mut tree).unwrap();
    assert_eq!((tree.pid(), value(&told, CPU)), (Some(30), Some(0.07)));
    assert_eq!(value(&told, STARTED), Some(1_700_000_009.0));
}
