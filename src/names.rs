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
pub(crate) mod gpu;
mod labels;
mod markdown;
mod naming;

pub use buckets::{Buckets, BucketsError};
pub use gpu::{
    ENGINE_GPU_INFO, GPU_CLOCK_HERTZ, GPU_DEVICES, GPU_DRAM_ACTIVE_RATIO, GPU_ECC_ERRORS_TOTAL,
    GPU_ENERGY_JOULES_TOTAL, GPU_INFO, GPU_MEMORY_BANDWIDTH_UTILIZATION_RATIO,
    GPU_MEMORY_FREE_BYTES, GPU_MEMORY_RESERVED_BYTES, GPU_MEMORY_TOTAL_BYTES,
    GPU_MEMORY_USED_BYTES, GPU_NVLINK_BYTES_TOTAL, GPU_PCIE_BYTES_TOTAL, GPU_POWER_LIMIT_WATTS,
    GPU_POWER_WATTS, GPU_PROBE_DURATION_SECONDS, GPU_PROBE_ERRORS_TOTAL, GPU_PROBE_UP,
    GPU_PROCESS_MEMORY_USED_BYTES, GPU_SAMPLE_TIMESTAMP_SECONDS, GPU_SM_ACTIVE_RATIO,
    GPU_TEMPERATURE_CELSIUS, GPU_TENSOR_ACTIVE_RATIO, GPU_THROTTLED, GPU_THROTTLED_SECONDS_TOTAL,
    GPU_UP, GPU_UTILIZATION_RATIO, GPU_XID_ERRORS_TOTAL,
};
pub use labels::{LabelError, StaticLabel};
pub use markdown::markdown;
pub use naming::{Naming, NamingError};

/// What a family's values do over time; the word after `# TYPE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// Only grows, from 0 at the start of the process.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts observations by size, with their sum and number.
    Histogram,
}

/// What one unit of a family's value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unit {
    /// Seconds.
    Seconds,
    /// Tokens of the model's own tokenizer.
    Tokens,
    /// HTTP requests.
    Requests,
    /// Response bodies.
    Bodies,
    /// Alternative answers to one request (the `n` of a request).
    Choices,
    /// Label values.
    Values,
    /// Observations of a histogram or readings of a source.
    Observations,
    /// Time series.
    Series,
    /// A part of a whole, from 0 to 1.
    Ratio,
    /// Blocks of the KV cache.
    Blocks,
    /// Bytes.
    Bytes,
    /// Times that something happened.
    Events,
    /// Open file descriptors.
    Descriptors,
    /// Threads of a process.
    Threads,
    /// GPUs.
    Devices,
    /// Watts.
    Watts,
    /// Joules.
    Joules,
    /// Degrees Celsius.
    Celsius,
    /// Times per second.
    Hertz,
    /// Yes (1) or no (0).
    Bool,
    /// None: the labels carry the information.
    Info,
}

/// When a family is on the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// From the first scrape on, at 0 where nothing has happened yet.
    Always,
    /// Under a condition, which the text names.
    When(&'static str),
}

/// One metric family: everything about it but its values.
#[derive(Debug)]
#[non_exhaustive]
pub struct Family {
    /// The name, without the prefix where the family is [`prefixed`](Family::prefixed).
    pub name: &'static str,
    /// Whether the name gets the prefix of a [`Naming`].
    pub prefixed: bool,
    /// The name, without prefix, that vLLM uses for the same quantity, where it is another one.
    pub alias: Option<&'static str>,
    /// Counter, gauge or histogram.
    pub kind: Kind,
    /// What one unit of the value is.
    pub unit: Unit,
    /// One sentence, used as `# HELP`: what is measured, from when to when.
    pub help: &'static str,
    /// The label names, in the order in which they are rendered. Static labels come on top.
    pub labels: &'static [&'static str],
    /// The default upper bounds, without `+Inf`; `Some` for histograms only.
    pub buckets: Option<&'static [f64]>,
    /// When the family is on the page.
    pub presence: Presence,
}

/// The labels that stand behind those of a family where there are several
/// [upstreams](crate::Meter::upstream): on each that has `model_name`, and on all that an upstream's
/// sources tell.
pub const UPSTREAM_LABELS: [&str; 2] = [label::UPSTREAM, label::VARIANT];

/// Every label name that a family can have, each once, in alphabetical order. Those of
/// [upstreams](UPSTREAM_LABELS) are not among them.
pub fn catalogue_labels() -> impl Iterator<Item = &'static str> {
    let labels: BTreeSet<_> = CATALOGUE.iter().flat_map(|family| family.labels).copied().collect();
    labels.into_iter()
}

/// The full name of every histogram family with its default bounds, to set up an exporter that
/// must be told them; [`Bridge`](crate::exporter::Bridge) shows how.
///
/// A family whose bounds were [set](crate::record::MeterBuilder::buckets) needs those instead.
pub fn buckets(naming: &Naming) -> impl Iterator<Item = (String, &'static [f64])> {
    CATALOGUE.iter().filter_map(|family| Some((naming.name(family), family.buckets?)))
}

/// The label names of the catalogue.
pub mod label {
    /// The model that served the request, from a bounded set.
    pub const MODEL_NAME: &str = "model_name";
    /// The configured name of the upstream that it belongs to, or `none`.
    pub const UPSTREAM: &str = "upstream";
    /// The configured variant of that upstream, or `none`.
    pub const VARIANT: &str = "variant";
    /// The data-parallel rank of the engine; `0` where there is one.
    pub const ENGINE: &str = "engine";
    /// The configured name of a measured endpoint, never the raw path.
    pub const ENDPOINT: &str = "endpoint";
    /// `success`, `failure` or `aborted`.
    pub const OUTCOME: &str = "outcome";
    /// Why a request ended as it did, or why something was not read or not recorded.
    pub const REASON: &str = "reason";
    /// The HTTP status of the head that was sent, or `none`.
    pub const CODE: &str = "code";
    /// Why the generation stopped: `stop`, `length`, `tool_calls`, `content_filter`, `other`.
    pub const FINISHED_REASON: &str = "finished_reason";
    /// Where a token count came from; the name of a sampled source.
    pub const SOURCE: &str = "source";
    /// Where a running request stands: `queue`, `prefill` or `decode`.
    pub const PHASE: &str = "phase";
    /// The name of the label whose values were capped.
    pub const LABEL: &str = "label";
    /// The version of infermeter.
    pub const VERSION: &str = "version";
    /// The version of the compiler that built it.
    pub const RUSTC: &str = "rustc";
    /// The cargo features it was built with.
    pub const FEATURES: &str = "features";
    /// The tenant that a request belongs to, from a bounded set.
    pub const TENANT: &str = "tenant";
    /// Which tokens: `prompt` or `generation`.
    pub const KIND: &str = "kind";
    /// Token slots in one block of the KV cache.
    pub const BLOCK_SIZE: &str = "block_size";
    /// Blocks of the KV cache.
    pub const NUM_GPU_BLOCKS: &str = "num_gpu_blocks";
    /// How many LoRA adapters may be loaded at once.
    pub const MAX_LORA: &str = "max_lora";
    /// Names of the adapters whose requests run, with commas.
    pub const RUNNING_LORA_ADAPTERS: &str = "running_lora_adapters";
    /// Names of the adapters whose requests wait, with commas.
    pub const WAITING_LORA_ADAPTERS: &str = "waiting_lora_adapters";
    /// The number of a GPU, as its driver counts; of a MIG instance, that of its GPU.
    pub const GPU: &str = "gpu";
    /// The identity of a GPU or a MIG instance.
    pub const UUID: &str = "uuid";
    /// The name of a product.
    pub const NAME: &str = "name";
    /// Who makes a GPU.
    pub const VENDOR: &str = "vendor";
    /// Where a GPU is on the bus.
    pub const PCI_BUS_ID: &str = "pci_bus_id";
    /// The version of the driver.
    pub const DRIVER_VERSION: &str = "driver_version";
    /// The profile of a MIG instance.
    pub const MIG_PROFILE: &str = "mig_profile";
    /// The identity of the GPU that a MIG instance is a part of.
    pub const PARENT_UUID: &str = "parent_uuid";
    /// The number of a GPU instance; empty for a whole GPU.
    pub const MIG_INSTANCE: &str = "mig_instance";
    /// What a temperature is that of: `gpu` or `memory`.
    pub const SENSOR: &str = "sensor";
    /// What a clock is that of: `sm` or `memory`.
    pub const DOMAIN: &str = "domain";
    /// The code of an error that the driver of NVIDIA reports.
    pub const XID: &str = "xid";
    /// Whether an error was `corrected` or `uncorrected`.
    pub const TYPE: &str = "type";
    /// `transmit` or `receive`.
    pub const DIRECTION: &str = "direction";
    /// What GPUs are read by: `nvml`, or the name of a backend of your own.
    pub const BACKEND: &str = "backend";
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

// Families that are divided by each other carry the model alone, so that the division matches.
const MODEL: &[&str] = &[label::MODEL_NAME];
const STATE: &[&str] = &[label::MODEL_NAME, label::ENGINE];

const KV_TOLD: &str = "once the engine has told of its KV cache";

const REQUEST_TOLD: &str = "once a request was read that says so, by the proxy or your service";

const ENGINE_TOLD: &str = "once the engine has told";

const LINUX: &str = "on Linux";

const PROCESS_TOLD: &str =
    "on Linux; of an engine beside it, with `--engine-pid`, or where its page tells";

const OBSERVER: &str = "on Linux, in the proxy and the exporter";

const START_KNOWN: &str = "always in a server; of an engine elsewhere, where it has such a \
    histogram or tells the start of a request with its answer";

// === Requests ===

/// Requests that ended, however they ended.
pub static REQUEST_TOTAL: Family = counter(
    "request_total",
    Unit::Requests,
    MODEL,
    "Requests that ended, however they ended, each counted once at its end.",
);

/// Requests whose response reached its proper end.
pub static REQUEST_SUCCESS_TOTAL: Family = counter(
    "request_success_total",
    Unit::Requests,
    &[label::MODEL_NAME, label::FINISHED_REASON],
    "Requests whose response reached its proper end, one per HTTP request, by why the generation \
     stopped.",
);

/// Requests that ended by an error.
pub static REQUEST_FAILURE_TOTAL: Family = counter(
    "request_failure_total",
    Unit::Requests,
    MODEL,
    "Requests that ended by an error, before or in the response.",
);

/// Requests whose client went away first.
pub static REQUEST_ABORTED_TOTAL: Family = counter(
    "request_aborted_total",
    Unit::Requests,
    MODEL,
    "Requests whose client went away before the response ended.",
);

/// Ended requests with every detail: the one rich counter.
pub static REQUESTS_TOTAL: Family = counter(
    "infermeter_requests_total",
    Unit::Requests,
    &[label::MODEL_NAME, label::ENDPOINT, label::OUTCOME, label::REASON, label::CODE],
    "Requests that ended, each counted once at its end, by endpoint, outcome, reason and the \
     status code that was sent.",
)
.unprefixed()
.when("a series from the first request that ends so");

/// Requests counted on arrival: the demand signal.
pub static REQUESTS_RECEIVED_TOTAL: Family = counter(
    "infermeter_requests_received_total",
    Unit::Requests,
    &[label::ENDPOINT],
    "Requests counted when they arrive, those that are rejected later included.",
)
.unprefixed();

/// Ended requests by tenant.
pub static TENANT_REQUESTS_TOTAL: Family = counter(
    "infermeter_tenant_requests_total",
    Unit::Requests,
    &[label::MODEL_NAME, label::TENANT, label::OUTCOME],
    "Requests that ended, each counted once at its end, by tenant and outcome.",
)
.unprefixed()
.when("where a tenant extractor is set, from the first request of a tenant that ends");

/// Tokens by tenant.
pub static TENANT_TOKENS_TOTAL: Family = counter(
    "infermeter_tenant_tokens_total",
    Unit::Tokens,
    &[label::MODEL_NAME, label::TENANT, label::KIND],
    "Prompt and generated tokens by tenant, added when a request ends.",
)
.unprefixed()
.when("where a tenant extractor is set, from the first request of a tenant that ends");

// === Tokens ===

/// Prompt tokens, cached ones included.
pub static PROMPT_TOKENS_TOTAL: Family = counter(
    "prompt_tokens_total",
    Unit::Tokens,
    MODEL,
    "Prompt tokens, cached ones included, added once per request when its count is first certain.",
);

/// The part of the prompt tokens that came from a prefix cache.
pub static PROMPT_TOKENS_CACHED_TOTAL: Family = counter(
    "prompt_tokens_cached_total",
    Unit::Tokens,
    MODEL,
    "The part of the prompt tokens that came from a prefix cache.",
);

/// Generated tokens, reasoning included.
pub static GENERATION_TOKENS_TOTAL: Family = counter(
    "generation_tokens_total",
    Unit::Tokens,
    MODEL,
    "Generated tokens, reasoning included, growing while a stream runs and settled to the engine's \
     own count at its end.",
);

/// The part of the generated tokens that was reasoning.
pub static REASONING_TOKENS_TOTAL: Family = counter(
    "reasoning_tokens_total",
    Unit::Tokens,
    MODEL,
    "The part of the generated tokens that was reasoning.",
);

/// Ended requests by where their token count came from.
pub static TOKEN_ACCOUNTING_TOTAL: Family = counter(
    "infermeter_token_accounting_total",
    Unit::Requests,
    &[label::MODEL_NAME, label::SOURCE],
    "Requests that ended after a 2xx head, by where the final count of generated tokens came from.",
)
.unprefixed();

// === Latency and size ===

/// Time from arrival until the request started.
pub static TIME_IN_QUEUE_SECONDS: Family = histogram(
    "time_in_queue_seconds",
    Unit::Seconds,
    buckets::QUEUE,
    "Time from the arrival of a request until it started, for every request that started.",
)
.alias("request_queue_time_seconds")
.when("always in a server; of an engine elsewhere, where it tells queue times");

/// Time from arrival until our admission let the request in.
pub static ADMISSION_WAIT_SECONDS: Family = histogram(
    "infermeter_admission_wait_seconds",
    Unit::Seconds,
    buckets::QUEUE,
    "Time from the arrival of a request until admission let it in.",
)
.unprefixed()
.when("where an admission layer is set");

/// Time from arrival until the first generated content.
pub static TIME_TO_FIRST_TOKEN_SECONDS: Family = histogram(
    "time_to_first_token_seconds",
    Unit::Seconds,
    buckets::TTFT,
    "Time from the arrival of a request until its first generated content (text, reasoning or \
     tool call), for streams that got that far and requests whose handler said so.",
);

/// Time between one token of a stream and the next.
pub static INTER_TOKEN_LATENCY_SECONDS: Family = histogram(
    "inter_token_latency_seconds",
    Unit::Seconds,
    buckets::ITL,
    "Time from one content event of a streamed choice to the next, divided by the tokens that the \
     later one carries and recorded that many times.",
);

/// Mean time per token after the first, one observation per request.
pub static TIME_PER_OUTPUT_TOKEN_SECONDS: Family = histogram(
    "time_per_output_token_seconds",
    Unit::Seconds,
    buckets::ITL,
    "Time from the first to the last token of the longest choice, divided by its tokens less one, \
     for requests that ended well with two tokens or more.",
)
.alias("request_time_per_output_token_seconds");

/// Time from arrival to the end of the body, for successes.
pub static E2E_REQUEST_LATENCY_SECONDS: Family = histogram(
    "e2e_request_latency_seconds",
    Unit::Seconds,
    buckets::LATENCY,
    "Time from the arrival of a request to the end of its response body, for requests that \
     succeeded.",
);

/// Time from arrival to the end, for every request, by outcome.
pub static REQUEST_DURATION_SECONDS: Family = histogram(
    "infermeter_request_duration_seconds",
    Unit::Seconds,
    buckets::LATENCY,
    "Time from the arrival of a request to its end, however it ended.",
)
.unprefixed()
.labels(&[label::MODEL_NAME, label::OUTCOME]);

/// Time from the start to the first token.
pub static REQUEST_PREFILL_TIME_SECONDS: Family = histogram(
    "request_prefill_time_seconds",
    Unit::Seconds,
    buckets::LATENCY,
    "Time from the start of a request to its first token.",
)
.when(START_KNOWN);

/// Time from the first token to the last.
pub static REQUEST_DECODE_TIME_SECONDS: Family = histogram(
    "request_decode_time_seconds",
    Unit::Seconds,
    buckets::LATENCY,
    "Time from the first token of a request to its last.",
);

/// Time from the start to the end.
pub static REQUEST_INFERENCE_TIME_SECONDS: Family = histogram(
    "request_inference_time_seconds",
    Unit::Seconds,
    buckets::LATENCY,
    "Time from the start of a request to its end.",
)
.when(START_KNOWN);

/// Prompt tokens of one request.
pub static REQUEST_PROMPT_TOKENS: Family = histogram(
    "request_prompt_tokens",
    Unit::Tokens,
    buckets::TOKENS,
    "Prompt tokens of one request, where their number is known.",
);

/// Generated tokens of one request.
pub static REQUEST_GENERATION_TOKENS: Family = histogram(
    "request_generation_tokens",
    Unit::Tokens,
    buckets::TOKENS,
    "Generated tokens of one request, all its choices together, where their number is known.",
);

/// Generated tokens of the longest choice of one request.
pub static REQUEST_MAX_NUM_GENERATION_TOKENS: Family = histogram(
    "request_max_num_generation_tokens",
    Unit::Tokens,
    buckets::TOKENS,
    "Generated tokens of the longest choice of one request, where their number is known.",
);

/// The token limit that a request asked for.
pub static REQUEST_PARAMS_MAX_TOKENS: Family = histogram(
    "request_params_max_tokens",
    Unit::Tokens,
    buckets::TOKENS,
    "The limit of generated tokens that a request body asked for.",
)
.when(REQUEST_TOLD);

/// The number of choices that a request asked for.
pub static REQUEST_PARAMS_N: Family = histogram(
    "request_params_n",
    Unit::Choices,
    buckets::N,
    "The number of choices (n) that a request body asked for.",
)
.when(REQUEST_TOLD);

/// Tokens of one engine step: a histogram in spite of its name, which is vLLM's.
pub static ITERATION_TOKENS_TOTAL: Family = histogram(
    "iteration_tokens_total",
    Unit::Tokens,
    buckets::ITERATION,
    "Tokens of one engine step, a histogram in spite of its name.",
)
.when(ENGINE_TOLD);

// === State ===

/// Requests that wait, by engine.
pub static NUM_REQUESTS_WAITING: Family = gauge(
    "num_requests_waiting",
    Unit::Requests,
    STATE,
    "Requests that wait for their start now, as the engine tells, else those in the queue phase.",
);

/// Requests that run, by engine.
pub static NUM_REQUESTS_RUNNING: Family = gauge(
    "num_requests_running",
    Unit::Requests,
    STATE,
    "Requests that run now, as the engine tells, else those in the prefill and decode phases.",
);

/// Requests that arrived and did not end yet, by phase: the gauge of the identity.
pub static REQUESTS_IN_FLIGHT: Family = gauge(
    "infermeter_requests_in_flight",
    Unit::Requests,
    &[label::MODEL_NAME, label::PHASE],
    "Requests that arrived and have not ended yet, by the phase they are in.",
)
.unprefixed();

/// How full the KV cache really is.
pub static GPU_CACHE_USAGE_RATIO: Family = gauge(
    "gpu_cache_usage_ratio",
    Unit::Ratio,
    STATE,
    "Token slots of the KV cache that are filled, as a part of all, where the engine tells tokens, \
     else blocks in use as a part of all.",
)
.when(KV_TOLD);

/// How many blocks of the KV cache are in use, as a part of all: vLLM's measure.
pub static KV_CACHE_USAGE_PERC: Family = gauge(
    "kv_cache_usage_perc",
    Unit::Ratio,
    STATE,
    "Blocks of the KV cache in use as a part of all, 0 to 1 in spite of its name.",
)
.when(KV_TOLD);

/// KV cache blocks in use.
pub static NUM_BLOCKS_USED: Family = gauge(
    "num_blocks_used",
    Unit::Blocks,
    STATE,
    "Blocks of the KV cache in use, without cached ones that can be evicted.",
)
.when(KV_TOLD);

/// KV cache blocks that requests can use.
pub static NUM_BLOCKS_TOTAL: Family =
    gauge("num_blocks_total", Unit::Blocks, STATE, "Blocks of the KV cache that requests can use.")
        .when(KV_TOLD);

/// Token slots filled in the KV cache.
pub static KV_TOKENS_HELD: Family = gauge(
    "infermeter_kv_tokens_held",
    Unit::Tokens,
    STATE,
    "Token slots filled in the blocks of the KV cache that are in use.",
)
.unprefixed()
.when("where the engine tells tokens");

/// Shape of the KV cache: read by the Gateway API's endpoint picker.
pub static CACHE_CONFIG_INFO: Family = gauge(
    "cache_config_info",
    Unit::Info,
    &[label::MODEL_NAME, label::ENGINE, label::BLOCK_SIZE, label::NUM_GPU_BLOCKS],
    "Always 1, with the size and the number of the blocks of the KV cache as labels.",
)
.when(KV_TOLD);

/// LoRA adapters in use.
pub static LORA_REQUESTS_INFO: Family = gauge(
    "lora_requests_info",
    Unit::Info,
    &[
        label::MODEL_NAME,
        label::ENGINE,
        label::MAX_LORA,
        label::RUNNING_LORA_ADAPTERS,
        label::WAITING_LORA_ADAPTERS,
    ],
    "Unix time of the last change of the LoRA adapters that its labels name.",
)
.when("once the engine has told of LoRA adapters");

/// Requests that lost their place to others.
pub static NUM_PREEMPTIONS_TOTAL: Family = counter(
    "num_preemptions_total",
    Unit::Events,
    STATE,
    "Times that a running request lost its KV cache to others and has to be computed again.",
)
.when(ENGINE_TOLD);

/// Prompt tokens looked up in the prefix cache.
pub static PREFIX_CACHE_QUERIES_TOTAL: Family = counter(
    "prefix_cache_queries_total",
    Unit::Tokens,
    STATE,
    "Prompt tokens that were looked up in the prefix cache.",
)
.when(ENGINE_TOLD);

/// Prompt tokens found in the prefix cache.
pub static PREFIX_CACHE_HITS_TOTAL: Family = counter(
    "prefix_cache_hits_total",
    Unit::Tokens,
    STATE,
    "Prompt tokens that were found in the prefix cache.",
)
.when(ENGINE_TOLD);

/// How many requests may run at once.
pub static RUNNING_LIMIT: Family = gauge(
    "infermeter_running_limit",
    Unit::Requests,
    STATE,
    "Requests that may run at once, as the engine tells, else as the admission layer allows.",
)
.unprefixed()
.when("where an admission layer is set or the engine has told");

/// How long the request that waits longest has been waiting.
pub static QUEUE_OLDEST_AGE_SECONDS: Family = gauge(
    "infermeter_queue_oldest_age_seconds",
    Unit::Seconds,
    STATE,
    "Time since the arrival of the request that has been in the queue phase longest, 0 where none \
     is.",
)
.unprefixed();

/// How long no token has come although requests run.
pub static LAST_TOKEN_AGE_SECONDS: Family = gauge(
    "infermeter_last_token_age_seconds",
    Unit::Seconds,
    STATE,
    "Time since a token came or a request started to run after none had, while requests run.",
)
.unprefixed()
.when("while requests are in the prefill or decode phase");

// === Sources ===

/// Whether a source could be read.
pub static SOURCE_UP: Family = gauge(
    "infermeter_source_up",
    Unit::Bool,
    &[label::SOURCE],
    "Whether the last sample of a source succeeded and is not old (1), or its readings are gone \
     (0).",
)
.unprefixed()
.when("once a source was sampled");

/// How old the readings of a source are.
pub static SOURCE_AGE_SECONDS: Family = gauge(
    "infermeter_source_age_seconds",
    Unit::Seconds,
    &[label::SOURCE],
    "Time since a sample of a source last succeeded.",
)
.unprefixed()
.when("once a sample of the source succeeded");

// === Process ===

/// Processor time.
pub static PROCESS_CPU_SECONDS_TOTAL: Family = counter(
    "process_cpu_seconds_total",
    Unit::Seconds,
    &[],
    "Processor time of the process that serves the model, user and system.",
)
.unprefixed()
.when(PROCESS_TOLD);

/// Memory that is in RAM.
pub static PROCESS_RESIDENT_MEMORY_BYTES: Family = gauge(
    "process_resident_memory_bytes",
    Unit::Bytes,
    &[],
    "Memory of the process that serves the model that is in RAM.",
)
.unprefixed()
.when(PROCESS_TOLD);

/// Address space.
pub static PROCESS_VIRTUAL_MEMORY_BYTES: Family = gauge(
    "process_virtual_memory_bytes",
    Unit::Bytes,
    &[],
    "Address space of the process that serves the model.",
)
.unprefixed()
.when(PROCESS_TOLD);

/// What the process may use.
pub static PROCESS_MEMORY_LIMIT_BYTES: Family = gauge(
    "process_memory_limit_bytes",
    Unit::Bytes,
    &[],
    "Memory that the control group of the process may use, the lowest limit above it included.",
)
.unprefixed()
.when("on Linux, where a control group limits memory");

/// Open file descriptors.
pub static PROCESS_OPEN_FDS: Family = gauge(
    "process_open_fds",
    Unit::Descriptors,
    &[],
    "File descriptors that the process has open.",
)
.unprefixed()
.when(PROCESS_TOLD);

/// Most file descriptors.
pub static PROCESS_MAX_FDS: Family =
    gauge("process_max_fds", Unit::Descriptors, &[], "File descriptors that the process may open.")
        .unprefixed()
        .when(PROCESS_TOLD);

/// Threads.
pub static PROCESS_THREADS: Family =
    gauge("process_threads", Unit::Threads, &[], "Threads of the process.")
        .unprefixed()
        .when(LINUX);

/// Start.
pub static PROCESS_START_TIME_SECONDS: Family = gauge(
    "process_start_time_seconds",
    Unit::Seconds,
    &[],
    "Unix time at which the process started.",
)
.unprefixed()
.when(PROCESS_TOLD);

// === The process that watches another one ===

/// Processor time.
pub static INFERMETER_PROCESS_CPU_SECONDS_TOTAL: Family = observer(
    "infermeter_process_cpu_seconds_total",
    &PROCESS_CPU_SECONDS_TOTAL,
    "Processor time of infermeter, user and system.",
);

/// Memory that is in RAM.
pub static INFERMETER_PROCESS_RESIDENT_MEMORY_BYTES: Family = observer(
    "infermeter_process_resident_memory_bytes",
    &PROCESS_RESIDENT_MEMORY_BYTES,
    "Memory of infermeter that is in RAM.",
);

/// Address space.
pub static INFERMETER_PROCESS_VIRTUAL_MEMORY_BYTES: Family = observer(
    "infermeter_process_virtual_memory_bytes",
    &PROCESS_VIRTUAL_MEMORY_BYTES,
    "Address space of infermeter.",
);

/// What it may use.
pub static INFERMETER_PROCESS_MEMORY_LIMIT_BYTES: Family = observer(
    "infermeter_process_memory_limit_bytes",
    &PROCESS_MEMORY_LIMIT_BYTES,
    "Memory that the control group of infermeter may use, the lowest limit above it included.",
)
.when("on Linux, in the proxy and the exporter, where a control group limits memory");

/// Open file descriptors.
pub static INFERMETER_PROCESS_OPEN_FDS: Family = observer(
    "infermeter_process_open_fds",
    &PROCESS_OPEN_FDS,
    "File descriptors that infermeter has open.",
);

/// Most file descriptors.
pub static INFERMETER_PROCESS_MAX_FDS: Family = observer(
    "infermeter_process_max_fds",
    &PROCESS_MAX_FDS,
    "File descriptors that infermeter may open.",
);

/// Threads.
pub static INFERMETER_PROCESS_THREADS: Family =
    observer("infermeter_process_threads", &PROCESS_THREADS, "Threads of infermeter.");

/// Start.
pub static INFERMETER_PROCESS_START_TIME_SECONDS: Family = observer(
    "infermeter_process_start_time_seconds",
    &PROCESS_START_TIME_SECONDS,
    "Unix time at which infermeter started.",
);

// === Self ===

/// What was built: always 1.
pub static BUILD_INFO: Family = gauge(
    "infermeter_build_info",
    Unit::Info,
    &[label::VERSION, label::RUSTC, label::FEATURES],
    "Always 1, with the version of infermeter, its compiler and its features as labels.",
)
.unprefixed();

/// Label values that a cap turned into `other`.
pub static LABEL_OVERFLOW_TOTAL: Family = counter(
    "infermeter_label_overflow_total",
    Unit::Values,
    &[label::LABEL],
    "Label values that a cap turned into other, by label.",
)
.unprefixed();

/// Measured responses that passed through unread.
pub static UNREAD_BODIES_TOTAL: Family = counter(
    "infermeter_unread_bodies_total",
    Unit::Bodies,
    &[label::REASON],
    "Measured responses whose body passed through unread and for which the handler gave no counts \
     either.",
)
.unprefixed();

/// Observations that were no usable number.
pub static OBSERVATIONS_DROPPED_TOTAL: Family = counter(
    "infermeter_observations_dropped_total",
    Unit::Observations,
    &[label::REASON],
    "Readings of an engine or a source that were not published because they cannot be.",
)
.unprefixed();

/// How long the page took to put together.
pub static SCRAPE_DURATION_SECONDS: Family = gauge(
    "infermeter_scrape_duration_seconds",
    Unit::Seconds,
    &[],
    "Time from the start of collecting the last page to the end of rendering it.",
)
.unprefixed();

/// How many series the page has.
pub static SERIES: Family =
    gauge("infermeter_series", Unit::Series, &[], "Time series on the page.").unprefixed();

/// What the engine counted beyond what was counted here.
pub static TOKEN_DRIFT_TOTAL: Family = counter(
    "infermeter_token_drift_total",
    Unit::Tokens,
    &[label::MODEL_NAME, label::KIND],
    "Tokens in the engine's own counters beyond those counted here, compared while no request is in \
     flight.",
)
.unprefixed()
.when("in front of vLLM, SGLang or llama.cpp, once no request was in flight for two looks");

// === impl Kind ===

impl Kind {
    /// The word after `# TYPE`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

// === impl Unit ===

impl Unit {
    /// The unit in lower case, such as `seconds`; `info` where the labels are all there is.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Seconds => "seconds",
            Self::Tokens => "tokens",
            Self::Requests => "requests",
            Self::Bodies => "bodies",
            Self::Choices => "choices",
            Self::Values => "values",
            Self::Observations => "observations",
            Self::Series => "series",
            Self::Ratio => "ratio",
            Self::Blocks => "blocks",
            Self::Bytes => "bytes",
            Self::Events => "events",
            Self::Descriptors => "descriptors",
            Self::Threads => "threads",
            Self::Devices => "devices",
            Self::Watts => "watts",
            Self::Joules => "joules",
            Self::Celsius => "celsius",
            Self::Hertz => "hertz",
            Self::Bool => "bool",
            Self::Info => "info",
        }
    }
}

// === impl Family ===

const fn counter(
    name: &'static str,
    unit: Unit,
    labels: &'static [&'static str],
    help: &'static str,
) -> Family {
    Family {
        name,
        prefixed: true,
        alias: None,
        kind: Kind::Counter,
        unit,
        help,
        labels,
        buckets: None,
        presence: Presence::Always,
    }
}

const fn gauge(
    name: &'static str,
    unit: Unit,
    labels: &'static [&'static str],
    help: &'static str,
) -> Family {
    let mut family = counter(name, unit, labels, help);
    family.kind = Kind::Gauge;
    family
}

/// A family of the process that watches, and the one that it has of the process that is watched.
const fn observer(name: &'static str, of: &Family, help: &'static str) -> Family {
    let mut family = counter(name, of.unit, of.labels, help).unprefixed().when(OBSERVER);
    family.kind = of.kind;
    family
}

const fn histogram(
    name: &'static str,
    unit: Unit,
    buckets: &'static [f64],
    help: &'static str,
) -> Family {
    let mut family = counter(name, unit, MODEL, help);
    family.kind = Kind::Histogram;
    family.buckets = Some(buckets);
    family
}

impl Family {
    const fn unprefixed(mut self) -> Self {
        self.prefixed = false;
        self
    }

    const fn alias(mut self, name: &'static str) -> Self {
        self.alias = Some(name);
        self
    }

    const fn labels(mut self, labels: &'static [&'static str]) -> Self {
        self.labels = labels;
        self
    }

    const fn when(mut self, condition: &'static str) -> Self {
        self.presence = Presence::When(condition);
        self
    }
}

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
        let sources = [include_str!("names.rs"), include_str!("names/gpu.rs")];
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
