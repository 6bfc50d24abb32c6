//! Compressed answers pass as they are, in every format, and are counted as unread.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]

mod support;

use std::future::ready;

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Request, Response};
use infermeter::{InferenceLayer, Meter, layer::Endpoint, wire::Wire};
use support::{
    frames::{Script, drain},
    scrape::Scrape,
};
use tower::{Layer, ServiceExt, service_fn};

const FORMATS: [Wire; 12] = [
    Wire::anthropic(),
    Wire::completions(),
    Wire::gemini(),
    Wire::generate(),
    Wire::llamacpp(),
    Wire::ollama(),
    Wire::openai(),
    Wire::prompt_only(),
    Wire::responses(),
    Wire::sglang(),
    Wire::tgi(),
    Wire::triton(),
];

/// NB: not what the encodings say, but what a reader would take for an answer, had it looked.
const BODY: &str = "{\"response\":\"a\",\"text_output\":\"a\",\"generated_text\":\"a\",\
    \"error\":\"died\",\"eval_count\":3,\"done\":true}\n";

#[test]
fn a_compressed_answer_passes_unread_in_every_format() {
    for wire in FORMATS {
        for encoding in ["gzip", "deflate", "br", "zstd", "gzip, br", "x-own"] {
            for content_type in ["text/event-stream", "application/x-ndjson", "application/json"] {
                let found = pass(&wire, &[encoding], content_type);
                assert_eq!(found, ["compressed 1"], "{wire:?} {encoding} {content_type}");
            }
        }
        assert_eq!(pass(&wire, &["identity", "zstd"], "application/json"), ["compressed 1"]);
        for content_type in ["text/event-stream", "application/x-ndjson", "application/json"] {
            assert!(pass(&wire, &["identity"], content_type).is_empty(), "{wire:?}");
        }
    }
}

/// Sends one answer through a layer; gives why it was unread.
fn pass(wire: &Wire, encodings: &[&str], content_type: &str) -> Vec<String> {
    let meter = Meter::new();
    let layer = InferenceLayer::new(meter.clone())
        .endpoint("/answer", Endpoint::new("answer", wire.clone()));
    let service = layer.layer(service_fn(|_: Request<()>| {
        let body: Script<Bytes, ()> =
            Script::data(BODY.as_bytes().chunks(16).map(Bytes::from_static));
        let mut response = Response::builder().header("content-type", content_type);
        for encoding in encodings {
            response = response.header("content-encoding", *encoding);
        }
        ready(response.body(body))
    }));
    let request = Request::post("/answer").body(()).unwrap();
    let response = service.oneshot(request).now_or_never().unwrap().unwrap();
    let found: Vec<_> = response.headers().get_all("content-encoding").iter().collect();
    assert_eq!(found, encodings);
    assert_eq!(drain(response.into_body()).data, BODY.as_bytes());
    let scrape = Scrape::of(&meter);
    scrape.assert_identities();
    let unread = scrape.counted("infermeter_unread_bodies_total");
    if !unread.is_empty() {
        let ended = scrape.counted("infermeter_requests_total").join(" ");
        assert!(ended.contains("success other 200"), "{wire:?}: {ended}");
        assert_eq!(scrape.sum("vllm:generation_tokens_total", &[]), 0);
    }
    unread
}
