//! A simulated engine, the proxy in front of it, and a load on both, in one process, so that every
//! metric moves.
//!
//! `engine` simulates, and knows neither HTTP nor metrics; `service` makes an OpenAI-compatible API
//! of it; `front` is the proxy, which measures; `load` is its clients. Between them are real
//! sockets. What the engine knows of itself, as the blocks of its cache, `report` tells.

mod answer;
mod engine;
mod fault;
mod front;
mod load;
mod openai;
mod report;
mod service;
mod summary;
mod timing;
mod visits;

use std::{error::Error, io, net::SocketAddr, time::Duration};

use axum::serve::ListenerExt;
use infermeter::{
    Meter,
    exporter::Prometheus,
    names::{self, Naming},
};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
};

use self::{
    engine::{BLOCK_SIZE, Limits, Pace},
    openai::{CONTEXT, MODELS},
    report::Report,
    service::Service,
    summary::Summary,
};
use crate::{
    arguments,
    console::{bind, reachable, say},
    gpu,
    signals::Signals,
};

/// A few hundred tokens per second: a busy load fills the blocks, and longer prompts do not fit.
const LIMITS: Limits = Limits { blocks: 80, running: 8, step_tokens: 256 };

const _: () = assert!(CONTEXT <= LIMITS.blocks * BLOCK_SIZE, "each sequence has room alone");

/// Where to find what runs.
#[derive(Clone, Copy, Debug)]
struct Places {
    engine: SocketAddr,
    /// The proxy in front of it.
    service: SocketAddr,
    page: SocketAddr,
}

const PACE: Pace = Pace { step: Duration::from_millis(8), token: Duration::from_micros(50) };

/// Sequences on their way into the engine's queue.
const JOBS: usize = 64;

pub(crate) async fn run(settings: arguments::Demo) -> Result<(), Box<dyn Error>> {
    let arguments::Demo { listen, engine_listen, metrics_listen, seconds, rate, labels, gpu: gpus } =
        settings;
    let meter = Meter::builder().context_length(CONTEXT as u64);
    let meter = labels.into_iter().fold(meter, |meter, (key, value)| meter.label(key, value));
    let meter = meter.build()?.model(MODELS[0].name);
    let listener = bind("--listen", &listen)?;
    let engine_listener = bind("--engine-listen", &engine_listen)?;
    let page = bind("--metrics-listen", &metrics_listen)?;
    let places = Places {
        engine: reachable(&engine_listener)?,
        service: reachable(&listener)?,
        page: reachable(&page)?,
    };
    let _gpus = gpu::watch(&gpus, None, &meter)?;
    let exporter = Prometheus::builder().meter(meter.clone()).serve_on(page)?;

    let (jobs, queue) = mpsc::channel(JOBS);
    let mut report = Report::new(&meter, LIMITS);
    let engine = tokio::spawn(engine::run(LIMITS, PACE, queue, move |scheduler, step| {
        report.step(scheduler, step);
    }));
    let engine_listener = TcpListener::from_std(engine_listener)?.tap_io(|stream| {
        // A word is sent when it comes.
        let _ = stream.set_nodelay(true);
    });
    let app = Service::new(jobs).router();
    let service = tokio::spawn(async { axum::serve(engine_listener, app).await });
    let proxy = front::proxy(places.engine, &meter)?;
    let listener = TcpListener::from_std(listener)?;
    let (close, closed) = oneshot::channel::<()>();
    let serving = tokio::spawn(async move {
        let closed = async {
            let _ = closed.await;
        };
        proxy.serve(listener, closed).await;
    });
    let (stop, stopped) = oneshot::channel();
    let load = tokio::spawn(load::run(places.service, rate, stopped));
    let mut signals = Signals::new()?;
    places.greet(seconds)?;

    // NB: nothing that serves ends before that.
    tokio::select! {
        () = over(seconds) => {}
        _ = signals.next() => {}
    }
    drop(stop);
    load.await?;
    drop(close);
    // Clients of others are sent away if they stay for long.
    serving.await?;
    service.abort();
    engine.abort();
    say(&format!("\n{}", Summary::of(&meter)))?;
    exporter.shutdown().await?;
    Ok(())
}

// === impl Places ===

impl Places {
    fn greet(self, seconds: Option<Duration>) -> io::Result<()> {
        let Self { engine, service, page } = self;
        let some = Naming::default().name(&names::REQUEST_TOTAL);
        let end = match seconds {
            Some(seconds) => format!("ends after {} s, or with Ctrl-C", seconds.as_secs_f64()),
            None => "Ctrl-C ends it".to_owned(),
        };
        say(&format!(
            "infermeter demo: a simulated engine, the proxy in front of it, and a load; {end}\n\
             engine   http://{engine}\n\
             service  http://{service}\n\
             try      curl -N http://{service}/v1/chat/completions -d \
             '{{\"stream\": true, \"messages\": [{{\"role\": \"user\", \"content\": \"Where does the river go?\"}}]}}'\n\
             live     http://{page}/\n\
             metrics  http://{page}/metrics\n\
             try      curl -s http://{page}/metrics | grep {some}"
        ))
    }
}

/// Waits for the time that was set.
async fn over(seconds: Option<Duration>) {
    match seconds {
        Some(seconds) => tokio::time::sleep(seconds).await,
        None => std::future::pending().await,
    }
}
