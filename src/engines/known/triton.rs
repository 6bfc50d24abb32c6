//! Triton with the TensorRT-LLM backend, and TensorRT-LLM's own `trtllm-serve`. After their
//! documents; not run.

use std::collections::BTreeMap;

use crate::{
    engines::{
        kind::Asked,
        page::Page,
        told::{Kv, ONLY, Place, Simple, Told, label_or},
    },
    names::{self, Family},
    record::OtherSample,
};

pub(in crate::engines) const STARTS: &[&str] = &["nv_inference_", "nv_trt_llm_", "trtllm_"];

/// What has a label for what it is.
const REQUESTS: &str = "nv_trt_llm_request_metrics";

const BLOCKS: &str = "nv_trt_llm_kv_cache_block_metrics";

/// Those that no backend has taken yet, whatever the backend is.
const PENDING: &str = "nv_inference_pending_request_count";

const SERVE: &[Simple] = &[
    (&names::NUM_REQUESTS_WAITING, &["trtllm_num_requests_waiting"]),
    (&names::NUM_REQUESTS_RUNNING, &["trtllm_num_requests_running"]),
    (&names::RUNNING_LIMIT, &["trtllm_max_num_active_requests"]),
];

/// Triton has a counter of microseconds only.
const QUEUE: &[&str] = &["trtllm_request_queue_time_seconds"];

/// The word, and where it belongs.
const BY_WORD: [(&str, &Family); 3] = [
    ("waiting", &names::NUM_REQUESTS_WAITING),
    ("scheduled", &names::NUM_REQUESTS_RUNNING),
    ("max", &names::RUNNING_LIMIT),
];

pub(in crate::engines) fn read(asked: &Asked<'_>, told: &mut Told) {
    let Asked { page, model, .. } = *asked;
    let place = |sample: &OtherSample| -> Place {
        [label_or(sample, &["model", "model_name"], model), ONLY.into()]
    };
    for (word, family) in BY_WORD {
        for (place, values) in by_model(page, REQUESTS, ("request_type", word), place) {
            told.push(family, &place, values.iter().sum());
        }
    }
    if page.samples(REQUESTS).is_empty() {
        for sample in page.samples(PENDING) {
            told.push(&names::NUM_REQUESTS_WAITING, &place(sample), sample.value);
        }
    }
    let block = |word| by_model(page, BLOCKS, ("kv_cache_block_type", word), place);
    let [used, size] = ["used", "tokens_per"].map(block);
    for (at, total) in block("max") {
        // Versions of a model have blocks of one size.
        let block_size = size.get(&at).and_then(|sizes| sizes.first()).copied();
        let used = used.get(&at).map(|used| used.iter().sum());
        let total = Some(total.iter().sum());
        told.kv(&at, &Kv { used, total, block_size, ..Kv::default() });
    }
    serve(page, place, told);
}

/// `trtllm-serve`.
fn serve(page: &Page, place: impl Fn(&OtherSample) -> Place, told: &mut Told) {
    told.simple(page, SERVE, |sample| Some(place(sample)));
    told.histogram(&names::TIME_IN_QUEUE_SECONDS, page, QUEUE, |sample| Some(place(sample)));
    for sample in page.samples("trtllm_kv_cache_utilization") {
        let at = place(sample);
        let value = |name: &str| {
            let mut samples = page.samples(name).iter();
            samples.find(|sample| place(sample) == at).map(|sample| sample.value)
        };
        told.kv(
            &at,
            &Kv {
                used: value("trtllm_kv_cache_used_blocks"),
                total: value("trtllm_kv_cache_max_blocks"),
                usage: Some(sample.value),
                block_size: value("trtllm_kv_cache_tokens_per_block"),
                ..Kv::default()
            },
        );
    }
}

/// The samples with a word, by model: several versions of one may be served at once.
fn by_model(
    page: &Page,
    family: &str,
    (label, word): (&str, &str),
    place: impl Fn(&OtherSample) -> Place,
) -> BTreeMap<Place, Vec<f64>> {
    let mut values: BTreeMap<Place, Vec<f64>> = BTreeMap::new();
    for sample in page.samples(family).iter().filter(|s| s.label(label) == Some(word)) {
        values.entry(place(sample)).or_default().push(sample.value);
    }
    values
}
