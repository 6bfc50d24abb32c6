//! A simulated engine and a load on it, in one process, so that every metric moves.
//!
//! `engine` simulates, and knows neither HTTP nor metrics; `service` makes an OpenAI-compatible API
//! of it; `load` is its clients, over real sockets.

mod answer;
mod engine;
mod fault;
mod load;
mod openai;
mod report;
mod service;
mod summary;
mod visits;

use std::{error::Error, io, net::SocketAddr, time::Duration};

use infermeter::{
    Meter,
    exporter::Prometheus,
    names::{self, Naming},
};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
    time::timeout,
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
    signals::Signals,
};

/// A few hundred tokens per second: a busy load fills the blocks, and longer prompts do not fit.
const LIMITS: Limits = Limits { blocks: 80, running: 8, step_tokens: 256 };

const _: () = assert!(CONTEXT <= LIMITS.blocks * BLOCK_SIZE, "each sequence has room alone");

const PACE: Pace = Pace { step: Duration::from_millis(8), token: Duration::from_micros(50) };

/// Sequences on their way into the engine's queue.
const JOBS: usize = 64;

/// How long answers that are being given may still take when the service ends.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

pub(crate) async fn run(settings: arguments::Demo) -> Result<(), Box<dyn Error>> {
    let arguments::Demo { listen, metrics_listen, seconds, rate, labels } = settings;
    let meter = Meter::builder().context_length(CONTEXT as u64);
    let meter = labels.into_iter().fold(meter, |meter, (key, value)| meter.label(key, value));
    let meter = meter.build()?.model(MODELS[0].name);
    let listener = bind("--listen", &listen)?;
    let page = bind("--metrics-listen", &metrics_listen)?;
    let (address, page_address) = (reachable(&listener)?, reachable(&page)?);
    let exporter = Prometheus::builder().meter(meter.clone()).serve_on(page)?;

    let (jobs, queue) = mpsc::channel(JOBS);
    let mut report = Report::new(&meter, LIMITS);
    let engine = tokio::spawn(engine::run(LIMITS, PACE, queue, move |scheduler, step| {
        report.step(scheduler, step);
    }));
    let (close, closed) = oneshot::channel::<()>();
    let app = Service::new(jobs).router(meter.clone());
    let serving =
        axum::serve(TcpListener::from_std(listener)?, app).with_graceful_shutdown(async {
            let _ = closed.await;
        });
    let mut serving = tokio::spawn(async { serving.await });
    let (stop, stopped) = oneshot::channel();
    let load = tokio::spawn(load::run(address, rate, stopped));
    let mut signals = Signals::new()?;
    greet(address, page_address, seconds)?;

    // NB: serving never ends before that.
    tokio::select! {
        () = over(seconds) => {}
        _ = signals.next() => {}
    }
    drop(stop);
    load.await?;
    drop(close);
    // Clients of others may stay longer than that.
    let _ = timeout(LAST_ANSWERS, &mut serving).await;
    serving.abort();
    engine.abort();
    say(&format!("\n{}", Summary::of(&meter)))?;
    exporter.shutdown().await?;
    Ok(())
}

fn greet(service: SocketAddr, page: SocketAddr, seconds: Option<Duration>) -> io::Result<()> {
    let some = Naming::default().name(&names::REQUEST_TOTAL);
    let end = match seconds {
        Some(seconds) => format!("ends after {} s, or with Ctrl-C", seconds.as_secs_f64()),
        None => "Ctrl-C ends it".to_owned(),
    };
    say(&format!(
        "infermeter demo: a simulated engine, and a load on it; {end}\n\
         service  http://{service}\n\
         try      curl -N http://{service}/v1/chat/completions -d \
         '{{\"stream\": true, \"messages\": [{{\"role\": \"user\", \"content\": \"Where does the river go?\"}}]}}'\n\
         metrics  http://{page}/metrics\n\
         try      curl -s http://{page}/metrics | grep {some}"
    ))
}

/// Waits for the time that was set.
async fn over(seconds: Option<Duration>) {
    match seconds {
        Some(seconds) => tokio::time::sleep(seconds).await,
        None => std::future::pending().await,
    }
}
