//! What a request says of the answer that it wants.

use std::{borrow::Cow, ops::Range};

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::place;

/// A request, as far as the proxy reads it.
///
/// A member of an unexpected type costs itself. What more than one reading could be made of (the
/// same member twice) is not read at all: an engine may take the other one.
#[derive(Debug)]
pub(in crate::proxy) struct Request<'a> {
    /// As it stands there, whatever its length.
    pub(in crate::proxy) model: Option<Cow<'a, str>>,
    pub(in crate::proxy) stream: Option<bool>,
    /// `max_completion_tokens`, else `max_tokens`.
    pub(in crate::proxy) max_tokens: Option<u64>,
    pub(in crate::proxy) n: Option<u64>,
    /// Where its members begin.
    pub(super) inside: usize,
    pub(super) options: Options,
}

/// What `stream_options` is, and where.
#[derive(Debug, PartialEq)]
pub(super) enum Options {
    Missing,
    Null(Range<usize>),
    Object {
        /// Where its members begin.
        inside: usize,
        is_empty: bool,
        include: Switch,
        running: Switch,
    },
    /// Nothing that can be added to.
    Odd,
}

/// What a member that is true or false is, and where.
#[derive(Debug, PartialEq)]
pub(super) enum Switch {
    Missing,
    /// `false`, or `null`, which is the same.
    Off(Range<usize>),
    On,
}

type Raw<'a> = Option<&'a RawValue>;

#[derive(Deserialize)]
struct Members<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    model: Raw<'a>,
    #[serde(borrow, default, deserialize_with = "present")]
    stream: Raw<'a>,
    #[serde(borrow, default, deserialize_with = "present")]
    stream_options: Raw<'a>,
    #[serde(borrow, default, deserialize_with = "present")]
    max_tokens: Raw<'a>,
    #[serde(borrow, default, deserialize_with = "present")]
    max_completion_tokens: Raw<'a>,
    #[serde(borrow, default, deserialize_with = "present")]
    n: Raw<'a>,
}

#[derive(Deserialize)]
struct OptionMembers<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    include_usage: Raw<'a>,
    #[serde(borrow, default, deserialize_with = "present")]
    continuous_usage_stats: Raw<'a>,
}

// === impl Request ===

impl<'a> Request<'a> {
    /// `None` where nothing can be said of it.
    pub(in crate::proxy) fn read(body: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(body).ok()?;
        let members: Members<'a> = object(text)?;
        let Members { model, stream, stream_options, max_tokens, max_completion_tokens, n } =
            members;
        let completion = max_completion_tokens.filter(|raw| raw.get() != "null");
        Some(Self {
            model: model.and_then(string),
            stream: stream.and_then(|raw| raw.get().parse().ok()),
            max_tokens: completion.or(max_tokens).and_then(count),
            n: n.and_then(count),
            inside: text.find('{')? + 1,
            options: Options::read(text, stream_options).unwrap_or(Options::Odd),
        })
    }
}

// === impl Options ===

impl Options {
    fn read(text: &str, raw: Raw<'_>) -> Option<Self> {
        let Some(options) = raw.map(RawValue::get) else { return Some(Self::Missing) };
        let place = place(text, options)?;
        if options == "null" {
            return Some(Self::Null(place));
        }
        let OptionMembers { include_usage, continuous_usage_stats } = object(options)?;
        Some(Self::Object {
            inside: place.start + 1,
            is_empty: options[1..].trim_start().starts_with('}'),
            include: Switch::read(text, include_usage)?,
            running: Switch::read(text, continuous_usage_stats)?,
        })
    }
}

// === impl Switch ===

impl Switch {
    fn read(text: &str, raw: Raw<'_>) -> Option<Self> {
        match raw.map(RawValue::get) {
            None => Some(Self::Missing),
            Some("true") => Some(Self::On),
            Some(off @ ("false" | "null")) => Some(Self::Off(place(text, off)?)),
            // NB: engines take a 1 or a "true" too, each as it likes.
            Some(_) => None,
        }
    }
}

/// NB: without this a `null` is taken for a missing member.
fn present<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Raw<'a>, D::Error> {
    <&'a RawValue>::deserialize(deserializer).map(Some)
}

/// An object; `None` for what is none (a list of values would do for serde).
fn object<'a, T: Deserialize<'a>>(text: &'a str) -> Option<T> {
    text.trim_ascii_start().starts_with('{').then(|| serde_json::from_str(text).ok())?
}

fn string(raw: &RawValue) -> Option<Cow<'_, str>> {
    let text = raw.get();
    serde_json::from_str(text)
        .map(Cow::Borrowed)
        .or_else(|_| serde_json::from_str(text).map(Cow::Owned))
        .ok()
}

fn count(raw: &RawValue) -> Option<u64> {
    raw.get().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Request<'_> {
        Request::read(text.as_bytes()).unwrap()
    }

    #[test]
    fn what_it_says() {
        let request = read(
            r#" {"n": 2, "model":"a\/b", "messages":[{"model":"x","stream":false}],
                "stream" : true, "max_tokens": 7, "max_completion_tokens":9, "n2":[]} "#,
        );
        assert_eq!(request.model.as_deref(), Some("a/b"));
        assert_eq!(request.stream, Some(true));
        assert_eq!((request.max_tokens, request.n), (Some(9), Some(2)));
        assert_eq!((request.inside, request.options), (2, Options::Missing));

        let request = read(r#"{"max_tokens":7,"max_completion_tokens":null,"model":"m"}"#);
        assert_eq!((request.stream, request.max_tokens, request.n), (None, Some(7), None));
        assert!(matches!(request.model, Some(Cow::Borrowed("m"))));
        assert!(read("{}").model.is_none());
    }

    #[test]
    fn a_member_of_another_type_costs_itself() {
        let request = read(
            r#"{"model":["m"],"stream":"true","n":null,"max_tokens":-1,"stream_options":true}"#,
        );
        assert!(request.model.is_none() && request.stream.is_none());
        assert!(request.n.is_none() && request.max_tokens.is_none());
        assert_eq!(request.options, Options::Odd);
        // Half of a surrogate pair.
        assert!(read(r#"{"model":"\ud800"}"#).model.is_none());
    }

    #[test]
    fn what_is_odd_is_not_read() {
        for odd in [
            "",
            " ",
            "null",
            "[]",
            r#"["m",true,null,1,1,1]"#,
            "\u{feff}{}",
            "{} x",
            "{}{}",
            "{",
            r#"{"model":"m""#,
            r#"{"model":"m",}"#,
            r#"{"model":"m","model":"m"}"#,
            r#"{"stream":true,"x":1,"str\u0065am":true}"#,
            r#"{"n":1,"n":1}"#,
            r#"{"stream_options":null,"stream_options":{}}"#,
        ] {
            assert!(Request::read(odd.as_bytes()).is_none(), "{odd:?}");
        }
        assert!(Request::read(b"{\"model\":\"\xff\"}").is_none());
        // What is not read may be there as often as it likes.
        assert_eq!(read(r#"{"a":1,"a":2,"n":3}"#).n, Some(3));
        let twice = r#"{"stream_options":{"include_usage":true,"include_us\u0061ge":true},"n":3}"#;
        assert_eq!((read(twice).options, read(twice).n), (Options::Odd, Some(3)));
    }

    #[test]
    fn depth_does_no_harm() {
        let depth = 10_000;
        let deep = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let text = format!(r#"{{"a":{deep},"model":{deep},"stream_options":{deep},"n":4}}"#);
        let request = read(&text);
        assert_eq!((request.n, request.model, request.options), (Some(4), None, Options::Odd));
        let text = format!(r#"{{"stream_options":{{"x":{deep}}}}}"#);
        assert!(matches!(read(&text).options, Options::Object { is_empty: false, .. }));
        assert!(Request::read("{\"a\":".repeat(depth).as_bytes()).is_none());
    }
}
