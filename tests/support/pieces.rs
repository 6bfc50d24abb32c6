//! Reads bodies written in a format, and what they told.

use std::{convert::Infallible, sync::mpsc};

use bytes::Bytes;
use futures_util::stream;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use infermeter::{
    outcome::TokenSource,
    stream::{ObservedBody, Summary},
    wire::Wire,
};

/// Reads a body that comes in so many pieces, to its end.
pub(crate) async fn read_pieces<'a>(
    wire: &Wire,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Summary {
    let (send, receive) = mpsc::channel();
    let frames: Vec<_> = pieces
        .into_iter()
        .map(|piece| Ok::<_, Infallible>(Frame::data(Bytes::copy_from_slice(piece))))
        .collect();
    let body = StreamBody::new(stream::iter(frames));
    let body = ObservedBody::new(body, wire.clone(), move |summary| {
        send.send(summary).unwrap();
    });
    body.collect().await.unwrap();
    receive.try_recv().unwrap()
}

/// Reads a body, and holds that it tells the same wherever it is cut in two.
pub(crate) async fn read(wire: &Wire, body: impl AsRef<[u8]>) -> Summary {
    let body = body.as_ref();
    let whole = read_pieces(wire, [body]).await;
    if body.len() < 4096 {
        for cut in 0..body.len() {
            let (first, second) = body.split_at(cut);
            let cut = read_pieces(wire, [first, second]).await;
            assert_eq!(facts(&cut), facts(&whole));
        }
    }
    whole
}

/// A stream of events, and no end marker.
pub(crate) async fn events(wire: &Wire, events: &[&str]) -> Summary {
    let body: String = events.iter().map(|event| format!("data: {event}\n\n")).collect();
    let summary = read(wire, &body).await;
    // Other line ends, comments and the missing space change nothing.
    for body in [
        body.replace('\n', "\r\n"),
        body.replace("data: ", ": ping\n\ndata: "),
        body.replace("data: ", "data:"),
    ] {
        assert_eq!(facts(&read(wire, body).await), facts(&summary));
    }
    summary
}

/// Asserts (prompt, cached, completion, reasoning) and where the completion came from.
#[track_caller]
pub(crate) fn assert_told(summary: &Summary, counts: [Option<u64>; 4], source: TokenSource) {
    let usage = summary.usage;
    let found = [usage.prompt, usage.cached, usage.completion, usage.reasoning];
    assert_eq!((found, summary.source), (counts, source), "{summary:?}");
}

/// All that does not depend on when it came.
fn facts(summary: &Summary) -> impl PartialEq + std::fmt::Debug {
    let Summary { usage, source, outcome, longest_choice, unread, .. } = summary;
    let times = (summary.queue_time, summary.prefill_time, summary.first_token.is_some());
    (*usage, *source, *outcome, *longest_choice, *unread, times)
}
