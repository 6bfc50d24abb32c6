//! A panic of what a user plugs in costs its own work: the response passes, the request ends once.

use std::{mem::discriminant, panic::resume_unwind, time::Duration};

use http::Response;
use infermeter::{
    InferenceLayer, Meter,
    layer::Endpoint,
    stream::{ObservedBody, Observer, Summary},
    wire::{Event, Facts, Progress, Usage, Varying, Wire, WireFormat},
};
use tokio::time::Instant;

use super::{A, DONE, Text, ended, events, request, send, support::frames::drain};

// === a format ===

struct NoEndMarker;

impl WireFormat for NoEndMarker {
    fn event<'a>(&mut self, _: Event<'a>, _: &mut dyn FnMut(Progress)) -> Option<Varying<'a>> {
        None
    }

    fn whole(&mut self, _: &[u8]) {}

    fn so_far(&self) -> Usage {
        Usage::default()
    }

    fn facts(&self) -> Facts {
        Facts::default()
    }

    fn has_end_marker(&self) -> bool {
        resume_unwind(Box::new("is there one?"))
    }
}

#[test]
fn a_format_that_cannot_say_whether_it_has_an_end_marker() {
    let meter = Meter::new();
    let wire = Wire::custom(|| Box::new(NoEndMarker));
    let endpoint = Endpoint::new("completions", wire);
    let layer = InferenceLayer::new(meter.clone()).endpoint("/v1/completions", endpoint);
    let (_, body) = send(layer, request(), |_| events(Text::data([A])));
    assert_eq!(drain(body).data, A.as_bytes());
    assert_eq!(ended(&meter), "success other 200");
}

// === an observer ===

/// Panics at one step.
struct Panics(At);

#[derive(Clone, Copy, Debug)]
enum At {
    FirstToken,
    Gap,
    Frame,
    End,
}

impl Panics {
    fn at(&self, at: At) {
        if discriminant(&self.0) == discriminant(&at) {
            resume_unwind(Box::new("cannot watch"));
        }
    }
}

impl Observer for Panics {
    fn first_token(&mut self, _: Instant) {
        self.at(At::FirstToken);
    }

    fn gap(&mut self, _: Duration, _: u64) {
        self.at(At::Gap);
    }

    fn frame(&mut self, _: Instant, _: impl FnOnce() -> Usage) {
        self.at(At::Frame);
    }

    fn end(&mut self, _: Summary) {
        self.at(At::End);
    }
}

#[test]
fn an_observer_that_panics_costs_no_byte() {
    for at in [At::FirstToken, At::Gap, At::Frame, At::End] {
        let response = Response::new(Text::data([A, A, DONE]));
        let watched = ObservedBody::observed_by(response, Wire::openai(), Panics(at));
        let data = drain(watched.into_body()).data;
        assert_eq!(data, [A, A, DONE].concat().as_bytes(), "{at:?}");
    }
}
