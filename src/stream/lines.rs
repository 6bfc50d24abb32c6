//! Lines of JSON (NDJSON), found in bytes that may be cut anywhere.

use super::partial::Partial;
use crate::wire::Event;

#[derive(Debug, Default)]
pub(super) struct Lines {
    partial: Partial,
}

// === impl Lines ===

impl Lines {
    /// Gives every line that ends in `bytes`.
    pub(super) fn read(&mut self, mut bytes: &[u8], mut each: impl FnMut(Event<'_>)) {
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            self.partial.complete(&bytes[..end], |line| dispatch(line, &mut each));
            bytes = &bytes[end + 1..];
        }
        self.partial.keep(bytes);
    }

    /// The body has ended properly: a line without its end counts.
    pub(super) fn end(&mut self, mut each: impl FnMut(Event<'_>)) {
        self.partial.complete(&[], |line| dispatch(line, &mut each));
    }

    /// Whether a line was too long to be read.
    pub(super) fn has_skipped(&self) -> bool {
        self.partial.has_skipped()
    }
}

fn dispatch(line: &[u8], each: &mut impl FnMut(Event<'_>)) {
    let data = line.trim_ascii();
    if !data.is_empty() {
        each(Event { name: b"", data });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::partial::MAX_EVENT;

    fn read(cuts: &[&[u8]]) -> Vec<String> {
        let (mut lines, mut all) = (Lines::default(), Vec::new());
        let mut each =
            |event: Event<'_>| all.push(String::from_utf8_lossy(event.data).into_owned());
        for cut in cuts {
            lines.read(cut, &mut each);
        }
        lines.end(&mut each);
        all
    }

    #[test]
    fn every_line_end_and_every_cut() {
        for line_end in ["\n", "\r\n"] {
            let text = "{\"a\":1}\n\n {\"b\":\"\u{e9}\"}\n{\"last\":1}".replace('\n', line_end);
            let bytes = text.as_bytes();
            let whole = read(&[bytes]);
            assert_eq!(whole, ["{\"a\":1}", "{\"b\":\"\u{e9}\"}", "{\"last\":1}"]);
            for cut in 0..=bytes.len() {
                assert_eq!(read(&[&bytes[..cut], &bytes[cut..]]), whole, "{line_end:?} cut {cut}");
            }
        }
    }

    #[test]
    fn a_too_long_line_is_skipped_and_memory_stays_bounded() {
        let text = format!("a\n{}\nb\n", "x".repeat(MAX_EVENT + 1));
        for size in [text.len(), 4096, 65_537] {
            let (mut lines, mut all) = (Lines::default(), Vec::new());
            for cut in text.as_bytes().chunks(size) {
                lines.read(cut, |event| all.push(event.data.to_vec()));
                assert!(lines.partial.capacity() <= 2 * MAX_EVENT);
            }
            assert_eq!(all, [b"a", b"b"], "cut at {size}");
        }
    }

    #[test]
    fn the_longest_allowed_line_is_read_however_it_is_cut() {
        for (longer, is_read) in [(0, true), (1, false)] {
            let text = format!("{}\n", "x".repeat(MAX_EVENT + longer));
            for size in [text.len(), 1000] {
                let (mut lines, mut seen) = (Lines::default(), 0);
                for cut in text.as_bytes().chunks(size) {
                    lines.read(cut, |event| seen += event.data.len());
                }
                assert_eq!(seen, if is_read { MAX_EVENT } else { 0 }, "cut at {size}");
            }
        }
    }
}
