//! The page of an engine as ours, without traffic.

use std::{error::Error, future::pending};

use infermeter::record::Collect;

use crate::{
    arguments,
    console::{bind, reachable, say},
    gpu, log, page, processes,
    signals::Signals,
};

pub(crate) fn run(settings: arguments::Exporter) -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(settings))
}

async fn serve(settings: arguments::Exporter) -> Result<(), Box<dyn Error>> {
    let engine = settings.engine()?;
    let page = &settings.page;
    log::start(page.log)?;
    let meter = page.meter()?;
    let exporter = page::exporter(page, &meter)?;
    let listener = bind(page.key(), &page.address())?;
    let address = reachable(&listener)?;
    let mut signals = Signals::new()?;

    let url = engine.as_ref().map_or_else(|| "none".to_owned(), |engine| engine.page_url());
    processes::watch_own(&meter);
    let mut ids = None;
    if let Some(pid) = settings.process.engine_pid {
        let watched = processes::watch_engine(pid, &settings.process_of(pid)?, &meter).await;
        ids = Some(watched.map_err(|error| format!("--engine-pid: {error}"))?);
    }
    let watch = match engine {
        Some(engine) => {
            let engine = engine.process(settings.process.engine_pid.is_none());
            Some(engine.watch(&meter).await)
        }
        None => None,
    };
    // So that the first page has it, and the processes are known by which GPUs are found.
    meter.sample();
    let _gpus = gpu::watch(&settings.gpu, ids, &meter)?;
    let exporter = exporter.serve_on(listener)?;
    say(&format!(
        "infermeter exporter: engine {url} metrics http://{address}/metrics live http://{address}/"
    ))?;
    page::warn_if_nobody_can_scrape(page, address.port());
    if watch.is_some() && settings.engine.is_merged() {
        page::say_that_it_is_merged(&url);
    }
    let asked = async {
        match watch {
            Some(watch) => watch.run().await,
            None => pending().await,
        }
    };
    tokio::select! {
        () = asked => {}
        _ = signals.next() => {}
    }
    exporter.shutdown().await?;
    Ok(())
}
