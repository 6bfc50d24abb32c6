//! The reverse proxy as a program: threads, signals, the page, the log.

mod behind;
mod engines;
mod threads;

use std::{error::Error, time::Duration};

use infermeter::{AdmissionLayer, Meter, proxy::Proxy, record::Collect};
use tokio::{sync::watch, time::timeout};

use self::{
    behind::Behind,
    engines::{Engines, Watched},
    threads::Threads,
};
use crate::{
    arguments,
    console::{bind, reachable, say},
    gpu, log, page, processes,
    signals::{Signals, Told},
};

/// How long the page waits for a last scrape, which shows the last requests.
const LAST_SCRAPE: Duration = Duration::from_secs(20);

pub(crate) fn run(settings: arguments::Proxy) -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(settings))
}

async fn serve(settings: arguments::Proxy) -> Result<(), Box<dyn Error>> {
    log::start(settings.page.log)?;
    let behind = Behind::read(&settings)?;
    let proxy = proxy(&settings, &behind, settings.page.meter()?)?;
    let engines = Engines::of(&settings, &behind, proxy.meter())?;
    let listener = bind("--listen", &settings.listen)?;
    let page = bind(settings.page.key(), &settings.page.address())?;
    let exporter =
        page::exporter(&settings.page, proxy.meter())?.failure_messages(settings.failure_messages);
    let mut signals = Signals::new()?;

    processes::watch_own(proxy.meter());
    let (address, page_address) = (reachable(&listener)?, reachable(&page)?);
    let Watched { pages, ids } = engines.watch().await?;
    // So that the processes are known by which GPUs are found.
    proxy.meter().sample();
    let _gpus = gpu::watch(&settings.gpu, ids, proxy.meter())?;
    let exporter = exporter.serve_on(page)?;
    let (stop, stopped) = watch::channel(false);
    let threads = Threads::start(&proxy, &listener, settings.workers, &stopped)?;
    drop(listener);
    say(&format!(
        "infermeter proxy: service http://{address} {behind} metrics http://{page_address}/metrics \
         live http://{page_address}/"
    ))?;
    page::warn_if_nobody_can_scrape(&settings.page, page_address.port());
    if settings.engine.is_merged() {
        pages.iter().for_each(|url| page::say_that_it_is_merged(url));
    }

    let told = signals.next().await;
    exporter.set_ready(false);
    tracing::info!("stopping; requests may still take {:?}", settings.drain_timeout);
    let _ = stop.send(true);
    let drained = async {
        threads.join().await;
        // Nobody at a keyboard waits for that.
        if told == Told::ByProgram {
            tracing::info!("stopped; the metrics stay until the next scrape, or {LAST_SCRAPE:?}");
            let _ = timeout(LAST_SCRAPE, exporter.scraped()).await;
        }
    };
    tokio::select! {
        () = drained => {}
        _ = signals.next() => return Err("ended by a second signal".into()),
    }
    exporter.shutdown().await?;
    Ok(())
}

fn proxy(
    settings: &arguments::Proxy,
    behind: &Behind,
    meter: Meter,
) -> Result<Proxy, Box<dyn Error>> {
    // The limit is published for the model that requests are for.
    let meter = settings.models.first().map_or_else(|| meter.clone(), |first| meter.model(first));
    let mut proxy = behind
        .proxy()?
        .meter(meter.clone())
        .inject_usage(settings.inject_usage.into())
        .exact_aborts(settings.exact_aborts)
        .failure_messages(settings.failure_messages)
        .connect_timeout(settings.connect_timeout)
        .drain_timeout(settings.drain_timeout);
    for (path, endpoint) in &settings.endpoints {
        proxy = proxy.endpoint(path, endpoint.clone());
    }
    for model in &settings.models {
        proxy = proxy.model(model);
    }
    if let Some(kind) = settings.engine.kind() {
        proxy = proxy.engine(kind);
    }
    if let Some(name) = &settings.tenant_header {
        proxy = proxy.tenant_header(name);
    }
    if let Some(limit) = settings.first_byte_timeout {
        proxy = proxy.first_byte_timeout(limit);
    }
    if let Some(limit) = settings.idle_timeout {
        proxy = proxy.idle_timeout(limit);
    }
    if let Some(bytes) = settings.max_request_body {
        proxy = proxy.max_request_body(bytes);
    }
    if let Some(path) = &settings.upstream_ca {
        proxy = proxy.upstream_ca(page::read("--upstream-ca", path)?);
    }
    if let Some(running) = settings.max_running {
        let mut admission = AdmissionLayer::new(&meter, running.get());
        if let Some(waiting) = settings.max_waiting {
            admission = admission.max_waiting(waiting);
        }
        if let Some(limit) = settings.queue_timeout {
            admission = admission.wait_limit(limit);
        }
        proxy = proxy.admission(admission);
    }
    Ok(proxy.build()?)
}
