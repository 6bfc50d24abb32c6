//! The page of whoever publishes metrics.

use std::{fs, path::Path};

use infermeter::{
    Meter,
    exporter::{Prometheus, PrometheusBuilder},
};

use crate::arguments::Page;

/// The page; of the processes, the one that serves the model is not this one.
pub(crate) fn exporter(settings: &Page, meter: &Meter) -> Result<PrometheusBuilder, String> {
    let exporter =
        Prometheus::builder().meter(meter.clone()).naming(settings.naming()).process(false);
    let Some(path) = &settings.metrics_token_file else { return Ok(exporter) };
    let token = String::from_utf8(read("--metrics-token-file", path)?)
        .map_err(|_| "--metrics-token-file: it is not text; allowed is a file with one line")?;
    Ok(exporter.token(token.trim_ascii()))
}

pub(crate) fn read(key: &str, path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| {
        format!("{key} {}: {error}; allowed is a file that can be read", path.display())
    })
}

pub(crate) fn say_that_it_is_merged(url: &str) {
    tracing::info!(
        "families of the engine's page {url} are on this one: scrape it instead, or say --engine-page \
         off and another --metric-prefix to scrape both"
    );
}

/// In a container nobody outside can reach what listens on the loopback interface, on this port.
pub(crate) fn warn_if_nobody_can_scrape(settings: &Page, port: u16) {
    let is_loopback = ["127.", "localhost:", "[::1]"];
    let page = settings.address();
    let is_alone = is_loopback.iter().any(|host| page.starts_with(host));
    let is_container =
        ["/.dockerenv", "/run/.containerenv"].iter().any(|path| Path::new(path).exists())
            || std::env::var_os("KUBERNETES_SERVICE_HOST").is_some();
    if is_alone && is_container {
        tracing::warn!(
            "the metrics are on {page}, which nobody outside of this container can reach; to let \
             Prometheus in, say --metrics-listen 0.0.0.0:{port}"
        );
    }
}
