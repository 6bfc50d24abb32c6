//! A panic in what the layer asks besides frames: the request still ends, once, as a failure.

use std::{
    convert::Infallible,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use infermeter::{InferenceLayer, Meter, layer::Endpoint, wire::Wire};
use tower::{Layer, ServiceExt, service_fn};

use super::support::{frames::drain, scrape::Scrape};

/// Panics in one of its methods.
#[derive(Clone, Copy, Debug)]
struct Panics {
    in_hint: bool,
    /// After so many frames.
    in_is_end: Option<usize>,
    frames: usize,
}

#[test]
fn a_size_hint_that_panics() {
    assert_fails(Panics { in_hint: true, in_is_end: None, frames: 0 }, Wire::openai());
}

#[test]
fn an_end_of_stream_that_panics_before_the_first_frame() {
    assert_fails(Panics { in_hint: false, in_is_end: Some(0), frames: 0 }, Wire::openai());
}

#[test]
fn an_end_of_stream_that_panics_after_a_frame() {
    assert_fails(Panics { in_hint: false, in_is_end: Some(1), frames: 0 }, Wire::openai());
}

#[test]
fn a_format_that_cannot_be_made_costs_the_reading_only() {
    let wire = Wire::custom(|| resume_unwind(Box::new("no format")));
    let scrape = run(Panics { in_hint: false, in_is_end: None, frames: 0 }, wire);
    assert_eq!(scrape.in_flight(), 0);
    assert_eq!(scrape.sum("infermeter_requests_total", &[("outcome", "success")]), 1);
}

fn assert_fails(body: Panics, wire: Wire) {
    let scrape = run(body, wire);
    let ends = scrape.counted("infermeter_requests_total");
    assert_eq!(scrape.in_flight(), 0, "{ends:?}");
    let failed = [("outcome", "failure"), ("reason", "server_error")];
    assert_eq!(scrape.sum("infermeter_requests_total", &failed), 1, "{ends:?}");
}

fn run(body: Panics, wire: Wire) -> Scrape {
    let meter = Meter::new();
    let service = service_fn(move |_: Request<()>| async move {
        let response = Response::builder().header("content-type", "text/event-stream");
        Ok::<_, Infallible>(response.body(body).unwrap())
    });
    let layer = InferenceLayer::new(meter.clone()).endpoint("/words", Endpoint::new("words", wire));
    let service = layer.layer(service);
    let caught = catch_unwind(AssertUnwindSafe(|| {
        let request = Request::post("/words").body(()).unwrap();
        let response = service.oneshot(request).now_or_never().unwrap().unwrap();
        drain(response.into_body());
    }));
    drop(caught);
    let scrape = Scrape::of(&meter);
    scrape.assert_identities();
    scrape
}

impl Body for Panics {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.frames += 1;
        Poll::Ready(match self.frames {
            1 => Some(Ok(Frame::data("data: {\"choices\":[{\"text\":\"a\"}]}\n\n".into()))),
            _ => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        if self.in_is_end == Some(self.frames) {
            resume_unwind(Box::new("is it the end?"));
        }
        false
    }

    fn size_hint(&self) -> SizeHint {
        if self.in_hint {
            resume_unwind(Box::new("how long is it?"));
        }
        SizeHint::default()
    }
}
