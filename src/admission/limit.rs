//! The places of those that run, and the queue of those that wait for one.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

/// So many places, taken in the order of coming.
///
/// NB: not tokio's semaphore: it does not tell who has been handed a place and has not noticed yet,
/// so that a queue with room in it would refuse.
#[derive(Debug)]
pub(super) struct Limit {
    queue: Mutex<Queue>,
}

#[derive(Debug)]
struct Queue {
    /// NB: 0 while anybody waits, since a place that is left is handed on and not laid down.
    free: usize,
    /// Whom to wake, by ticket.
    waiting: BTreeMap<u64, Waker>,
    next_ticket: u64,
}

/// What becomes of one that comes.
#[derive(Debug)]
pub(super) enum Entry {
    LetIn(Place),
    Waits(Ticket),
    /// So many wait already.
    Full,
}

/// A place among those that run. Handed on when it is dropped.
#[derive(Debug)]
pub(super) struct Place(Arc<Limit>);

/// A place in the queue. Dropped, it is given up, and so is the place that it may have been handed.
#[derive(Debug)]
pub(super) struct Ticket {
    number: u64,
    /// Until it was used or given up.
    limit: Option<Arc<Limit>>,
}

// === impl Limit ===

impl Limit {
    pub(super) fn new(places: usize) -> Arc<Self> {
        let queue = Queue { free: places, waiting: BTreeMap::new(), next_ticket: 0 };
        Arc::new(Self { queue: Mutex::new(queue) })
    }

    /// Lets one in that comes, or has it wait until `waker` is woken, where fewer than
    /// `max_waiting` do.
    pub(super) fn enter(self: &Arc<Self>, max_waiting: usize, waker: &Waker) -> Entry {
        let mut queue = self.queue();
        if queue.free > 0 {
            queue.free -= 1;
            return Entry::LetIn(Place(Arc::clone(self)));
        }
        if queue.waiting.len() >= max_waiting {
            return Entry::Full;
        }
        let number = queue.next_ticket;
        queue.next_ticket += 1;
        queue.waiting.insert(number, waker.clone());
        Entry::Waits(Ticket { number, limit: Some(Arc::clone(self)) })
    }

    /// A place has been left: it is handed to the first that waits.
    fn left(&self) {
        let first = {
            let mut queue = self.queue();
            let first = queue.waiting.pop_first();
            if first.is_none() {
                queue.free += 1;
            }
            first
        };
        if let Some((_, waker)) = first {
            waker.wake();
        }
    }

    /// NB: no waker is woken or dropped under the lock: either may drop another request.
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Place ===

impl Drop for Place {
    fn drop(&mut self) {
        self.0.left();
    }
}

// === impl Ticket ===

impl Ticket {
    /// Whether its turn has come. Not to be asked again then.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Place> {
        let Some(limit) = &self.limit else {
            return Poll::Pending;
        };
        let mut waker = cx.waker().clone();
        if let Some(waiting) = limit.queue().waiting.get_mut(&self.number) {
            std::mem::swap(waiting, &mut waker);
            return Poll::Pending;
        }
        // Who left its place took the ticket out of the queue.
        self.limit.take().map_or(Poll::Pending, |limit| Poll::Ready(Place(limit)))
    }

    pub(super) fn give_up(&mut self) {
        let Some(limit) = self.limit.take() else {
            return;
        };
        let waker = limit.queue().waiting.remove(&self.number);
        if waker.is_none() {
            limit.left();
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.give_up();
    }
}
