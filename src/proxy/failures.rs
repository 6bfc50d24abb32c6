//! Tells the log of each request that has failed.

use tracing::Level;

use crate::{outcome::Outcome, record::Ended};

/// One event for a request that has failed, none for any other: what is not known is no field of
/// it.
///
/// NB: of what a client or an engine has written there is nothing in it but ids, and the names that
/// an error has. Engines repeat prompts in messages, so those have to be asked for.
pub(super) fn log(ended: &Ended, messages: bool) {
    let Outcome::Failure(reason) = ended.outcome else { return };
    let error = ended.error.as_deref();
    tracing::event!(
        name: "request_failed",
        target: "infermeter::request",
        Level::WARN,
        request_id = ended.request_id.as_deref(),
        traceparent = ended.traceparent.as_deref(),
        model = &*ended.model,
        upstream = ended.upstream.as_deref(),
        endpoint = &*ended.endpoint,
        tenant = ended.tenant.as_deref(),
        phase = ended.phase.label(),
        reason = reason.label(),
        status = ended.status.map(|status| status.as_u16()),
        error_type = error.and_then(|error| error.r#type.as_deref()),
        error_code = error.and_then(|error| error.code.as_deref()),
        error_param = error.and_then(|error| error.param.as_deref()),
        error_message = error.and_then(|error| error.message.as_deref()).filter(|_| messages),
        queue_seconds = ended.queue.map(|time| time.as_secs_f64()),
        ttft_seconds = ended.time_to_first_token.map(|time| time.as_secs_f64()),
        duration_seconds = ended.duration.as_secs_f64(),
        prompt_tokens = ended.usage.prompt,
        generated_tokens = ended.usage.completion,
        "request_failed"
    );
}
