//! An engine of your own tells what only it knows: when a request starts, how full its KV cache is,
//! what each step did.
//!
//! `cargo run --example engine_gauges` sends itself a few requests and prints what is published.
//!
//! The engine is a scheduler with room for two requests; a request holds the KV blocks of its
//! prompt and of what was generated so far.

#![allow(clippy::expect_used, reason = "an example ends at the first surprise")]

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use http::{Request, Response};
use infermeter::{
    InferenceLayer, RequestMeter, Start,
    engine::{Engine, KvUsage},
    exporter::Prometheus,
};
use tokio::{sync::Semaphore, time::sleep};
use tower::{Layer, ServiceExt, service_fn};

const SLOTS: usize = 2;

/// The scheduler: who runs, and what they hold.
struct Scheduler {
    slots: Semaphore,
    cache: Mutex<KvUsage>,
    engine: Engine,
}

/// The blocks of one request, freed when it ends, also where its client leaves.
struct Held<'a> {
    scheduler: &'a Scheduler,
    tokens: u64,
}

impl Scheduler {
    /// Generates a word for each of the prompt's tokens.
    async fn run(&self, prompt: u64, request: &RequestMeter) -> String {
        let _slot = self.slots.acquire().await;
        request.started(); // the queue time ends here
        request.prompt_tokens(prompt);
        let (mut held, mut answer) = (Held { scheduler: self, tokens: 0 }, String::new());
        held.resize(prompt);
        self.engine.iteration(prompt);
        for _ in 0..prompt {
            sleep(Duration::from_millis(5)).await;
            held.resize(held.tokens + 1);
            self.engine.iteration(1);
            request.add_generated_tokens(1);
            answer.push_str("word ");
        }
        answer
    }
}

impl Held<'_> {
    fn resize(&mut self, tokens: u64) {
        let mut cache = self.scheduler.cache.lock().expect("nothing panics while it is held");
        let blocks = |tokens: u64| tokens.div_ceil(cache.block_size);
        cache.used_blocks = cache.used_blocks + blocks(tokens) - blocks(self.tokens);
        cache.tokens = cache.tokens.map(|all| all + tokens - self.tokens);
        self.tokens = tokens;
        self.scheduler.engine.kv(*cache);
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.resize(0);
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let exporter = Prometheus::serve("127.0.0.1:0").await?;
    let meter = exporter.meter().model("tiny-words");
    let engine = meter.engine("0");
    engine.running_limit(SLOTS as u64);
    let cache = KvUsage { used_blocks: 0, total_blocks: 64, block_size: 16, tokens: Some(0) };
    let (slots, cache) = (Semaphore::new(SLOTS), Mutex::new(cache));
    let scheduler = Arc::new(Scheduler { slots, cache, engine });
    let service = InferenceLayer::new(meter).start(Start::Reported).layer(service_fn(
        move |request: Request<u64>| {
            let scheduler = Arc::clone(&scheduler);
            async move {
                let handle = RequestMeter::of(&request);
                let answer = scheduler.run(request.into_body(), &handle).await;
                Ok::<_, Infallible>(Response::new(answer))
            }
        },
    ));

    let requests = [40, 25, 10].map(|prompt| {
        let request = Request::post("/v1/completions").body(prompt).expect("a request");
        tokio::spawn(service.clone().oneshot(request))
    });
    sleep(Duration::from_millis(60)).await;
    print(&exporter, "while two run and one waits");
    for request in requests {
        request.await??;
    }
    print(&exporter, "after they have ended");
    exporter.shutdown().await?;
    Ok(())
}

fn print(exporter: &Prometheus, when: &str) {
    const SHOWN: [&str; 8] = [
        "vllm:num_requests",
        "vllm:num_blocks",
        "vllm:gpu_cache",
        "vllm:kv_cache",
        "vllm:time_in_queue_seconds_sum",
        "vllm:iteration_tokens_total_",
        "infermeter_kv",
        "infermeter_queue_oldest",
    ];
    println!("--- {when}");
    let page = exporter.render();
    let is_shown = |line: &&str| SHOWN.iter().any(|start| line.starts_with(start));
    let lines = page.lines().filter(|line| !line.contains("_bucket"));
    lines.filter(is_shown).for_each(|line| println!("{line}"));
}
