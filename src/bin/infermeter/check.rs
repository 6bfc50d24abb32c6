//! What a configuration file means.

use std::{error::Error, path::Path};

use crate::{
    config::{Config, Upstream},
    console::say,
};

const HEAD: [&str; 4] = ["upstream", "url", "models", "variant"];

/// Says what a file means. Connects to nobody.
pub(crate) fn run(path: &Path) -> Result<(), Box<dyn Error>> {
    let config = Config::read(path)?;
    Ok(say(&table(&config.upstreams))?)
}

fn table(upstreams: &[Upstream]) -> String {
    let rows = upstreams.iter().map(|Upstream { name, url, models, variant }| {
        let models = match &models[..] {
            [] => "asked at /v1/models".to_owned(),
            models => models.join(", "),
        };
        [name.clone(), url.clone(), models, variant.clone().unwrap_or_default()]
    });
    let rows: Vec<_> = [HEAD.map(str::to_owned)].into_iter().chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths = [0, 1, 2].map(|column| width(column).unwrap_or_default());
    let line = |[name, url, models, variant]: &[String; 4]| {
        let [of_name, of_url, of_models] = widths;
        let line = format!("{name:of_name$}  {url:of_url$}  {models:of_models$}  {variant}");
        line.trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}
