//! Where bytes lie between a socket and whoever they are for.
//!
//! NB: of a thread, not of a connection: of those there are thousands, and what each of them had for
//! itself would be cold whenever it is needed.

use std::cell::RefCell;

use bytes::BytesMut;

/// What one read takes at most, and so the longest frame.
const READ: usize = 64 * 1024;

/// What frames are cut from. Whoever keeps one keeps all of that.
const PAYLOAD: usize = 16 * 1024;

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ].into());
    static FRAMES: RefCell<BytesMut> = RefCell::new(BytesMut::with_capacity(PAYLOAD));
}

/// Lends it, until something else on this thread needs it: not across an `await`, and not twice.
pub(crate) fn with<T>(take: impl FnOnce(&mut [u8]) -> T) -> T {
    BUFFER.with_borrow_mut(|buffer| take(buffer))
}

/// What `put` puts into it, `most` bytes.
pub(crate) fn frame<T>(most: usize, put: impl FnOnce(&mut BytesMut) -> T) -> (T, BytesMut) {
    FRAMES.with_borrow_mut(|frames| {
        // NB: from the start again, once all that was cut from it is gone.
        frames.reserve(most);
        let put = put(frames);
        // NB: also of nothing there would be a part, which has to go first.
        (put, if frames.is_empty() { BytesMut::new() } else { frames.split() })
    })
}
