//! Text Generation Inference. After its sources; not run.

use crate::{
    engines::{
        kind::Asked,
        told::{Kv, ONLY, Place, Simple, Told},
    },
    names,
};

pub(in crate::engines) const STARTS: &[&str] = &["tgi_"];

const STATE: &[Simple] = &[
    (&names::NUM_REQUESTS_WAITING, &["tgi_queue_size"]),
    (&names::NUM_REQUESTS_RUNNING, &["tgi_batch_current_size"]),
];

/// In seconds; the name does not say so.
const QUEUE: &[&str] = &["tgi_request_queue_duration"];

/// What the cache is allotted for: the tokens that the batch may come to, and the most of them.
const BUDGET: [&str; 2] = ["tgi_batch_current_max_tokens", "tgi_batch_max_total_tokens"];

/// No label names the model: there is one.
pub(in crate::engines) fn read(asked: &Asked<'_>, told: &mut Told) {
    let place: Place = [asked.model.into(), ONLY.into()];
    told.simple(asked.page, STATE, |_| Some(place.clone()));
    told.histogram(&names::TIME_IN_QUEUE_SECONDS, asked.page, QUEUE, |_| Some(place.clone()));
    let budget = BUDGET.map(|name| asked.page.samples(name).first());
    if let [Some(held), Some(most)] = budget {
        let usage = Some(held.value / most.value).filter(|_| most.value > 0.0);
        told.kv(&place, &Kv { usage, ..Kv::default() });
    }
}
