//! Where bytes lie between a socket and whoever they are for.
//!
//! NB: of a thread, not of a connection: of those there are thousands, and what each of them had for
//! itself would be cold whenever it is needed.

use std::cell::RefCell;

use bytes::BytesMut;

/// What one read takes at most, and so the longest frame.
const READ: usize = 64 * 1024;

/// What short frames are cut from. Whoever keeps one of them keeps all of that.
const PAYLOAD: usize = 16 * 1024;

/// A longer one has memory of its own.
const SHORT: usize = 4 * 1024;

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
    if most > SHORT {
        let mut frame = BytesMut::with_capacity(most);
        return (put(&mut frame), frame);
    }
    FRAMES.with_borrow_mut(|frames| {
        // NB: of one who has panicked nothing is left.
        frames.clear();
        // NB: from the start again, once all that was cut from it is gone.
        frames.reserve(most);
        let put = put(frames);
        // NB: also of nothing there would be a part, which has to go first.
        (put, if frames.is_empty() { BytesMut::new() } else { frames.split() })
    })
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    fn cut(bytes: &[u8]) -> BytesMut {
        frame(bytes.len(), |to| to.extend_from_slice(bytes)).1
    }

    fn held() -> usize {
        FRAMES.with_borrow(BytesMut::capacity)
    }

    #[test]
    fn what_is_shared_stays_small() {
        for length in [0, 1, 300, SHORT, SHORT + 1, READ, 7] {
            for _ in 0..100 {
                assert_eq!(cut(&vec![7; length]).len(), length);
                assert!(held() <= PAYLOAD, "{length}: {}", held());
            }
        }
    }

    #[test]
    fn frames_that_are_kept_stay_as_they_are() {
        let kept: Vec<BytesMut> = (0..500).map(|i| cut(&[i as u8; 100])).collect();
        for (i, frame) in (0..500).zip(&kept) {
            assert_eq!(**frame, [i as u8; 100]);
        }
        assert!(held() <= PAYLOAD);
    }

    #[test]
    fn of_one_who_panics_nothing_is_left() {
        let put = |to: &mut BytesMut| {
            to.extend_from_slice(b"secret");
            panic!("a bug");
        };
        assert!(catch_unwind(AssertUnwindSafe(|| frame(10, put))).is_err());
        assert_eq!(cut(b"a"), "a");
    }
}
