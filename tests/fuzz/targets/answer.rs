//! What an upstream may send: heads and a framed body. The first two bytes say the method and where it
//! is cut. However it is cut, the same is read, and never more than has come.

#![no_main]

#[path = "../../../src/upstream/direct/framing.rs"]
mod framing;
#[path = "../../../src/upstream/direct/head.rs"]
#[allow(dead_code, reason = "requests are written there too")]
mod head;

use bytes::BytesMut;
use http::{HeaderMap, Method};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let [asked, cut, answer @ ..] = input else { return };
    let asked = if asked % 2 == 0 { Method::GET } else { Method::HEAD };
    let (first, second) = answer.split_at(usize::from(*cut) * answer.len() / 256);
    let whole = read(&[answer], &asked);
    assert_eq!(whole, read(&[first, second], &asked));
    // NB: quadratic in the head.
    if answer.len() < 600 {
        let bytewise: Vec<&[u8]> = answer.chunks(1).collect();
        assert_eq!(whole, read(&bytewise, &asked));
    }
});

/// The whole answer, as text; what is wrong with it, too.
fn read(pieces: &[&[u8]], asked: &Method) -> String {
    let (mut unread, mut body) = (Vec::new(), None);
    let (mut payload, mut trailers) = (BytesMut::new(), None::<Box<HeaderMap>>);
    let mut seen = String::new();
    for piece in pieces {
        unread.extend_from_slice(piece);
        if body.is_none() {
            match head::read_last(&unread, asked) {
                Ok((head, taken)) => {
                    unread.drain(..taken);
                    let Some(head) = head else { continue };
                    let (parts, alive) = (head.parts, head.keeps_alive);
                    seen += &format!("{:?} {:?} {alive}", parts.status, parts.headers);
                    body = Some(head.framing);
                }
                Err(error) => return format!("{error}"),
            }
        }
        let Some(framing) = &mut body else { continue };
        match framing.feed(&unread, &mut payload, &mut trailers) {
            Ok(taken) => assert!(taken == unread.len() || framing.has_ended()),
            Err(error) => return format!("{seen} {payload:?} {error}"),
        }
        unread.clear();
    }
    let has_ended = body.is_some_and(|framing| framing.has_ended());
    assert!(payload.len() <= pieces.iter().map(|piece| piece.len()).sum());
    format!("{seen} {payload:?} {trailers:?} {has_ended}")
}
