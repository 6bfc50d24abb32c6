//! Where the body of an HTTP/1.1 message ends, and what of the bytes is its payload.

use std::fmt;

/// What is left of a body.
#[derive(Debug)]
pub struct Framing(State);

/// The peer has written something that is no body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// So many bytes.
    Length(u64),
    /// All until the peer closes.
    Close,
    /// In the digits of a size, so many of which were read.
    Size(u64, u8),
    /// Behind a size, before the end of its line.
    Extension(u64),
    /// In a chunk, of which so much is left.
    Chunk(u64),
    /// Behind a chunk.
    ChunkEnd,
    /// In the lines behind the last chunk; of this one so many bytes were read.
    Trailer(usize),
    Done,
}

// === impl Framing ===

impl Framing {
    /// As the head of a message tells. `without` is what neither header means: for a request that
    /// there is no body, for a response that it lasts until the connection ends.
    pub fn of(headers: &[httparse::Header<'_>], without: Self) -> Result<Self, Malformed> {
        let mut found = None;
        for header in headers {
            let value = || std::str::from_utf8(header.value).map_err(|_| Malformed).map(str::trim);
            let this = if header.name.eq_ignore_ascii_case("content-length") {
                State::Length(value()?.parse().map_err(|_| Malformed)?)
            } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
                let is_chunked = value()?.eq_ignore_ascii_case("chunked");
                if is_chunked { State::Size(0, 0) } else { return Err(Malformed) }
            } else {
                continue;
            };
            if found.replace(this).is_some() {
                return Err(Malformed); // two answers to one question
            }
        }
        Ok(found.map_or(without, Self::new))
    }

    /// No body.
    pub fn none() -> Self {
        Self::new(State::Length(0))
    }

    /// All until the peer closes.
    pub fn until_close() -> Self {
        Self::new(State::Close)
    }

    fn new(state: State) -> Self {
        Self(if state == State::Length(0) { State::Done } else { state })
    }

    /// Whether nothing more belongs to it.
    pub fn is_done(&self) -> bool {
        self.0 == State::Done
    }

    /// Whether it may end with the connection.
    pub fn ends_with_connection(&self) -> bool {
        matches!(self.0, State::Close | State::Done)
    }

    /// Reads on. Returns how much belongs to the body, which is all where it is not done.
    pub fn feed(
        &mut self,
        bytes: &[u8],
        mut payload: impl FnMut(&[u8]),
    ) -> Result<usize, Malformed> {
        let mut at = 0;
        while at < bytes.len() {
            match &mut self.0 {
                State::Done => break,
                State::Close => {
                    payload(&bytes[at..]);
                    at = bytes.len();
                }
                State::Length(left) | State::Chunk(left) => {
                    let here = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len() - at);
                    payload(&bytes[at..at + here]);
                    at += here;
                    *left -= here as u64;
                    self.0 = match self.0 {
                        State::Length(0) => State::Done,
                        State::Chunk(0) => State::ChunkEnd,
                        going_on => going_on,
                    };
                }
                _ => {
                    self.0 = self.0.after(bytes[at])?;
                    at += 1;
                }
            }
        }
        Ok(at)
    }
}

// === impl State ===

impl State {
    /// Steps over a byte between chunks.
    fn after(self, byte: u8) -> Result<Self, Malformed> {
        Ok(match (self, byte) {
            (Self::Size(size, digits), _) if byte.is_ascii_hexdigit() && digits < 15 => {
                let digit = char::from(byte).to_digit(16).ok_or(Malformed)?;
                Self::Size(size << 4 | u64::from(digit), digits + 1)
            }
            (Self::Size(size, 1..), b'\r' | b';') => Self::Extension(size),
            (Self::Extension(0), b'\n') => Self::Trailer(0),
            (Self::Extension(size), b'\n') => Self::Chunk(size),
            (Self::Extension(_), _) => self,
            (Self::ChunkEnd, b'\r') => Self::ChunkEnd,
            (Self::ChunkEnd, b'\n') => Self::Size(0, 0),
            (Self::Trailer(0), b'\n') => Self::Done,
            (Self::Trailer(_), b'\n') => Self::Trailer(0),
            (Self::Trailer(_), b'\r') => self,
            (Self::Trailer(read), _) => Self::Trailer(read + 1),
            _ => return Err(Malformed),
        })
    }
}

// === impl Malformed ===

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the body is not framed as HTTP/1.1 frames it")
    }
}

impl std::error::Error for Malformed {}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(name: &'static str, value: &'static str) -> httparse::Header<'static> {
        httparse::Header { name, value: value.as_bytes() }
    }

    /// Feeds pieces of a size; returns the payload, what was left over, and whether it is done.
    fn read(header: httparse::Header<'_>, bytes: &[u8], size: usize) -> (String, usize, bool) {
        let mut framing = Framing::of(&[header], Framing::until_close()).unwrap();
        let (mut payload, mut used) = (Vec::new(), 0);
        for piece in bytes.chunks(size) {
            used += framing.feed(piece, |bytes| payload.extend_from_slice(bytes)).unwrap();
        }
        (String::from_utf8(payload).unwrap(), bytes.len() - used, framing.is_done())
    }

    #[test]
    fn bodies_end_where_they_say_in_pieces_of_every_size() {
        let chunked = b"5\r\nhello\r\nA;x=1\r\n, and more\r\n0\r\nx: y\r\n\r\nnext";
        for size in 1..chunked.len() {
            let (payload, left, is_done) =
                read(header("Transfer-Encoding", "chunked"), chunked, size);
            assert_eq!((payload.as_str(), left, is_done), ("hello, and more", 4, true), "{size}");
            let (payload, left, is_done) = read(header("content-length", "3"), &chunked[3..], size);
            assert_eq!((payload.as_str(), is_done), ("hel", true), "{size}");
            assert_eq!(left, chunked.len() - 6);
        }
        assert_eq!(read(header("x", "y"), b"all", 1), ("all".to_owned(), 0, false));
    }

    #[test]
    fn what_is_not_framed_well_is_said() {
        for bytes in ["x", "\r\n", "5\r\nhelloX", "5 \r\nhello", "FFFFFFFFFFFFFFFF\r\n"] {
            let mut framing =
                Framing::of(&[header("transfer-encoding", "chunked")], Framing::none()).unwrap();
            assert_eq!(framing.feed(bytes.as_bytes(), |_| ()), Err(Malformed), "{bytes:?}");
        }
        for (one, other) in [("chunked", "5"), ("gzip", "5")] {
            let both = [header("transfer-encoding", one), header("content-length", other)];
            assert!(Framing::of(&both, Framing::none()).is_err());
        }
        assert!(Framing::of(&[header("content-length", "-1")], Framing::none()).is_err());
        assert!(Framing::of(&[], Framing::none()).unwrap().is_done());
    }
}
