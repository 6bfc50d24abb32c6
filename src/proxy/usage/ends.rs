//! Finds where events end.

/// Finds the end of each event in bytes that may be cut anywhere: an empty line, ended by LF, CRLF
/// or CR. The line end belongs to the event.
///
/// After a CR the next byte must have come, since an LF would belong to it.
#[derive(Debug)]
pub(super) struct Ends {
    /// The line at hand has no bytes so far.
    line_is_empty: bool,
    /// The last byte was a CR, which ends the line at hand.
    after_cr: bool,
}

// === impl Ends ===

impl Default for Ends {
    fn default() -> Self {
        Self { line_is_empty: true, after_cr: false }
    }
}

impl Ends {
    /// Where the event at hand ends; `None` where that is not in `bytes`, all of which are read then.
    pub(super) fn find(&mut self, bytes: &[u8]) -> Option<usize> {
        let (mut line, mut at) = (0, 0);
        if self.after_cr {
            at = usize::from(*bytes.first()? == b'\n');
            self.after_cr = false;
            if std::mem::replace(&mut self.line_is_empty, true) {
                return Some(at);
            }
            line = at;
        }
        while let Some(found) = memchr::memchr2(b'\n', b'\r', &bytes[at..]) {
            let end = at + found;
            let is_blank = self.line_is_empty && end == line;
            at = end + 1;
            if bytes[end] == b'\r' {
                let Some(next) = bytes.get(at) else {
                    (self.line_is_empty, self.after_cr) = (is_blank, true);
                    return None;
                };
                at += usize::from(*next == b'\n');
            }
            self.line_is_empty = true;
            if is_blank {
                return Some(at);
            }
            line = at;
        }
        self.line_is_empty &= line == bytes.len();
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(frames: &[&[u8]]) -> Vec<String> {
        let (mut ends, mut events, mut event) = (Ends::default(), Vec::new(), Vec::new());
        for mut rest in frames.iter().copied() {
            while let Some(end) = ends.find(rest) {
                event.extend_from_slice(&rest[..end]);
                events.push(String::from_utf8(std::mem::take(&mut event)).unwrap());
                rest = &rest[end..];
            }
            event.extend_from_slice(rest);
        }
        events.push(String::from_utf8(event).unwrap());
        events
    }

    #[test]
    fn every_line_end_and_every_cut() {
        let parts = ["data: a\n\n", ": b\ndata:\n\n", "\n", "\n", "data: c\n\n", "data: d\n"];
        for line_end in ["\n", "\r\n", "\r"] {
            let parts = parts.map(|part| part.replace('\n', line_end));
            let stream = parts.concat();
            let bytes = stream.as_bytes();
            for cut in 0..=bytes.len() {
                assert_eq!(events(&[&bytes[..cut], b"", &bytes[cut..]]), parts, "cut at {cut}");
            }
            let singles: Vec<&[u8]> = bytes.chunks(1).collect();
            assert_eq!(events(&singles), parts, "{line_end:?}");
        }
    }
}
