//! What an error says of itself, in whatever shape.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::json::{Raw, first, for_each, is_filled, object};

/// What the body of an answer says of an error.
///
/// Each text is cut (`message` at 1 KiB, the others at 128 bytes), and control characters in it are
/// spaces: none can break a line of a log. A format of your own keeps to that by itself.
///
/// NB: some engines repeat the prompt in a message.
///
/// ```
/// use http_body_util::BodyExt;
/// use infermeter::{stream::{ObservedBody, Summary}, wire::Wire};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let answer = r#"{"error":{"message":"busy","type":"overloaded_error","code":503}}"#;
/// let (tell, told) = std::sync::mpsc::channel();
/// let body = ObservedBody::new(answer.to_owned(), Wire::openai(), move |summary: Summary| {
///     tell.send(summary).ok();
/// });
/// body.collect().await.unwrap();
///
/// let error = told.recv().unwrap().error.unwrap();
/// assert_eq!(error.r#type.as_deref(), Some("overloaded_error"));
/// assert_eq!(error.code.as_deref(), Some("503"));
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ErrorDetails {
    /// What kind of error it is, such as `invalid_request_error`; Gemini's `status`.
    pub r#type: Option<Box<str>>,
    /// Its code, also where that is a number.
    pub code: Option<Box<str>>,
    /// The member of the request that is wrong.
    pub param: Option<Box<str>>,
    /// What it says, for people.
    pub message: Option<Box<str>>,
}

/// The body of an error: the error is a member of it, or all of it.
#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    error: Raw<'a>,
    /// TGI.
    #[serde(borrow)]
    error_type: Raw<'a>,
    /// FastAPI.
    #[serde(borrow)]
    detail: Raw<'a>,
    #[serde(borrow, rename = "type")]
    kind: Raw<'a>,
    #[serde(borrow)]
    code: Raw<'a>,
    #[serde(borrow)]
    param: Raw<'a>,
    #[serde(borrow)]
    message: Raw<'a>,
}

/// An `error` that is an object.
#[derive(Deserialize)]
struct Error<'a> {
    #[serde(borrow, rename = "type")]
    kind: Raw<'a>,
    #[serde(borrow)]
    status: Raw<'a>,
    #[serde(borrow)]
    code: Raw<'a>,
    #[serde(borrow)]
    param: Raw<'a>,
    #[serde(borrow)]
    message: Raw<'a>,
}

/// One of FastAPI's, where a request lacks something.
#[derive(Deserialize)]
struct Missing<'a> {
    #[serde(borrow, rename = "type")]
    kind: Raw<'a>,
    /// The way to it, member by member.
    #[serde(borrow)]
    loc: Raw<'a>,
    #[serde(borrow)]
    msg: Raw<'a>,
}

/// How many bytes of a message are kept.
pub(super) const MESSAGE: usize = 1024;

/// The same of all other texts.
pub(crate) const WORD: usize = 128;

/// Reads the body of an error, or the first of a list of them.
pub(crate) fn of_body(body: &[u8]) -> Option<Box<ErrorDetails>> {
    first::<Body<'_>>(body)?.read()
}

/// Reads the member `error`; `kind` is what stands beside it, where that is so.
pub(super) fn of_member(error: Raw<'_>, kind: Raw<'_>) -> Option<Box<ErrorDetails>> {
    let told = match object::<Error<'_>>(error) {
        Some(Error { kind: own, status, code, param, message }) => {
            ErrorDetails::read(own.or(status).or(kind), code, param, message)
        }
        None => ErrorDetails::read(kind, None, None, error),
    };
    told.boxed()
}

/// A text without control characters, cut to so many bytes; `None` where nothing is left.
pub(crate) fn bounded(text: &str, limit: usize) -> Option<Box<str>> {
    let fits = |(at, c): &(usize, char)| at + c.len_utf8() <= limit;
    let breaks = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    let kept = text.char_indices().take_while(fits).map(|(_, c)| if breaks(c) { ' ' } else { c });
    // NB: nearly all are an id, which each request has.
    let is_kept = text.len() <= limit && text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    let kept = if is_kept { text.to_owned() } else { kept.collect() };
    (!kept.trim().is_empty()).then(|| kept.into_boxed_str())
}

// === impl Body ===

impl Body<'_> {
    fn read(self) -> Option<Box<ErrorDetails>> {
        let Self { error, error_type, detail, kind, code, param, message } = self;
        let is_there = |raw: Raw<'_>| raw.is_some_and(is_filled);
        if is_there(error) {
            return of_member(error, error_type);
        }
        if is_there(detail) {
            return of_detail(detail);
        }
        // NB: events say there that they are an error.
        let kind = kind.filter(|kind| kind.get() != "\"error\"");
        ErrorDetails::read(kind, code, param, message).boxed()
    }
}

fn of_detail(detail: Raw<'_>) -> Option<Box<ErrorDetails>> {
    let mut missing: Option<Missing<'_>> = None;
    for_each(detail, |raw: &RawValue| missing = missing.take().or_else(|| object(Some(raw))));
    let Some(Missing { kind, loc, msg }) = missing else { return of_member(detail, None) };
    let mut way = String::new();
    for_each(loc, |raw: &RawValue| {
        if let Some(member) = text(raw).filter(|_| way.len() < WORD) {
            way.push_str(if way.is_empty() { "" } else { "." });
            way.push_str(&member);
        }
    });
    let told = ErrorDetails::read(kind, None, None, msg);
    ErrorDetails { param: bounded(&way, WORD), ..told }.boxed()
}

/// A text or a number.
fn text(raw: &RawValue) -> Option<Cow<'_, str>> {
    match raw.get().as_bytes().first()? {
        b'"' => serde_json::from_str(raw.get()).map(Cow::Owned).ok(),
        b'-' | b'0'..=b'9' => Some(Cow::Borrowed(raw.get())),
        _ => None,
    }
}

// === impl ErrorDetails ===

impl ErrorDetails {
    fn read(kind: Raw<'_>, code: Raw<'_>, param: Raw<'_>, message: Raw<'_>) -> Self {
        let read = |raw: Raw<'_>, limit| bounded(&text(raw?)?, limit);
        Self {
            r#type: read(kind, WORD),
            code: read(code, WORD),
            param: read(param, WORD),
            message: read(message, MESSAGE),
        }
    }

    fn boxed(self) -> Option<Box<Self>> {
        (self != Self::default()).then(|| Box::new(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Type, code, param, message; empty where it was not told.
    fn read(body: &str) -> [String; 4] {
        let ErrorDetails { r#type, code, param, message } =
            of_body(body.as_bytes()).map(|details| *details).unwrap_or_default();
        [r#type, code, param, message].map(|text| text.unwrap_or_default().into())
    }

    #[test]
    fn every_shape_is_read() {
        for (body, expected) in [
            (
                r#"{"error":{"message":"m","type":"t","param":"p","code":"c"}}"#,
                ["t", "c", "p", "m"],
            ),
            // vLLM; null is not told.
            (
                r#"{"error":{"message":"m","type":"BadRequestError","param":null,"code":400}}"#,
                ["BadRequestError", "400", "", "m"],
            ),
            // vLLM before that.
            (
                r#"{"object":"error","message":"m","type":"NotFoundError","param":null,"code":404}"#,
                ["NotFoundError", "404", "", "m"],
            ),
            // FastAPI.
            (r#"{"detail":"Not Found"}"#, ["", "", "", "Not Found"]),
            (
                r#"{"detail":[{"type":"missing","loc":["body","messages",0,"role"],"msg":"Field required","input":{"my":"prompt"}},{"type":"x"}]}"#,
                ["missing", "", "body.messages.0.role", "Field required"],
            ),
            (r#"{"detail":{"type":"t","message":"m"}}"#, ["t", "", "", "m"]),
            // Ollama, Triton.
            (r#"{"error":"no such model"}"#, ["", "", "", "no such model"]),
            // TGI.
            (
                r#"{"error":"Model is overloaded","error_type":"overloaded"}"#,
                ["overloaded", "", "", "Model is overloaded"],
            ),
            // Gemini, also as a list.
            (
                r#"{"error":{"code":404,"message":"m","status":"NOT_FOUND"}}"#,
                ["NOT_FOUND", "404", "", "m"],
            ),
            (
                r#"[{"error":{"code":404,"message":"m","status":"NOT_FOUND"}}]"#,
                ["NOT_FOUND", "404", "", "m"],
            ),
            // Anthropic.
            (
                r#"{"type":"error","error":{"type":"overloaded_error","message":"m"},"request_id":"r"}"#,
                ["overloaded_error", "", "", "m"],
            ),
            // Responses.
            (
                r#"{"type":"error","code":"server_error","message":"m","param":null}"#,
                ["", "server_error", "", "m"],
            ),
            // TEI at OpenAI's paths.
            (r#"{"message":"m","code":413,"type":"validation"}"#, ["validation", "413", "", "m"]),
        ] {
            assert_eq!(read(body), expected, "{body}");
        }
        for nothing in
            ["", "oh", "7", "[]", "{}", r#"{"error":null}"#, r#"{"error":""}"#, r#"{"error":{}}"#]
        {
            assert_eq!(of_body(nothing.as_bytes()), None, "{nothing}");
        }
        // What is of another type is not told, and costs nothing else.
        let odd = r#"{"error":{"message":{"a":1},"type":["t"],"param":true,"code":-1.5}}"#;
        assert_eq!(read(odd), ["", "-1.5", "", ""]);
    }

    #[test]
    fn texts_are_cut_and_cannot_break_a_line() {
        let long = "\u{e9}".repeat(2000);
        let body = format!(r#"{{"error":{{"message":"{long}","type":"{long}"}}}}"#);
        let [kind, _, _, message] = read(&body);
        assert_eq!((kind.len(), message.len()), (WORD, MESSAGE));
        assert!(long.starts_with(&kind) && long.starts_with(&message));
        let [_, _, _, message] = read(r#"{"error":"a\r\nb\u001b[2J\u0085\u2028c\"d"}"#);
        assert_eq!(message, "a  b [2J  c\"d");
        assert_eq!(bounded("x\u{1f600}", 4).as_deref(), Some("x"));
        assert_eq!(bounded("\n\t", 4), None);
    }
}
