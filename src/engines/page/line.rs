//! The lines of a page.

use std::borrow::Cow;

/// How many labels a sample may have.
pub(super) const MOST_LABELS: usize = 128;

/// What stands between the parts of a line.
const BLANK: [char; 2] = [' ', '\t'];

/// A line with a value.
#[derive(Debug, PartialEq)]
pub(super) struct Sample<'a> {
    pub(super) name: &'a str,
    pub(super) labels: Vec<(&'a str, Cow<'a, str>)>,
    pub(super) value: f64,
    pub(super) text: &'a str,
}

/// What a line that begins with `#` says of a family.
#[derive(Debug, PartialEq)]
pub(super) enum Comment<'a> {
    Help(&'a str, &'a str),
    Type(&'a str, &'a str),
}

// === impl Comment ===

impl<'a> Comment<'a> {
    /// Reads what stands behind the `#`.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let (word, text) = word(text.trim_start_matches(BLANK))?;
        let (name, text) = word_or_all(text.trim_start_matches(BLANK));
        if !is_name(name) {
            return None;
        }
        match word {
            "HELP" => Some(Self::Help(name, text.strip_prefix(BLANK).unwrap_or(text))),
            "TYPE" => Some(Self::Type(name, text.trim_matches(BLANK))),
            _ => None,
        }
    }
}

// === impl Sample ===

impl<'a> Sample<'a> {
    pub(super) fn parse(line: &'a str) -> Option<Self> {
        let end = line.find(|c| !is_in_name(c)).unwrap_or(line.len());
        let (name, rest) = line.split_at(end);
        if !is_name(name) {
            return None;
        }
        let mut rest = rest.trim_start_matches(BLANK);
        let mut labels = Vec::new();
        if let Some(inside) = rest.strip_prefix('{') {
            rest = read_labels(inside, &mut labels)?.trim_start_matches(BLANK);
        }
        let (text, rest) = word_or_all(rest);
        let value = number(text)?;
        // A time stamp, and what OpenMetrics has behind it.
        let (stamp, rest) = word_or_all(rest.trim_start_matches(BLANK));
        let is_whole = match stamp {
            "" | "#" => true,
            _ => {
                let rest = rest.trim_start_matches(BLANK);
                number(stamp).is_some() && (rest.is_empty() || rest.starts_with('#'))
            }
        };
        // NB: a number that is too large for one is an error to some parsers.
        let text = match value {
            _ if value.is_nan() => "NaN",
            f64::INFINITY => "+Inf",
            f64::NEG_INFINITY => "-Inf",
            _ => text,
        };
        is_whole.then_some(Self { name, labels, value, text })
    }

    pub(super) fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(known, _)| *known == name).map(|(_, value)| &**value)
    }
}

/// Reads labels up to the `}`; what follows it is left.
fn read_labels<'a>(
    mut rest: &'a str,
    labels: &mut Vec<(&'a str, Cow<'a, str>)>,
) -> Option<&'a str> {
    loop {
        rest = rest.trim_start_matches(BLANK);
        if let Some(rest) = rest.strip_prefix('}') {
            return Some(rest);
        }
        let (name, after) = rest.split_once('=')?;
        let name = name.trim_end_matches(BLANK);
        let is_new = labels.iter().all(|(known, _)| *known != name);
        // NB: names that begin so are Prometheus' own, and some parsers refuse them.
        if !is_label(name) || name.starts_with("__") || !is_new || labels.len() == MOST_LABELS {
            return None;
        }
        let inside = after.trim_start_matches(BLANK).strip_prefix('"')?;
        let end = end_of(inside)?;
        labels.push((name, unescape(&inside[..end])));
        rest = inside[end + 1..].trim_start_matches(BLANK);
        rest = match rest.strip_prefix(',') {
            Some(rest) => rest,
            None if rest.starts_with('}') => rest,
            None => return None,
        };
    }
}

/// Where the `"` is that ends a value.
fn end_of(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    text.bytes().position(|byte| {
        let is_end = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        is_end
    })
}

/// An escape that is none stays as it is written.
pub(super) fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, if c == '\\' { chars.next() } else { None }) {
            ('\\', Some('n')) => plain.push('\n'),
            ('\\', Some(c @ ('\\' | '"'))) => plain.push(c),
            ('\\', Some(other)) => plain.extend(['\\', other]),
            (c, _) => plain.push(c),
        }
    }
    Cow::Owned(plain)
}

/// A number as all parsers read it.
pub(super) fn number(text: &str) -> Option<f64> {
    text.parse().ok()
}

fn is_in_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == ':'
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| !c.is_ascii_digit()) && text.chars().all(is_in_name)
}

fn is_label(text: &str) -> bool {
    is_name(text) && !text.contains(':')
}

/// The first word, and what follows it.
fn word(text: &str) -> Option<(&str, &str)> {
    let end = text.find(BLANK)?;
    Some(text.split_at(end))
}

fn word_or_all(text: &str) -> (&str, &str) {
    word(text).unwrap_or((text, ""))
}
