//! A table that grows by rows, and is read without a lock.

use std::sync::OnceLock;

/// Values by place. The first row is there from the start and the others once they are needed;
/// none is ever removed.
#[derive(Debug)]
pub(super) struct Places<T> {
    first: Box<[T]>,
    more: Box<[OnceLock<Box<[T]>>]>,
}

// === impl Places ===

impl<T: Default> Places<T> {
    /// So many rows at most, each of so many places.
    pub(super) fn new(rows: usize, length: usize) -> Self {
        let more = (1..rows).map(|_| OnceLock::new()).collect();
        Self { first: row(length), more }
    }

    /// The value at a place, where its row is there.
    pub(super) fn get(&self, place: u16) -> Option<&T> {
        let place = usize::from(place);
        // NB: without upstreams all places are in here, and a division costs more than all the rest.
        if let Some(value) = self.first.get(place) {
            return Some(value);
        }
        self.beyond(place, OnceLock::get)
    }

    /// The value at a place, whose row is there from now on; `None` beyond the last row.
    pub(super) fn make(&self, place: u16) -> Option<&T> {
        let place = usize::from(place);
        if let Some(value) = self.first.get(place) {
            return Some(value);
        }
        self.beyond(place, |more| Some(more.get_or_init(|| row(self.first.len()))))
    }

    #[cold]
    fn beyond<'a>(
        &'a self,
        place: usize,
        with: impl FnOnce(&'a OnceLock<Box<[T]>>) -> Option<&'a Box<[T]>>,
    ) -> Option<&'a T> {
        let length = self.first.len();
        let more = self.more.get((place / length).checked_sub(1)?)?;
        with(more)?.get(place % length)
    }

    /// How many places a row has.
    pub(super) fn row(&self) -> usize {
        self.first.len()
    }

    /// How many places there are up to the last row that is there.
    pub(super) fn count(&self) -> usize {
        let last = self.more.iter().rposition(|more| more.get().is_some());
        self.first.len() * (1 + last.map_or(0, |last| last + 1))
    }

    /// All that are there.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u16, &T)> {
        let places = (0..self.count()).filter_map(|place| u16::try_from(place).ok());
        places.filter_map(|place| Some((place, self.get(place)?)))
    }
}

fn row<T: Default>(length: usize) -> Box<[T]> {
    (0..length).map(|_| T::default()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_when_they_are_needed_and_have_an_end() {
        let places: Places<OnceLock<u8>> = Places::new(3, 2);
        assert_eq!((places.row(), places.count()), (2, 2));
        assert!(places.get(5).is_none());
        places.make(5).unwrap().set(7).unwrap();
        assert_eq!(places.count(), 6);
        assert_eq!(places.get(5).unwrap().get(), Some(&7));
        // The row between is not there, and nobody needs it.
        assert!(places.get(2).is_none());
        let there: Vec<u16> = places.iter().map(|(place, _)| place).collect();
        assert_eq!(there, [0, 1, 4, 5]);
        assert!(places.make(6).is_none());
        assert!(places.make(u16::MAX).is_none());
    }
}
