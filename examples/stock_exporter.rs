//! The whole catalogue by the exporter of the `metrics` project, set up in its own way and served
//! by its own listener.
//!
//! `cargo run --release --example stock_exporter [-- --try]`
//!
//! It serves on 127.0.0.1:9000, sends itself a few requests, prints what Prometheus will see, and
//! goes on; with `--try` it takes a free port and stops there.
//!
//! What `Prometheus::serve` has and this has not:
//!
//! - A scrape is up to a second old, and one that comes in the middle of a push does not add up.
//! - Names that vLLM has besides ours (`vllm:request_queue_time_seconds`) are left out.
//! - What the page costs (`infermeter_scrape_duration_seconds`, `infermeter_series`) nobody knows.
//! - Nothing can go: a gauge that has gone is `NaN`.
//! - Observations are kept one by one until the next scrape or upkeep.
//! - The listener has no `/readyz` and no compression, and answers every path with the page.

#![allow(clippy::expect_used, reason = "an example ends at the first surprise")]

use std::{convert::Infallible, env, error::Error, future::ready, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty, Full};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use infermeter::{
    InferenceLayer, Meter,
    exporter::Bridge,
    names::{self, Naming},
};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use tower::{Layer, ServiceExt, service_fn};

const ANSWER: &str = r#"{"choices":[{"text":"three small words","finish_reason":"stop"}],
    "usage":{"prompt_tokens":7,"completion_tokens":3}}"#;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let just_try = env::args().nth(1).is_some_and(|argument| argument == "--try");
    // NB: the listener cannot tell which port it took, so it is not given 0.
    let port = if just_try { "127.0.0.1:0" } else { "127.0.0.1:9000" };
    let address = std::net::TcpListener::bind(port)?.local_addr()?;

    // As its documentation says; only the bounds come from here.
    let naming = Naming::vllm();
    let mut builder = PrometheusBuilder::new().with_http_listener(address);
    for (name, bounds) in names::buckets(&naming) {
        builder = builder.set_buckets_for_metric(Matcher::Full(name), bounds)?;
    }
    let (recorder, listener) = builder.build()?;
    let listener = tokio::spawn(listener);

    // To record your own on the same page: an `Arc` of it here, and one for
    // `metrics::set_global_recorder`.
    let meter = Meter::new().model("tiny-words");
    let every = Duration::from_secs(1);
    let bridge = Bridge::to(recorder).naming(naming).every(every).start(&meter)?;

    let service = InferenceLayer::new(meter).layer(service_fn(|_| {
        let head = Response::builder().header("content-type", "application/json");
        ready(Ok::<_, Infallible>(head.body(Full::<Bytes>::from(ANSWER)).expect("a response")))
    }));
    for _ in 0..3 {
        let request = Request::post("/v1/completions").body(Empty::<Bytes>::new())?;
        service.clone().oneshot(request).await?.into_body().collect().await?;
    }

    bridge.push(); // not to wait for the next tick

    let page = format!("http://{address}/metrics");
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let answer = client.get(page.parse()?).await?.into_body().collect().await?;
    let text = String::from_utf8(answer.to_bytes().to_vec())?;
    assert!(text.contains("vllm:request_total{model_name=\"tiny-words\"} 3\n"), "{text}");
    println!("3 requests. Prometheus sees:\n");
    let is_plain =
        |line: &&str| line.starts_with(char::is_alphabetic) && !line.contains("_bucket{");
    for line in text.lines().filter(is_plain).filter(|line| !line.ends_with(" 0")) {
        println!("  {line}");
    }
    if !just_try {
        println!("\nAll of it:  curl {page}\nCtrl-C ends it.");
        listener.await?.map_err(|error| format!("{error:?}"))?;
    }
    Ok(())
}
