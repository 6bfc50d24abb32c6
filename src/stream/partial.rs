//! An event whose end has not come yet, kept up to a limit.

/// The longest event that is read; a longer one is skipped and the next one is read again.
pub(crate) const MAX_EVENT: usize = 1024 * 1024;

#[derive(Debug, Default)]
pub(super) struct Partial {
    bytes: Vec<u8>,
    /// The event at hand is too long.
    skipping: bool,
    /// Any was.
    has_skipped: bool,
}

// === impl Partial ===

impl Partial {
    /// Gives the event that ends with `bytes`, unless it is too long. One that lies whole in them
    /// is not copied.
    pub(super) fn complete(&mut self, bytes: &[u8], each: impl FnOnce(&[u8])) {
        if self.is_empty() && bytes.len() <= MAX_EVENT {
            return each(bytes);
        }
        self.keep(bytes);
        if !self.skipping {
            each(&self.bytes);
        }
        self.skipping = false;
        self.bytes.clear();
    }

    pub(super) fn keep(&mut self, bytes: &[u8]) {
        if self.skipping || self.bytes.len() + bytes.len() > MAX_EVENT {
            (self.skipping, self.has_skipped) = (true, true);
            self.bytes = Vec::new();
        } else {
            self.bytes.extend_from_slice(bytes);
        }
    }

    /// Whether no event has begun.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty() && !self.skipping
    }

    /// Whether an event was too long.
    pub(super) fn has_skipped(&self) -> bool {
        self.has_skipped
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }
}
