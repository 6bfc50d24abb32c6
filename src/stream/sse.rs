//! Server-sent events, found in bytes that may be cut anywhere.
//!
//! As the [HTML standard] frames them: lines end in LF, CRLF or CR; an empty line ends an event;
//! a comment starts with a colon. Work is on bytes, so a character may be cut too.
//!
//! [HTML standard]: https://html.spec.whatwg.org/multipage/server-sent-events.html

use super::partial::Partial;
use crate::wire::Event;

const BOM: &[u8] = b"\xef\xbb\xbf";

#[derive(Debug)]
pub(super) struct Sse {
    partial: Partial,
    /// The line that goes on in the next bytes is empty so far.
    line_is_empty: bool,
    /// The last byte was a CR: an LF that follows belongs to it.
    after_cr: bool,
}

// === impl Sse ===

impl Default for Sse {
    fn default() -> Self {
        Self { partial: Partial::default(), line_is_empty: true, after_cr: false }
    }
}

impl Sse {
    /// Reads on to the end of an event, gives it, and returns what follows; that is nothing where
    /// no event ends in `bytes`. An event that lies whole in them is not copied.
    pub(super) fn read<'a>(
        &mut self,
        bytes: &'a [u8],
        mut each: impl FnMut(Event<'_>),
    ) -> &'a [u8] {
        // Where the event at hand, the line at hand, and what is unread begin.
        let (mut event, mut line, mut at) = (0, 0, 0);
        // NB: an empty frame between the two changes nothing.
        let Some(first) = bytes.first() else { return bytes };
        if std::mem::take(&mut self.after_cr) && *first == b'\n' {
            (line, at) = (1, 1);
            if self.partial.is_empty() {
                event = 1;
            }
        }
        while let Some(found) = memchr::memchr2(b'\n', b'\r', &bytes[at..]) {
            let end = at + found;
            at = end + 1;
            if bytes[end] == b'\r' {
                match bytes.get(at) {
                    Some(b'\n') => at += 1,
                    Some(_) => {}
                    None => self.after_cr = true,
                }
            }
            let is_blank = end == line && (line > 0 || self.line_is_empty);
            if is_blank {
                self.complete(&bytes[event..end], &mut each);
                self.line_is_empty = true;
                return &bytes[at..];
            }
            line = at;
        }
        self.line_is_empty = line == bytes.len() && (line > 0 || self.line_is_empty);
        self.partial.keep(&bytes[event..]);
        &[]
    }

    /// Whether the next byte begins an event.
    pub(super) fn is_between_events(&self) -> bool {
        self.partial.is_empty() && !self.after_cr
    }

    /// The body has ended properly: an event without its empty line counts.
    pub(super) fn end(&mut self, mut each: impl FnMut(Event<'_>)) {
        self.complete(&[], &mut each);
    }

    /// Whether an event was too long to be read.
    pub(super) fn has_skipped(&self) -> bool {
        self.partial.has_skipped()
    }

    fn complete(&mut self, bytes: &[u8], each: &mut impl FnMut(Event<'_>)) {
        self.partial.complete(bytes, |event| dispatch(event, each));
    }
}

/// Reads the lines of one event.
fn dispatch(block: &[u8], each: &mut impl FnMut(Event<'_>)) {
    let block = block.strip_prefix(BOM).unwrap_or(block);
    let (mut name, mut data, mut lines): (&[u8], &[u8], usize) = (b"", b"", 0);
    let mut joined = Vec::new();
    for line in Lines(block) {
        let colon = memchr::memchr(b':', &line[..line.len().min(16)]);
        let (field, value) = match colon {
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (line, &line[line.len()..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"data" => {
                if lines == 1 {
                    joined.extend_from_slice(data);
                }
                if lines > 0 {
                    joined.push(b'\n');
                    joined.extend_from_slice(value);
                }
                data = value;
                lines += 1;
            }
            b"event" => name = value,
            // NB: not in the standard; older llama.cpp builds send errors so.
            b"error" if !value.is_empty() => each(Event { name: b"error", data: value }),
            _ => {}
        }
    }
    match lines {
        0 => {}
        1 => each(Event { name, data }),
        _ => each(Event { name, data: &joined }),
    }
}

/// The lines of an event, whatever ends them.
struct Lines<'a>(&'a [u8]);

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.0.is_empty() {
            return None;
        }
        let Some(end) = memchr::memchr2(b'\n', b'\r', self.0) else {
            return Some(std::mem::take(&mut self.0));
        };
        let (line, rest) = self.0.split_at(end);
        let end_length = if rest.starts_with(b"\r\n") { 2 } else { 1 };
        self.0 = &rest[end_length..];
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::partial::MAX_EVENT;

    fn read_all(sse: &mut Sse, mut bytes: &[u8], mut each: impl FnMut(Event<'_>)) {
        while !bytes.is_empty() {
            bytes = sse.read(bytes, &mut each);
        }
    }

    fn read(cuts: &[&[u8]]) -> Vec<(String, String)> {
        let mut sse = Sse::default();
        let mut events = Vec::new();
        let mut each = |event: Event<'_>| {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            events.push((text(event.name), text(event.data)));
        };
        for cut in cuts {
            read_all(&mut sse, cut, &mut each);
        }
        sse.end(&mut each);
        events
    }

    fn data(events: &[(String, String)]) -> Vec<&str> {
        events.iter().map(|(_, data)| data.as_str()).collect()
    }

    #[test]
    fn every_line_end_and_every_cut() {
        let stream = "\u{feff}data: eins\n\n: ping\n\ndata:zwei\n\nevent: x\nid: 7\ndata: d\u{e9}\n\n\
                      data: a\ndata:\ndata: b\n\n\n\ndata: {\"last\":1}\n\n";
        for line_end in ["\n", "\r\n", "\r"] {
            let stream = stream.replace('\n', line_end);
            let bytes = stream.as_bytes();
            let whole = read(&[bytes]);
            assert_eq!(
                data(&whole),
                ["eins", "zwei", "d\u{e9}", "a\n\nb", "{\"last\":1}"],
                "{line_end:?}"
            );
            assert_eq!(whole[2].0, "x");
            for cut in 0..=bytes.len() {
                assert_eq!(read(&[&bytes[..cut], &bytes[cut..]]), whole, "{line_end:?} cut {cut}");
            }
            let singles: Vec<&[u8]> = bytes.chunks(1).collect();
            assert_eq!(read(&singles), whole, "{line_end:?} byte by byte");
        }
    }

    #[test]
    fn an_event_without_its_empty_line_counts_at_a_proper_end() {
        assert_eq!(data(&read(&[b"data: a\n\ndata: [DONE]"])), ["a", "[DONE]"]);
        assert_eq!(data(&read(&[b"data: a\n\ndata: [DONE]\n"])), ["a", "[DONE]"]);
    }

    #[test]
    fn error_field() {
        assert_eq!(
            read(&[b"error: {\"code\":500}\n\n"]),
            [("error".to_owned(), "{\"code\":500}".to_owned())]
        );
    }

    #[test]
    fn fields_without_data_are_no_event() {
        assert!(read(&[b"event: ping\n\nid: 1\n\ndataset: 1\n\n: data: 2\n\n"]).is_empty());
    }

    #[test]
    fn a_too_long_event_is_skipped_and_memory_stays_bounded() {
        let long = "x".repeat(MAX_EVENT);
        let stream = format!("data: a\n\ndata: {long}\n\ndata: b\n\n");
        for size in [stream.len(), 4096, 65_537] {
            let mut sse = Sse::default();
            let mut events = Vec::new();
            for cut in stream.as_bytes().chunks(size) {
                read_all(&mut sse, cut, |event| events.push(event.data.to_vec()));
                assert!(sse.partial.capacity() <= 2 * MAX_EVENT);
            }
            assert_eq!(events, [b"a", b"b"], "cut at {size}");
        }
    }

    #[test]
    fn the_longest_allowed_event_is_read_however_it_is_cut() {
        let longest = format!("data: {}\n", "x".repeat(MAX_EVENT - "data: \n".len()));
        assert_eq!(longest.len(), MAX_EVENT);
        let stream = format!("{longest}\n");
        for size in [stream.len(), 1000] {
            let mut seen = 0;
            let mut sse = Sse::default();
            for cut in stream.as_bytes().chunks(size) {
                read_all(&mut sse, cut, |event| seen += event.data.len());
            }
            assert_eq!(seen, MAX_EVENT - "data: \n".len(), "cut at {size}");
        }
    }
}
