//! What an `error` in a body means.

use serde::Deserialize;

use super::{
    ErrorDetails, ErrorKind, Facts,
    details::{of_body, of_member},
    json::{Raw, is_filled, object, parse, word},
};

/// An error that a body tells of.
#[derive(Clone, Debug)]
pub(super) struct Error {
    kind: ErrorKind,
    details: Option<Box<ErrorDetails>>,
}

/// The error that a body told of first, if any did.
#[derive(Clone, Debug, Default)]
pub(super) struct FirstError(Option<Error>);

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
pub(super) fn member(raw: Raw<'_>, sentence: Option<&str>) -> Option<Error> {
    let raw = raw.filter(|raw| is_filled(raw))?;
    let error = object::<RawError<'_>>(Some(raw));
    let kind = error.map_or(ErrorKind::Other, |error| error.kind(sentence));
    Some(Error { kind, details: of_member(Some(raw), None) })
}

/// The same where its type stands beside it.
pub(super) fn member_beside(raw: Raw<'_>, kind: Raw<'_>) -> Option<Error> {
    let raw = raw.filter(|raw| is_filled(raw))?;
    Some(Error { kind: ErrorKind::Other, details: of_member(Some(raw), kind) })
}

/// Reads an event that is an error itself, whatever is in it.
pub(super) fn event(data: &[u8]) -> Error {
    let error = parse::<RawError<'_>>(data);
    let kind = error.map_or(ErrorKind::Other, |error| error.kind(None));
    Error { kind, details: of_body(data) }
}

// === impl Error ===

impl Error {
    /// One that nothing more is told of.
    pub(super) const fn untold() -> Self {
        Self { kind: ErrorKind::Other, details: None }
    }
}

// === impl FirstError ===

impl FirstError {
    pub(super) const fn is_none(&self) -> bool {
        self.0.is_none()
    }

    /// Takes an error, unless there was one before.
    #[inline]
    pub(super) fn or(&mut self, told: impl FnOnce() -> Option<Error>) {
        if self.0.is_none() {
            self.0 = told();
        }
    }

    /// The same facts, with the error.
    pub(super) fn told_in(&self, facts: Facts) -> Facts {
        let Some(Error { kind, details }) = &self.0 else { return facts };
        Facts { error: Some(*kind), error_details: details.clone(), ..facts }
    }
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

#[cfg(test)]
mod tests {
    use crate::wire::{ErrorDetails, Event, Wire};

    /// What each format says of an error; a name is that of an event, and without one it is a whole
    /// answer.
    #[test]
    fn every_format_tells_what_an_error_says() {
        let (openai, text) =
            (r#"{"error":{"message":"m","type":"t","code":7}}"#, r#"{"error":"m"}"#);
        let (all, message) = (["t", "7", "m"], ["", "", "m"]);
        let named = r#"{"code":7,"message":"m","type":"t"}"#;
        let anthropic = r#"{"type":"error","error":{"type":"t","message":"m"}}"#;
        let failed = r#"{"type":"response.failed","response":{"status":"failed","error":{"code":7,"message":"m"}}}"#;
        let tgi = r#"{"error":"m","error_type":"t"}"#;
        for (wire, event, data, expected) in [
            (Wire::openai(), Some(""), openai, all),
            (Wire::openai(), None, openai, all),
            (Wire::openai(), Some("error"), named, all),
            (Wire::completions(), Some(""), openai, all),
            (Wire::completions(), Some("error"), named, all),
            (Wire::anthropic(), Some("error"), anthropic, ["t", "", "m"]),
            (Wire::anthropic(), None, openai, all),
            (Wire::responses(), Some(""), failed, ["", "7", "m"]),
            (Wire::responses(), Some("error"), named, all),
            (Wire::responses(), None, openai, all),
            (Wire::gemini(), Some(""), openai, all),
            (Wire::gemini(), None, r#"[{"error":{"code":7,"message":"m","status":"t"}}]"#, all),
            (Wire::generate(), Some(""), tgi, ["t", "", "m"]),
            (Wire::generate(), None, tgi, ["t", "", "m"]),
            (Wire::generate(), Some(""), openai, all),
            (Wire::tgi(), Some(""), tgi, ["t", "", "m"]),
            (Wire::sglang(), Some(""), openai, all),
            (Wire::sglang(), None, text, message),
            (Wire::llamacpp(), Some("error"), named, all),
            (Wire::llamacpp(), Some(""), openai, all),
            (Wire::llamacpp(), None, openai, all),
            (Wire::ollama(), Some(""), text, message),
            (Wire::ollama(), None, text, message),
            (Wire::triton(), Some(""), text, message),
            (Wire::triton(), None, text, message),
            (Wire::prompt_only(), None, openai, all),
            // What cannot be read is an error all the same.
            (Wire::openai(), Some("error"), "oh", [""; 3]),
        ] {
            let mut format = wire.format().unwrap();
            match event {
                Some(name) => {
                    let event = Event { name: name.as_bytes(), data: data.as_bytes() };
                    format.event(event, &mut |_| {});
                }
                None => format.whole(data.as_bytes()),
            }
            let facts = format.facts();
            assert!(facts.error.is_some(), "{wire:?} {data}");
            let told = facts.error_details.unwrap_or_default();
            let ErrorDetails { r#type, code, message, .. } = &*told;
            let told = [r#type, code, message].map(|text| text.as_deref().unwrap_or_default());
            assert_eq!(told, expected, "{wire:?} {event:?} {data}");
        }
    }
}
