//! A watched body beside the same body alone, step by step.

use std::{
    collections::VecDeque,
    convert::Infallible,
    io::IoSlice,
    pin::pin,
    sync::{Arc, Mutex},
    task::Poll,
};

use bytes::{Buf, Bytes, buf::Chain};
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame};
use infermeter::{
    InferenceLayer, Meter,
    layer::ResponseBody,
    outcome::{TokenSource, Unread},
    stream::{ObservedBody, Summary},
    wire::Wire,
};
use tower::{Layer, ServiceExt, service_fn};

use super::support::{
    frames::{Script, Step, drain, poll},
    recording::Recording,
};

/// An error that is told from one that says the same.
type Fault = Arc<str>;

// === step by step ===

#[tokio::test]
async fn frames_hints_and_errors_are_those_of_the_body_inside() {
    for script in scripts() {
        for (status, kind) in [
            (200, "text/event-stream"),
            (200, "application/json"),
            (200, "application/octet-stream"),
            (200, "application/grpc"),
            (204, "text/plain"),
            (304, "application/json"),
            (503, "application/json"),
        ] {
            let response = || {
                let mut response = Response::builder().status(status).header("content-type", kind);
                if kind == "application/octet-stream" {
                    response = response.header("content-encoding", "br");
                }
                response.body(script.body()).unwrap()
            };
            let case = format!("{} as {status} {kind}", script.name);
            let watched = ObservedBody::response(response(), Wire::openai(), |_| {});
            assert_same_steps(script.body(), watched.into_body(), &case);
            for path in ["/v1/completions", "/v1/embeddings", "/v1/models"] {
                let watched = through_layer(path, response()).await;
                assert_same_steps(script.body(), watched, &format!("{case} at {path}"));
            }
        }
        let watched = ObservedBody::new(script.body(), Wire::openai(), |_| {});
        assert_same_steps(script.body(), watched, script.name);
        let watched = ObservedBody::new(script.body(), Wire::opaque(), |_| {});
        assert_same_steps(script.body(), watched, script.name);
        let told = |_: Summary| panic!("the one who is told panics");
        let watched = ObservedBody::new(script.body(), Wire::openai(), told);
        assert_same_steps(script.body(), watched, script.name);
    }
}

/// A body that can be had twice, with the very same data and errors.
struct Twice {
    name: &'static str,
    steps: Vec<Same>,
    sized: bool,
    announces_end: bool,
}

#[derive(Clone)]
enum Same {
    Data(Bytes),
    Trailers(HeaderMap),
    Error(Fault),
    Pending,
}

impl Twice {
    fn body(&self) -> Script<Bytes, Fault> {
        let mut script = Script::new(self.steps.iter().map(|step| match step.clone() {
            Same::Data(data) => Step::Frame(Frame::data(data)),
            Same::Trailers(trailers) => Step::Frame(Frame::trailers(trailers)),
            Same::Error(error) => Step::Error(error),
            Same::Pending => Step::Pending,
        }));
        if self.sized {
            script = script.sized();
        }
        if self.announces_end {
            script = script.announcing_end();
        }
        script
    }
}

fn scripts() -> Vec<Twice> {
    let data = |text: &str| Same::Data(Bytes::copy_from_slice(text.as_bytes()));
    let event = || data("data: {\"choices\":[{\"index\":0,\"text\":\"a\"}]}\n\n");
    let half = || data("data: {\"choices\":[{\"ind");
    let done = || data("data: [DONE]\n\n");
    let trailers = || {
        let pairs = [("grpc-status", "13"), ("x-same", "1"), ("x-same", "2")];
        let pairs = pairs.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        Same::Trailers(pairs.into_iter().collect())
    };
    let error = || Same::Error("broken".into());
    let kinds: Vec<(&str, Vec<Same>)> = vec![
        ("nothing", vec![]),
        ("events", vec![event(), event(), done()]),
        ("an answer", vec![data("{\"choices\":[],\"usage\":{\"completion_tokens\":3}}")]),
        ("pauses", vec![Same::Pending, event(), Same::Pending, Same::Pending, done()]),
        ("empty frames", vec![data(""), event(), data(""), done(), data("")]),
        ("an event in pieces", vec![half(), Same::Pending, data("ex\":0}]}\n\n"), done()]),
        ("only trailers", vec![trailers()]),
        ("trailers", vec![event(), done(), trailers()]),
        ("an error", vec![error()]),
        ("an error after data", vec![event(), half(), error()]),
        ("data after an error", vec![event(), error(), event(), done()]),
        ("data after the end marker", vec![event(), done(), event(), trailers()]),
        ("no text at all", vec![Same::Data(vec![0xff, 0, b'{', 0xfe].into())]),
    ];
    let mut scripts = Vec::new();
    for (name, steps) in kinds {
        for (sized, announces_end) in [(false, false), (false, true), (true, false), (true, true)] {
            scripts.push(Twice { name, steps: steps.clone(), sized, announces_end });
        }
    }
    scripts
}

async fn through_layer(
    path: &str,
    response: Response<Script<Bytes, Fault>>,
) -> ResponseBody<Script<Bytes, Fault>> {
    let response = Arc::new(Mutex::new(Some(response)));
    let service = service_fn(move |_: Request<()>| {
        let response = response.lock().unwrap().take().unwrap();
        async { Ok::<_, Infallible>(response) }
    });
    let service = InferenceLayer::new(Meter::new()).layer(service);
    service.oneshot(Request::post(path).body(()).unwrap()).await.unwrap().into_body()
}

/// Polls both until well after their end.
fn assert_same_steps(
    bare: impl Body<Data = Bytes, Error = Fault>,
    watched: impl Body<Data = Bytes, Error = Fault>,
    case: &str,
) {
    let (mut bare, mut watched) = (pin!(bare), pin!(watched));
    for step in 0..12 {
        assert_eq!(watched.is_end_stream(), bare.is_end_stream(), "{case}, step {step}");
        let hints = [watched.size_hint(), bare.size_hint()].map(|h| (h.lower(), h.upper()));
        assert_eq!(hints[0], hints[1], "{case}, step {step}");
        match (poll(watched.as_mut()), poll(bare.as_mut())) {
            (Poll::Pending, Poll::Pending) | (Poll::Ready(None), Poll::Ready(None)) => {}
            (Poll::Ready(Some(Err(seen))), Poll::Ready(Some(Err(sent)))) => {
                assert!(Arc::ptr_eq(&seen, &sent), "{case}, step {step}: the error itself");
            }
            (Poll::Ready(Some(Ok(seen))), Poll::Ready(Some(Ok(sent)))) => {
                assert_eq!(seen.trailers_ref(), sent.trailers_ref(), "{case}, step {step}");
                let place = |data: &Bytes| (data.as_ptr(), data.len());
                let data = [seen.data_ref(), sent.data_ref()].map(|data| data.map(place));
                assert_eq!(data[0], data[1], "{case}, step {step}: the bytes themselves");
            }
            (seen, sent) => panic!("{case}, step {step}: {seen:?} for {sent:?}"),
        }
    }
}

// === data in pieces ===

#[test]
fn data_that_lies_in_two_pieces_is_passed_and_read() {
    let recording = Recording::named("vllm/03-chat-stream-include-usage.http");
    let body = Bytes::from(recording.body());
    for cut in 0..=body.len() {
        let chain: Chain<Bytes, Bytes> = body.slice(..cut).chain(body.slice(cut..));
        let script = Script::<_, Fault>::new([Step::Frame(Frame::data(chain))]);
        let (data, summary) = observed(script);
        assert!(data == body, "in two at {cut}");
        assert_eq!(summary.bytes, body.len() as u64, "in two at {cut}");
        assert_eq!(summary.source, TokenSource::Usage, "in two at {cut}");
        assert_eq!(summary.usage.completion, Some(20), "in two at {cut}");
    }
}

#[test]
fn data_in_more_pieces_than_can_be_looked_at_is_passed_unread() {
    let body = Recording::named("vllm/03-chat-stream-include-usage.http").body();
    for (pieces, shows_them, is_read) in [(2, true, true), (64, true, true), (65, true, false)]
        .into_iter()
        .chain([(1, false, true), (2, false, false)])
    {
        let rope = Rope::new(&body, pieces, shows_them);
        let script = Script::<_, Fault>::new([Step::Frame(Frame::data(rope))]);
        let (data, summary) = observed(script);
        let case = format!("{pieces} pieces, shown: {shows_them}");
        assert!(data == body, "{case}");
        assert_eq!(summary.bytes, body.len() as u64, "{case}");
        assert_eq!(summary.usage.completion, is_read.then_some(20), "{case}");
        assert_eq!(summary.unread, (!is_read).then_some(Unread::UnknownFormat), "{case}");
    }
}

/// A buffer in many pieces, which may or may not tell of more than the first.
#[derive(Debug)]
struct Rope {
    pieces: VecDeque<Bytes>,
    shows_them: bool,
}

impl Rope {
    fn new(bytes: &[u8], pieces: usize, shows_them: bool) -> Self {
        let size = bytes.len().div_ceil(pieces);
        let pieces = bytes.chunks(size).map(Bytes::copy_from_slice).collect();
        Self { pieces, shows_them }
    }
}

impl Buf for Rope {
    fn remaining(&self) -> usize {
        self.pieces.iter().map(Bytes::len).sum()
    }

    fn chunk(&self) -> &[u8] {
        self.pieces.front().map_or(&[], |piece| piece)
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let shown = if self.shows_them { self.pieces.len() } else { 1 };
        let pieces = self.pieces.iter().take(shown);
        slices.iter_mut().zip(pieces).map(|(slice, piece)| *slice = IoSlice::new(piece)).count()
    }

    fn advance(&mut self, n: usize) {
        let piece = self.pieces.front_mut().unwrap();
        piece.advance(n);
        if piece.is_empty() {
            self.pieces.pop_front();
        }
    }
}

fn observed<D: Buf + Unpin>(script: Script<D, Fault>) -> (Vec<u8>, Summary) {
    let summary = Arc::new(Mutex::new(None));
    let told = Arc::clone(&summary);
    let body = ObservedBody::new(script, Wire::openai(), move |summary| {
        *told.lock().unwrap() = Some(summary);
    });
    let data = drain(body).data;
    (data, summary.lock().unwrap().take().unwrap())
}
