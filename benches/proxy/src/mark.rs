//! The mark that each chunk carries in its text: its number in the stream, and when it was sent.
//! ` #0000017@1764012345678901234` is as long for every number, so that an event is written by
//! copying one and changing some digits.

use std::time::{SystemTime, UNIX_EPOCH};

/// As a [`Template`] has it where the mark is to be.
pub const BLANK: &str = " #0000000@0000000000000000000";

const SIGN: u8 = b'#';
const NUMBER: usize = 7;
const STAMP: usize = 19;

/// Bytes with one mark in them.
pub struct Template {
    bytes: Vec<u8>,
    number_at: usize,
    digits: [u8; STAMP],
}

/// What a mark says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// From one.
    pub number: u32,
    /// As [`now`] was.
    pub stamp: u64,
}

/// Nanoseconds since 1970: the one clock that two processes share without unsafe code.
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_nanos() as u64
}

// === impl Template ===

impl Template {
    /// `text` has [`BLANK`] in it; `None` where it has not.
    pub fn new(text: &str) -> Option<Self> {
        let number_at = text.find(BLANK)? + 2;
        Some(Self { bytes: text.as_bytes().to_vec(), number_at, digits: [b'0'; STAMP] })
    }

    /// The time of all that is written from now on.
    pub fn stamp(&mut self, stamp: u64) {
        write_digits(&mut self.digits, stamp);
    }

    /// Appends the bytes, marked.
    pub fn write(&self, number: u32, to: &mut Vec<u8>) {
        let start = to.len() + self.number_at;
        to.extend_from_slice(&self.bytes);
        write_digits(&mut to[start..start + NUMBER], number.into());
        let stamp_at = start + NUMBER + 1;
        to[stamp_at..stamp_at + STAMP].copy_from_slice(&self.digits);
    }
}

// === impl Mark ===

impl Mark {
    /// Finds the first mark in an event; nothing before it may look like one.
    pub fn read(event: &[u8]) -> Option<Self> {
        let after = &event[memchr::memchr(SIGN, event)? + 1..];
        let mark = after.get(..NUMBER + 1 + STAMP)?;
        let number = read_digits(&mark[..NUMBER])?;
        let stamp = read_digits(&mark[NUMBER + 1..])?;
        (mark[NUMBER] == b'@').then_some(Self { number: u32::try_from(number).ok()?, stamp })
    }
}

fn write_digits(to: &mut [u8], mut number: u64) {
    for digit in to.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

fn read_digits(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0_u64, |number, digit| {
        let value = digit.is_ascii_digit().then_some(digit - b'0')?;
        number.checked_mul(10)?.checked_add(value.into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_as_it_was_written() {
        let mut template = Template::new(&format!("data: {{\"{BLANK}\"}}\n\n")).unwrap();
        let stamp = now();
        template.stamp(stamp);
        let mut bytes = b"before".to_vec();
        template.write(17, &mut bytes);
        assert_eq!(Mark::read(&bytes), Some(Mark { number: 17, stamp }));
        assert!(String::from_utf8(bytes).unwrap().contains("\" #0000017@"));
        assert!(Template::new("no mark").is_none());
    }

    #[test]
    fn what_is_no_mark_is_not_read() {
        for text in ["", "#", "0000001@1764012345678901234", "#000001@17640123456789012345"] {
            assert_eq!(Mark::read(text.as_bytes()), None, "{text}");
        }
    }
}
