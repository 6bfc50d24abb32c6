//! A body that does, poll by poll, what a test says.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame};

#[derive(Debug)]
pub(crate) enum Step {
    Data(&'static str),
    Trailers(&'static [(&'static str, &'static str)]),
    Error,
    Panic,
    /// Never wakes.
    Pending,
}

/// After the last step it yields `None`.
#[derive(Debug)]
pub(crate) struct Scripted {
    steps: VecDeque<Step>,
    /// Says that it is over as soon as the last step was taken, so that `None` is never polled.
    says_its_end: bool,
}

impl Scripted {
    pub(crate) fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        Self { steps: steps.into_iter().collect(), says_its_end: false }
    }

    pub(crate) fn that_says_its_end(mut self) -> Self {
        self.says_its_end = true;
        self
    }
}

impl Body for Scripted {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        let Some(step) = self.steps.pop_front() else {
            assert!(!self.says_its_end, "polled although it said that it is over");
            return Poll::Ready(None);
        };
        Poll::Ready(Some(match step {
            Step::Data(data) => Ok(Frame::data(Bytes::from_static(data.as_bytes()))),
            Step::Trailers(trailers) => {
                let pair = |(name, value): &(&'static str, &str)| {
                    (http::HeaderName::from_static(name), value.parse().expect("a value"))
                };
                Ok(Frame::trailers(trailers.iter().map(pair).collect::<HeaderMap>()))
            }
            Step::Error => Err("the body broke"),
            Step::Panic => panic!("the body panics"),
            Step::Pending => return Poll::Pending,
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.says_its_end && self.steps.is_empty()
    }
}
