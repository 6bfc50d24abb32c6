//! What an engine tells, and the families that it becomes.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use crate::{
    names,
    record::{Readings, Value},
};

/// What an engine says of itself at one moment. `None` is not known, and not published.
///
/// ```
/// use infermeter::{Meter, engine::EngineState};
///
/// let engine = Meter::new().model("tiny-words").engine("0");
/// engine.tell(EngineState { running: Some(3), waiting: Some(0), ..EngineState::default() });
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EngineState {
    /// How full its KV cache is.
    pub kv: Option<KvUsage>,
    /// Requests that wait; goes before what the layer sees.
    pub waiting: Option<u64>,
    /// Requests that run; goes before what the layer sees.
    pub running: Option<u64>,
    /// How many requests may run at once; goes before the limit of an admission layer.
    pub running_limit: Option<u64>,
    /// Its LoRA adapters.
    pub lora: Option<Lora>,
    /// How often a running request lost its KV cache to others, since the start.
    pub preemptions: Option<u64>,
    /// Prompt tokens looked up in the prefix cache, since the start.
    pub prefix_cache_queries: Option<u64>,
    /// Prompt tokens found in the prefix cache, since the start.
    pub prefix_cache_hits: Option<u64>,
}

/// How full a KV cache is.
///
/// ```
/// use infermeter::{Meter, engine::KvUsage, names, record::Collect};
///
/// let meter = Meter::new().model("tiny-words");
/// let engine = meter.engine("0");
/// engine.kv(KvUsage { used_blocks: 25, total_blocks: 100, block_size: 16, tokens: Some(320) });
///
/// let readings = meter.collect();
/// assert_eq!(readings.series(&names::KV_CACHE_USAGE_PERC)[0].gauge(), Some(0.25));
/// assert_eq!(readings.series(&names::GPU_CACHE_USAGE_RATIO)[0].gauge(), Some(0.2));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KvUsage {
    /// Blocks in use. Cached blocks of ended requests that can be evicted are not.
    pub used_blocks: u64,
    /// Blocks that requests can use. (vLLM keeps one of its `num_gpu_blocks` for itself.)
    pub total_blocks: u64,
    /// Token slots in a block.
    pub block_size: u64,
    /// Token slots that are filled, in the blocks in use; the rest of them is fragmentation.
    pub tokens: Option<u64>,
}

/// LoRA adapters of an engine. The order of their names says nothing, and is not kept.
///
/// ```
/// use infermeter::{Meter, engine::Lora};
///
/// let engine = Meter::new().model("tiny-words").engine("0");
/// engine.lora(Lora { max: 4, running: vec!["tiny-sql".to_owned()], waiting: Vec::new() });
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lora {
    /// How many may be loaded at once.
    pub max: u64,
    /// Adapters whose requests run.
    pub running: Vec<String>,
    /// Adapters whose requests wait.
    pub waiting: Vec<String>,
}

/// A state as it is published.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) state: EngineState,
    /// When the adapters changed last, in unix time.
    lora_changed: f64,
}

// === impl KvUsage ===

impl KvUsage {
    /// Whether no more is in use than there is.
    fn is_possible(&self) -> bool {
        let Self { used_blocks, total_blocks, block_size, tokens } = *self;
        let slots = used_blocks.saturating_mul(block_size);
        used_blocks <= total_blocks && tokens.is_none_or(|tokens| tokens <= slots)
    }

    fn write(&self, labels: &[Arc<str>; 2], out: &mut Readings) {
        let Self { used_blocks, total_blocks, block_size, tokens } = *self;
        let mut push = |family, value| out.push(family, labels.clone(), Value::Gauge(value));
        let (used, total) = (used_blocks as f64, total_blocks as f64);
        if total_blocks > 0 {
            let slots = total * block_size as f64;
            let filled = tokens.filter(|_| block_size > 0).map(|tokens| tokens as f64 / slots);
            push(&names::GPU_CACHE_USAGE_RATIO, filled.unwrap_or(used / total));
            push(&names::KV_CACHE_USAGE_PERC, used / total);
        }
        push(&names::NUM_BLOCKS_USED, used);
        push(&names::NUM_BLOCKS_TOTAL, total);
        if let Some(tokens) = tokens {
            push(&names::KV_TOKENS_HELD, tokens as f64);
        }
        let [model, engine] = labels.clone();
        let shape = [block_size, total_blocks].map(|n| Arc::from(n.to_string()));
        let [block_size, total_blocks] = shape;
        let labels = [model, engine, block_size, total_blocks];
        out.push(&names::CACHE_CONFIG_INFO, labels, Value::Gauge(1.0));
    }
}

// === impl Told ===

impl Told {
    /// Takes everything anew; says whether it can be.
    pub(super) fn all(&mut self, mut new: EngineState) -> bool {
        let (kv, lora) = (new.kv.take(), new.lora.take());
        let old = std::mem::replace(&mut self.state, new);
        self.state.lora = old.lora;
        self.lora(lora);
        self.kv(kv)
    }

    /// Takes the usage of the cache; says whether it can be, else nothing is known.
    pub(super) fn kv(&mut self, kv: Option<KvUsage>) -> bool {
        self.state.kv = kv.filter(KvUsage::is_possible);
        self.state.kv == kv
    }

    pub(super) fn lora(&mut self, mut lora: Option<Lora>) {
        // A set that is told in another order each time would be another series each time.
        if let Some(Lora { max: _, running, waiting }) = &mut lora {
            running.sort_unstable();
            waiting.sort_unstable();
        }
        if lora != self.state.lora {
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            self.lora_changed = now.map_or(0.0, |now| now.as_secs_f64());
            self.state.lora = lora;
        }
    }

    pub(super) fn write(&self, labels: &[Arc<str>; 2], out: &mut Readings) {
        let EngineState {
            kv,
            waiting,
            running,
            running_limit,
            lora,
            preemptions,
            prefix_cache_queries,
            prefix_cache_hits,
        } = &self.state;
        for (family, value) in [
            (&names::NUM_REQUESTS_WAITING, waiting),
            (&names::NUM_REQUESTS_RUNNING, running),
            (&names::RUNNING_LIMIT, running_limit),
        ] {
            if let Some(value) = value {
                out.push(family, labels.clone(), Value::Gauge(*value as f64));
            }
        }
        for (family, value) in [
            (&names::NUM_PREEMPTIONS_TOTAL, preemptions),
            (&names::PREFIX_CACHE_QUERIES_TOTAL, prefix_cache_queries),
            (&names::PREFIX_CACHE_HITS_TOTAL, prefix_cache_hits),
        ] {
            if let Some(value) = value {
                out.push(family, labels.clone(), Value::Counter(*value));
            }
        }
        if let Some(kv) = kv {
            kv.write(labels, out);
        }
        if let Some(Lora { max, running, waiting }) = lora {
            let [model, engine] = labels.clone();
            let names = [max.to_string(), running.join(","), waiting.join(",")].map(Arc::from);
            let labels = [model, engine].into_iter().chain(names);
            out.push(&names::LORA_REQUESTS_INFO, labels, Value::Gauge(self.lora_changed));
        }
    }
}
