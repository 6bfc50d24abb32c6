//! The engines behind the proxy: their pages, and their processes.

use infermeter::{Meter, engines::EngineMetrics};

use super::Behind;
use crate::{
    arguments::{self, EnginePid},
    page,
    processes::{self, Ids},
};

#[derive(Debug)]
pub(super) struct Engines(Vec<Engine>);

/// What is asked of the engine of an upstream.
#[derive(Debug)]
struct Engine {
    /// Where its process is said.
    key: String,
    /// That of its upstream.
    url: String,
    metrics: Option<EngineMetrics>,
    pid: Option<EnginePid>,
    /// What it tells is of this upstream.
    meter: Meter,
}

/// What is asked from now on.
pub(super) struct Watched {
    /// The URLs of the engines' pages.
    pub(super) pages: Vec<String>,
    /// The processes of the engine, if there is one alone.
    pub(super) ids: Option<Ids>,
}

// === impl Engines ===

impl Engines {
    pub(super) fn of(
        settings: &arguments::Proxy,
        behind: &Behind,
        meter: &Meter,
    ) -> Result<Self, String> {
        let mut engines = match behind {
            Behind::One(url) => {
                let metrics = settings.engine.metrics(Some(url))?;
                let metrics = metrics.map(|engine| match settings.models.first() {
                    Some(model) => engine.model(model),
                    None => engine,
                });
                let (url, pid) = (url.clone(), settings.process.engine_pid);
                vec![Engine {
                    key: "--engine-pid".to_owned(),
                    url,
                    metrics,
                    pid,
                    meter: meter.clone(),
                }]
            }
            Behind::File(config) => {
                let engines = config.upstreams.iter().map(|upstream| {
                    let meter = meter.upstream(&upstream.name, upstream.variant.as_deref());
                    let (metrics, pid) = (upstream.metrics()?, upstream.engine_pid);
                    let (key, url) =
                        (format!("{}: engine_pid", upstream.name), upstream.url.clone());
                    Ok(Engine { key, url, metrics, pid, meter })
                });
                engines.collect::<Result<_, String>>()?
            }
        };
        let ca = settings.upstream_ca.as_deref();
        let ca = ca.map(|path| page::read("--upstream-ca", path)).transpose()?;
        for Engine { metrics, pid, .. } in &mut engines {
            let Some(mut engine) = metrics.take() else { continue };
            if let Some(pem) = &ca {
                engine = engine.ca(pem).map_err(|error| error.to_string())?;
            }
            engine = engine.merge(settings.engine.is_merged()).compare(true);
            *metrics = Some(engine.process(pid.is_none()));
        }
        Ok(Self(engines))
    }

    /// Watches them from now on, whether they are there yet or not.
    pub(super) async fn watch(self) -> Result<Watched, String> {
        let is_alone = self.0.len() == 1;
        let (mut pages, mut ids) = (Vec::new(), None);
        for Engine { key, url, metrics, pid, meter } in self.0 {
            if let Some(pid) = pid {
                let watched = processes::watch_engine(pid, &url, &meter).await;
                let of_one = watched.map_err(|error| format!("{key}: {error}"))?;
                ids = is_alone.then_some(of_one);
            }
            if let Some(engine) = metrics {
                pages.push(engine.page_url());
                tokio::spawn(async move { engine.watch(&meter).await.run().await });
            }
        }
        Ok(Watched { pages, ids })
    }
}
