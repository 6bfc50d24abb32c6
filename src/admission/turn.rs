//! How one request gets in, or is refused.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::Request;
use pin_project::pin_project;
use tokio::time::{Sleep, sleep};

use super::{
    layer::Admit,
    limit::{Entry, Place, Ticket},
    refusal::{Cause, Refused},
};
use crate::{outcome::FailureReason, record::RequestMeter};

/// The turn of one request. It comes when it is polled for the first time, and is in the queue
/// from then on.
#[pin_project]
pub(super) struct Turn {
    admit: Admit,
    /// While it waits.
    held: Option<Held>,
    #[pin]
    wait_limit: Option<Sleep>,
}

/// A request that could not be let in at once.
struct Held {
    ticket: Ticket,
    handle: RequestMeter,
    /// Being let in is its start.
    marks_start: bool,
}

// === impl Turn ===

impl Turn {
    pub(super) const fn new(admit: Admit) -> Self {
        Self { admit, held: None, wait_limit: None }
    }

    pub(super) fn poll<B>(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        request: &Request<B>,
    ) -> Poll<Result<Place, Refused>> {
        let mut this = self.project();
        let Admit { limit, terms } = this.admit;
        if this.held.is_none() {
            let handle = RequestMeter::of(request);
            let ticket = match limit.enter(terms.max_waiting(), cx.waker()) {
                Entry::LetIn(place) => {
                    handle.admitted();
                    return Poll::Ready(Ok(place));
                }
                Entry::Waits(ticket) => ticket,
                Entry::Full => {
                    handle.hold_back();
                    return refuse(&handle, Refused { cause: Cause::Full, terms: *terms });
                }
            };
            // NB: in this first turn, after it the start would be settled.
            let marks_start = handle.hold_back();
            *this.held = Some(Held { ticket, handle, marks_start });
            this.wait_limit.set(terms.wait_limit.map(sleep));
        }
        let Some(held) = this.held else {
            return Poll::Pending;
        };
        if let Poll::Ready(place) = held.ticket.poll(cx) {
            held.handle.admitted();
            if held.marks_start {
                held.handle.started();
            }
            return Poll::Ready(Ok(place));
        }
        let Some(wait_limit) = this.wait_limit.as_pin_mut() else {
            return Poll::Pending;
        };
        ready!(wait_limit.poll(cx));
        held.ticket.give_up();
        refuse(&held.handle, Refused { cause: Cause::WaitLimit, terms: *terms })
    }
}

/// NB: said before it is answered, so that the answer's end has it.
fn refuse(handle: &RequestMeter, refused: Refused) -> Poll<Result<Place, Refused>> {
    handle.fail(FailureReason::Rejected);
    Poll::Ready(Err(refused))
}
