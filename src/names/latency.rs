//! The families of times and sizes: histograms, each of a request's or a step's.

use super::{
    buckets,
    family::{Family, Unit, histogram},
    label,
};

const REQUEST_TOLD: &str = "once a request was read that says so, by the proxy or your service";
const START_KNOWN: &str = "always in a server; of an engine elsewhere, where it has such a \
    histogram or tells the start of a request with its answer";
const ENGINE_TOLD: &str = "once the engine has told";

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
