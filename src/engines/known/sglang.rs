//! SGLang, with `--enable-metrics`. After its sources, of 0.5; not run.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    engines::{
        kind::Asked,
        page::Page,
        told::{Kv, ONLY, Place, Simple, Told, label_or},
    },
    names,
    record::OtherSample,
};

pub(in crate::engines) const STARTS: &[&str] = &["sglang:"];

const STATE: &[Simple] = &[
    (&names::NUM_REQUESTS_WAITING, &[WAITING]),
    (&names::NUM_REQUESTS_RUNNING, &["sglang:num_running_reqs"]),
    (&names::NUM_PREEMPTIONS_TOTAL, &["sglang:num_retracted_requests_total"]),
];

const WAITING: &str = "sglang:num_queue_reqs";

const QUEUE: &[&str] = &["sglang:queue_time_seconds"];

/// The most used of several caches, and of what models have mostly.
const USAGE: [&str; 2] = ["sglang:full_token_usage", "sglang:token_usage"];

const USED: [&str; 2] = ["sglang:kv_used_tokens", "sglang:num_used_tokens"];

const TOTAL: &str = "sglang:max_total_num_tokens";

const PAGE_SIZE: &str = "sglang:page_size";

const PAGES: &str = "sglang:num_pages";

/// Before it had gauges of their own.
const CONFIG: &str = "sglang:cache_config_info";

/// By where they came from.
const CACHED: &str = "sglang:cached_tokens_total";

const PROMPT: &str = "sglang:prompt_tokens_total";

pub(in crate::engines) const COUNTED: [&[&str]; 2] =
    [&[PROMPT], &["sglang:generation_tokens_total"]];

/// Parts of one engine, each of which may say the same.
const RANKS: [&str; 3] = ["pp_rank", "tp_rank", "moe_ep_rank"];

pub(in crate::engines) fn read(asked: &Asked<'_>, told: &mut Told) {
    let Asked { page, model, .. } = *asked;
    let place = |sample: &OtherSample| -> Place {
        [label_or(sample, &["model_name"], model), label_or(sample, &["dp_rank"], ONLY)]
    };
    let first = first_ranks(page, &place);
    // NB: with priorities, the parts stand beside the whole.
    let of_first = |sample: &OtherSample| -> Option<Place> {
        let place = place(sample);
        let is_whole = sample.label("priority").unwrap_or_default().is_empty();
        let is_first = first.get(&place).is_none_or(|first| *first == ranks(sample));
        (is_whole && is_first).then_some(place)
    };
    told.simple(page, STATE, of_first);
    told.histogram(&names::TIME_IN_QUEUE_SECONDS, page, QUEUE, of_first);

    let value = |name: &str, at: &Place| {
        let mut samples = page.samples(name).iter();
        let sample = samples.find(|sample| of_first(sample).as_ref() == Some(at))?;
        Some(sample.value)
    };
    let any = |names: &[&str], at: &Place| names.iter().find_map(|name| value(name, at));
    for at in first.keys() {
        let config = page.samples(CONFIG).iter().find(|sample| place(sample) == *at);
        let shape = |gauge: &str, label: &str| {
            let told = || config?.label(label)?.parse().ok();
            value(gauge, at).or_else(told).filter(|n| *n > 0.0)
        };
        let size = shape(PAGE_SIZE, "page_size");
        let pages = |tokens: Option<f64>| Some((tokens? / size?).ceil());
        let used = any(&USED, at);
        told.kv(
            at,
            &Kv {
                used: pages(used),
                total: shape(PAGES, "num_pages").or_else(|| pages(value(TOTAL, at))),
                usage: any(&USAGE, at),
                // Whole pages are counted: how much of them is filled is known of one token each.
                tokens: used.filter(|_| size == Some(1.0)),
                block_size: size,
                blocks: None,
            },
        );
    }
    prefix_cache(page, &place, told);
}

/// The lowest ranks of each engine: theirs is what is read.
fn first_ranks(
    page: &Page,
    place: &impl Fn(&OtherSample) -> Place,
) -> BTreeMap<Place, [Option<u32>; 3]> {
    let mut first = BTreeMap::new();
    let state = [WAITING, USAGE[1], USED[1]].map(|name| page.samples(name));
    for sample in state.into_iter().flatten() {
        let ranks = ranks(sample);
        let known = first.entry(place(sample)).or_insert(ranks);
        *known = ranks.min(*known);
    }
    first
}

fn ranks(sample: &OtherSample) -> [Option<u32>; 3] {
    RANKS.map(|rank| sample.label(rank)?.parse().ok())
}

/// Counted where requests end, without ranks. It looks for each prompt.
fn prefix_cache(page: &Page, place: &impl Fn(&OtherSample) -> Place, told: &mut Told) {
    for (family, theirs) in
        [(&names::PREFIX_CACHE_QUERIES_TOTAL, PROMPT), (&names::PREFIX_CACHE_HITS_TOTAL, CACHED)]
    {
        let mut sums: Vec<(Place, f64)> = Vec::new();
        for sample in page.samples(theirs) {
            let [model, _] = place(sample);
            let place = [model, Arc::from(ONLY)];
            match sums.iter_mut().find(|(known, _)| *known == place) {
                Some((_, sum)) => *sum += sample.value,
                None => sums.push((place, sample.value)),
            }
        }
        for (place, sum) in sums {
            told.push(family, &place, sum);
        }
    }
}
