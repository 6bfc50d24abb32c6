//! One second, as it is shown.

use std::sync::Arc;

use serde::Serialize;

use super::super::sums;
use crate::{
    names::{self, label},
    outcome::Phase,
    record::{Readings, Series},
};

/// What is not known is `null`, and drawn as a gap.
#[derive(Debug, Default, Serialize)]
pub(super) struct Point {
    /// Its place among all that there were, from 1 on.
    pub(super) number: u64,
    /// In seconds since 1970.
    pub(super) at: f64,
    /// A second, over the last ones.
    pub(super) success: Option<f64>,
    pub(super) failure: Option<f64>,
    pub(super) aborted: Option<f64>,
    pub(super) prompt_tokens: Option<f64>,
    pub(super) generation_tokens: Option<f64>,
    /// P50, P95 and P99 of the last minute, in seconds.
    pub(super) queue: Option<[f64; 3]>,
    pub(super) first_token: Option<[f64; 3]>,
    pub(super) output_token: Option<[f64; 3]>,
    #[serde(flatten)]
    pub(super) now: Now,
}

/// What gauges stand at.
#[derive(Debug, Default, Serialize)]
pub(super) struct Now {
    /// In flight, by phase.
    in_queue: Option<f64>,
    in_prefill: Option<f64>,
    in_decode: Option<f64>,
    running: Option<f64>,
    waiting: Option<f64>,
    running_limit: Option<f64>,
    kv_usage: Option<f64>,
    blocks_used: Option<f64>,
    blocks_total: Option<f64>,
    resident_bytes: Option<f64>,
    gpus: Vec<Gpu>,
}

#[derive(Debug, Serialize)]
struct Gpu {
    gpu: Arc<str>,
    name: Option<Arc<str>>,
    memory_used_bytes: Option<f64>,
    memory_total_bytes: Option<f64>,
    utilization: Option<f64>,
    power_watts: Option<f64>,
    temperature_celsius: Option<f64>,
}

// === impl Now ===

impl Now {
    pub(super) fn of(readings: &Readings) -> Self {
        let sum = |family| sums::sum(readings.series(family));
        let usage = readings.series(&names::GPU_CACHE_USAGE_RATIO).iter().filter_map(Series::gauge);
        let in_flight = |phase: Phase| {
            let family = &names::REQUESTS_IN_FLIGHT;
            let is_it = |series: &&Series| {
                series.label(family, label::PHASE).is_some_and(|of| **of == *phase.label())
            };
            sums::sum(readings.series(family).iter().filter(is_it))
        };
        Self {
            in_queue: in_flight(Phase::Queue),
            in_prefill: in_flight(Phase::Prefill),
            in_decode: in_flight(Phase::Decode),
            running: sum(&names::NUM_REQUESTS_RUNNING),
            waiting: sum(&names::NUM_REQUESTS_WAITING),
            running_limit: sum(&names::RUNNING_LIMIT),
            kv_usage: usage.reduce(f64::max),
            blocks_used: sum(&names::NUM_BLOCKS_USED),
            blocks_total: sum(&names::NUM_BLOCKS_TOTAL),
            resident_bytes: sum(&names::PROCESS_RESIDENT_MEMORY_BYTES),
            gpus: Gpu::all(readings),
        }
    }
}

// === impl Gpu ===

impl Gpu {
    fn all(readings: &Readings) -> Vec<Self> {
        let up = &names::GPU_UP;
        let seen = readings.series(up).iter();
        seen.filter_map(|series| {
            let gpu = series.label(up, label::GPU)?;
            let told = |family| sums::of_gpu(family, readings.series(family), gpu);
            Some(Self {
                gpu: Arc::clone(gpu),
                name: series.label(up, label::NAME).cloned(),
                memory_used_bytes: told(&names::GPU_MEMORY_USED_BYTES),
                memory_total_bytes: told(&names::GPU_MEMORY_TOTAL_BYTES),
                utilization: told(&names::GPU_UTILIZATION_RATIO),
                power_watts: told(&names::GPU_POWER_WATTS),
                temperature_celsius: temperature(readings, gpu),
            })
        })
        .collect()
    }
}

/// That of the chip.
fn temperature(readings: &Readings, gpu: &Arc<str>) -> Option<f64> {
    let family = &names::GPU_TEMPERATURE_CELSIUS;
    let is_it = |series: &&Series| {
        series.label(family, label::GPU) == Some(gpu)
            && series.label(family, label::SENSOR).is_some_and(|sensor| **sensor == *"gpu")
    };
    readings.series(family).iter().find(is_it)?.gauge()
}
