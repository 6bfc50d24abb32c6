//! A model server that is measured: a small random Llama by candle, served as OpenAI does.
//!
//! `cargo run --release [-- [--try] [LISTEN [METRICS_LISTEN]]]`
//!
//! It serves on 127.0.0.1:8000 and publishes on 127.0.0.1:8001 until Ctrl-C. With `--try` it takes
//! free ports, sends itself a few requests, holds the page to their answers, and ends.

mod answer;
mod api;
mod ask;
mod attempt;
mod cache;
mod engine;
mod model;
mod sampling;
mod scheduler;

use std::{env, error::Error, net::SocketAddr};

use candle_core::Device;
use infermeter::{InferenceLayer, Start, exporter::Prometheus};
use tokio::{net::TcpListener, signal::ctrl_c};

use crate::model::Model;

/// Its name for clients and on the page.
const MODEL: &str = "random-llama";
/// Of the weights.
const SEED: u64 = 7;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let Arguments { just_try, listen, metrics_listen } = Arguments::read(env::args().skip(1))?;

    // What this server says of errors repeats no prompts, so the page may show it.
    let exporter = Prometheus::builder().failure_messages(true).serve(metrics_listen).await?;
    let meter = exporter.meter().model(MODEL);
    let jobs = engine::start(Model::random(SEED, &Device::Cpu)?, &meter)?;
    // The engine says when a request leaves its queue: `Start::Reported`.
    let app = api::router(jobs).layer(InferenceLayer::new(meter).start(Start::Reported));

    let listener = TcpListener::bind(listen).await?;
    let address = listener.local_addr()?;
    let page = exporter.local_addr().ok_or("the page has an address, for it is served")?;
    let visit = async {
        if just_try {
            return attempt::attempt(address, page).await;
        }
        println!("{MODEL} on http://{address}/v1, its numbers on http://{page}/ (Ctrl-C ends it)");
        Ok(ctrl_c().await?)
    };
    tokio::select! {
        served = async { axum::serve(listener, app).await } => served?,
        visited = visit => visited?,
    }
    exporter.shutdown().await?;
    Ok(())
}

struct Arguments {
    just_try: bool,
    listen: SocketAddr,
    metrics_listen: SocketAddr,
}

// === impl Arguments ===

impl Arguments {
    fn read(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut arguments = arguments.peekable();
        let just_try = arguments.next_if(|first| first == "--try").is_some();
        let mut address = |port: u16| {
            let default = SocketAddr::from(([127, 0, 0, 1], if just_try { 0 } else { port }));
            let Some(text) = arguments.next() else { return Ok(default) };
            text.parse().map_err(|_| format!("{text:?}: allowed is HOST:PORT, such as {default}"))
        };
        let (listen, metrics_listen) = (address(8000)?, address(8001)?);
        match arguments.next() {
            None => Ok(Self { just_try, listen, metrics_listen }),
            Some(more) => Err(format!("{more:?}: allowed is [--try] [LISTEN [METRICS_LISTEN]]")),
        }
    }
}
