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

#[test]
fn the_head_of_a_compressed_answer_is_read() {
    for (wire, tokens) in [(Wire::tgi(), 20), (Wire::generate(), 20), (Wire::openai(), 0)] {
        let scrape = send(
            &wire,
            &[
                ("content-type", "application/json"),
                ("content-encoding", "gzip"),
                ("x-prompt-tokens", "7"),
                ("x-generated-tokens", "20"),
                ("x-queue-time", "1250"),
            ],
            BODY,
        );
        assert_eq!(scrape.counted("infermeter_unread_bodies_total"), ["compressed 1"], "{wire:?}");
        assert_eq!(scrape.sum("vllm:generation_tokens_total", &[]), tokens, "{wire:?}");
        let source = if tokens > 0 { "header" } else { "unknown" };
        let told = scrape.counted("infermeter_token_accounting_total").join(" ");
        assert!(told.contains(source), "{wire:?}: {told}");
    }
}

#[test]
fn a_body_that_is_not_there_is_not_unread() {
    for content_type in ["text/event-stream", "application/json", "image/png"] {
        let head = [("content-type", content_type), ("content-encoding", "gzip")];
        let scrape = send(&Wire::openai(), &head, "");
        assert!(scrape.counted("infermeter_unread_bodies_total").is_empty(), "{content_type}");
    }
}

/// Sends one answer through a layer; gives why it was unread.
fn pass(wire: &Wire, encodings: &[&str], content_type: &str) -> Vec<String> {
    let encodings = encodings.iter().map(|encoding| ("content-encoding", *encoding));
    let head: Vec<_> = encodings.chain([("content-type", content_type)]).collect();
    let scrape = send(wire, &head, BODY);
    let unread = scrape.counted("infermeter_unread_bodies_total");
    if !unread.is_empty() {
        let ended = scrape.counted("infermeter_requests_total").join(" ");
        assert!(ended.contains("success other 200"), "{wire:?}: {ended}");
        assert_eq!(scrape.sum("vllm:generation_tokens_total", &[]), 0);
    }
    unread
}

/// Sends one answer through a layer, which changes nothing of it.
fn send(wire: &Wire, head: &[(&str, &str)], body: &'static str) -> Scrape {
    let meter = Meter::new();
    let layer = InferenceLayer::new(meter.clone())
        .endpoint("/answer", Endpoint::new("answer", wire.clone()));
    let service = layer.layer(service_fn(|_: Request<()>| {
        let frames = body.as_bytes().chunks(16).map(Bytes::from_static);
        let mut response = Response::builder();
        for (name, value) in head {
            response = response.header(*name, *value);
        }
        ready(response.body(Script::<Bytes, ()>::data(frames)))
    }));
    let request = Request::post("/answer").body(()).unwrap();
    let response = service.oneshot(request).now_or_never().unwrap().unwrap();
    let passed =
        response.headers().iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap()));
    assert!(passed.eq(head.iter().copied()), "{head:?}");
    assert_eq!(drain(response.into_body()).data, body.as_bytes());
    let scrape = Scrape::of(&meter);
    scrape.assert_identities();
    scrape
}
