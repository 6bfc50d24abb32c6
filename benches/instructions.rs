//! Something to count instructions of: `.ci/instructions` runs it under callgrind.
//!
//! ```text
//! instructions chunks N bare|observed           one chat stream of N plain content events
//! instructions requests N KIND bare|layer       N requests, KIND is opaque, json or stream
//! ```
//!
//! One thread, no runtime, a body that is always ready: what differs between `bare` and the other
//! is ours and nothing else. Without arguments it does a little of everything, as a test of itself.

mod scripted;

use std::env;

use infermeter::{InferenceLayer, Meter, layer::Endpoint, names, wire::Wire};
use scripted::{Answer, CHAT_WHOLE, Scripts, TINY_CHAT, chat, counted, request, whole};
use tower::Layer;

/// An endpoint whose answers are not read: what the layer costs by itself.
const OPAQUE: &str = "/v1/opaque";

fn main() {
    let args: Vec<String> = env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match *args {
        ["chunks", n, mode] => chunks(number(n), is_watched(mode, "observed")),
        ["requests", n, kind, mode] => requests(number(n), kind, is_watched(mode, "layer")),
        [] => {
            for watched in [false, true] {
                chunks(100, watched);
                for kind in ["opaque", "json", "stream"] {
                    requests(10, kind, watched);
                }
            }
        }
        _ => panic!("not one of the modes: {args:?}"),
    }
}

fn chunks(n: usize, is_watched: bool) {
    let meter = run(chat(n), 1, is_watched);
    if is_watched {
        let n = n as u64;
        assert_eq!(counted(&meter, &names::GENERATION_TOKENS_TOTAL), n + 1);
        assert_eq!(counted(&meter, &names::INTER_TOKEN_LATENCY_SECONDS), n);
        assert_eq!(counted(&meter, &names::TIME_TO_FIRST_TOKEN_SECONDS), 1);
    }
}

fn requests(n: usize, kind: &str, is_watched: bool) {
    let (answer, tokens) = match kind {
        "opaque" => (whole(OPAQUE, &CHAT_WHOLE), 0),
        "json" => (whole(scripted::CHAT, &CHAT_WHOLE), 20),
        "stream" => (TINY_CHAT, 4),
        _ => panic!("not a kind of request: {kind}"),
    };
    let meter = run(answer, n, is_watched);
    if is_watched {
        let n = n as u64;
        assert_eq!(counted(&meter, &names::GENERATION_TOKENS_TOTAL), n * tokens);
        assert_eq!(counted(&meter, &names::REQUEST_SUCCESS_TOTAL), n);
        assert_eq!(counted(&meter, &names::E2E_REQUEST_LATENCY_SECONDS), n);
    }
}

/// Sends requests, each after the one before it.
fn run(answer: Answer, requests: usize, is_watched: bool) -> Meter {
    let meter = Meter::new().model("tiny-qwen");
    let mut bare = Scripts(answer);
    if is_watched {
        let mut service = InferenceLayer::new(meter.clone())
            .endpoint(OPAQUE, Endpoint::new("opaque", Wire::opaque()))
            .layer(bare);
        (0..requests).for_each(|_| assert!(request(&mut service, answer.path) > 0));
    } else {
        (0..requests).for_each(|_| assert!(request(&mut bare, answer.path) > 0));
    }
    meter
}

fn number(text: &str) -> usize {
    text.parse().unwrap_or_else(|_| panic!("not a number: {text}"))
}

fn is_watched(mode: &str, watched: &str) -> bool {
    assert!(mode == "bare" || mode == watched, "neither bare nor {watched}: {mode}");
    mode == watched
}
