//! A GPU that was seen, and everything that is known of it.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::time::Instant;

use super::{Device, DeviceReadings, DeviceSnapshot, ProbeError, Quantity, growing::Growing};
use crate::{
    names::{self, Family},
    record::{Readings, Value},
};

/// Errors that mean trouble, by their codes: at 0 from the start, so that the first one is seen as
/// an increase.
const SERIOUS: [u64; 11] = [48, 62, 63, 64, 74, 79, 92, 94, 95, 119, 120];

/// The most codes of one GPU; more are `other`.
const MOST_CODES: usize = 64;

#[derive(Debug)]
pub(super) struct Known {
    pub(super) device: Device,
    /// Number, identity, name.
    labels: [Arc<str>; 3],
    instance: Arc<str>,
    last: Option<Last>,
    /// Whether it was read, or could not be, at least once.
    was_tried: bool,
    pub(super) error: Option<ProbeError>,
    counters: BTreeMap<Quantity, Growing>,
    xids: BTreeMap<Arc<str>, u64>,
}

#[derive(Debug)]
struct Last {
    readings: DeviceReadings,
    at: Instant,
    unix: f64,
}

// === impl Known ===

impl Known {
    pub(super) fn new(device: Device) -> Self {
        let labels = [device.index.to_string(), device.uuid.clone(), device.name.clone()];
        let labels = labels.map(Arc::from);
        let instance = device.instance.as_ref();
        let instance = instance.map(|instance| instance.gpu_instance.to_string());
        let codes = if device.has_events { &SERIOUS[..] } else { &[] };
        Self {
            labels,
            instance: instance.unwrap_or_default().into(),
            last: None,
            was_tried: false,
            error: None,
            counters: BTreeMap::new(),
            xids: codes.iter().map(|code| (code.to_string().into(), 0)).collect(),
            device,
        }
    }

    /// It is there again, perhaps under another number.
    pub(super) fn is_found(&mut self, device: &Device) {
        if self.device != *device {
            let Self { labels, instance, xids, .. } = self;
            let found = Self::new(device.clone());
            (*labels, *instance) = (found.labels, found.instance);
            for (code, none) in found.xids {
                xids.entry(code).or_insert(none);
            }
            self.device = found.device;
        }
    }

    pub(super) fn was_read(&mut self, readings: DeviceReadings, at: Instant) {
        let readings = readings.checked();
        for quantity in Quantity::ALL.iter().filter(|quantity| quantity.is_counter()) {
            if let Ok(count) = readings.get(*quantity) {
                self.counters.entry(*quantity).or_default().update(count);
            }
        }
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.last = Some(Last { readings, at, unix: unix.as_secs_f64() });
        (self.error, self.was_tried) = (None, true);
    }

    /// It cannot be read now.
    pub(super) fn is_down(&mut self, error: Option<ProbeError>) {
        self.last = None;
        if error.is_some() {
            (self.error, self.was_tried) = (error, true);
        }
    }

    pub(super) fn has_reported(&mut self, xid: u64) {
        let code: Arc<str> = xid.to_string().into();
        let is_full = self.xids.len() >= MOST_CODES && !self.xids.contains_key(&code);
        let code = if is_full { "other".into() } else { code };
        *self.xids.entry(code).or_default() += 1;
    }

    pub(super) fn is_up(&self, now: Instant, stale_after: Duration) -> bool {
        self.fresh(now, stale_after).is_some()
    }

    pub(super) fn snapshot(&self, now: Instant, stale_after: Duration) -> DeviceSnapshot {
        let fresh = self.fresh(now, stale_after);
        DeviceSnapshot {
            device: self.device.clone(),
            is_up: fresh.is_some(),
            error: self.error.clone(),
            readings: fresh.map(|last| last.readings.clone()),
            age: fresh.map(|last| now.saturating_duration_since(last.at)),
        }
    }

    pub(super) fn write(
        &self,
        now: Instant,
        stale_after: Duration,
        is_probe_down: bool,
        engine: Option<&Arc<str>>,
        out: &mut Readings,
    ) {
        let fresh = self.fresh(now, stale_after);
        // NB: a GPU whose turn has not come yet is not down.
        if self.was_tried || is_probe_down {
            let up = Value::Gauge(f64::from(u8::from(fresh.is_some())));
            out.push(&names::GPU_UP, self.labels.clone(), up);
        }
        self.write_info(out);
        if let Some(engine) = engine {
            let [index, uuid, _] = self.labels.clone();
            let labels = [Arc::clone(engine), index, uuid];
            out.push(&names::ENGINE_GPU_INFO, labels, Value::Gauge(1.0));
        }
        if let Some(last) = fresh {
            let time = Value::Gauge(last.unix);
            out.push(&names::GPU_SAMPLE_TIMESTAMP_SECONDS, self.labels.clone(), time);
        }
        for quantity in Quantity::ALL {
            let value = if quantity.is_counter() {
                self.counters.get(quantity).map(|count| Value::FloatCounter(count.total()))
            } else {
                fresh.and_then(|last| last.readings.get(*quantity).ok()).map(Value::Gauge)
            };
            if let Some(value) = value {
                self.push(quantity.family(), quantity.label(), value, out);
            }
        }
        for (code, count) in &self.xids {
            let labels = self.labels.iter().chain([code]).cloned();
            out.push(&names::GPU_XID_ERRORS_TOTAL, labels, Value::Counter(*count));
        }
    }

    fn write_info(&self, out: &mut Readings) {
        let Device { vendor, pci_bus_id, driver_version, instance, .. } = &self.device;
        let of_instance = instance.as_ref();
        let profile = of_instance.map_or("", |instance| &instance.profile);
        let parent = of_instance.map_or("", |instance| &instance.parent_uuid);
        let more = [vendor, pci_bus_id, driver_version, profile, parent].map(Arc::from);
        let labels = self.labels.iter().cloned().chain(more);
        out.push(&names::GPU_INFO, labels, Value::Gauge(1.0));
    }

    fn push(
        &self,
        family: &'static Family,
        label: Option<&'static str>,
        value: Value,
        out: &mut Readings,
    ) {
        let is_by_instance = family.labels.last() == Some(&names::label::MIG_INSTANCE);
        let instance = is_by_instance.then(|| Arc::clone(&self.instance));
        let more = label.map(Arc::from).or(instance);
        out.push(family, self.labels.iter().cloned().chain(more), value);
    }

    fn fresh(&self, now: Instant, stale_after: Duration) -> Option<&Last> {
        let is_fresh = |last: &&Last| now.saturating_duration_since(last.at) <= stale_after;
        self.last.as_ref().filter(is_fresh)
    }
}
