//! How a body is cut into frames changes nothing in what is seen of it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]

mod support;

use std::{
    num::NonZero,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use http_body::Frame;
use infermeter::{
    outcome::{FinishReason, Outcome},
    stream::{ObservedBody, Summary},
    wire::Wire,
};
use proptest::{collection::vec, prelude::*, sample::select};

use support::{
    frames::{Script, Step, drain, poll},
    generated::{Chunking, LineEnds, events, plain_stream},
};

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn a_stream_is_the_same_however_it_is_cut(
        events in events(),
        ends in LineEnds::any(),
        open in any::<bool>(),
        chunking in Chunking::any(),
        head in Head::any(),
        end in End::any(),
    ) {
        let bytes = ends.write(&events, open);
        assert_same(&bytes, &chunking, head, end)?;
    }

    #[test]
    fn every_event_with_content_is_counted_once_whatever_its_text_is(
        (events, with_content) in plain_stream(),
        ends in LineEnds::uniform(),
        chunking in Chunking::any(),
    ) {
        let bytes = ends.write(&events, false);
        let summary = observe(chunking.cut(&bytes), Head::Stream, End::Eof);
        prop_assert_eq!(summary.usage.completion.unwrap_or(0), with_content);
        prop_assert_eq!(summary.outcome, Outcome::Success(FinishReason::Other));
    }

    #[test]
    fn empty_frames_change_nothing(
        events in events(),
        ends in LineEnds::any(),
        open in any::<bool>(),
        chunking in Chunking::with_empty(),
        head in Head::any(),
        end in End::any(),
    ) {
        let bytes = ends.write(&events, open);
        assert_same(&bytes, &chunking, head, end)?;
    }

    #[test]
    fn any_bytes_are_read_without_a_panic_and_the_same_however_they_are_cut(
        bytes in prop_oneof![
            vec(any::<u8>(), 0..400),
            // More like what is meant for the parser.
            vec(select(&b"data: {}[]\"\\,:\r\n\r\n0tokensusage\xef\xbb\xbf\xff"[..]), 0..400),
        ],
        chunking in Chunking::any(),
        head in Head::any(),
        end in End::any(),
    ) {
        assert_same(&bytes, &chunking, head, end)?;
    }

    #[test]
    fn a_stream_of_which_bytes_are_changed_is_read_without_a_panic(
        bytes in changed_stream(),
        chunking in Chunking::any(),
        head in Head::any(),
        end in End::any(),
    ) {
        let summary = observe(chunking.cut(&bytes), head, end);
        prop_assert_eq!(summary.bytes, bytes.len() as u64);
    }

    #[test]
    fn a_stream_of_which_bytes_are_changed_is_the_same_however_it_is_cut(
        bytes in changed_stream(),
        chunking in Chunking::any(),
        head in Head::any(),
        end in End::any(),
    ) {
        assert_same(&bytes, &chunking, head, end)?;
    }
}

proptest! {
    // Each case is some megabytes.
    #![proptest_config(ProptestConfig { cases: 30, ..ProptestConfig::default() })]

    #[test]
    fn a_line_around_the_longest_allowed_is_the_same_however_it_is_cut(
        before in events(),
        longer in -12_isize..12,
        after in events(),
        ends in LineEnds::any(),
        size in 1_000..700_000_usize,
        end in End::any(),
    ) {
        const LONGEST: usize = 1024 * 1024;
        let event = |text: &str| format!("data: {{\"choices\":[{{\"index\":0,\"text\":\"{text}\"}}]}}");
        let length = LONGEST.checked_add_signed(longer).unwrap() - event("").len();
        let long = vec![event(&"x".repeat(length))];
        let events = [before, vec![long], after].concat();
        let bytes = ends.write(&events, false);
        assert_same(&bytes, &Chunking::every(NonZero::new(size).unwrap()), Head::Stream, end)?;
    }
}

#[test]
fn a_text_that_is_no_json_is_the_same_however_it_is_cut() {
    for text in [&b"\xff"[..], b"\\q", b"\\u12"] {
        let event =
            |text: &[u8]| [b"data: {\"choices\":[{\"text\":\"", text, b"\"}]}\n\n"].concat();
        let bytes = [event(b"a"), event(text), event(b"b")].concat();
        let one = observe([bytes.clone()], Head::Stream, End::Eof);
        let cut = observe(bytes.chunks(1).map(<[u8]>::to_vec), Head::Stream, End::Eof);
        assert_eq!(cut.usage, one.usage, "{}", text.escape_ascii());
    }
}

/// What is known of the body before it comes.
#[derive(Clone, Copy, Debug)]
enum Head {
    /// Nothing.
    None,
    /// A 200 with events.
    Stream,
    /// A 200 with one JSON document.
    Whole,
    /// A 200 that does not say what it is.
    Untyped,
    /// A 503 with whatever.
    Unavailable,
}

/// What comes after the last frame.
#[derive(Clone, Copy, Debug)]
enum End {
    Eof,
    Error,
    Trailers,
    Dropped,
}

// === impl Head ===

impl Head {
    fn any() -> impl Strategy<Value = Self> {
        let all = vec![Self::None, Self::Stream, Self::Whole, Self::Untyped, Self::Unavailable];
        select(all)
    }

    fn content_type(self) -> Option<&'static str> {
        match self {
            Self::None | Self::Untyped => None,
            Self::Stream | Self::Unavailable => Some("text/event-stream; charset=utf-8"),
            Self::Whole => Some("application/json"),
        }
    }
}

// === impl End ===

impl End {
    fn any() -> impl Strategy<Value = Self> {
        select(vec![Self::Eof, Self::Error, Self::Trailers, Self::Dropped])
    }
}

/// A stream with some bytes that are not what they were.
fn changed_stream() -> impl Strategy<Value = Vec<u8>> {
    let changes = vec((any::<prop::sample::Index>(), any::<u8>()), 1..20);
    (events(), LineEnds::any(), changes).prop_map(|(events, ends, changes)| {
        let mut bytes = ends.write(&events, false);
        for (at, byte) in changes.into_iter().filter(|_| !events.is_empty()) {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes
    })
}

fn assert_same(
    bytes: &[u8],
    chunking: &Chunking,
    head: Head,
    end: End,
) -> Result<(), TestCaseError> {
    let one = observe([bytes.to_vec()], head, end);
    let cut = observe(chunking.cut(bytes), head, end);
    prop_assert_eq!(one.bytes, bytes.len() as u64);
    prop_assert_eq!(told(&cut), told(&one));
    Ok(())
}

/// What of a summary is not a moment.
fn told(summary: &Summary) -> impl PartialEq + std::fmt::Debug {
    let Summary { outcome, end, usage, source, longest_choice, bytes, unread, .. } = summary;
    let times = (
        summary.first_token.is_some(),
        summary.last_token.is_some(),
        summary.time_per_output_token.is_some(),
    );
    (*outcome, *end, *usage, *source, *longest_choice, *bytes, *unread, times)
}

fn observe(frames: impl IntoIterator<Item = Vec<u8>>, head: Head, end: End) -> Summary {
    let script = Script::data(frames.into_iter().map(Bytes::from));
    let script = match end {
        End::Eof => script,
        End::Error => script.then(Step::Error("broken")),
        End::Trailers => script.then(Step::Frame(Frame::trailers(HeaderMap::new()))),
        End::Dropped => script.then(Step::Hang),
    };
    let summaries = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&summaries);
    let on_end = move |summary| told.lock().unwrap().push(summary);
    let body = if let Head::None = head {
        ObservedBody::new(script, Wire::openai(), on_end)
    } else {
        let mut response = Response::new(script);
        if let Head::Unavailable = head {
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        }
        if let Some(kind) = head.content_type() {
            response.headers_mut().insert("content-type", kind.parse().unwrap());
        }
        ObservedBody::response(response, Wire::openai(), on_end).into_body()
    };
    let mut body = Box::pin(body);
    if let End::Dropped = end {
        while poll(body.as_mut()).is_ready() {}
    } else {
        drain(body.as_mut());
    }
    drop(body);
    let mut summaries = std::mem::take(&mut *summaries.lock().unwrap());
    assert_eq!(summaries.len(), 1, "a body ends once");
    summaries.pop().unwrap()
}
