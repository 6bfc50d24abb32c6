//! What a configuration file means.

use std::{error::Error, path::Path};

use crate::{
    config::{Config, Upstream},
    console::say,
};

const HEAD: [&str; 5] = ["upstream", "url", "models", "page of the engine", "variant"];

/// Says what a file means. Connects to nobody.
pub(crate) fn run(path: &Path) -> Result<(), Box<dyn Error>> {
    let config = Config::read(path)?;
    Ok(say(&table(&config.upstreams)?)?)
}

fn table(upstreams: &[Upstream]) -> Result<String, String> {
    let mut rows = vec![HEAD.map(str::to_owned)];
    for upstream in upstreams {
        let Upstream { name, url, models, variant, .. } = upstream;
        let models = match &models[..] {
            [] => "asked at /v1/models".to_owned(),
            models => models.join(", "),
        };
        let page = upstream.metrics()?.map_or_else(|| "none".to_owned(), |page| page.page_url());
        rows.push([name.clone(), url.clone(), models, page, variant.clone().unwrap_or_default()]);
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: [_; HEAD.len()] = std::array::from_fn(|column| width(column).unwrap_or_default());
    let line = |row: &[String; HEAD.len()]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    Ok(rows.iter().map(line).collect::<Vec<_>>().join("\n"))
}
