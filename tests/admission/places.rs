//! When a place is left: as soon as the work on a request is over, however it is.

use std::{
    convert::Infallible,
    future::{Ready, pending, ready},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame};
use infermeter::{
    AdmissionLayer, Meter,
    admission::{Admission, ResponseBody},
};
use tower::{Layer, Service, ServiceExt, service_fn};

use super::{
    support::frames::{Script, Step},
    work::{now, poll},
};

type Scripted = Script<Bytes, &'static str>;

const WORD: Bytes = Bytes::from_static(b"word");

// === of a body ===

#[test]
fn a_body_keeps_its_place_until_its_end() {
    let trailers = || Step::Frame(Frame::trailers(HeaderMap::new()));
    let word = || Scripted::data([WORD]);
    for (what, script, polls) in [
        ("None", word(), 2),
        ("the last frame", word().announcing_end(), 1),
        ("trailers", word().then(trailers()), 2),
        ("an error", word().then(Step::Error("broken")).then(Step::Hang), 2),
        ("a pause", word().then(Step::Pending), 3),
        ("nothing at all", Scripted::data([WORD; 0]), 1),
        ("nothing, and it says so", Scripted::data([WORD; 0]).announcing_end(), 0),
    ] {
        let (layer, body) = admitted(script);
        let mut body = pin!(body);
        for polled in 0..polls {
            assert!(is_taken(&layer), "{what}: left after {polled} polls");
            let _ = body.as_mut().poll_frame(&mut Context::from_waker(Waker::noop()));
        }
        assert!(!is_taken(&layer), "{what}: kept after the end");
    }
}

#[test]
fn a_body_that_is_dropped_leaves_its_place() {
    let (layer, body) = admitted(Scripted::data([WORD, WORD]));
    assert!(is_taken(&layer));
    drop(body);
    assert!(!is_taken(&layer));
    // hyper drops it when as many bytes have passed as were said to come.
    let (layer, body) = admitted(Scripted::data([WORD]).sized());
    let mut body = Box::pin(body);
    let _ = body.as_mut().poll_frame(&mut Context::from_waker(Waker::noop()));
    assert!(is_taken(&layer));
    drop(body);
    assert!(!is_taken(&layer));
}

#[test]
fn a_body_that_panics_leaves_its_place() {
    let (layer, body) = admitted(Scripted::data([WORD]).then(Step::Panic));
    catch_unwind(AssertUnwindSafe(|| super::support::frames::drain(body).data)).unwrap_err();
    assert!(!is_taken(&layer));
}

// === of a response ===

#[test]
fn an_error_leaves_the_place_also_where_the_future_is_kept() {
    let layer = AdmissionLayer::new(&Meter::new(), 1).max_waiting(0);
    let mut fails =
        layer.layer(service_fn(|_: Request<()>| async { Err::<Response<Scripted>, _>("no") }));
    let mut response = Box::pin(fails.call(request()));
    assert_eq!(now(&mut response).unwrap_err(), "no");
    assert!(!is_taken(&layer));
}

#[test]
fn a_panic_leaves_the_place() {
    let layer = AdmissionLayer::new(&Meter::new(), 1).max_waiting(0);
    let panics = layer.layer(service_fn(|_: Request<()>| async {
        std::panic::resume_unwind(Box::new("the service says so"));
        #[expect(unreachable_code, reason = "says the type")]
        Ok::<Response<Scripted>, Infallible>(Response::new(Scripted::data([WORD])))
    }));
    let response = panics.oneshot(request());
    catch_unwind(AssertUnwindSafe(|| now(&mut Box::pin(response)).map(drop))).unwrap_err();
    assert!(!is_taken(&layer));
}

#[test]
fn a_future_that_is_dropped_leaves_the_place() {
    let layer = AdmissionLayer::new(&Meter::new(), 1).max_waiting(0);
    let hangs = layer.layer(service_fn(|_: Request<()>| async {
        pending::<()>().await;
        Ok::<Response<Scripted>, Infallible>(Response::new(Scripted::data([WORD])))
    }));
    let mut response = Box::pin(hangs.oneshot(request()));
    assert!(!is_taken(&layer), "it has not come yet");
    assert!(poll(&mut response).is_pending());
    assert!(is_taken(&layer));
    drop(response);
    assert!(!is_taken(&layer));
}

#[test]
fn a_service_that_gets_never_ready_keeps_the_place_and_one_that_breaks_leaves_it() {
    let layer = AdmissionLayer::new(&Meter::new(), 1).max_waiting(0);
    let mut response = Box::pin(layer.layer(Unready(Poll::Pending)).oneshot(request()));
    assert!(poll(&mut response).is_pending());
    assert!(is_taken(&layer));
    drop(response);
    assert!(!is_taken(&layer));
    let broken = Unready(Poll::Ready(Err("it broke")));
    let mut response = Box::pin(layer.layer(broken).call(request()));
    assert_eq!(now(&mut response).unwrap_err(), "it broke");
    assert!(!is_taken(&layer));
}

// === helpers ===

/// Never ready.
#[derive(Clone, Copy, Debug)]
struct Unready(Poll<Result<(), &'static str>>);

impl Service<Request<()>> for Unready {
    type Response = Response<Scripted>;
    type Error = &'static str;
    type Future = Ready<Result<Response<Scripted>, &'static str>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), &'static str>> {
        self.0
    }

    fn call(&mut self, _request: Request<()>) -> Self::Future {
        panic!("called although it is not ready")
    }
}

/// A body that was let in, by a layer that lets in one.
fn admitted(script: Scripted) -> (AdmissionLayer, ResponseBody<Scripted>) {
    let layer = AdmissionLayer::new(&Meter::new(), 1).max_waiting(0);
    let script = std::sync::Mutex::new(Some(script));
    let service = service_fn(|_: Request<()>| {
        let script = script.lock().unwrap().take().unwrap();
        ready(Ok::<_, Infallible>(Response::new(script)))
    });
    // NB: the future is dropped, the response is kept.
    let response = now(&mut Box::pin(layer.layer(service).oneshot(request()))).unwrap();
    (layer, response.into_body())
}

/// Whether the only place is.
fn is_taken(layer: &AdmissionLayer) -> bool {
    let service: Admission<_> = layer.layer(service_fn(|_: Request<()>| async {
        Ok::<_, Infallible>(Response::new(Scripted::data([WORD])))
    }));
    now(&mut Box::pin(service.oneshot(request()))).unwrap().status() == 429
}

fn request() -> Request<()> {
    Request::new(())
}
