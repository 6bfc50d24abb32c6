//! Every metric family that is published: names, kinds, labels, units, help and default buckets.
//!
//! This catalogue is the one place where they are written down. Dashboards, alerts and autoscalers
//! are built on it, so a change here is a breaking change for somebody. `docs/metrics.md` is
//! [generated](markdown()) from it.
//!
//! A family is prefixed (it gets the prefix of a [`Naming`]) or is named `infermeter_*`, `process_*`
//! or `gpu_*` whatever the prefix is. Some prefixed families have an alias, the name that vLLM uses for the same
//! quantity: the same values, rendered twice.
//!
//! ```
//! use infermeter::names::{Naming, TIME_IN_QUEUE_SECONDS as QUEUE};
//!
//! let vllm = Naming::vllm();
//! assert_eq!(vllm.name(&QUEUE), "vllm:time_in_queue_seconds");
//! assert_eq!(vllm.alias(&QUEUE).as_deref(), Some("vllm:request_queue_time_seconds"));
//!
//! let neutral = Naming::neutral();
//! assert_eq!(neutral.name(&QUEUE), "llm_time_in_queue_seconds");
//! assert_eq!(neutral.alias(&QUEUE), None);
//! ```

use std::collections::BTreeSet;

pub(crate) mod buckets;
mod family;
pub(crate) mod gpu;
pub mod label;
mod labels;
mod latency;
mod markdown;
mod naming;
mod own;
mod process;
mod requests;
mod state;

pub use self::{
    buckets::{Buckets, BucketsError},
    family::{Family, Kind, Presence, Unit},
    gpu::{
        ENGINE_GPU_INFO, GPU_CLOCK_HERTZ, GPU_DEVICES, GPU_DRAM_ACTIVE_RATIO, GPU_ECC_ERRORS_TOTAL,
        GPU_ENERGY_JOULES_TOTAL, GPU_INFO, GPU_MEMORY_BANDWIDTH_UTILIZATION_RATIO,
        GPU_MEMORY_FREE_BYTES, GPU_MEMORY_RESERVED_BYTES, GPU_MEMORY_TOTAL_BYTES,
        GPU_MEMORY_USED_BYTES, GPU_NVLINK_BYTES_TOTAL, GPU_PCIE_BYTES_TOTAL, GPU_POWER_LIMIT_WATTS,
        GPU_POWER_WATTS, GPU_PROBE_DURATION_SECONDS, GPU_PROBE_ERRORS_TOTAL, GPU_PROBE_UP,
        GPU_PROCESS_MEMORY_USED_BYTES, GPU_SAMPLE_TIMESTAMP_SECONDS, GPU_SM_ACTIVE_RATIO,
        GPU_TEMPERATURE_CELSIUS, GPU_TENSOR_ACTIVE_RATIO, GPU_THROTTLED,
        GPU_THROTTLED_SECONDS_TOTAL, GPU_UP, GPU_UTILIZATION_RATIO, GPU_XID_ERRORS_TOTAL,
    },
    labels::{LabelError, StaticLabel},
    latency::{
        ADMISSION_WAIT_SECONDS, E2E_REQUEST_LATENCY_SECONDS, INTER_TOKEN_LATENCY_SECONDS,
        ITERATION_TOKENS_TOTAL, REQUEST_DECODE_TIME_SECONDS, REQUEST_DURATION_SECONDS,
        REQUEST_GENERATION_TOKENS, REQUEST_INFERENCE_TIME_SECONDS,
        REQUEST_MAX_NUM_GENERATION_TOKENS, REQUEST_PARAMS_MAX_TOKENS, REQUEST_PARAMS_N,
        REQUEST_PREFILL_TIME_SECONDS, REQUEST_PROMPT_TOKENS, TIME_IN_QUEUE_SECONDS,
        TIME_PER_OUTPUT_TOKEN_SECONDS, TIME_TO_FIRST_TOKEN_SECONDS,
    },
    markdown::markdown,
    naming::{Naming, NamingError},
    own::{
        BUILD_INFO, LABEL_OVERFLOW_TOTAL, OBSERVATIONS_DROPPED_TOTAL, SCRAPE_DURATION_SECONDS,
        SERIES, TOKEN_DRIFT_TOTAL, UNREAD_BODIES_TOTAL,
    },
    process::{
        INFERMETER_PROCESS_CPU_SECONDS_TOTAL, INFERMETER_PROCESS_MAX_FDS,
        INFERMETER_PROCESS_MEMORY_LIMIT_BYTES, INFERMETER_PROCESS_OPEN_FDS,
        INFERMETER_PROCESS_RESIDENT_MEMORY_BYTES, INFERMETER_PROCESS_START_TIME_SECONDS,
        INFERMETER_PROCESS_THREADS, INFERMETER_PROCESS_VIRTUAL_MEMORY_BYTES,
        PROCESS_CPU_SECONDS_TOTAL, PROCESS_MAX_FDS, PROCESS_MEMORY_LIMIT_BYTES, PROCESS_OPEN_FDS,
        PROCESS_RESIDENT_MEMORY_BYTES, PROCESS_START_TIME_SECONDS, PROCESS_THREADS,
        PROCESS_VIRTUAL_MEMORY_BYTES,
    },
    requests::{
        GENERATION_TOKENS_TOTAL, PROMPT_TOKENS_CACHED_TOTAL, PROMPT_TOKENS_TOTAL,
        REASONING_TOKENS_TOTAL, REQUEST_ABORTED_TOTAL, REQUEST_FAILURE_TOTAL,
        REQUEST_SUCCESS_TOTAL, REQUEST_TOTAL, REQUESTS_RECEIVED_TOTAL, REQUESTS_TOTAL,
        TENANT_REQUESTS_TOTAL, TENANT_TOKENS_TOTAL, TOKEN_ACCOUNTING_TOTAL,
    },
    state::{
        CACHE_CONFIG_INFO, GPU_CACHE_USAGE_RATIO, KV_CACHE_USAGE_PERC, KV_TOKENS_HELD,
        LAST_TOKEN_AGE_SECONDS, LORA_REQUESTS_INFO, NUM_BLOCKS_TOTAL, NUM_BLOCKS_USED,
        NUM_PREEMPTIONS_TOTAL, NUM_REQUESTS_RUNNING, NUM_REQUESTS_WAITING, PREFIX_CACHE_HITS_TOTAL,
        PREFIX_CACHE_QUERIES_TOTAL, QUEUE_OLDEST_AGE_SECONDS, REQUESTS_IN_FLIGHT, RUNNING_LIMIT,
        SOURCE_AGE_SECONDS, SOURCE_UP,
    },
};

/// The labels that stand behind those of a family where there are several
/// [upstreams](crate::Meter::upstream): on each that has `model_name`, and on all that an upstream's
/// sources tell.
pub const UPSTREAM_LABELS: [&str; 2] = [label::UPSTREAM, label::VARIANT];

/// Every label name that a family can have, each once, in alphabetical order. Those of
/// [upstreams](UPSTREAM_LABELS) are not among them.
///
/// ```
/// use infermeter::names::{self, label};
///
/// assert!(names::catalogue_labels().any(|known| known == label::MODEL_NAME));
/// ```
pub fn catalogue_labels() -> impl Iterator<Item = &'static str> {
    let labels: BTreeSet<_> = CATALOGUE.iter().flat_map(|family| family.labels).copied().collect();
    labels.into_iter()
}

/// The full name of every histogram family with its default bounds, to set up an exporter that
/// must be told them; [`Bridge`](crate::exporter::Bridge) shows how.
///
/// A family whose bounds were [set](crate::record::MeterBuilder::buckets) needs those instead.
///
/// ```
/// use infermeter::names::{self, Naming};
///
/// let (name, bounds) = names::buckets(&Naming::neutral()).next().unwrap();
/// assert_eq!(name, "llm_time_in_queue_seconds");
/// assert_eq!(bounds[0], 0.001);
/// ```
pub fn buckets(naming: &Naming) -> impl Iterator<Item = (String, &'static [f64])> {
    CATALOGUE.iter().filter_map(|family| Some((naming.name(family), family.buckets?)))
}

/// Names of sources that whoever watches an engine brings with it.
pub mod source {
    /// The processes that serve the model: `process_*`.
    pub const PROCESS: &str = "process";
    /// The process that watches them: `infermeter_process_*`.
    pub const INFERMETER_PROCESS: &str = "infermeter_process";
}

/// Every family in page order: the prefixed ones first, then those named `infermeter_*`,
/// `process_*` and `gpu_*`.
pub static CATALOGUE: &[&Family] = &[
    &REQUEST_TOTAL,
    &REQUEST_SUCCESS_TOTAL,
    &REQUEST_FAILURE_TOTAL,
    &REQUEST_ABORTED_TOTAL,
    &PROMPT_TOKENS_TOTAL,
    &PROMPT_TOKENS_CACHED_TOTAL,
    &GENERATION_TOKENS_TOTAL,
    &REASONING_TOKENS_TOTAL,
    &TIME_IN_QUEUE_SECONDS,
    &TIME_TO_FIRST_TOKEN_SECONDS,
    &INTER_TOKEN_LATENCY_SECONDS,
    &TIME_PER_OUTPUT_TOKEN_SECONDS,
    &E2E_REQUEST_LATENCY_SECONDS,
    &REQUEST_PREFILL_TIME_SECONDS,
    &REQUEST_DECODE_TIME_SECONDS,
    &REQUEST_INFERENCE_TIME_SECONDS,
    &REQUEST_PROMPT_TOKENS,
    &REQUEST_GENERATION_TOKENS,
    &REQUEST_MAX_NUM_GENERATION_TOKENS,
    &REQUEST_PARAMS_MAX_TOKENS,
    &REQUEST_PARAMS_N,
    &ITERATION_TOKENS_TOTAL,
    &NUM_REQUESTS_WAITING,
    &NUM_REQUESTS_RUNNING,
    &GPU_CACHE_USAGE_RATIO,
    &KV_CACHE_USAGE_PERC,
    &NUM_BLOCKS_USED,
    &NUM_BLOCKS_TOTAL,
    &CACHE_CONFIG_INFO,
    &LORA_REQUESTS_INFO,
    &NUM_PREEMPTIONS_TOTAL,
    &PREFIX_CACHE_QUERIES_TOTAL,
    &PREFIX_CACHE_HITS_TOTAL,
    &REQUESTS_TOTAL,
    &REQUESTS_RECEIVED_TOTAL,
    &TENANT_REQUESTS_TOTAL,
    &TENANT_TOKENS_TOTAL,
    &TOKEN_ACCOUNTING_TOTAL,
    &ADMISSION_WAIT_SECONDS,
    &REQUEST_DURATION_SECONDS,
    &REQUESTS_IN_FLIGHT,
    &RUNNING_LIMIT,
    &QUEUE_OLDEST_AGE_SECONDS,
    &LAST_TOKEN_AGE_SECONDS,
    &KV_TOKENS_HELD,
    &SOURCE_UP,
    &SOURCE_AGE_SECONDS,
    &BUILD_INFO,
    &LABEL_OVERFLOW_TOTAL,
    &UNREAD_BODIES_TOTAL,
    &OBSERVATIONS_DROPPED_TOTAL,
    &TOKEN_DRIFT_TOTAL,
    &INFERMETER_PROCESS_CPU_SECONDS_TOTAL,
    &INFERMETER_PROCESS_RESIDENT_MEMORY_BYTES,
    &INFERMETER_PROCESS_VIRTUAL_MEMORY_BYTES,
    &INFERMETER_PROCESS_MEMORY_LIMIT_BYTES,
    &INFERMETER_PROCESS_OPEN_FDS,
    &INFERMETER_PROCESS_MAX_FDS,
    &INFERMETER_PROCESS_THREADS,
    &INFERMETER_PROCESS_START_TIME_SECONDS,
    &PROCESS_CPU_SECONDS_TOTAL,
    &PROCESS_RESIDENT_MEMORY_BYTES,
    &PROCESS_VIRTUAL_MEMORY_BYTES,
    &PROCESS_MEMORY_LIMIT_BYTES,
    &PROCESS_OPEN_FDS,
    &PROCESS_MAX_FDS,
    &PROCESS_THREADS,
    &PROCESS_START_TIME_SECONDS,
    &GPU_PROBE_UP,
    &GPU_DEVICES,
    &GPU_PROBE_DURATION_SECONDS,
    &GPU_PROBE_ERRORS_TOTAL,
    &GPU_UP,
    &GPU_INFO,
    &GPU_SAMPLE_TIMESTAMP_SECONDS,
    &GPU_MEMORY_TOTAL_BYTES,
    &GPU_MEMORY_USED_BYTES,
    &GPU_MEMORY_RESERVED_BYTES,
    &GPU_MEMORY_FREE_BYTES,
    &GPU_UTILIZATION_RATIO,
    &GPU_MEMORY_BANDWIDTH_UTILIZATION_RATIO,
    &GPU_SM_ACTIVE_RATIO,
    &GPU_TENSOR_ACTIVE_RATIO,
    &GPU_DRAM_ACTIVE_RATIO,
    &GPU_POWER_WATTS,
    &GPU_POWER_LIMIT_WATTS,
    &GPU_ENERGY_JOULES_TOTAL,
    &GPU_TEMPERATURE_CELSIUS,
    &GPU_CLOCK_HERTZ,
    &GPU_THROTTLED,
    &GPU_THROTTLED_SECONDS_TOTAL,
    &GPU_XID_ERRORS_TOTAL,
    &GPU_ECC_ERRORS_TOTAL,
    &GPU_PCIE_BYTES_TOTAL,
    &GPU_NVLINK_BYTES_TOTAL,
    &GPU_PROCESS_MEMORY_USED_BYTES,
    &ENGINE_GPU_INFO,
    // What describes the page itself is known last.
    &SCRAPE_DURATION_SECONDS,
    &SERIES,
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// What a family puts on a page, the suffixes of a histogram included.
    fn sample_names(family: &Family, naming: &Naming) -> Vec<String> {
        let suffixes: &[&str] = match family.kind {
            Kind::Histogram => &["", "_bucket", "_sum", "_count"],
            _ => &[""],
        };
        let names = [Some(naming.name(family)), naming.alias(family)];
        let names = names.into_iter().flatten();
        names
            .flat_map(|name| suffixes.iter().map(move |suffix| format!("{name}{suffix}")))
            .collect()
    }

    #[test]
    fn names_are_valid_and_unique_under_every_naming() {
        let namings = [
            Naming::vllm(),
            Naming::vllm().without_aliases(),
            Naming::neutral(),
            Naming::prefix("x_").unwrap(),
            Naming::prefix("infermeter").unwrap(),
        ];
        for naming in &namings {
            let mut seen = HashSet::new();
            for name in CATALOGUE.iter().flat_map(|f| sample_names(f, naming)) {
                let mut bytes = name.bytes();
                let first = bytes.next().unwrap();
                assert!(first.is_ascii_alphabetic() || first == b'_', "{name}");
                let ok = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_:".contains(&b);
                assert!(bytes.all(ok), "{name}");
                assert!(seen.insert(name.clone()), "{name} is there twice");
            }
        }
    }

    #[test]
    fn families_without_prefix_are_ours_or_standard_and_come_last() {
        for family in CATALOGUE {
            let starts = ["infermeter_", "process_"];
            let is_gpu = gpu::FAMILIES.iter().any(|known| std::ptr::eq(*known, *family));
            let ours = is_gpu || starts.iter().any(|start| family.name.starts_with(start));
            assert_eq!(family.prefixed, !ours, "{}", family.name);
            assert!(family.prefixed || family.alias.is_none(), "{}", family.name);
        }
        assert!(CATALOGUE.is_sorted_by_key(|family| !family.prefixed));
    }

    #[test]
    fn every_static_is_in_the_catalogue() {
        let sources = [
            include_str!("names/gpu.rs"),
            include_str!("names/latency.rs"),
            include_str!("names/own.rs"),
            include_str!("names/process.rs"),
            include_str!("names/requests.rs"),
            include_str!("names/state.rs"),
        ];
        let lines = sources.iter().flat_map(|source| source.lines());
        let statics = lines.filter(|line| line.starts_with("pub static "));
        let families = statics.filter(|line| line.contains(": Family ="));
        assert_eq!(families.count(), CATALOGUE.len());
    }

    #[test]
    fn counters_end_in_total_and_nothing_else_does() {
        for family in CATALOGUE {
            // vLLM's own odd name, and the guide's.
            let odd = ["iteration_tokens_total", "num_blocks_total"].contains(&family.name);
            let total = family.name.ends_with("_total") && !odd;
            assert_eq!(total, family.kind == Kind::Counter, "{}", family.name);
            assert!(family.alias.is_none_or(|alias| !alias.ends_with("_total")));
        }
    }

    #[test]
    fn names_end_in_their_base_unit() {
        for family in CATALOGUE {
            let name = family.name.strip_suffix("_total").unwrap_or(family.name);
            let units = [
                ("_seconds", Unit::Seconds),
                ("_info", Unit::Info),
                ("_bytes", Unit::Bytes),
                ("_ratio", Unit::Ratio),
                ("_watts", Unit::Watts),
                ("_joules", Unit::Joules),
                ("_celsius", Unit::Celsius),
                ("_hertz", Unit::Hertz),
            ];
            for (suffix, unit) in units {
                // The one exception is vLLM's own odd name.
                let odd = name == "kv_cache_usage_perc" && unit == Unit::Ratio;
                assert_eq!(name.ends_with(suffix) || odd, family.unit == unit, "{name}");
            }
        }
    }

    #[test]
    fn histograms_have_valid_buckets_and_nothing_else_has() {
        for family in CATALOGUE {
            let histogram = family.kind == Kind::Histogram;
            assert_eq!(family.buckets.is_some(), histogram, "{}", family.name);
            if let Some(bounds) = family.buckets {
                Buckets::new(bounds.iter().copied()).unwrap();
            }
        }
    }

    #[test]
    fn help_is_one_sentence_on_one_line() {
        for family in CATALOGUE {
            let help = family.help;
            assert!(help.len() > 10 && help.ends_with('.'), "{help}");
            assert_eq!(help.matches(". ").count(), 0, "{help}");
            // A backslash or a line break would need escaping on the page, a bar in the docs.
            assert!(!help.contains(['\n', '\\', '|']) && !help.contains("  "), "{help}");
        }
    }

    #[test]
    fn families_that_are_divided_by_each_other_have_the_same_labels() {
        for family in [&REQUEST_FAILURE_TOTAL, &REQUEST_ABORTED_TOTAL] {
            assert_eq!(family.labels, REQUEST_TOTAL.labels);
        }
        for family in CATALOGUE.iter().filter(|f| f.prefixed && f.kind == Kind::Histogram) {
            assert_eq!(family.labels, [label::MODEL_NAME], "{}", family.name);
        }
    }

    #[test]
    fn labels_are_listed_once() {
        let labels: Vec<_> = catalogue_labels().collect();
        assert!(labels.is_sorted_by(|a, b| a < b), "{labels:?}");
        assert!(labels.contains(&label::MODEL_NAME));
        for family in CATALOGUE {
            let own: HashSet<_> = family.labels.iter().collect();
            assert_eq!(own.len(), family.labels.len(), "{}", family.name);
        }
    }
}
