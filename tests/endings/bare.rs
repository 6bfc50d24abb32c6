//! The endings of a body alone.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::mpsc,
};

use futures_util::FutureExt;
use http::Response;
use http_body_util::BodyExt;
use infermeter::{
    outcome::{FailureReason, FinishReason, Outcome, Phase, TokenSource},
    stream::{BodyEnd, ObservedBody, Summary},
    wire::Wire,
};

use super::scripted::{Scripted, Step};

const CONTENT: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n";
const DONE: &str = "data: [DONE]\n\n";

/// Polls so many frames and drops the rest; the summary must have come exactly once.
async fn observed(body: Scripted, frames: usize) -> Summary {
    let (send, receive) = mpsc::channel();
    let mut body = ObservedBody::new(body, Wire::openai(), move |summary| {
        send.send(summary).unwrap();
    });
    for _ in 0..frames {
        let _ = body.frame().await;
    }
    drop(body);
    let summary = receive.recv().expect("a summary");
    assert!(receive.recv().is_err(), "a second summary");
    summary
}

#[tokio::test]
async fn body_that_will_never_be_polled() {
    let summary = observed(Scripted::new([]).that_says_its_end(), 0).await;
    assert_eq!(summary.end, BodyEnd::NeverPolled);
    assert_eq!(summary.outcome, Outcome::Success(FinishReason::Other));
}

#[tokio::test]
async fn trailers_frame() {
    let steps = [Step::Data(CONTENT), Step::Data(DONE), Step::Trailers(&[("x", "1")])];
    let summary = observed(Scripted::new(steps), 3).await;
    assert_eq!(summary.end, BodyEnd::Trailers { grpc: None });
    assert_eq!(summary.outcome, Outcome::Success(FinishReason::Other));
    assert_eq!((summary.usage.completion, summary.source), (Some(1), TokenSource::Counted));
}

#[tokio::test]
async fn end_stream_after_a_frame() {
    let body = Scripted::new([Step::Data(CONTENT), Step::Data(DONE)]).that_says_its_end();
    assert_eq!(observed(body, 2).await.end, BodyEnd::EndStream);
}

#[tokio::test]
async fn content_length_reached() {
    let (send, receive) = mpsc::channel();
    let response = Response::builder()
        .header("content-type", "application/json")
        .header("content-length", 2)
        .body(Scripted::new([Step::Data("{}"), Step::Pending]))
        .unwrap();
    let response = ObservedBody::response(response, Wire::openai(), move |summary| {
        send.send(summary).unwrap();
    });
    let mut body = response.into_body();
    body.frame().await.unwrap().unwrap();
    let summary: Summary = receive.try_recv().expect("ended with that frame");
    assert_eq!(summary.end, BodyEnd::ContentLength);
    assert_eq!(summary.bytes, 2);
}

#[tokio::test]
async fn none() {
    let summary = observed(Scripted::new([Step::Data(CONTENT)]), 2).await;
    assert_eq!(summary.end, BodyEnd::Eof);
    assert_eq!(summary.outcome, Outcome::Failure(FailureReason::Truncated));
}

#[tokio::test]
async fn err_frame() {
    let summary = observed(Scripted::new([Step::Data(CONTENT), Step::Error]), 2).await;
    assert_eq!(summary.end, BodyEnd::Error);
    assert_eq!(summary.outcome, Outcome::Failure(FailureReason::StreamError));
    assert_eq!(summary.usage.completion, Some(1));
}

#[tokio::test]
async fn unwinding_while_the_body_is_polled() {
    let (send, receive) = mpsc::channel();
    let body = Scripted::new([Step::Panic]);
    let mut body = ObservedBody::new(body, Wire::openai(), move |summary: Summary| {
        send.send(summary).unwrap();
    });
    let frame = body.frame();
    assert!(catch_unwind(AssertUnwindSafe(|| frame.now_or_never())).is_err());
    drop(body);
    let summary = receive.try_recv().unwrap();
    assert_eq!(summary.end, BodyEnd::Panicked);
    assert_eq!(summary.outcome, Outcome::Failure(FailureReason::ServerError));
}

#[tokio::test]
async fn dropped() {
    let stream = || Scripted::new([Step::Data(CONTENT), Step::Data(DONE), Step::Pending]);
    let outcomes = [
        Outcome::Aborted(Phase::Prefill),
        Outcome::Aborted(Phase::Decode),
        Outcome::Success(FinishReason::Other),
    ];
    for (frames, outcome) in outcomes.into_iter().enumerate() {
        let summary = observed(stream(), frames).await;
        assert_eq!((summary.end, summary.outcome), (BodyEnd::Dropped, outcome));
    }
}

#[tokio::test]
async fn a_panic_of_the_closure_stays_inside() {
    let body = Scripted::new([Step::Data(CONTENT)]);
    let body = ObservedBody::new(body, Wire::openai(), |_| panic!("cannot bill"));
    assert_eq!(body.collect().await.unwrap().to_bytes(), CONTENT);
}

#[tokio::test]
async fn a_panic_of_a_format_costs_the_reading_only() {
    #[derive(Debug)]
    struct Broken;
    impl infermeter::wire::WireFormat for Broken {
        fn event<'a>(
            &mut self,
            _: infermeter::wire::Event<'a>,
            _: &mut dyn FnMut(infermeter::wire::Progress),
        ) -> Option<infermeter::wire::Varying<'a>> {
            panic!("cannot read")
        }
        fn whole(&mut self, _: &[u8]) {
            panic!("cannot read")
        }
        fn so_far(&self) -> infermeter::wire::Usage {
            panic!("cannot count")
        }
        fn facts(&self) -> infermeter::wire::Facts {
            panic!("cannot tell")
        }
    }
    for (data, is_read) in [(CONTENT, true), ("{}", true), ("", false)] {
        let (send, receive) = mpsc::channel();
        let body = Scripted::new([Step::Data(data)]);
        let body =
            ObservedBody::new(body, Wire::custom(|| Box::new(Broken)), move |summary: Summary| {
                send.send(summary).unwrap()
            });
        assert_eq!(body.collect().await.unwrap().to_bytes(), data);
        let summary = receive.try_recv().unwrap();
        assert_eq!(summary.unread.is_some(), is_read);
        assert_eq!(summary.usage.completion, None);
    }
}

#[test]
fn a_watched_body_is_as_portable_as_the_body_in_it() {
    fn portable<T: Send + Sync + Unpin + 'static>(_: T) {}
    portable(ObservedBody::new(Scripted::new([]), Wire::openai(), |_| ()));
}
