//! A server that streams words, and tells Prometheus the truth about it on a second port.
//!
//! `cargo run --release --example axum_server [-- [--try] [LISTEN [METRICS_LISTEN]]]`
//!
//! It sends itself a few requests, prints what became of them, and goes on serving; with `--try`
//! it stops there.

#![allow(clippy::expect_used, reason = "an example ends at the first surprise")]

mod visitor;

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response, Sse, sse::Event},
    routing::post,
};
use infermeter::{InferenceLayer, RequestMeter, Start, exporter::Prometheus};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::Semaphore, time::sleep};
use tokio_stream::StreamExt;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (just_try, listen, metrics_listen) = visitor::arguments()?;

    let exporter = Prometheus::serve(metrics_listen).await?; // bound, or an error
    let meter = exporter.meter().model("tiny-words");
    let app = Router::new()
        .route("/v1/completions", post(complete))
        .layer(InferenceLayer::new(meter).start(Start::Reported))
        .with_state(Arc::new(Semaphore::new(2)));

    let listener = TcpListener::bind(listen).await?;
    let visit = visitor::visit(listener.local_addr()?, &exporter, just_try);
    tokio::select! {
        served = axum::serve(listener, app) => served?,
        () = visit => {} // in this task, so that a wrong number ends the process with an error
    }
    exporter.shutdown().await?;
    Ok(())
}

/// Says the words of the prompt again, one every few milliseconds. Two requests run at a time.
async fn complete(
    State(slots): State<Arc<Semaphore>>,
    meter: RequestMeter,
    Json(request): Json<Value>,
) -> Response {
    let prompt = request["prompt"].as_str().unwrap_or_default().to_owned();
    if prompt.is_empty() {
        let error = json!({"error": {"message": "prompt: a text is needed", "code": 400}});
        return (StatusCode::BAD_REQUEST, Json(error)).into_response();
    }
    let Ok(slot) = slots.acquire_owned().await else { unreachable!("never closed") };
    meter.started(); // the queue time ends here

    let words: Vec<String> = prompt.split_whitespace().map(str::to_owned).collect();
    let count = words.len();
    let usage =
        json!({"choices": [], "usage": {"prompt_tokens": count, "completion_tokens": count}});
    let chunks = words
        .into_iter()
        .map(|word| json!({"choices": [{"index": 0, "text": word, "finish_reason": null}]}))
        .chain([json!({"choices": [{"index": 0, "text": "", "finish_reason": "stop"}]}), usage])
        .map(|chunk| chunk.to_string())
        .chain(["[DONE]".to_owned()]);
    let events = tokio_stream::iter(chunks).then(move |data| {
        let _held = &slot;
        async {
            sleep(Duration::from_millis(5)).await;
            Ok::<_, Infallible>(Event::default().data(data))
        }
    });
    Sse::new(events).into_response()
}
