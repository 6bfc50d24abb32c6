//! What was measured in all, in one line.

use std::fmt;

use infermeter::{
    Meter,
    names::{self, Family},
    record::{Collect, Readings, Value},
};

/// Sums over all models.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Summary {
    received: u64,
    success: u64,
    failure: u64,
    aborted: u64,
    prompt_tokens: u64,
    generated_tokens: u64,
}

// === impl Summary ===

impl Summary {
    pub(crate) fn of(meter: &Meter) -> Self {
        let readings = meter.collect();
        let sum = |family| sum(&readings, family);
        Self {
            received: sum(&names::REQUESTS_RECEIVED_TOTAL),
            success: sum(&names::REQUEST_SUCCESS_TOTAL),
            failure: sum(&names::REQUEST_FAILURE_TOTAL),
            aborted: sum(&names::REQUEST_ABORTED_TOTAL),
            prompt_tokens: sum(&names::PROMPT_TOKENS_TOTAL),
            generated_tokens: sum(&names::GENERATION_TOKENS_TOTAL),
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { received, success, failure, aborted, prompt_tokens, generated_tokens } = self;
        write!(
            f,
            "{received} requests: {success} success, {failure} failed, {aborted} aborted; \
             {prompt_tokens} prompt tokens, {generated_tokens} generated tokens"
        )
    }
}

fn sum(readings: &Readings, family: &Family) -> u64 {
    let families = readings.families.iter().filter(|readings| readings.family.name == family.name);
    let series = families.flat_map(|readings| &readings.series);
    series.map(|series| if let Value::Counter(n) = series.value { n } else { 0 }).sum()
}
