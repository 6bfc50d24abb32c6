//! NVIDIA Dynamo: its frontend, and workers that have no families of their engine. After its
//! documents; not run.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    engines::{
        kind::Asked,
        page::Page,
        told::{Kv, ONLY, Place, Told, label_or},
    },
    names,
    record::OtherSample,
};

pub(in crate::engines) const STARTS: &[&str] = &["dynamo_frontend_", "dynamo_component_"];

/// From the arrival to the end.
const IN_FLIGHT: &str = "dynamo_frontend_inflight_requests";

/// Those of them without a first token.
const QUEUED: &str = "dynamo_frontend_queued_requests";

const LIMIT: &str = "dynamo_frontend_model_max_num_seqs";

/// With `kvstats_` in older versions.
const USED: &[&str] = &["dynamo_component_kvstats_active_blocks", "dynamo_component_active_blocks"];

const TOTAL: &[&str] = &["dynamo_component_total_blocks", "dynamo_component_kvstats_total_blocks"];

/// From 0 to 1.
const USAGE: &[&str] = &[
    "dynamo_component_gpu_cache_usage_percent",
    "dynamo_component_kvstats_gpu_cache_usage_percent",
];

pub(in crate::engines) fn read(asked: &Asked<'_>, told: &mut Told) {
    let Asked { page, model, .. } = *asked;
    let place = |sample: &OtherSample| -> Place {
        [label_or(sample, &["model", "model_name"], model), label_or(sample, &["dp_rank"], ONLY)]
    };
    let mut in_flight: BTreeMap<Arc<str>, [f64; 2]> = BTreeMap::new();
    for (i, family) in [IN_FLIGHT, QUEUED].into_iter().enumerate() {
        for sample in page.samples(family) {
            let [model, _] = place(sample);
            in_flight.entry(model).or_default()[i] += sample.value;
        }
    }
    // NB: who waits for the first token may be in prefill; that is all that the frontend knows.
    let has_both = [IN_FLIGHT, QUEUED].iter().all(|name| !page.samples(name).is_empty());
    for (model, [all, queued]) in in_flight.into_iter().filter(|_| has_both) {
        let place = [model, ONLY.into()];
        told.push(&names::NUM_REQUESTS_WAITING, &place, queued);
        // Both are read one after the other.
        told.push(&names::NUM_REQUESTS_RUNNING, &place, (all - queued).max(0.0));
    }
    told.simple(page, &[(&names::RUNNING_LIMIT, &[LIMIT])], |sample| Some(place(sample)));
    kv(page, place, told);
}

fn kv(page: &Page, place: impl Fn(&OtherSample) -> Place, told: &mut Told) {
    let samples = |names: &[&str]| {
        let mut found = names.iter().map(|name| page.samples(name));
        found.find(|samples| !samples.is_empty()).unwrap_or(&[])
    };
    for usage in samples(USAGE) {
        let at = place(usage);
        let value = |names| {
            let mut samples = samples(names).iter();
            samples.find(|sample| place(sample) == at).map(|sample| sample.value)
        };
        let (used, total) = (value(USED), value(TOTAL));
        // One without the other is not what the ratio is of.
        let (used, total) = used.zip(total).unzip();
        told.kv(&at, &Kv { used, total, usage: Some(usage.value), ..Kv::default() });
    }
}
