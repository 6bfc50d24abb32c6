//! llama.cpp's server. Held against a real one, of 2026.

use serde::Deserialize;

use crate::{
    engines::{
        kind::Asked,
        told::{Kv, ONLY, Place, Simple, Told},
    },
    names,
};

pub(in crate::engines) const STARTS: &[&str] = &["llamacpp:"];

const STATE: &[Simple] = &[
    (&names::NUM_REQUESTS_WAITING, &["llamacpp:requests_deferred"]),
    (&names::NUM_REQUESTS_RUNNING, &["llamacpp:requests_processing"]),
    (&names::PREFIX_CACHE_HITS_TOTAL, &[CACHED]),
];

const CACHED: &str = "llamacpp:prompt_tokens_cached_total";

/// Without those from the cache.
const PROMPT: &str = "llamacpp:prompt_tokens_total";

pub(in crate::engines) const COUNTED: [&[&str]; 2] =
    [&[PROMPT, CACHED], &["llamacpp:tokens_predicted_total"]];

/// What `/slots` says of one; there is more.
#[derive(Deserialize)]
struct Slot {
    n_ctx: f64,
    is_processing: bool,
    /// Of the task that it has, prompt and generated; of the last one if it has none. Older versions
    /// do not say.
    n_prompt_tokens: Option<f64>,
}

pub(in crate::engines) fn read(asked: &Asked<'_>, told: &mut Told) {
    let place: Place = [asked.model.into(), ONLY.into()];
    told.simple(asked.page, STATE, |_| Some(place.clone()));
    let counted = [PROMPT, CACHED].map(|name| asked.page.samples(name).first());
    if let [Some(computed), Some(cached)] = counted {
        // It looks for each prompt in what a slot has.
        let queries = computed.value + cached.value;
        told.push(&names::PREFIX_CACHE_QUERIES_TOTAL, &place, queries);
    }
    let slots = asked.slots.and_then(|slots| serde_json::from_slice::<Vec<Slot>>(slots).ok());
    let Some(slots) = slots.filter(|slots| !slots.is_empty()) else { return };
    told.push(&names::RUNNING_LIMIT, &place, slots.len() as f64);
    told.kv(&place, &kv(&slots));
}

/// A cell of the cache holds one token: a block of the size 1. What a slot keeps of a task that has
/// ended makes room for the next one, and is not in use.
///
/// NB: of several slots nobody says whether each has cells of its own or all share those of one
/// (`--kv-unified`, the default where the number of slots is not set): how many there are is known
/// of one slot only.
fn kv(slots: &[Slot]) -> Kv {
    let mut busy = slots.iter().filter(|slot| slot.is_processing);
    let held = busy.try_fold(0.0, |sum, slot| Some(sum + slot.n_prompt_tokens?));
    match slots {
        [slot] => Kv {
            used: held,
            total: Some(slot.n_ctx),
            block_size: Some(1.0),
            tokens: held,
            ..Kv::default()
        },
        _ => Kv { tokens: held, ..Kv::default() },
    }
}
