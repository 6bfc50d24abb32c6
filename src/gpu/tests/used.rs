//! The GPUs of processes, which start later, end, and are not always told.

use std::sync::{Mutex, PoisonError};

use tokio::time::advance;

use super::*;

/// An engine that has processes as the test says.
struct Engine {
    bench: Bench,
    pids: Arc<Mutex<Vec<u32>>>,
}

impl Engine {
    fn new(devices: &[Device], pids: &[u32], processes: &[Processes]) -> Self {
        let pids = Arc::new(Mutex::new(pids.to_vec()));
        let theirs = Arc::clone(&pids);
        let lock = move || theirs.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut bench = Bench::of(devices, DeviceSelection::processes(lock), Some("0".into()));
        bench.says(|script| script.processes = processes.to_vec());
        bench.watcher.round();
        Self { bench, pids }
    }

    /// What is shown after the driver says something else: the GPUs that are up, those that are
    /// tied to the engine, and how many there are.
    async fn then(&mut self, processes: &[Processes]) -> [Vec<String>; 3] {
        self.bench.says(|script| script.processes = processes.to_vec());
        self.round().await
    }

    async fn round(&mut self) -> [Vec<String>; 3] {
        advance(SECOND * 5).await;
        self.bench.watcher.round();
        self.shown()
    }

    fn shown(&self) -> [Vec<String>; 3] {
        let families = [&names::GPU_UP, &names::ENGINE_GPU_INFO, &names::GPU_DEVICES];
        families.map(|family| self.bench.shown(family))
    }

    /// What was said last of the choice.
    fn said(&self) -> String {
        let notices = self.bench.notices.lock().unwrap();
        let of_choice = |notice: &&String| !notice.starts_with("scripted: ");
        notices.iter().rev().find(of_choice).unwrap().clone()
    }

    fn undecided(&self) -> Option<String> {
        self.bench.watcher.board.snapshot(Instant::now()).undecided
    }
}

type Processes = Result<Vec<u32>, Absent>;

fn on(pids: &[u32]) -> Processes {
    Ok(pids.to_vec())
}

fn three() -> Vec<Device> {
    (0..3).map(|i| gpu(i, &format!("GPU-{i}"), "H100")).collect()
}

/// What there is of some of three GPUs that are up, the engine's or not.
fn up(gpus: &[u32], is_tied: bool) -> [Vec<String>; 3] {
    let up = gpus.iter().map(|i| format!("{i} GPU-{i} H100 1")).collect();
    let tied = gpus.iter().filter(|_| is_tied).map(|i| format!("0 {i} GPU-{i} 1")).collect();
    let is_unknown = gpus.is_empty();
    let count = (!is_unknown).then(|| format!("scripted {}", gpus.len()));
    [up, tied, count.into_iter().collect()]
}

#[tokio::test(start_paused = true)]
async fn they_are_found_when_processes_start() {
    let others = [on(&[1]), on(&[]), on(&[2])];
    let mut engine = Engine::new(&three(), &[7], &others);
    // The driver answers, and how many GPUs the engine has is not known.
    assert_eq!(engine.bench.shown(&names::GPU_PROBE_UP), ["scripted 1"]);
    assert_eq!(engine.shown(), up(&[], false));
    assert!(engine.said().contains("no process of the engine computes on a GPU"));
    assert!(engine.undecided().unwrap().contains("no GPU is shown until one does"));
    // A worker that was not there at first.
    engine.pids.lock().unwrap().push(8);
    let [both, second] = [[on(&[1]), on(&[8]), on(&[2, 7])], [on(&[1]), on(&[8]), on(&[2])]];
    assert_eq!(engine.then(&both).await, up(&[1, 2], true));
    assert_eq!(engine.said(), "the engine computes on GPU 1, GPU 2");
    assert_eq!(engine.undecided(), None);
    assert_eq!(engine.then(&second).await, up(&[1], true));
}

/// A list of processes is one of the dearest calls.
#[tokio::test(start_paused = true)]
async fn the_driver_is_not_asked_each_time() {
    let mut engine = Engine::new(&three(), &[7], &[on(&[]), on(&[]), on(&[])]);
    engine.bench.says(|script| script.processes[0] = on(&[7]));
    advance(SECOND * 4).await;
    engine.bench.watcher.round();
    assert_eq!(engine.shown(), up(&[], false));
    advance(SECOND).await;
    engine.bench.watcher.round();
    assert_eq!(engine.shown(), up(&[0], true));
}

/// Else nobody would see the GPU that an engine has ended for.
#[tokio::test(start_paused = true)]
async fn those_of_an_engine_that_has_ended_stay_while_nobody_has_them() {
    let mut engine = Engine::new(&three(), &[7, 8], &[on(&[7]), on(&[8]), on(&[])]);
    assert_eq!(engine.shown(), up(&[0, 1], true));
    engine.pids.lock().unwrap().clear();
    // Nor is who outlives the first process somebody else. But they are not its own any more.
    assert_eq!(engine.then(&[on(&[]), on(&[8]), on(&[])]).await, up(&[0, 1], false));
    assert_eq!(engine.then(&[on(&[]), on(&[]), on(&[])]).await, up(&[0, 1], false));
    assert!(engine.said().ends_with("those that it had: GPU 0, GPU 1"), "{}", engine.said());
    assert_eq!(engine.then(&[on(&[]), on(&[5]), on(&[])]).await, up(&[0], false));
    assert_eq!(engine.then(&[on(&[]), on(&[]), on(&[])]).await, up(&[0], false));
    // It starts elsewhere.
    engine.pids.lock().unwrap().push(9);
    assert_eq!(engine.then(&[on(&[]), on(&[]), on(&[9])]).await, up(&[2], true));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_told_stays_as_it_was() {
    let mut engine = Engine::new(&three(), &[7], &[on(&[7]), on(&[7]), on(&[7])]);
    let failed = || Err(Absent::Failed("no".to_owned()));
    assert_eq!(engine.then(&[failed(), failed(), failed()]).await, up(&[0, 1, 2], true));
    assert_eq!(engine.then(&[on(&[7]), failed(), on(&[5])]).await, up(&[0, 1], true));
    // Never told is not the engine's.
    let no = || Err(Absent::NoPermission);
    let mut engine = Engine::new(&three(), &[7], &[no(), no(), no()]);
    assert_eq!(engine.shown(), up(&[], false));
    let said = engine.said();
    assert!(said.contains("on GPU 0, GPU 1, GPU 2 (no permission)"), "{said}");
    assert_eq!(engine.undecided(), Some(said));
    assert_eq!(engine.then(&[no(), on(&[7]), no()]).await, up(&[1], true));
    assert!(engine.said().contains("on GPU 0, GPU 2 (no permission)"), "{}", engine.said());
    assert_eq!(engine.undecided(), None);
}

#[tokio::test(start_paused = true)]
async fn one_that_is_lost_stays_the_engines() {
    let mut engine = Engine::new(&three(), &[7], &[on(&[7]), on(&[7]), on(&[5])]);
    engine.bench.says(|script| {
        script.samples[0] = Err(ErrorKind::Lost);
        script.processes[0] = Err(Absent::Failed("lost".to_owned()));
    });
    let lost = ["0 GPU-0 H100 0", "1 GPU-1 H100 1"];
    assert_eq!(engine.round().await[0], lost);
    // The driver does not show it any more, and the engine ends.
    engine.bench.says(|script| {
        script.devices = three()[1..].to_vec();
        script.samples[0] = Ok(0.5);
        script.processes = vec![on(&[]), on(&[5])];
    });
    engine.pids.lock().unwrap().clear();
    assert_eq!(engine.round().await[0], lost);
    // It is back.
    engine.bench.says(|script| {
        script.devices = three();
        script.processes = vec![on(&[]), on(&[]), on(&[5])];
    });
    advance(SECOND * 30).await;
    for _ in 0..10 {
        engine.round().await;
    }
    assert_eq!(engine.shown(), up(&[0, 1], false));
}

#[test]
fn without_a_gpu_there_is_none_to_know() {
    let engine = Engine::new(&[], &[7], &[]);
    assert_eq!(engine.bench.shown(&names::GPU_DEVICES), ["scripted 0"]);
    assert_eq!(engine.undecided(), None);
}

/// What an instance runs, its GPU may name too; others share that.
#[tokio::test(start_paused = true)]
async fn instances_and_not_the_gpu_that_is_split() {
    let engine = Engine::new(&machine(), &[7], &[on(&[]), on(&[7]), on(&[5]), on(&[7])]);
    let tied = ["0 1 MIG-12 1"];
    assert_eq!(engine.shown()[1], tied);
    assert_eq!(engine.shown()[0], ["1 MIG-12 H100 1"]);
    assert_eq!(engine.said(), "the engine computes on MIG-12");
    // Also if it is not told of the instance.
    let no = || Err(Absent::NoPermission);
    let engine = Engine::new(&machine(), &[7], &[on(&[]), on(&[7]), no(), no()]);
    assert_eq!(engine.shown(), up(&[], false));
    assert!(engine.said().contains("on MIG-1, MIG-12 (no permission)"), "{}", engine.said());
}
