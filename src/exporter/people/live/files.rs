//! The page itself.

use super::super::files::{File, HTML, SCRIPT, STYLE};

const PAGE: &str = include_str!("../assets/live.html");
const LIVE: &str = include_str!("../assets/live.js");
const CHARTS: &str = include_str!("../assets/charts.js");
/// <https://github.com/leeoniya/uPlot> 1.6.32, as it is published; its licence lies beside it.
const UPLOT: &str = include_str!("../assets/uPlot.iife.min.js");
const UPLOT_STYLE: &str = include_str!("../assets/uPlot.min.css");

pub(in crate::exporter::people) static FILES: &[File] = &[
    File { path: "/", kind: HTML, content: PAGE },
    File { path: "/assets/live.js", kind: SCRIPT, content: LIVE },
    File { path: "/assets/charts.js", kind: SCRIPT, content: CHARTS },
    File { path: "/assets/uplot.js", kind: SCRIPT, content: UPLOT },
    File { path: "/assets/uplot.css", kind: STYLE, content: UPLOT_STYLE },
];
