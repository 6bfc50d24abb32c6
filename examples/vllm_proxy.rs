//! A proxy of your own in front of vLLM: clients talk to it instead, and what goes by is measured.
//!
//! `cargo run --release --features proxy --example vllm_proxy [-- UPSTREAM [LISTEN [METRICS_LISTEN]]]`
//!
//! Clients go to <http://127.0.0.1:8080> instead of <http://127.0.0.1:8000>, Prometheus to
//! <http://127.0.0.1:8001/metrics>. Ctrl-C accepts no more clients, and lets the answers that are
//! being given come to their end. With `--enable-per-request-metrics` vLLM tells how long each
//! request has waited in its queue too.

use std::{env, error::Error, time::Duration};

use infermeter::{Meter, exporter::Prometheus, proxy::Proxy};
use tokio::{net::TcpListener, signal};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let mut next = |default: &str| arguments.next().unwrap_or_else(|| default.to_owned());
    let upstream = next("http://127.0.0.1:8000");
    let (listen, metrics_listen) = (next("127.0.0.1:8080"), next("127.0.0.1:8001"));

    let meter = Meter::new();
    let proxy = Proxy::builder(&upstream)
        .meter(meter.clone())
        .exact_aborts(true) // count the tokens of streams that clients leave, too
        .drain_timeout(Duration::from_secs(30))
        .build()?;

    let listener = TcpListener::bind(listen).await?;
    // The process that serves the model is another one: nobody wants to know how large this one is.
    let exporter = Prometheus::builder().meter(meter).process(false).serve(metrics_listen).await?;
    println!("http://{} passes on to {upstream}", listener.local_addr()?);
    let page = exporter.local_addr().ok_or("no page")?;
    println!("curl http://{page}/metrics");

    let stop = async {
        let pressed = signal::ctrl_c().await;
        exporter.set_ready(false); // a load balancer sends no more
        if let Err(error) = pressed {
            eprintln!("Ctrl-C cannot be seen, so this ends at once: {error}");
        }
    };
    proxy.serve(listener, stop).await;
    exporter.shutdown().await?;
    Ok(())
}
