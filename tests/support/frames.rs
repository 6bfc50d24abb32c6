//! Bodies that do what a script says, and how to run one without a runtime.

use std::{
    collections::VecDeque,
    panic::resume_unwind,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};

/// Does one step of its script at a time.
#[derive(Debug)]
pub(crate) struct Script<D, E> {
    steps: VecDeque<Step<D, E>>,
    /// Whether it knows how much data is left.
    sized: bool,
    /// Whether the last frame is known to be the last one.
    announces_end: bool,
}

#[derive(Debug)]
pub(crate) enum Step<D, E> {
    Frame(Frame<D>),
    Error(E),
    /// Not ready; ready when polled again.
    Pending,
    /// Never ready again.
    Hang,
    Panic,
}

/// What a body is polled for.
pub(crate) type Polled<B> = Poll<Option<Result<Frame<<B as Body>::Data>, <B as Body>::Error>>>;

/// What came out of a body.
#[derive(Debug)]
pub(crate) struct Drained<E> {
    pub(crate) data: Vec<u8>,
    pub(crate) error: Option<E>,
}

// === impl Script ===

impl<D: Buf, E> Script<D, E> {
    pub(crate) fn new(steps: impl IntoIterator<Item = Step<D, E>>) -> Self {
        Self { steps: steps.into_iter().collect(), sized: false, announces_end: false }
    }

    pub(crate) fn sized(mut self) -> Self {
        self.sized = true;
        self
    }

    pub(crate) fn announcing_end(mut self) -> Self {
        self.announces_end = true;
        self
    }
}

impl<E> Script<Bytes, E> {
    pub(crate) fn data<T: Into<Bytes>>(frames: impl IntoIterator<Item = T>) -> Self {
        Self::new(frames.into_iter().map(|frame| Step::Frame(Frame::data(frame.into()))))
    }

    pub(crate) fn then(mut self, step: Step<Bytes, E>) -> Self {
        self.steps.push_back(step);
        self
    }
}

impl<D: Buf + Unpin, E: Unpin> Body for Script<D, E> {
    type Data = D;
    type Error = E;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<D>, E>>> {
        match self.steps.pop_front() {
            Some(Step::Frame(frame)) => Poll::Ready(Some(Ok(frame))),
            Some(Step::Error(error)) => Poll::Ready(Some(Err(error))),
            Some(Step::Pending) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Some(Step::Hang) => {
                self.steps.push_front(Step::Hang);
                Poll::Pending
            }
            // Without the panic hook's message: there are thousands of these in a storm.
            Some(Step::Panic) => resume_unwind(Box::new("the script says so")),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.announces_end && self.steps.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        if !self.sized {
            return SizeHint::default();
        }
        let data = self.steps.iter().filter_map(|step| match step {
            Step::Frame(frame) => frame.data_ref(),
            _ => None,
        });
        SizeHint::with_exact(data.map(|data| data.remaining() as u64).sum())
    }
}

/// Polls a body once, outside of any runtime.
pub(crate) fn poll<B: Body>(body: Pin<&mut B>) -> Polled<B> {
    body.poll_frame(&mut Context::from_waker(Waker::noop()))
}

/// Runs a body that is never long pending to its end.
pub(crate) fn drain<B: Body>(body: B) -> Drained<B::Error> {
    let mut body = pin!(body);
    let mut drained = Drained { data: Vec::new(), error: None };
    loop {
        match poll(body.as_mut()) {
            Poll::Pending => {}
            Poll::Ready(None) => return drained,
            Poll::Ready(Some(Err(error))) => {
                drained.error = Some(error);
                return drained;
            }
            Poll::Ready(Some(Ok(frame))) => {
                if let Ok(mut data) = frame.into_data() {
                    while data.has_remaining() {
                        let chunk = data.chunk();
                        drained.data.extend_from_slice(chunk);
                        let read = chunk.len();
                        data.advance(read);
                    }
                }
            }
        }
    }
}
