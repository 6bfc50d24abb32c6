//! The families of requests and tokens: how many, and how they ended.

use super::{
    family::{Family, MODEL, Unit, counter},
    label,
};

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
