//! Where bytes lie between a socket and whoever they are for.

use std::cell::RefCell;

/// What one read takes at most, and so the longest frame.
const READ: usize = 64 * 1024;

thread_local! {
    /// NB: of a thread, not of a connection: of those there are thousands.
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ].into());
}

/// Lends it, until something else on this thread needs it: not across an `await`, and not twice.
pub(crate) fn with<T>(take: impl FnOnce(&mut [u8]) -> T) -> T {
    BUFFER.with_borrow_mut(|buffer| take(buffer))
}
