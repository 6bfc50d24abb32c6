//! The families of an engine's state, and of the sources that tell it.

use super::{
    family::{Family, STATE, Unit, counter, gauge},
    label,
};

const KV_TOLD: &str = "once the engine has told of its KV cache";
const ENGINE_TOLD: &str = "once the engine has told";

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
