//! The stock exporter of the `metrics` project, and what may differ between its page and ours.

use std::collections::{BTreeMap, BTreeSet};

use infermeter::names::{self, Naming};
use metrics_exporter_prometheus::{
    Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};

use crate::support::scrape::Scrape;

/// Sums are added up in another order.
const ROUNDING: f64 = 1e-9;

/// What our own page says of itself.
const OF_THE_PAGE: [&str; 2] = ["infermeter_scrape_duration_seconds", "infermeter_series"];

/// Another one at each moment.
const OF_THE_MOMENT: &str = "infermeter_source_age_seconds";

/// Whole seconds only.
const ROUNDED_DOWN: &str = "process_cpu_seconds_total";

/// The exporter of the `metrics` project, as it is.
pub(crate) fn stock(naming: &Naming) -> (PrometheusRecorder, PrometheusHandle) {
    let builder =
        names::buckets(naming).fold(PrometheusBuilder::new(), |builder, (name, bounds)| {
            builder.set_buckets_for_metric(Matcher::Full(name), bounds).unwrap()
        });
    let recorder = builder.build_recorder();
    let page = recorder.handle();
    (recorder, page)
}

pub(crate) fn has_line(page: &PrometheusHandle, line: &str) -> bool {
    page.render().lines().any(|found| found == line)
}

/// All but the aliases, gauges that have gone, the constants above, and how numbers are written.
pub(crate) fn assert_same(own: &str, stock: &str) {
    assert_same_but_for_sums(own, stock, ROUNDING);
}

/// Sums may be off by a part of them.
pub(crate) fn assert_same_but_for_sums(own: &str, stock: &str, off: f64) {
    Scrape::parse(stock).assert_identities();
    let naming = Naming::vllm();
    let aliases = names::CATALOGUE.iter().filter_map(|family| naming.alias(family));
    let others: Vec<String> = aliases.chain(OF_THE_PAGE.map(str::to_owned)).collect();
    let is_other = |name: &str| {
        let family = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|suffix| name.strip_suffix(suffix))
            .unwrap_or(name);
        others.iter().any(|other| other == name || other == family)
    };

    let series = |page: &str| -> BTreeMap<String, f64> {
        let series = Scrape::parse(page).series().into_iter();
        series.filter(|(name, _)| !is_other(name_of(name))).collect()
    };
    let (own_series, mut stock_series) = (series(own), series(stock));
    // A gauge that has gone is not on our page.
    let mut gone = BTreeSet::new();
    stock_series.retain(|series, value| {
        let has_gone = value.is_nan() && !own_series.contains_key(series);
        if has_gone {
            gone.insert(name_of(series).to_owned());
        }
        !has_gone
    });
    assert!(own_series.keys().eq(stock_series.keys()), "{own_series:#?}\n{stock_series:#?}");

    // HELP and TYPE.
    let said = |page: &str| -> BTreeSet<String> {
        let lines = page.lines().filter(|line| line.starts_with('#'));
        let has_gone = |name: &str| gone.contains(name) && !own.contains(&format!("TYPE {name} "));
        lines
            .filter(|line| {
                let name = line.split(' ').nth(2).unwrap();
                !is_other(name) && !has_gone(name)
            })
            .map(str::to_owned)
            .collect()
    };
    assert_eq!(said(own), said(stock));

    for ((name, own), stock) in own_series.iter().zip(stock_series.values()) {
        match name_of(name) {
            OF_THE_MOMENT => {}
            ROUNDED_DOWN => assert_eq!(own.floor(), *stock, "{name}"),
            name if name.ends_with("_sum") => {
                assert!((own - stock).abs() <= own * off, "{name}: {own} {stock}");
            }
            _ => assert_eq!(own, stock, "{name}"),
        }
    }
}

fn name_of(series: &str) -> &str {
    series.split('{').next().unwrap()
}
