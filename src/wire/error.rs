//! What an `error` in a body says.

use serde::Deserialize;

use super::{
    ErrorKind,
    json::{Raw, is_filled, object, parse, word},
};

#[derive(Deserialize)]
struct RawError<'a> {
    #[serde(borrow)]
    code: Raw<'a>,
    #[serde(borrow, rename = "type")]
    kind: Raw<'a>,
    #[serde(borrow)]
    message: Raw<'a>,
}

/// How vLLM's message begins, in every format that it speaks.
const VLLM_TOO_LONG: &str = "This model's maximum context length is ";

/// Reads an error, an object or a text; `null` and an empty one are none.
///
/// `sentence` is how the message of a format begins that has no code for a prompt that does not fit
/// the context.
pub(super) fn kind(raw: Raw<'_>, sentence: Option<&str>) -> Option<ErrorKind> {
    let raw = raw.filter(|raw| is_filled(raw))?;
    let error = object::<RawError<'_>>(Some(raw));
    Some(error.map_or(ErrorKind::Other, |error| error.kind(sentence)))
}

/// Reads an event that is an error itself; `None` for what is no object.
pub(super) fn kind_of(data: &[u8]) -> Option<ErrorKind> {
    parse::<RawError<'_>>(data).map(|error| error.kind(None))
}

// === impl RawError ===

impl RawError<'_> {
    fn kind(&self, sentence: Option<&str>) -> ErrorKind {
        let names_it = |field: Raw<'_>| {
            matches!(
                field.and_then(word),
                Some("context_length_exceeded" | "exceed_context_size_error")
            )
        };
        let message = self.message.and_then(word).unwrap_or_default();
        let mut sentences = [Some(VLLM_TOO_LONG), sentence].into_iter().flatten();
        let begins_so = sentences.any(|sentence| message.starts_with(sentence));
        if begins_so || names_it(self.code) || names_it(self.kind) {
            ErrorKind::ContextLength
        } else {
            ErrorKind::Other
        }
    }
}
