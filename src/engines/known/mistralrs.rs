//! mistral.rs. After its sources, of 2026; not run.

use crate::{
    engines::{
        kind::Asked,
        told::{Kv, ONLY, Place, Simple, Told},
    },
    names,
};

pub(in crate::engines) const STARTS: &[&str] = &["mistralrs_"];

const STATE: &[Simple] = &[
    (&names::NUM_REQUESTS_WAITING, &["mistralrs_sequences_waiting"]),
    (&names::NUM_REQUESTS_RUNNING, &["mistralrs_sequences_running"]),
    (&names::RUNNING_LIMIT, &["mistralrs_sequences_capacity"]),
    (&names::NUM_PREEMPTIONS_TOTAL, &["mistralrs_paged_preemptions_total"]),
];

/// Not in all versions.
const QUEUE: &[&str] = &["mistralrs_request_queue_duration_seconds"];

/// In some versions those in use, and in some the cached ones of ended requests too.
const ACTIVE: [&str; 2] = ["mistralrs_kv_cache_blocks_active", "mistralrs_kv_cache_blocks_used"];

const TOTAL: &str = "mistralrs_kv_cache_blocks_total";

/// No label names the model. Its prefix cache is counted in requests, where ours is in tokens.
pub(in crate::engines) fn read(asked: &Asked<'_>, told: &mut Told) {
    let Asked { page, model, .. } = *asked;
    let place: Place = [model.into(), ONLY.into()];
    told.simple(page, STATE, |_| Some(place.clone()));
    told.histogram(&names::TIME_IN_QUEUE_SECONDS, page, QUEUE, |_| Some(place.clone()));
    let value = |name: &str| page.samples(name).first().map(|sample| sample.value);
    let used = ACTIVE.iter().find_map(|name| value(name));
    told.kv(&place, &Kv { used, total: value(TOTAL), ..Kv::default() });
}
