//! The families of the page itself.

use super::{
    family::{Family, Unit, counter, gauge},
    label,
};

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
