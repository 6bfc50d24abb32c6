//! What engines answer, and what is left of it.

mod bodies;
mod recordings;
mod splicing;
mod streams;

use std::collections::VecDeque;

use bytes::Bytes;

use super::{Hide, strip::Strip};

const FINAL: Hide = Hide { event: true, members: false };
const RUNNING: Hide = Hide { event: true, members: true };
const MEMBERS: Hide = Hide { event: false, members: true };

/// The frames that come out, for those that go in; the last ones are of the end.
fn frames<T: AsRef<[u8]>>(hide: Hide, frames: impl IntoIterator<Item = T>) -> Vec<Vec<Bytes>> {
    let mut strip = Strip::new(hide);
    let mut taken = |frame: Option<T>| {
        let mut out = VecDeque::new();
        match frame {
            Some(frame) => strip.read(&Bytes::copy_from_slice(frame.as_ref()), &mut out),
            None => strip.end(&mut out),
        }
        Vec::from(out)
    };
    let mut all: Vec<_> = frames.into_iter().map(|frame| taken(Some(frame))).collect();
    all.push(taken(None));
    assert!(strip.is_empty());
    all
}

fn hidden<T: AsRef<[u8]>>(hide: Hide, cut: impl IntoIterator<Item = T>) -> Vec<u8> {
    frames(hide, cut).concat().concat()
}

/// Holds what is left of a stream: whole, byte by byte, and cut in two anywhere.
#[track_caller]
fn assert_left(hide: Hide, stream: &[u8], left: &[u8]) {
    let assert_same = |found: Vec<u8>, how: &dyn Fn() -> String| {
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        assert_eq!(text(&found), text(left), "{}", how());
        assert!(found == left);
    };
    assert_same(hidden(hide, [stream]), &|| "whole".to_owned());
    assert_same(hidden(hide, stream.chunks(1)), &|| "byte by byte".to_owned());
    for cut in 1..stream.len() {
        let (first, second) = stream.split_at(cut);
        assert_same(hidden(hide, [first, second]), &|| format!("cut at {cut}"));
    }
}
