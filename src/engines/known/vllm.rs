//! vLLM. Held against a real 0.32; the older names are those of 0.6 to 0.11, of which none was run.

use std::sync::Arc;

use crate::{
    engines::{
        kind::Asked,
        page::Page,
        told::{Kv, ONLY, Place, Simple, Told, label_or},
    },
    names,
    record::OtherSample,
};

pub(in crate::engines) const STARTS: &[&str] = &["vllm:"];

const STATE: &[Simple] = &[
    (&names::NUM_REQUESTS_WAITING, &["vllm:num_requests_waiting"]),
    (&names::NUM_REQUESTS_RUNNING, &["vllm:num_requests_running"]),
    (&names::NUM_PREEMPTIONS_TOTAL, &["vllm:num_preemptions_total"]),
];

const PREFIX_CACHE: [Simple; 2] = [
    (
        &names::PREFIX_CACHE_QUERIES_TOTAL,
        &["vllm:prefix_cache_queries_total", "vllm:gpu_prefix_cache_queries_total"],
    ),
    (
        &names::PREFIX_CACHE_HITS_TOTAL,
        &["vllm:prefix_cache_hits_total", "vllm:gpu_prefix_cache_hits_total"],
    ),
];

/// Before V1 there was the other name too, for the same.
const QUEUE: &[&str] = &["vllm:request_queue_time_seconds", "vllm:time_in_queue_requests"];

const PREFILL: &[&str] = &["vllm:request_prefill_time_seconds"];

const INFERENCE: &[&str] = &["vllm:request_inference_time_seconds"];

const USAGE: [&str; 2] = ["vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"];

const CONFIG: &str = "vllm:cache_config_info";

const BLOCKS: &str = "num_gpu_blocks";

const BLOCK_SIZE: &str = "block_size";

const LORA: &str = "vllm:lora_requests_info";

pub(in crate::engines) const COUNTED: [&[&str]; 2] =
    [&["vllm:prompt_tokens_total"], &["vllm:generation_tokens_total"]];

/// Before V1 there was no such label.
const ENGINE: &str = "engine";

pub(in crate::engines) fn read(asked: &Asked<'_>, told: &mut Told) {
    let Asked { page, model, .. } = *asked;
    let place = |sample: &OtherSample| -> Option<Place> {
        let model = label_or(sample, &["model_name", "model"], model);
        Some([model, label_or(sample, &[ENGINE], ONLY)])
    };
    told.simple(page, STATE, place);
    for simple in PREFIX_CACHE {
        // NB: 0.8 counted blocks.
        let of_blocks = |name: &&&str| {
            let help = page.family(name).and_then(|family| family.help.as_deref());
            help.is_some_and(|help| help.contains("blocks"))
        };
        if !simple.1.iter().any(|name| of_blocks(&name)) {
            told.simple(page, &[simple], place);
        }
    }
    let usage = USAGE.map(|name| page.samples(name)).into_iter().find(|found| !found.is_empty());
    for sample in usage.unwrap_or(&[]) {
        if let Some(place) = place(sample) {
            told.kv(&place, &kv(page, sample, &place[1]));
            lora(page, &place, told);
        }
    }
    told.histogram(&names::TIME_IN_QUEUE_SECONDS, page, QUEUE, place);
    told.histogram(&names::REQUEST_PREFILL_TIME_SECONDS, page, PREFILL, place);
    told.histogram(&names::REQUEST_INFERENCE_TIME_SECONDS, page, INFERENCE, place);
}

fn kv(page: &Page, usage: &OtherSample, engine: &str) -> Kv {
    let configs = page.samples(CONFIG);
    // It has no label for the model.
    let is_it = |sample: &&OtherSample| sample.label(ENGINE).unwrap_or(ONLY) == engine;
    let config = configs.iter().find(is_it);
    // NB: while it starts the number of blocks is the word `None`.
    let number = |name| config?.label(name)?.parse::<f64>().ok().filter(|n| *n > 0.0);
    let mut kv = Kv {
        usage: Some(usage.value),
        block_size: number(BLOCK_SIZE),
        blocks: number(BLOCKS),
        ..Kv::default()
    };
    // NB: of several data-parallel engines each says how many all have together; which is told only
    // if it is as many for each.
    let said = config.and_then(|config| config.label(BLOCKS));
    let engines = configs.iter().filter(|sample| sample.label(BLOCKS) == said).count();
    kv.blocks = kv.blocks.map(|all| all / engines as f64).filter(|n| n.fract() == 0.0);
    let Some(blocks) = kv.blocks else { return kv };
    // Since V1 one block is no request's.
    let total = if usage.label(ENGINE).is_some() { (blocks - 1.0).max(0.0) } else { blocks };
    let off = |n: f64| (n - n.round()).abs();
    let (of_total, of_all) = (usage.value * total, usage.value * blocks);
    let used = if off(of_all) < off(of_total) && of_all >= 1.0 {
        // The first versions of V1 counted that block as one in use.
        kv.usage = None;
        of_all.round() - 1.0
    } else {
        of_total.round()
    };
    if engines > 1 && off(of_all).min(off(of_total)) > 1e-6 {
        return Kv { blocks: None, usage: Some(usage.value), ..kv };
    }
    (kv.used, kv.total) = (Some(used), Some(total));
    kv
}

/// The adapters: what was said last. What was before stays on the page.
fn lora(page: &Page, place: &Place, told: &mut Told) {
    let of_engine =
        |sample: &&OtherSample| sample.label(ENGINE).is_none_or(|engine| *engine == *place[1]);
    let said = page.samples(LORA).iter().filter(of_engine);
    let Some(last) = said.max_by(|a, b| a.value.total_cmp(&b.value)) else { return };
    let text = |name| -> Arc<str> { last.label(name).unwrap_or_default().into() };
    let labels = ["max_lora", "running_lora_adapters", "waiting_lora_adapters"].map(text);
    told.info(&names::LORA_REQUESTS_INFO, place, labels, last.value);
}
