//! The body of a streamed answer: one event for each word, as soon as the engine has it.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::body::{Bytes, HttpBody};
use http_body::Frame;
use serde_json::Value;
use tokio::{
    sync::mpsc::UnboundedReceiver,
    time::{Sleep, sleep},
};

use super::{
    engine::Event,
    fault::Fault,
    openai::{Chunks, DONE, Error, Shape, Usage},
    timing::Timing,
};

/// What an answer is made of.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) events: UnboundedReceiver<(usize, Event)>,
    pub(crate) choices: Vec<Shape>,
    pub(crate) prompt: usize,
    pub(crate) cached: usize,
    pub(crate) timing: Timing,
}

/// An answer as server-sent events.
#[derive(Debug)]
pub(crate) struct Answer {
    plan: Plan,
    chunks: Chunks,
    include_usage: bool,
    fault: Option<Fault>,
    /// Words that were sent, of each choice.
    words: Vec<usize>,
    open: usize,
    /// Written, but not sent yet.
    pending: VecDeque<String>,
    pause: Option<Pin<Box<Sleep>>>,
}

/// After so many words a stream that is to fail does.
const WORDS_BEFORE_FAULT: usize = 3;

const SLOW: Duration = Duration::from_millis(100);

// === impl Plan ===

impl Plan {
    /// What it took, once all words are there.
    pub(crate) fn usage(&self) -> Usage {
        let sum = |part: fn(&Shape) -> usize| self.choices.iter().map(part).sum();
        let (completion, reasoning) = (sum(|shape| shape.words), sum(|shape| shape.thoughts));
        Usage { prompt: self.prompt, cached: self.cached, completion, reasoning }
    }

    /// How long it took, once all words are there; of several choices nothing is told, as vLLM does.
    pub(crate) fn metrics(&self) -> Option<Value> {
        let [shape] = self.choices[..] else { return None };
        Some(self.timing.json(shape.words))
    }
}

// === impl Answer ===

impl Answer {
    pub(crate) fn new(
        plan: Plan,
        chunks: Chunks,
        include_usage: bool,
        fault: Option<Fault>,
    ) -> Self {
        let open = plan.choices.len();
        let pending = (0..open).filter_map(|choice| chunks.prelude(choice)).collect();
        let words = vec![0; open];
        Self { plan, chunks, include_usage, fault, words, open, pending, pause: None }
    }

    fn take(&mut self, choice: usize, event: Event) {
        match event {
            Event::Started { .. } => {}
            Event::Word(word) => {
                self.plan.timing.word();
                let (shape, place) = (self.plan.choices[choice], self.words[choice]);
                self.words[choice] += 1;
                self.pending.push_back(self.chunks.word(choice, shape, place, word));
                self.fail();
            }
            Event::Over => {
                self.pending.push_back(self.chunks.finish(choice, self.plan.choices[choice]));
                self.open -= 1;
                if self.open == 0 {
                    if self.include_usage {
                        let (usage, metrics) = (self.plan.usage(), self.plan.metrics());
                        self.pending.push_back(self.chunks.usage(usage, metrics));
                    }
                    self.pending.push_back(DONE.to_owned());
                }
            }
        }
    }

    /// Does what was asked for, after a word.
    fn fail(&mut self) {
        let is_due = self.words.iter().sum::<usize>() >= WORDS_BEFORE_FAULT;
        match self.fault {
            Some(Fault::Slow) => self.pause = Some(Box::pin(sleep(SLOW))),
            Some(Fault::StreamError) if is_due => {
                self.pending.push_back(Chunks::error(&Error::fault("a fault was asked for")));
                self.open = 0;
            }
            Some(Fault::Cut) if is_due => self.open = 0,
            _ => {}
        }
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        loop {
            if let Some(pause) = &mut self.pause {
                ready!(pause.as_mut().poll(cx));
                self.pause = None;
            }
            if let Some(event) = self.pending.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(event.into()))));
            }
            if self.open == 0 {
                return Poll::Ready(None);
            }
            match ready!(self.plan.events.poll_recv(cx)) {
                Some((choice, event)) => self.take(choice, event),
                // The engine stopped before the end.
                None => return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into()))),
            }
        }
    }
}
