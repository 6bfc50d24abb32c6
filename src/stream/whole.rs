//! A whole answer, gathered up to a limit.

/// The longest answer that is read; a longer one passes through unread.
pub(crate) const MAX_WHOLE: usize = 8 * 1024 * 1024;

#[derive(Debug, Default)]
pub(super) struct Whole {
    bytes: Vec<u8>,
    too_long: bool,
}

// === impl Whole ===

impl Whole {
    pub(super) fn read(&mut self, bytes: &[u8]) {
        if self.too_long || self.bytes.len() + bytes.len() > MAX_WHOLE {
            self.too_long = true;
            self.bytes = Vec::new();
        } else {
            self.bytes.extend_from_slice(bytes);
        }
    }

    /// The answer; `None` where it was too long.
    pub(super) fn bytes(&self) -> Option<&[u8]> {
        (!self.too_long).then_some(&self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn up_to_the_limit_and_not_beyond() {
        let mut whole = Whole::default();
        whole.read(&vec![b' '; MAX_WHOLE]);
        assert_eq!(whole.bytes().map(<[u8]>::len), Some(MAX_WHOLE));
        whole.read(b"x");
        assert_eq!(whole.bytes(), None);
        assert_eq!(whole.bytes.capacity(), 0);
        whole.read(b"x");
        assert_eq!(whole.bytes(), None);
    }
}
