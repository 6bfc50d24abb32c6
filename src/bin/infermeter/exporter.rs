//! The page of an engine as ours, without traffic.

use std::error::Error;

use infermeter::record::Collect;

use crate::{
    arguments::{self, EnginePage},
    console::{bind, reachable, say},
    log, page,
    signals::Signals,
};

pub(crate) fn run(settings: arguments::Exporter) -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(settings))
}

async fn serve(settings: arguments::Exporter) -> Result<(), Box<dyn Error>> {
    let arguments::Exporter { engine_metrics, engine, engine_page, page } = settings;
    log::start(page.log)?;
    let meter = page.meter()?;
    let exporter = page::exporter(&page, &meter)?;
    let listener = bind(page.key(), &page.address())?;
    let address = reachable(&listener)?;
    let mut signals = Signals::new()?;

    let is_merged = engine_page == EnginePage::Merge;
    let url = engine_metrics.page_url();
    let mut asked = engine_metrics.merge(is_merged);
    if let Some(kind) = engine.kind() {
        asked = asked.kind(kind);
    }
    let asked = asked.watch(&meter).await;
    // So that the first page has it.
    meter.sample();
    let exporter = exporter.serve_on(listener)?;
    say(&format!("infermeter exporter: engine {url} metrics http://{address}/metrics"))?;
    page::warn_if_nobody_can_scrape(&page);
    if is_merged {
        tracing::info!(
            "the engine's families are on this page: scrape it in place of {url}, or say \
             --engine-page off and another --metric-prefix to scrape both"
        );
    }
    tokio::select! {
        () = asked.run() => {}
        _ = signals.next() => {}
    }
    exporter.shutdown().await?;
    Ok(())
}
