//! Buffers that cannot be looked at, and bodies that are kept in a box.

use std::{collections::VecDeque, sync::mpsc};

use bytes::{Buf, Bytes};
use http_body::Frame;
use http_body_util::BodyExt;
use infermeter::{
    InferenceLayer, Meter,
    outcome::{FailureReason, Outcome},
    stream::{ObservedBody, Summary},
    wire::Wire,
};

use super::{
    A, DONE, Text, ended, events, request, send,
    support::frames::{Script, Step, drain},
};

#[test]
fn what_was_read_before_a_frame_that_cannot_be_looked_at_still_counts() {
    /// Lies in pieces and shows the first of them only, as `Buf` does unless told otherwise.
    struct Pieces(VecDeque<Bytes>);

    impl Buf for Pieces {
        fn remaining(&self) -> usize {
            self.0.iter().map(Bytes::len).sum()
        }

        fn chunk(&self) -> &[u8] {
            self.0.front().map_or(&[], |piece| piece)
        }

        fn advance(&mut self, n: usize) {
            let piece = self.0.front_mut().unwrap();
            piece.advance(n);
            if piece.is_empty() {
                self.0.pop_front();
            }
        }
    }

    let frame = |pieces: &[&'static str]| {
        let pieces = pieces.iter().map(|piece| Bytes::from_static(piece.as_bytes()));
        Step::Frame(Frame::data(Pieces(pieces.collect())))
    };
    let error = "data: {\"error\":{\"message\":\"died\"}}\n\n";
    let body = Script::<_, ()>::new([frame(&[A]), frame(&[error]), frame(&["data: ", "[DONE]"])]);
    let (send, receive) = mpsc::channel();
    let body = ObservedBody::new(body, Wire::openai(), move |summary: Summary| {
        send.send(summary).unwrap();
    });
    let data = drain(body).data;
    assert_eq!(data, [A, error, "data: [DONE]"].concat().as_bytes());
    let summary = receive.try_recv().unwrap();
    assert_eq!(summary.outcome, Outcome::Failure(FailureReason::StreamError));
    assert_eq!(summary.usage.completion, Some(1));
    assert_eq!(summary.bytes, data.len() as u64);
}

#[test]
fn the_body_of_a_response_can_be_boxed() {
    let meter = Meter::new();
    let stream = || events(Text::data([A, DONE]));
    let (_, body) = send(InferenceLayer::new(meter.clone()), request(), |_| stream());
    // Wants `Send` and `Sync`.
    drain(body.boxed());
    assert_eq!(ended(&meter), "success other 200");
}
