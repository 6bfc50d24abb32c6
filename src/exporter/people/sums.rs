//! Several series as one number; `None` where there is none.

use std::sync::Arc;

use crate::{
    names::{Family, label},
    record::Series,
};

/// What gauges stand at together.
pub(super) fn sum<'a>(series: impl IntoIterator<Item = &'a Series>) -> Option<f64> {
    series.into_iter().filter_map(Series::gauge).reduce(|sum, more| sum + more)
}

/// The same of one GPU. NB: with MIG, all of its instances.
pub(super) fn of_gpu(family: &'static Family, series: &[Series], gpu: &Arc<str>) -> Option<f64> {
    sum(series.iter().filter(|series| series.label(family, label::GPU) == Some(gpu)))
}
