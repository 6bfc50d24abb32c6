//! Which GPUs are chosen, and what becomes of what a scripted backend says, at moments that the test
//! names.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{board::Board, notice::Listener, selection::Chosen, watcher::Watcher, *};
use crate::{
    names::{self, Family},
    record::{Readings, Value},
};

const SECOND: Duration = Duration::from_secs(1);

fn gpu(index: u32, uuid: &str, name: &str) -> Device {
    Device { index, uuid: uuid.to_owned(), name: name.to_owned(), ..Device::default() }
}

fn part(of: &Device, uuid: &str, gpu_instance: u32, compute_instance: u32) -> Device {
    let parent_uuid = of.uuid.clone();
    let instance = Instance { parent_uuid, gpu_instance, compute_instance, ..Instance::default() };
    Device { uuid: uuid.to_owned(), instance: Some(instance), ..of.clone() }
}

/// Two GPUs, of which the second is split.
fn machine() -> Vec<Device> {
    let split = gpu(1, "GPU-beef", "H100");
    let parts = [part(&split, "MIG-1", 3, 0), part(&split, "MIG-12", 3, 1)];
    [gpu(0, "GPU-8932f937", "H100"), split].into_iter().chain(parts).collect()
}

fn chosen(selection: &DeviceSelection, devices: &[Device]) -> Vec<usize> {
    selection.choose(devices, |_| None).places
}

// === Which are chosen ===

#[test]
fn cuda_visible_devices_by_the_rules_of_cuda() {
    let same: Vec<Device> = (0..4).map(|i| gpu(i, &format!("GPU-{i}{i}"), "H100")).collect();
    for (devices, expected) in [
        (None, &[0, 1, 2, 3][..]),
        (Some(""), &[]),
        (Some("2"), &[2]),
        (Some(" 3 , 1"), &[1, 3]),
        (Some("0,2,-1,1"), &[0, 2]),
        (Some("1,9,0"), &[1]),
        (Some("-1"), &[]),
        (Some("NoDevFiles"), &[]),
        (Some("1,1"), &[1]),
        (Some("GPU-2"), &[2]),
        // More than one begins so.
        (Some("GPU-"), &[]),
        (Some("+1"), &[]),
    ] {
        let selection = DeviceSelection::cuda(devices, None);
        assert_eq!(chosen(&selection, &same), expected, "{devices:?}");
    }
}

#[test]
fn instances_are_chosen_by_their_own_name_and_with_their_gpu() {
    let all = machine();
    for (devices, expected) in [
        ("GPU-beef", &[1, 2, 3][..]),
        ("1", &[1, 2, 3]),
        ("MIG-12", &[3]),
        // Both begin so.
        ("MIG-1", &[]),
        ("MIG-GPU-beef/3/1", &[3]),
        ("MIG-GPU-beef/4/0", &[]),
        ("MIG-GPU-beef/3", &[]),
    ] {
        let selection = DeviceSelection::cuda(Some(devices), None);
        assert_eq!(chosen(&selection, &all), expected, "{devices:?}");
    }
}

#[test]
fn numbers_of_cuda_mean_nothing_where_gpus_differ() {
    let mixed = [gpu(0, "GPU-a", "H100"), gpu(1, "GPU-b", "T4")];
    let all = DeviceSelection::cuda(Some("1"), None).choose(&mixed, |_| None);
    assert_eq!(all.places, [0, 1]);
    assert!(all.problem.unwrap().contains("CUDA_DEVICE_ORDER=PCI_BUS_ID"));
    assert_eq!(chosen(&DeviceSelection::cuda(Some("1"), Some("PCI_BUS_ID")), &mixed), [1]);
    assert_eq!(chosen(&DeviceSelection::cuda(Some("GPU-b"), None), &mixed), [1]);
    // The numbers of a list are the driver's.
    assert_eq!(chosen(&DeviceSelection::list("1").unwrap(), &mixed), [1]);
}

#[test]
fn a_list_shows_what_there_is_and_names_the_rest() {
    let list = DeviceSelection::list("7,GPU-89,GPU-none").unwrap();
    let problem = Some("no such GPU: 7, GPU-none".to_owned());
    assert_eq!(list.choose(&machine(), |_| None), Chosen { places: vec![0], problem });
    assert!(!DeviceSelection::list("all").unwrap().is_a_choice());
    for text in ["", "x", "0,,1", "-1", "0;1", "MIG-GPU-a/b/c"] {
        let error = DeviceSelection::list(text).unwrap_err().to_string();
        assert!(error.contains(text) && error.contains("allowed are `all`"), "{error}");
    }
}

#[test]
fn the_gpus_of_processes() {
    let selection = DeviceSelection::processes(|| vec![7, 8]);
    let on = |found: [Option<Vec<u32>>; 4]| {
        selection.choose(&machine(), |place| found[place].clone()).places
    };
    assert_eq!(on([Some(vec![1, 7]), Some(vec![2]), None, None]), [0]);
    assert_eq!(on([None, None, None, None]), [0; 0]);
    // What an instance runs, its GPU may name too; others share that.
    assert_eq!(on([None, Some(vec![8]), None, Some(vec![8])]), [3]);
}

// === What becomes of what is said ===

/// Says what it is told to.
#[derive(Default)]
struct Script {
    devices: Vec<Device>,
    samples: Vec<Result<f64, ErrorKind>>,
    open: Option<ErrorKind>,
    panics: bool,
}

#[derive(Clone, Default)]
struct Scripted(Arc<std::sync::Mutex<Script>>);

impl GpuBackend for Scripted {
    fn name(&self) -> &'static str {
        "scripted"
    }

    fn open(&mut self) -> Result<(), ProbeError> {
        let kind = self.0.lock().unwrap().open;
        kind.map_or(Ok(()), |kind| Err(ProbeError::new(kind, "no")))
    }

    fn list(&mut self) -> Result<Vec<Device>, ProbeError> {
        Ok(self.0.lock().unwrap().devices.clone())
    }

    fn sample(
        &mut self,
        place: usize,
        _wanted: &Wanted,
        out: &mut DeviceReadings,
    ) -> Result<(), ProbeError> {
        let script = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (panics, said) = (script.panics, script.samples[place]);
        drop(script);
        assert!(!panics, "as it was told to");
        let value = said.map_err(|kind| ProbeError::new(kind, "gone"))?;
        out.set(Quantity::Energy, Ok(value));
        out.set(Quantity::Power, Ok(value));
        out.set(Quantity::Utilization, Ok(value));
        Ok(())
    }

    fn close(&mut self) {}
}

struct Bench {
    script: Scripted,
    watcher: Watcher,
}

impl Bench {
    fn new(devices: &[Device]) -> Self {
        let script = Scripted::default();
        script.0.lock().unwrap().devices = devices.to_vec();
        script.0.lock().unwrap().samples = vec![Ok(0.5); devices.len()];
        let board = Board::new("scripted", SECOND * 2, SECOND * 5, Listener::default(), None);
        let all = DeviceSelection::all();
        let backend = Box::new(script.clone());
        let watcher = Watcher::new(backend, Arc::new(board), all, false, SECOND);
        Self { script, watcher }
    }

    fn says(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.script.0.lock().unwrap());
    }

    fn shown(&self, family: &'static Family) -> Vec<String> {
        shown(&self.watcher.board, Instant::now(), family)
    }
}

/// Label values that are not empty, and the value.
fn shown(board: &Board, now: Instant, family: &'static Family) -> Vec<String> {
    let mut readings = Readings::default();
    board.write(now, &mut readings);
    let series = readings.series(family).iter().map(|series| {
        let value = match series.value {
            Value::Gauge(value) | Value::FloatCounter(value) => value.to_string(),
            Value::Counter(value) => value.to_string(),
            ref other => panic!("{other:?}"),
        };
        let labels = series.labels.iter().map(|label| &**label).filter(|label| !label.is_empty());
        labels.chain([&*value]).collect::<Vec<_>>().join(" ")
    });
    series.collect()
}

#[test]
fn what_was_read_is_there_until_it_is_old() {
    let mut bench = Bench::new(&machine()[..1]);
    assert_eq!(bench.shown(&names::GPU_PROBE_UP), [""; 0]);
    let pause = bench.watcher.round();
    assert!(pause <= SECOND, "{pause:?}");
    assert_eq!(bench.shown(&names::GPU_PROBE_UP), ["scripted 1"]);
    assert_eq!(bench.shown(&names::GPU_DEVICES), ["scripted 1"]);
    assert_eq!(bench.shown(&names::GPU_POWER_WATTS), ["0 GPU-8932f937 H100 0.5"]);
    assert_eq!(bench.shown(&names::GPU_TEMPERATURE_CELSIUS), [""; 0]);
    let later = |family| shown(&bench.watcher.board, Instant::now() + SECOND * 6, family);
    assert_eq!(later(&names::GPU_POWER_WATTS), [""; 0]);
    assert_eq!(later(&names::GPU_UP), ["0 GPU-8932f937 H100 0"]);
    assert_eq!(later(&names::GPU_DEVICES), ["scripted 0"]);
    assert_eq!(later(&names::GPU_ENERGY_JOULES_TOTAL), ["0 GPU-8932f937 H100 0.5"]);
}

#[test]
fn a_call_that_does_not_return_is_late_once() {
    let bench = Bench::new(&machine()[..1]);
    let (board, began) = (&bench.watcher.board, Instant::now());
    board.call(began);
    assert_eq!(shown(board, began + SECOND, &names::GPU_PROBE_UP), [""; 0]);
    for _ in 0..3 {
        assert_eq!(shown(board, began + SECOND * 3, &names::GPU_PROBE_UP), ["scripted 0"]);
        let errors = shown(board, began + SECOND * 3, &names::GPU_PROBE_ERRORS_TOTAL);
        assert!(errors.contains(&"scripted timeout 1".to_owned()), "{errors:?}");
    }
    assert_eq!(board.snapshot(began + SECOND * 3).error.unwrap().kind(), ErrorKind::Timeout);
}

#[test]
fn one_lost_gpu_disturbs_no_other_and_comes_back() {
    let machine = [gpu(0, "GPU-a", "H100"), gpu(1, "GPU-b", "H100")];
    let mut bench = Bench::new(&machine);
    bench.watcher.round();
    bench.says(|script| script.samples[1] = Err(ErrorKind::Lost));
    bench.watcher.round();
    assert_eq!(bench.shown(&names::GPU_POWER_WATTS), ["0 GPU-a H100 0.5"]);
    assert_eq!(bench.shown(&names::GPU_UP), ["0 GPU-a H100 1", "1 GPU-b H100 0"]);
    assert_eq!(bench.shown(&names::GPU_ENERGY_JOULES_TOTAL).len(), 2);
    bench.says(|script| script.samples[1] = Ok(0.75));
    // It is not tried with each round.
    bench.watcher.round();
    assert_eq!(bench.shown(&names::GPU_UP), ["0 GPU-a H100 1", "1 GPU-b H100 0"]);
    for _ in 0..10 {
        bench.watcher.round();
    }
    assert_eq!(bench.shown(&names::GPU_UP), ["0 GPU-a H100 1", "1 GPU-b H100 1"]);
    assert_eq!(bench.shown(&names::GPU_PROBE_UP), ["scripted 1"]);
}

#[test]
fn an_error_of_the_whole_closes_the_driver_with_longer_and_longer_pauses() {
    let mut bench = Bench::new(&machine()[..1]);
    bench.watcher.round();
    bench.says(|script| {
        script.samples[0] = Err(ErrorKind::NotLoaded);
        script.open = Some(ErrorKind::NotLoaded);
    });
    let pauses: Vec<u64> = (0..8).map(|_| bench.watcher.round().as_millis() as u64).collect();
    for (pause, around) in pauses.iter().zip([1, 2, 4, 8, 16, 32, 60, 60]) {
        assert!((around * 750..=around * 1000).contains(pause), "{pauses:?}");
    }
    assert_eq!(bench.shown(&names::GPU_PROBE_UP), ["scripted 0"]);
    assert_eq!(bench.shown(&names::GPU_DEVICES), ["scripted 0"]);
    assert_eq!(bench.shown(&names::GPU_UP), ["0 GPU-8932f937 H100 0"]);
    assert!(bench.shown(&names::GPU_PROBE_ERRORS_TOTAL).contains(&"scripted not_loaded 8".into()));
    bench.says(|script| (script.open, script.samples[0]) = (None, Ok(0.1)));
    bench.watcher.round();
    assert_eq!(bench.shown(&names::GPU_UP), ["0 GPU-8932f937 H100 1"]);
}

#[test]
fn without_a_driver_it_looks_once_a_minute() {
    let mut bench = Bench::new(&[]);
    bench.says(|script| script.open = Some(ErrorKind::NotPresent));
    assert_eq!(bench.watcher.round(), SECOND * 60);
    assert_eq!(bench.shown(&names::GPU_PROBE_UP), ["scripted 0"]);
    assert_eq!(bench.shown(&names::GPU_DEVICES), ["scripted 0"]);
    assert_eq!(bench.shown(&names::GPU_UP), [""; 0]);
}

#[test]
fn a_backend_that_panics_has_failed() {
    let mut bench = Bench::new(&machine()[..1]);
    bench.says(|script| script.panics = true);
    bench.watcher.round();
    assert_eq!(bench.shown(&names::GPU_PROBE_UP), ["scripted 0"]);
    bench.says(|script| script.panics = false);
    bench.watcher.round();
    assert_eq!(bench.shown(&names::GPU_PROBE_UP), ["scripted 1"]);
}

#[test]
fn what_cannot_be_is_absent() {
    let mut readings = DeviceReadings::default();
    for (quantity, value) in
        [(Quantity::Utilization, 9.2e16), (Quantity::Power, -1.0), (Quantity::Energy, f64::NAN)]
    {
        readings.set(quantity, Ok(value));
        assert!(matches!(readings.get(quantity), Err(Absent::Impossible(_))), "{quantity:?}");
    }
    readings.set(Quantity::Temperature, Ok(-5.0));
    readings.set(Quantity::MemoryTotal, Ok(10.0));
    readings.set(Quantity::MemoryUsed, Ok(11.0));
    let checked = readings.checked();
    assert_eq!(checked.get(Quantity::Temperature), Ok(-5.0));
    assert_eq!(checked.get(Quantity::MemoryUsed), Err(Absent::Impossible(11.0)));
    assert_eq!(checked.get(Quantity::MemoryFree), Err(Absent::NotAsked));
}

#[test]
fn what_is_remembered_has_a_limit() {
    let bench = Bench::new(&[]);
    let board = &bench.watcher.board;
    for index in 0..1000 {
        board.listed(&[&gpu(index, &format!("GPU-{index}"), "H100")]);
    }
    let known = bench.shown(&names::GPU_UP);
    assert_eq!((known.len(), &*known[255]), (256, "999 GPU-999 H100 0"));
    for xid in 0..1000 {
        board.has_reported("GPU-999", xid);
    }
    let codes = bench.shown(&names::GPU_XID_ERRORS_TOTAL);
    assert_eq!(codes.len(), 65);
    assert!(codes.contains(&"999 GPU-999 H100 other 936".to_owned()), "{codes:?}");
}

#[test]
fn an_instance_that_was_taken_apart_is_gone() {
    let all = machine();
    let mut bench = Bench::new(&all);
    bench.watcher.round();
    assert_eq!(bench.shown(&names::GPU_UP).len(), 4);
    assert_eq!(bench.shown(&names::GPU_DEVICES), ["scripted 2"]);
    bench.watcher.board.listed(&[&all[0]]);
    assert_eq!(bench.shown(&names::GPU_UP), ["0 GPU-8932f937 H100 1", "1 GPU-beef H100 0"]);
}

#[test]
fn every_quantity_has_the_labels_of_its_family() {
    for quantity in Quantity::ALL {
        let more = usize::from(quantity.label().is_some());
        let by_instance = quantity.family().labels.contains(&names::label::MIG_INSTANCE);
        let expected = 3 + more + usize::from(by_instance);
        assert_eq!(quantity.family().labels.len(), expected, "{quantity:?}");
        let siblings = Quantity::ALL.iter().filter(|other| {
            std::ptr::eq(other.family(), quantity.family()) && other.label() == quantity.label()
        });
        assert_eq!(siblings.count(), 1, "{quantity:?}");
    }
}
