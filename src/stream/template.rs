//! Knows a plain content event again, without framing or parsing it.
//!
//! The events of one stream differ in one JSON text only. What stands before and after that text in
//! an event that was read is kept, up to and with the empty line at its end; bytes that go on in
//! the same way are another content event of the same choice and hold nothing else. Anything else
//! is read.

use std::{mem, ops::Range};

use super::partial::MAX_EVENT;

/// Shapes kept: choices take turns, and reasoning turns into an answer.
const MAX_TEMPLATES: usize = 4;

/// A shape longer than this is not worth keeping.
const MAX_LENGTH: usize = 16 * 1024;

#[derive(Debug, Default)]
pub(super) struct Templates {
    /// The one that matched last, and most likely the next to match.
    last: Template,
    others: Vec<Template>,
    /// Of the others, the one that gives way next.
    oldest: usize,
}

/// One that was never set knows nothing.
#[derive(Debug, Default)]
struct Template {
    choice: usize,
    /// What stands around the text. NB: in one piece, which is as a rule in no cache when an event comes.
    shape: Vec<u8>,
    /// The length of what stands before the text: up to and with the opening quote.
    head: usize,
}

// === impl Templates ===

impl Templates {
    /// Whether `bytes` begin with a plain content event: its choice and its length.
    pub(super) fn find(&mut self, bytes: &[u8]) -> Option<(usize, usize)> {
        let Self { last, others, .. } = self;
        if let Some(length) = last.length(bytes) {
            return Some((last.choice, length));
        }
        let (next, length) = others.iter_mut().find_map(|other| {
            let length = other.length(bytes)?;
            Some((other, length))
        })?;
        mem::swap(last, next);
        Some((last.choice, length))
    }

    /// Keeps the shape of `event`, in which only the JSON text at `text` will vary.
    pub(super) fn learn(&mut self, choice: usize, event: &[u8], text: Range<usize>) {
        // NB: after a CR, an LF could still follow.
        if text.len() < 2 || event.len() > MAX_LENGTH || !event.ends_with(b"\n") {
            return;
        }
        let Self { last, others, oldest } = self;
        if !last.shape.is_empty() {
            if others.len() + 1 < MAX_TEMPLATES {
                *oldest = others.len();
                others.push(Template::default());
            }
            mem::swap(last, &mut others[*oldest]);
            *oldest = (*oldest + 1) % others.len();
        }
        last.set(choice, &event[..=text.start], &event[text.end - 1..]);
    }
}

// === impl Template ===

impl Template {
    /// NB: keeps its buffers, so that a stream in which no shape comes again does not allocate.
    fn set(&mut self, choice: usize, head: &[u8], tail: &[u8]) {
        self.choice = choice;
        self.head = head.len();
        self.shape.clear();
        self.shape.extend_from_slice(head);
        self.shape.extend_from_slice(tail);
    }

    fn length(&self, bytes: &[u8]) -> Option<usize> {
        let (head, tail) = self.shape.split_at(self.head);
        let rest = bytes.strip_prefix(head)?;
        // NB: no text between the two is no content, so it is left to the format.
        let text = text_length(rest).filter(|text| *text > 0)?;
        let length = self.shape.len() + text;
        let is_known = !tail.is_empty() && length <= MAX_EVENT && rest[text..].starts_with(tail);
        is_known.then_some(length)
    }
}

/// How far it is to the closing quote of a JSON text; `None` where it is not a valid one.
fn text_length(bytes: &[u8]) -> Option<usize> {
    let (mut at, mut is_ascii) = (0, true);
    loop {
        if let Some(eight) = bytes[at..].first_chunk() {
            let (plain, are_ascii) = plain_of(*eight);
            at += plain;
            is_ascii &= are_ascii;
            if plain == eight.len() {
                continue;
            }
        }
        match *bytes.get(at)? {
            b'"' => break,
            b'\\' => at += escape_length(&bytes[at + 1..])?,
            // Not allowed in a JSON text; a line end here ends the event.
            ..b' ' => return None,
            byte => {
                is_ascii &= byte.is_ascii();
                at += 1;
            }
        }
    }
    (is_ascii || std::str::from_utf8(&bytes[..at]).is_ok()).then_some(at)
}

/// How many of eight bytes come before the first one that means something in a JSON text, and whether
/// those are ASCII.
///
/// NB: all at once. A byte less a smaller one borrows from the next, so what is found behind the first
/// one may be none.
fn plain_of(eight: [u8; 8]) -> (usize, bool) {
    const ONES: u64 = u64::MAX / 0xff;
    const HIGHEST: u64 = ONES << 7;

    let eight = u64::from_le_bytes(eight);
    let less = |bytes: u64, than: u8| bytes.wrapping_sub(ONES * u64::from(than)) & !bytes;
    let is = |byte: u8| less(eight ^ (ONES * u64::from(byte)), 1);
    let special = (is(b'"') | is(b'\\') | less(eight, b' ')) & HIGHEST;
    let plain = special.trailing_zeros() / u8::BITS;
    let behind = u64::MAX.checked_shl(plain * u8::BITS).unwrap_or(0);
    (plain as usize, eight & HIGHEST & !behind == 0)
}

/// How long an escape is, its backslash included, by what follows that.
fn escape_length(bytes: &[u8]) -> Option<usize> {
    match bytes {
        [b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => Some(2),
        [b'u', hex @ ..] if hex.get(..4)?.iter().all(u8::is_ascii_hexdigit) => Some(6),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::{array, prelude::*, sample::select};

    use super::*;

    const EVENT: &str = "data: {\"choices\":[{\"text\":\"a\",\"finish_reason\":null}]}\n\n";

    fn learn(templates: &mut Templates, choice: usize, event: &str) {
        let at = event.find("\"a\"").unwrap();
        templates.learn(choice, event.as_bytes(), at..at + 3);
    }

    fn learned(event: &str) -> Templates {
        let mut templates = Templates::default();
        learn(&mut templates, 3, event);
        templates
    }

    #[test]
    fn only_the_text_may_vary() {
        let event = |text: &str| EVENT.replace("\"a\"", text);
        for (bytes, is_known) in [
            (event(r#""b""#), true),
            (event(r#""say \"x\" \\""#), true),
            (event(r#""""#), false),
            (event(r#""b","x":"c""#), false),
            (event(r#""b\""#), false),
            (event(r#""b\\","x":"c""#), false),
            (event("\"b\n\nc\""), false),
            (event("\"b\\\nc\""), false),
            (EVENT.replace("null", "\"stop\""), false),
            (EVENT.trim_end().to_owned(), false),
            ("data: [DONE]\n\n".to_owned(), false),
            (String::new(), false),
        ] {
            let expected = is_known.then_some((3, bytes.len()));
            assert_eq!(learned(EVENT).find(bytes.as_bytes()), expected, "{bytes}");
            // Whatever follows is another event.
            let more = format!("{bytes}data: [DONE]");
            assert_eq!(learned(EVENT).find(more.as_bytes()), expected, "{more}");
        }
    }

    proptest! {
        #[test]
        fn eight_at_once_are_what_they_are_one_by_one(
            eight in array::uniform8(select(&b"\0\x1f !\"#[\\]a\x7f\x80\xa2\xdc\xff"[..])),
        ) {
            let is_special = |byte: &u8| matches!(byte, b'"' | b'\\' | ..b' ');
            let plain = eight.iter().position(is_special).unwrap_or(8);
            prop_assert_eq!(plain_of(eight), (plain, eight[..plain].is_ascii()));
        }
    }

    #[test]
    fn an_event_whose_end_may_go_on_is_not_kept() {
        let crlf = EVENT.replace('\n', "\r\n");
        assert!(learned(&crlf).find(crlf.as_bytes()).is_some());
        let cr = EVENT.replace('\n', "\r");
        assert_eq!(learned(&cr).find(cr.as_bytes()), None);
    }

    #[test]
    fn shapes_are_bounded() {
        let mut templates = Templates::default();
        for i in 0..20 {
            let event = EVENT.replace("choices", &format!("choices{i}"));
            learn(&mut templates, i, &event);
            assert_eq!(templates.find(event.as_bytes()), Some((i, event.len())));
        }
        assert_eq!(templates.others.len(), MAX_TEMPLATES - 1);
        let long = EVENT.replace("choices", &"x".repeat(MAX_LENGTH));
        learn(&mut templates, 99, &long);
        assert_eq!(templates.find(long.as_bytes()), None);
    }
}
