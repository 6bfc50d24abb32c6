//! Where the body of an answer ends, by RFC 9112 section 6.3, and what of its bytes is payload.
//!
//! No I/O: bytes go in as they come, cut anywhere.

use std::{error, fmt};

use bytes::BytesMut;
use http::HeaderMap;

use super::head;

/// What is still to come of a body.
#[derive(Debug)]
pub(super) enum Framing {
    Length(u64),
    Chunked(Chunks),
    UntilClose,
    Ended,
}

#[derive(Debug)]
pub(super) struct Chunks {
    at: At,
    /// The size as far as it was read, then what is left of the chunk.
    left: u64,
    /// Of a line that is no payload: how much of it has come.
    line: usize,
    trailers: Vec<u8>,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    FirstDigit,
    Digits,
    /// Between the size and what follows.
    Space,
    Extension,
    EndOfSize,
    Payload,
    EndOfPayload,
    EndOfPayloadLine,
    Trailers,
}

/// It is not framed as it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FramingError {
    Size,
    LongLine,
    EndOfChunk,
    Trailers,
}

/// Extensions of one chunk, and all trailers together. What is longer is an attack or a mistake.
pub(super) const LONGEST_LINE: usize = 16 * 1024;

// === impl Framing ===

impl Framing {
    pub(super) const fn length(length: u64) -> Self {
        if length == 0 { Self::Ended } else { Self::Length(length) }
    }

    pub(super) const fn chunked() -> Self {
        Self::Chunked(Chunks { at: At::FirstDigit, left: 0, line: 0, trailers: Vec::new() })
    }

    pub(super) const fn has_ended(&self) -> bool {
        matches!(self, Self::Ended)
    }

    /// Takes what belongs to the body, puts its payload behind `payload` and its trailers, once all
    /// have come, into `trailers`. Tells how many bytes it took: less than all where it ends.
    ///
    /// With an error, what came before the flaw is in `payload`.
    pub(super) fn feed(
        &mut self,
        bytes: &[u8],
        payload: &mut BytesMut,
        trailers: &mut Option<Box<HeaderMap>>,
    ) -> Result<usize, FramingError> {
        match self {
            Self::Length(left) => {
                let taken = at_most(bytes.len(), *left);
                payload.extend_from_slice(&bytes[..taken]);
                *self = Self::length(*left - taken as u64);
                Ok(taken)
            }
            Self::Chunked(chunks) => {
                let taken = chunks.feed(bytes, payload)?;
                if let Some(taken) = taken {
                    if !chunks.trailers.is_empty() {
                        *trailers = Some(head::trailers(&chunks.trailers)?.into());
                    }
                    *self = Self::Ended;
                    return Ok(taken);
                }
                Ok(bytes.len())
            }
            Self::UntilClose => {
                payload.extend_from_slice(bytes);
                Ok(bytes.len())
            }
            Self::Ended => Ok(0),
        }
    }
}

// === impl Chunks ===

impl Chunks {
    /// How many bytes belong to the body, if it ends among them.
    fn feed(
        &mut self,
        bytes: &[u8],
        payload: &mut BytesMut,
    ) -> Result<Option<usize>, FramingError> {
        let mut taken = 0;
        while let Some(&byte) = bytes.get(taken) {
            if self.at == At::Payload {
                let length = at_most(bytes.len() - taken, self.left);
                payload.extend_from_slice(&bytes[taken..taken + length]);
                taken += length;
                self.left -= length as u64;
                if self.left == 0 {
                    self.at = At::EndOfPayload;
                }
                continue;
            }
            if let Some(length) = self.usual(&bytes[taken..]) {
                taken += length;
                continue;
            }
            taken += 1;
            if self.step(byte)? {
                return Ok(Some(taken));
            }
        }
        Ok(None)
    }

    /// What stands between the payload of two chunks nearly always, at once: how long it is.
    ///
    /// NB: to `step` it would be the same, at ten times the cost; every token is a chunk.
    fn usual(&mut self, bytes: &[u8]) -> Option<usize> {
        match (self.at, bytes) {
            (At::EndOfPayload, [b'\r', b'\n', ..]) => {
                self.at = At::FirstDigit;
                Some(2)
            }
            (At::FirstDigit, [a, b'\r', b'\n', ..]) => self.begin(&[*a]),
            (At::FirstDigit, [a, b, b'\r', b'\n', ..]) => self.begin(&[*a, *b]),
            (At::FirstDigit, [a, b, c, b'\r', b'\n', ..]) => self.begin(&[*a, *b, *c]),
            _ => None,
        }
    }

    /// A chunk that is not the last one.
    fn begin(&mut self, digits: &[u8]) -> Option<usize> {
        let value = |size: u32, digit: &u8| Some(size << 4 | char::from(*digit).to_digit(16)?);
        let size = digits.iter().try_fold(0, value).filter(|size| *size > 0)?;
        (self.left, self.at) = (size.into(), At::Payload);
        Some(digits.len() + 2)
    }

    /// A byte that is no payload; whether it is the last one of all.
    fn step(&mut self, byte: u8) -> Result<bool, FramingError> {
        self.at = match (self.at, byte) {
            (At::FirstDigit | At::Digits, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                // NB: what a size of 16 digits does to a sum is somebody else's bug report.
                if self.left >> 56 != 0 {
                    return Err(FramingError::Size);
                }
                let digit = (byte as char).to_digit(16).unwrap_or_default();
                self.left = self.left << 4 | u64::from(digit);
                At::Digits
            }
            (At::Digits | At::Space | At::Extension, b'\r') => At::EndOfSize,
            (At::Digits, b';' | b' ' | b'\t') => {
                self.line = 0;
                if byte == b';' { At::Extension } else { At::Space }
            }
            // NB: no lone line feed: it ends a line for some readers, and not for others.
            (At::Extension, b'\n') => return Err(FramingError::Size),
            (At::Extension, _) | (At::Space, b' ' | b'\t' | b';') => {
                self.line += 1;
                if self.line > LONGEST_LINE {
                    return Err(FramingError::LongLine);
                }
                if byte == b';' { At::Extension } else { self.at }
            }
            (At::EndOfSize, b'\n') if self.left == 0 => At::Trailers,
            (At::EndOfSize, b'\n') => At::Payload,
            (At::EndOfPayload, b'\r') => At::EndOfPayloadLine,
            (At::EndOfPayloadLine, b'\n') => At::FirstDigit,
            (At::Trailers, _) => return self.trailer(byte),
            (At::EndOfPayload | At::EndOfPayloadLine, _) => return Err(FramingError::EndOfChunk),
            (At::FirstDigit | At::Digits | At::Space | At::EndOfSize | At::Payload, _) => {
                return Err(FramingError::Size);
            }
        };
        Ok(false)
    }

    fn trailer(&mut self, byte: u8) -> Result<bool, FramingError> {
        self.trailers.push(byte);
        if self.trailers == b"\r\n" {
            self.trailers.clear();
            return Ok(true);
        }
        if self.trailers.len() > LONGEST_LINE {
            return Err(FramingError::LongLine);
        }
        Ok(self.trailers.ends_with(b"\r\n\r\n"))
    }
}

fn at_most(here: usize, left: u64) -> usize {
    usize::try_from(left).map_or(here, |left| left.min(here))
}

// === impl FramingError ===

impl fmt::Display for FramingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Size => "a chunk has no valid size",
            Self::LongLine => "the line of a chunk, or the trailers, are too long",
            Self::EndOfChunk => "a chunk does not end where its size says",
            Self::Trailers => "the trailers are not valid",
        })
    }
}

impl error::Error for FramingError {}

#[cfg(test)]
mod tests {
    use super::*;

    /// Payload, names of trailers and what was not taken, or the flaw, of bytes cut at two places.
    fn fed(framing: Framing, pieces: [&[u8]; 3]) -> Result<(String, String, usize), FramingError> {
        let (mut framing, mut payload, mut trailers) = (framing, BytesMut::new(), None);
        let mut left = 0;
        for piece in pieces {
            left += piece.len() - framing.feed(piece, &mut payload, &mut trailers)?;
        }
        assert!(framing.has_ended() || left == 0);
        let names = trailers
            .iter()
            .flat_map(|trailers| trailers.keys())
            .map(|name| name.as_str())
            .collect();
        Ok((String::from_utf8(payload.to_vec()).unwrap(), names, left))
    }

    /// The same wherever it is cut.
    fn of(framing: fn() -> Framing, bytes: &[u8]) -> Result<(String, String, usize), FramingError> {
        let whole = fed(framing(), [bytes, b"", b""]);
        for first in 0..=bytes.len() {
            for second in [first, (first + 1).min(bytes.len()), bytes.len()] {
                let pieces = [&bytes[..first], &bytes[first..second], &bytes[second..]];
                assert_eq!(fed(framing(), pieces), whole, "cut at {first} and {second}");
            }
        }
        whole
    }

    #[test]
    fn chunks_however_they_come() {
        for (bytes, payload, trailers, left) in [
            ("0\r\n\r\n", "", "", 0),
            ("3\r\nabc\r\n0\r\n\r\n", "abc", "", 0),
            ("1\r\na\r\nA\r\n0123456789\r\n000\r\n\r\nHTTP", "a0123456789", "", 4),
            ("1;a=b\r\na\r\n1 \t\r\nb\r\n0 ; last one\r\n\r\n", "ab", "", 0),
            ("0000000000000001\r\na\r\n0\r\nx-a: 1\r\nx-b:2\r\n\r\n", "a", "x-ax-b", 0),
        ] {
            let expected = Ok((payload.to_owned(), trailers.to_owned(), left));
            assert_eq!(of(Framing::chunked, bytes.as_bytes()), expected, "{bytes:?}");
        }
    }

    #[test]
    fn what_is_no_chunk() {
        let long = |what: &str| format!("{what}{}", "x".repeat(LONGEST_LINE + 1));
        for (bytes, flaw) in [
            ("\r\n", FramingError::Size),
            ("-1\r\n", FramingError::Size),
            ("0x1\r\n", FramingError::Size),
            ("1\n", FramingError::Size),
            ("1;a\n", FramingError::Size),
            ("1\rx", FramingError::Size),
            ("1 5\r\n", FramingError::Size),
            ("100000000000000000\r\n", FramingError::Size),
            ("1\r\nab\r\n", FramingError::EndOfChunk),
            ("1\r\na\n", FramingError::EndOfChunk),
            ("1\r\na\rx", FramingError::EndOfChunk),
            ("0\r\nno colon\r\n\r\n", FramingError::Trailers),
        ] {
            assert_eq!(of(Framing::chunked, bytes.as_bytes()), Err(flaw), "{bytes:?}");
        }
        for bytes in [long("1;"), long("0\r\nx-a: ")] {
            let fed = fed(Framing::chunked(), [bytes.as_bytes(), b"", b""]);
            assert_eq!(fed, Err(FramingError::LongLine));
        }
    }

    #[test]
    fn a_length_and_the_end_of_the_connection() {
        let whole = |payload: &str, left| Ok((payload.to_owned(), String::new(), left));
        assert_eq!(of(|| Framing::length(3), b"abcd"), whole("abc", 1));
        assert_eq!(of(|| Framing::length(0), b"x"), whole("", 1));
        assert_eq!(of(|| Framing::length(u64::MAX), b"abc"), whole("abc", 0));
        assert_eq!(of(|| Framing::UntilClose, b"abc"), whole("abc", 0));
    }
}
