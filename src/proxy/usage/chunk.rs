//! What an event is: read from its bytes, with the places of what may be taken out or moved.

use std::{fmt, ops::Range};

use memchr::memmem::Finder;
use serde::{
    Deserialize, Deserializer as _,
    de::{IgnoredAny, MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::place;

/// Members that every event has, and those that only come with usage.
const OWN: [&str; 7] = ["id", "object", "created", "model", "choices", "usage", "metrics"];

/// Tells by its bytes what an event may be: most are not parsed.
#[derive(Debug)]
pub(super) struct Prefilter {
    usage: Finder<'static>,
    finish_reason: Finder<'static>,
}

/// A part of an answer. All places are places in the event.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) kind: Kind,
    /// Its object.
    pub(super) json: Range<usize>,
}

#[derive(Debug, PartialEq)]
pub(super) enum Kind {
    /// No choices, and usage.
    Usage,
    Choices {
        /// The member `usage`, with the comma that goes with it; where that is an object.
        usage: Option<Range<usize>>,
        /// A choice ends.
        finishes: bool,
    },
}

/// A top-level member.
#[derive(Debug)]
pub(super) struct Member<'a> {
    pub(super) name: &'a str,
    /// What stands between the one before it and its name; empty for the first.
    pub(super) separator: Range<usize>,
    /// Name and value.
    pub(super) text: Range<usize>,
}

#[derive(Deserialize)]
struct Parts<'a> {
    #[serde(borrow)]
    choices: &'a RawValue,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    error: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow)]
    finish_reason: Option<&'a RawValue>,
}

// === impl Prefilter ===

impl Default for Prefilter {
    fn default() -> Self {
        Self { usage: Finder::new("\"usage\""), finish_reason: Finder::new("\"finish_reason\"") }
    }
}

impl Prefilter {
    pub(super) fn has_usage(&self, event: &[u8]) -> bool {
        self.usage.find(event).is_some()
    }

    /// Whether a `finish_reason` may be more than null.
    pub(super) fn may_finish(&self, event: &[u8]) -> bool {
        let name = &self.finish_reason;
        name.find_iter(event).any(|at| {
            let value = event[at + name.needle().len()..].trim_ascii_start();
            value.strip_prefix(b":").is_some_and(|v| v.trim_ascii_start().starts_with(b"\""))
        })
    }
}

// === impl Chunk ===

impl Chunk {
    /// `None` for what is nothing that is taken out, held or changed.
    pub(super) fn read(event: &[u8], may_finish: bool) -> Option<Self> {
        let json = data(event)?;
        let text = std::str::from_utf8(&event[json.clone()]).ok()?;
        let Parts { choices, usage, error: None } = object(text)? else { return None };
        let choices = choices.get().strip_prefix('[')?;
        let usage = usage.map(RawValue::get).filter(|usage| usage.starts_with('{'));
        let kind = match (choices.trim_start() == "]", usage) {
            (true, None) => return None,
            (true, Some(_)) => Kind::Usage,
            (false, usage) => Kind::Choices {
                usage: match usage {
                    Some(usage) => Some(moved(member(text, usage)?, json.start)),
                    None => None,
                },
                finishes: may_finish && finishes(text)?,
            },
        };
        Some(Self { kind, json })
    }

    /// Where a further member can be written.
    pub(super) fn last(&self, event: &[u8]) -> usize {
        let inside = &event[self.json.start..self.json.end - 1];
        self.json.start + inside.trim_ascii_end().len()
    }

    /// The members that are not part of every event; none where they cannot be read.
    pub(super) fn further<'a>(&self, event: &'a [u8]) -> Vec<Member<'a>> {
        let mut members = self.members(event).unwrap_or_default();
        members.retain(|member| !OWN.contains(&member.name));
        members
    }

    fn members<'a>(&self, event: &'a [u8]) -> Option<Vec<Member<'a>>> {
        let text = std::str::from_utf8(&event[self.json.clone()]).ok()?;
        let (mut members, mut before) = (Vec::new(), None);
        let each = |name: &'a str, value: &'a RawValue| {
            let name_place = place(text, name)?;
            // The quotes are no part of it.
            let start = name_place.start - 1;
            let end = place(text, value.get())?.end;
            members.push(Member {
                name,
                separator: moved(before.replace(end).unwrap_or(start)..start, self.json.start),
                text: moved(start..end, self.json.start),
            });
            Some(())
        };
        let mut deserializer = serde_json::Deserializer::from_str(text);
        deserializer.deserialize_map(Each(each)).ok()?;
        Some(members)
    }
}

/// Calls a function with each member; one whose name is written with escapes is an error.
struct Each<F>(F);

impl<'a, F: FnMut(&'a str, &'a RawValue) -> Option<()>> Visitor<'a> for Each<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some((name, value)) = map.next_entry()? {
            let told = (self.0)(name, value);
            told.ok_or_else(|| serde::de::Error::custom("not from the text"))?;
        }
        Ok(())
    }
}

/// Where the object of an event is that has one data line.
fn data(event: &[u8]) -> Option<Range<usize>> {
    let (mut at, mut data) = (0, None);
    for line in event.split(|byte| matches!(byte, b'\n' | b'\r')) {
        if let Some(value) = line.strip_prefix(b"data:") {
            let start = at + (line.len() - value.trim_ascii_start().len());
            let place = start..start + value.trim_ascii().len();
            if data.replace(place).is_some() {
                return None;
            }
        }
        at += line.len() + 1;
    }
    data.filter(|place| event[place.clone()].starts_with(b"{"))
}

/// The member `usage` that has this value, with the comma before it; where it is the first, with
/// the one behind it.
fn member(text: &str, value: &str) -> Option<Range<usize>> {
    let value = place(text, value)?;
    let before = text[..value.start].trim_end().strip_suffix(':')?.trim_end();
    // NB: written with escapes it is another text.
    let before = before.strip_suffix("\"usage\"")?;
    if let Some(before) = before.trim_end().strip_suffix(',') {
        return Some(before.len()..value.end);
    }
    let after = &text[value.end..];
    let after = after.trim_start().strip_prefix(',').map_or(after, str::trim_start);
    Some(before.len()..text.len() - after.len())
}

fn finishes(text: &str) -> Option<bool> {
    #[derive(Deserialize)]
    struct Choices<'a> {
        #[serde(borrow)]
        choices: Vec<Choice<'a>>,
    }

    let Choices { choices } = object(text)?;
    // NB: TGI's is empty until the end.
    let ends = |choice: &Choice<'_>| {
        choice.finish_reason.is_some_and(|reason| !matches!(reason.get(), "null" | "\"\""))
    };
    Some(choices.iter().any(ends))
}

fn object<'a, T: Deserialize<'a>>(text: &'a str) -> Option<T> {
    text.starts_with('{').then(|| serde_json::from_str(text).ok())?
}

fn moved(place: Range<usize>, by: usize) -> Range<usize> {
    place.start + by..place.end + by
}
