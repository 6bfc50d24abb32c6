//! The engines behind the proxy, whose pages are read.

use infermeter::{Meter, engines::EngineMetrics};

use super::Behind;
use crate::arguments;

/// An engine whose page is read, and whose upstream it tells of.
#[derive(Debug)]
pub(super) struct Engines(Vec<(EngineMetrics, Meter)>);

// === impl Engines ===

impl Engines {
    pub(super) fn of(
        settings: &arguments::Proxy,
        behind: &Behind,
        meter: &Meter,
    ) -> Result<Self, String> {
        let is_merged = settings.engine.is_merged();
        let has_process = settings.process.engine_pid.is_none();
        let asked =
            |engine: EngineMetrics| engine.merge(is_merged).compare(true).process(has_process);
        match behind {
            Behind::One(url) => {
                let engine = settings.engine.metrics(Some(url))?.map(|engine| {
                    match settings.models.first() {
                        Some(model) => engine.model(model),
                        None => engine,
                    }
                });
                let engines = engine.map(|engine| (asked(engine), meter.clone()));
                Ok(Self(engines.into_iter().collect()))
            }
            Behind::File(config) => {
                let engines = config.upstreams.iter().map(|upstream| {
                    let meter = meter.upstream(&upstream.name, upstream.variant.as_deref());
                    Ok(upstream.metrics()?.map(|engine| (asked(engine), meter)))
                });
                let engines: Result<Vec<_>, String> = engines.collect();
                Ok(Self(engines?.into_iter().flatten().collect()))
            }
        }
    }

    /// Reads their pages from now on, whether they are there yet or not; the URLs of the pages.
    pub(super) fn watch(self) -> Vec<String> {
        let watched = self.0.into_iter().map(|(engine, meter)| {
            let url = engine.page_url();
            tokio::spawn(async move { engine.watch(&meter).await.run().await });
            url
        });
        watched.collect()
    }
}
