//! Pages of engines: the first byte says of which. What is read of them stands on a page of ours, and
//! that is one that can be read.

#![no_main]

use std::sync::{Mutex, OnceLock, PoisonError};

use infermeter::{
    Meter,
    engines::{EngineKind, Page},
    exporter::Prometheus,
    record::{Collect, Readings},
};

/// NB: an exporter has a thread, so there is one for all inputs.
static EXPORTER: OnceLock<Prometheus> = OnceLock::new();

/// What its source tells.
static TOLD: Mutex<Option<Readings>> = Mutex::new(None);

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((kind, input)) = input.split_first() else { return };
    let Ok(page) = Page::parse(input) else { return };
    let kind = EngineKind::ALL[usize::from(*kind) % EngineKind::ALL.len()];
    let mut readings = kind.readings(&page, "model");
    readings.others = page.families().iter().cloned().map(Into::into).collect();
    *TOLD.lock().unwrap_or_else(PoisonError::into_inner) = Some(readings);

    let exporter = EXPORTER.get_or_init(|| {
        let meter = Meter::builder().label("zone", "a").build().unwrap();
        meter.watch("engine", |out: &mut Readings| {
            let told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
            *out = told.clone().unwrap_or_default();
            Ok(())
        });
        Prometheus::builder().meter(meter).process(false).build().unwrap()
    });
    exporter.meter().sample();
    assert_eq!(exporter.meter().sources()[0].error, None);
    let ours = exporter.render();
    let read = Page::parse(ours.as_bytes()).unwrap();
    assert_eq!(read.skipped(), 0, "{ours}");
    let families = ours.lines().filter(|line| line.starts_with("# TYPE ")).count();
    assert_eq!(read.families().len(), families, "{ours}");
});
