//! A server that shows its requests, its KV cache and its GPUs on one page.
//!
//! `cargo run --example gpu_server` serves until Ctrl-C; `-- --try` sends itself a request, prints what
//! is published and ends. It runs without a GPU too: then `gpu_probe_up` and `gpu_devices` are 0.

#![allow(clippy::expect_used, reason = "an example ends at the first surprise")]

use std::time::Duration;

use axum::{Router, extract::State, routing::post};
use infermeter::{
    InferenceLayer, Meter, RequestMeter, Start,
    engine::{Engine, KvUsage},
    exporter::Prometheus,
    gpu::GpuProbe,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let is_try = std::env::args().any(|argument| argument == "--try");
    let [service, page] =
        if is_try { ["127.0.0.1:0"; 2] } else { ["127.0.0.1:8000", "127.0.0.1:8001"] };
    let exporter = Prometheus::serve(page).await?;
    let meter = exporter.meter().model("tiny-words");

    // On a thread of its own: what CUDA_VISIBLE_DEVICES lets this process use, else all. Dropped, it
    // stops.
    let probe = gpus(&meter)?;

    let engine = meter.engine("0");
    let app = Router::new()
        .route("/v1/completions", post(complete))
        .layer(InferenceLayer::new(meter).start(Start::Reported))
        .with_state(engine);
    let listener = TcpListener::bind(service).await?;
    let address = listener.local_addr()?;
    println!("service http://{address}/v1/completions");
    let serving = tokio::spawn(async move { axum::serve(listener, app).await });

    if is_try {
        let answer = ask(address).await?;
        assert!(answer.ends_with("three small words"), "{answer}");
        probe.first(Duration::from_secs(10));
        let page = exporter.render();
        let shown = ["gpu_", "infermeter_requests_total{", "vllm:gpu_cache", "vllm:num_blocks"];
        let is_shown = |line: &&str| shown.iter().any(|start| line.starts_with(start));
        page.lines().filter(is_shown).for_each(|line| println!("{line}"));
    } else {
        serving.await.expect("it does not panic")?;
    }
    exporter.shutdown().await
}

fn gpus(meter: &Meter) -> std::io::Result<GpuProbe> {
    GpuProbe::nvml()
        .engine("0") // they are ours
        .on_notice(|notice| eprintln!("{notice}"))
        .watch(meter)
}

async fn complete(State(engine): State<Engine>, meter: RequestMeter, prompt: String) -> String {
    meter.started();
    let tokens = prompt.split_whitespace().count() as u64;
    meter.prompt_tokens(tokens);
    engine.kv(KvUsage { used_blocks: 1, total_blocks: 64, block_size: 16, tokens: Some(tokens) });
    meter.generated_tokens(3);
    "three small words".to_owned()
}

async fn ask(address: std::net::SocketAddr) -> std::io::Result<String> {
    let mut socket = TcpStream::connect(address).await?;
    let head = "POST /v1/completions HTTP/1.1\r\nhost: t\r\nconnection: close\r\ncontent-length: 5";
    socket.write_all(format!("{head}\r\n\r\na b c").as_bytes()).await?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await?;
    Ok(answer)
}
