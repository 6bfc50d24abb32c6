//! This process, as the page tells of it and as the system does otherwise.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]

use std::{
    fs::File,
    process::Command,
    sync::mpsc,
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use infermeter::{
    Meter,
    names::{self, Family},
    process::Process,
    record::{Collect, Value},
};

const MIB: usize = 1 << 20;

/// One test, so that no other one in this process changes what is read.
#[test]
fn what_the_process_does_shows() {
    let meter = Meter::new();
    meter.watch("process", Process::own().unwrap());

    let before = Reading::take(&meter);
    let block = std::hint::black_box(vec![7_u8; 64 * MIB]);
    let files: Vec<File> = (0..20).map(|_| File::open("/proc/self/stat").unwrap()).collect();
    let (end, ended) = mpsc::channel::<()>();
    let waiting = thread::spawn(move || ended.recv());
    let after = Reading::take(&meter);
    drop(end);
    assert!(waiting.join().unwrap().is_err());

    assert_eq!(after.fds, before.fds + files.len() as f64);
    assert_eq!(after.threads, before.threads + 1.0);
    let grown = after.resident - before.resident;
    assert!((60.0..90.0).contains(&(grown / MIB as f64)), "{grown}");
    assert!(after.virtual_memory > after.resident);
    assert!(after.limit.is_none_or(|limit| limit > after.resident), "{after:?}");
    assert_eq!(after.started, before.started);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    // The moment of the boot is a whole second.
    assert!((-2.0..300.0).contains(&(now - after.started)), "{now} {after:?}");
    let said = Command::new("sh").args(["-c", "ulimit -n"]).output().unwrap();
    let said = String::from_utf8(said.stdout).unwrap();
    assert_eq!(after.max_fds, said.trim().parse().ok());
    drop((block, files));

    // However busy the machine is, a thread that works gets its tenth of a second at last.
    let mut cpu = after.cpu;
    assert!(cpu >= before.cpu);
    for _ in 0..600 {
        let until = SystemTime::now() + Duration::from_millis(50);
        while SystemTime::now() < until {}
        cpu = Reading::take(&meter).cpu;
        if cpu > after.cpu + 0.1 {
            break;
        }
    }
    assert!(cpu > after.cpu + 0.1, "{cpu}");
}

#[derive(Debug)]
struct Reading {
    cpu: f64,
    resident: f64,
    virtual_memory: f64,
    limit: Option<f64>,
    fds: f64,
    max_fds: Option<f64>,
    threads: f64,
    started: f64,
}

// === impl Reading ===

impl Reading {
    fn take(meter: &Meter) -> Self {
        meter.sample();
        let readings = meter.collect();
        let value = |family: &'static Family| match readings.series(family) {
            [] => None,
            [series] => match series.value {
                Value::Gauge(value) | Value::FloatCounter(value) => Some(value),
                ref other => panic!("{other:?}"),
            },
            more => panic!("{more:?}"),
        };
        Self {
            cpu: value(&names::PROCESS_CPU_SECONDS_TOTAL).unwrap(),
            resident: value(&names::PROCESS_RESIDENT_MEMORY_BYTES).unwrap(),
            virtual_memory: value(&names::PROCESS_VIRTUAL_MEMORY_BYTES).unwrap(),
            limit: value(&names::PROCESS_MEMORY_LIMIT_BYTES),
            fds: value(&names::PROCESS_OPEN_FDS).unwrap(),
            max_fds: value(&names::PROCESS_MAX_FDS),
            threads: value(&names::PROCESS_THREADS).unwrap(),
            started: value(&names::PROCESS_START_TIME_SECONDS).unwrap(),
        }
    }
}
