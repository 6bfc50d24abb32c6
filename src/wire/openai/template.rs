//! Knows a plain content event again without parsing it.
//!
//! The events of one stream differ in one JSON text only. What stands before and after that text in
//! an event that was parsed is kept; an event with the same bytes around a text is a content event
//! of the same choice and holds nothing else. Anything else is parsed.

/// Shapes kept: choices take turns, and reasoning turns into an answer.
const MAX_TEMPLATES: usize = 4;

/// A shape longer than this is not worth keeping.
const MAX_LENGTH: usize = 16 * 1024;

#[derive(Debug, Default)]
pub(super) struct Templates {
    known: Vec<Template>,
    /// The one that matched last, and most likely the next to match.
    last: usize,
}

#[derive(Debug)]
struct Template {
    choice: usize,
    /// Up to and with the opening quote.
    head: Box<[u8]>,
    /// From the closing quote on.
    tail: Box<[u8]>,
}

// === impl Templates ===

impl Templates {
    /// The choice that a plain content event belongs to; `None` for every other event.
    pub(super) fn find(&mut self, data: &[u8]) -> Option<usize> {
        let known = self.known.len();
        for step in 0..known {
            let i = (self.last + step) % known;
            if self.known[i].matches(data) {
                self.last = i;
                return Some(self.known[i].choice);
            }
        }
        None
    }

    /// Keeps the shape of `data`, in which only `text` (a part of it, with its quotes) will vary.
    pub(super) fn learn(&mut self, choice: usize, data: &[u8], text: &str) {
        let start = (text.as_ptr() as usize).wrapping_sub(data.as_ptr() as usize);
        let Some(end) = start.checked_add(text.len()).filter(|end| *end <= data.len()) else {
            return;
        };
        if text.len() < 2 || data.len() > MAX_LENGTH {
            return;
        }
        let template =
            Template { choice, head: data[..=start].into(), tail: data[end - 1..].into() };
        if self.known.len() < MAX_TEMPLATES {
            self.last = self.known.len();
            self.known.push(template);
        } else {
            self.last = (self.last + 1) % MAX_TEMPLATES;
            self.known[self.last] = template;
        }
    }
}

// === impl Template ===

impl Template {
    fn matches(&self, data: &[u8]) -> bool {
        let Self { choice: _, head, tail } = self;
        // NB: no text between the two is no content, so it is left to the parser.
        data.len() > head.len() + tail.len()
            && data.starts_with(head)
            && data.ends_with(tail)
            && is_inside_text(&data[head.len()..data.len() - tail.len()])
    }
}

/// Whether `bytes` stay inside a JSON text: every quote is escaped, and so is not the one after.
fn is_inside_text(bytes: &[u8]) -> bool {
    let escaped =
        |end: usize| bytes[..end].iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1;
    memchr::memchr_iter(b'"', bytes).all(escaped) && !escaped(bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATA: &str = r#"{"choices":[{"text":"a","finish_reason":null}]}"#;

    fn learned() -> Templates {
        let mut templates = Templates::default();
        let at = DATA.find("\"a\"").unwrap();
        templates.learn(3, DATA.as_bytes(), &DATA[at..at + 3]);
        templates
    }

    #[test]
    fn only_the_text_may_vary() {
        let event = |text: &str| DATA.replace("\"a\"", text);
        for (data, expected) in [
            (event(r#""b""#), Some(3)),
            (event(r#""say \"x\" \\""#), Some(3)),
            (event(r#""""#), None),
            (event(r#""b","x":"c""#), None),
            (event(r#""b\""#), None),
            (event(r#""b\\","x":"c""#), None),
            (DATA.replace("null", "\"stop\""), None),
            ("[DONE]".to_owned(), None),
        ] {
            assert_eq!(learned().find(data.as_bytes()), expected, "{data}");
        }
    }

    #[test]
    fn shapes_are_bounded() {
        let mut templates = Templates::default();
        for i in 0..20 {
            let data = DATA.replace("choices", &format!("choices{i}"));
            let at = data.find("\"a\"").unwrap();
            templates.learn(i, data.as_bytes(), &data[at..at + 3]);
            assert_eq!(templates.find(data.as_bytes()), Some(i));
        }
        assert_eq!(templates.known.len(), MAX_TEMPLATES);
        let long = format!("{{\"{}\":\"a\"}}", "x".repeat(MAX_LENGTH));
        let at = long.find("\"a\"").unwrap();
        templates.learn(99, long.as_bytes(), &long[at..at + 3]);
        assert_eq!(templates.find(long.as_bytes()), None);
    }
}
