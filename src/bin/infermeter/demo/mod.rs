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

use std::{
    error::Error,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

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
use crate::arguments;

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
    let listener = bind("--listen", &listen).await?;
    let page = bind("--metrics-listen", &metrics_listen).await?;
    let (address, page_address) = (reachable(&listener)?, reachable(&page)?);
    let exporter = Prometheus::builder().meter(meter.clone()).serve_on(page.into_std()?)?;

    let (jobs, queue) = mpsc::channel(JOBS);
    let mut report = Report::new(&meter, LIMITS);
    let engine = tokio::spawn(engine::run(LIMITS, PACE, queue, move |scheduler, step| {
        report.step(scheduler, step);
    }));
    let (close, closed) = oneshot::channel::<()>();
    let app = Service::new(jobs).router(meter.clone());
    let serving = axum::serve(listener, app).with_graceful_shutdown(async {
        let _ = closed.await;
    });
    let mut serving = tokio::spawn(async { serving.await });
    let (stop, stopped) = oneshot::channel();
    let load = tokio::spawn(load::run(address, rate, stopped));
    let signal = signal()?;
    greet(address, page_address, seconds)?;

    // NB: serving never ends before that.
    tokio::select! {
        () = over(seconds) => {}
        () = signal => {}
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

async fn bind(key: &str, address: &str) -> Result<TcpListener, String> {
    TcpListener::bind(address).await.map_err(|error| {
        format!(
            "{key} {address}: {error}; allowed is an address of this machine with a free port, \
             port 0 picks one"
        )
    })
}

/// Where clients of this machine find it.
fn reachable(listener: &TcpListener) -> io::Result<SocketAddr> {
    let mut address = listener.local_addr()?;
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    Ok(address)
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

/// At once, also into a pipe, which may be one that nobody reads any more.
fn say(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let written = io::Write::write_all(&mut out, format!("{text}\n").as_bytes());
    match written.and_then(|()| io::Write::flush(&mut out)) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Waits for the time that was set.
async fn over(seconds: Option<Duration>) {
    match seconds {
        Some(seconds) => tokio::time::sleep(seconds).await,
        None => std::future::pending().await,
    }
}

/// Waits for Ctrl-C or SIGTERM; from this call on, not only once it is polled, neither kills.
#[cfg(unix)]
fn signal() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut pressed, mut told) =
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = pressed.recv() => {}
            _ = told.recv() => {}
        }
    })
}

#[cfg(windows)]
fn signal() -> io::Result<impl Future<Output = ()>> {
    let mut pressed = tokio::signal::windows::ctrl_c()?;
    Ok(async move {
        pressed.recv().await;
    })
}
