//! The body: its ends, hints, trailers and errors.

use std::{
    convert::Infallible,
    pin::pin,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use futures_util::stream;
use http::HeaderMap;
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Empty, Full, StreamBody};

use super::{FINAL, RUNNING};
use crate::proxy::usage::{Hidden, Hide};

const CONTENT: &str = "data: {\"choices\":[{\"text\":\"a\",\"finish_reason\":null}]}\n\n";
const END: &str = "data: {\"choices\":[{\"text\":\"b\",\"finish_reason\":\"stop\"}]}\n\n";
const USAGE: &str = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1}}\n\n";

type Step = Result<Frame<Bytes>, &'static str>;

fn data(text: &str) -> Step {
    Ok(Frame::data(Bytes::copy_from_slice(text.as_bytes())))
}

fn trailers() -> Step {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
    Ok(Frame::trailers(trailers))
}

/// What a body gives until it has ended.
fn polled(hide: Option<Hide>, steps: Vec<Step>) -> Vec<String> {
    let mut body = pin!(Hidden::new(StreamBody::new(stream::iter(steps)), hide));
    let mut cx = Context::from_waker(Waker::noop());
    let mut seen = Vec::new();
    while let Poll::Ready(Some(frame)) = body.as_mut().poll_frame(&mut cx) {
        seen.push(match frame.map(Frame::into_data) {
            Ok(Ok(data)) => String::from_utf8(data.into()).unwrap(),
            Ok(Err(_)) => "trailers".to_owned(),
            Err(error) => error.to_owned(),
        });
    }
    assert!(matches!(body.as_mut().poll_frame(&mut cx), Poll::Ready(None)), "ended for good");
    assert_eq!(body.is_end_stream(), hide.is_some());
    seen
}

#[test]
fn what_waits_comes_before_the_end() {
    let cut = &USAGE[..30];
    for (last, told) in
        [(None, None), (Some(Err("lost")), Some("lost")), (Some(trailers()), Some("trailers"))]
    {
        let steps = [data(CONTENT), data(END), data(cut)].into_iter().chain(last);
        let expected: Vec<&str> = [CONTENT, END, cut].into_iter().chain(told).collect();
        let found = polled(Some(FINAL), steps.collect());
        // The order is that of the bytes; held and cut ones may come in any frames.
        assert_eq!(found.concat(), expected.concat());
        assert_eq!(found.last().map(String::as_str), expected.last().copied());
    }
}

#[test]
fn nothing_hidden_is_no_frame() {
    assert_eq!(
        polled(Some(FINAL), vec![data(END), data(USAGE), data("data: [DONE]\n\n")]),
        [END, "data: [DONE]\n\n"]
    );
    assert_eq!(polled(Some(FINAL), vec![data(USAGE)]), [""; 0]);
    // Without the empty line it is an event too.
    assert_eq!(polled(Some(FINAL), vec![data(USAGE.trim_end())]), [""; 0]);
}

#[test]
fn what_comes_whole_goes_at_once() {
    let steps: Vec<Step> = vec![data(CONTENT)];
    let inner = stream::iter(steps);
    let pending = futures_util::StreamExt::chain(inner, stream::pending());
    let mut body = pin!(Hidden::new(StreamBody::new(pending), Some(RUNNING)));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(matches!(body.as_mut().poll_frame(&mut cx), Poll::Ready(Some(Ok(_)))));
    assert!(body.as_mut().poll_frame(&mut cx).is_pending());
    assert!(!body.is_end_stream());
}

#[test]
fn without_anything_to_hide_it_is_the_inner_body() {
    let body = Hidden::new(Full::new(Bytes::from_static(b"data: ")), None);
    assert!(!body.changes() && !body.is_end_stream());
    assert_eq!(body.size_hint().exact(), Some(6));
    assert!(Hidden::new(Empty::<Bytes>::new(), None).is_end_stream());
    let steps = || vec![data(CONTENT), data(&END[..9]), trailers()];
    assert_eq!(polled(None, steps()), [CONTENT, &END[..9], "trailers"]);
}

#[tokio::test]
async fn hints_are_those_of_what_is_left() {
    let text = [CONTENT, END, USAGE].concat();
    let mut body = Hidden::new(Full::new(Bytes::from(text)), Some(FINAL));
    assert!(body.changes() && !body.is_end_stream());
    assert_eq!((body.size_hint().lower(), body.size_hint().upper()), (0, None));
    let mut left = Vec::new();
    while !body.is_end_stream() {
        left.push(body.frame().await.unwrap().unwrap().into_data().unwrap());
    }
    assert_eq!(left.concat(), [CONTENT, END].concat().as_bytes());
    assert!(Hidden::new(Empty::<Bytes>::new(), Some(FINAL)).is_end_stream());

    // An end that waits for another event is not the end of the body.
    let mut body = Hidden::new(Full::new(Bytes::from([CONTENT, END].concat())), Some(FINAL));
    body.frame().await.unwrap().unwrap();
    assert!(!body.is_end_stream());
    let end: Result<Frame<Bytes>, Infallible> = body.frame().await.unwrap();
    assert_eq!(end.unwrap().into_data().unwrap(), END);
    assert!(body.is_end_stream());
}
