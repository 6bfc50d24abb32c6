//! A machine, and a backend that says what it is told to.

mod choice;
mod odd;
mod states;
mod used;

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    board::Board,
    chosen::{Before, Chosen},
    notice::Listener,
    watcher::Watcher,
    *,
};
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
    selection.choose(devices, &Before::default(), |_| Err(Absent::NotSupported)).places
}

fn places(places: &[usize]) -> Chosen {
    Chosen { places: places.to_vec(), is_known: true, notice: None }
}

/// Says what it is told to.
#[derive(Default)]
struct Script {
    devices: Vec<Device>,
    samples: Vec<Result<f64, ErrorKind>>,
    /// By place; not told of those beyond.
    processes: Vec<Result<Vec<u32>, Absent>>,
    open: Option<ErrorKind>,
    panics: bool,
    /// How often it was asked for events.
    waits: u32,
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

    fn processes(&mut self, place: usize) -> Result<Vec<u32>, Absent> {
        let script = self.0.lock().unwrap();
        script.processes.get(place).cloned().unwrap_or(Err(Absent::NotSupported))
    }

    /// There is none, which it says at once.
    fn event(&mut self, _at_most: Duration) -> Result<Option<GpuEvent>, ProbeError> {
        self.0.lock().unwrap().waits += 1;
        Ok(None)
    }

    fn close(&mut self) {}
}

struct Bench {
    script: Scripted,
    watcher: Watcher,
    notices: Arc<std::sync::Mutex<Vec<String>>>,
}

impl Bench {
    fn new(devices: &[Device]) -> Self {
        Self::choosing(devices, DeviceSelection::all())
    }

    fn choosing(devices: &[Device], selection: DeviceSelection) -> Self {
        Self::of(devices, selection, None)
    }

    /// Of an engine, after the first round.
    fn tied(devices: &[Device], selection: DeviceSelection) -> Self {
        let mut bench = Self::of(devices, selection, Some("0".into()));
        bench.watcher.round();
        bench
    }

    fn of(devices: &[Device], selection: DeviceSelection, engine: Option<Arc<str>>) -> Self {
        let script = Scripted::default();
        script.0.lock().unwrap().devices = devices.to_vec();
        script.0.lock().unwrap().samples = vec![Ok(0.5); devices.len()];
        let notices: Arc<std::sync::Mutex<Vec<String>>> = Arc::default();
        let said = Arc::clone(&notices);
        let listener = Listener::new(move |notice| said.lock().unwrap().push(notice.to_string()));
        let board = Arc::new(Board::new("scripted", SECOND * 2, SECOND * 5, listener, engine));
        let watcher = Watcher::new(Box::new(script.clone()), board, selection, false, SECOND);
        Self { script, watcher, notices }
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
