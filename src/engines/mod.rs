//! Engines that run elsewhere: what their own pages tell becomes families of ours.
//!
//! [`EngineMetrics`] asks an engine for its page, once a second, and is a source of a meter:
//! waiting, running, the KV cache, preemptions, the prefix cache, LoRA adapters, queue times and the
//! memory of its process, as far as the engine tells them, under the names of the
//! [catalogue](crate::names). What it does not tell is not there; when it does not answer, all of it
//! goes, and `infermeter_source_up{source="engine"}` is 0. Its other families can stand on our page
//! unchanged, each name once.
//!
//! ```no_run
//! use infermeter::{Meter, engines::{EngineKind, EngineMetrics}, exporter::Prometheus};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let exporter = Prometheus::builder().process(false).serve("127.0.0.1:8001").await?;
//! let engine = EngineMetrics::at("http://127.0.0.1:8000")?.kind(EngineKind::Vllm).merge(true);
//! engine.watch(exporter.meter()).await.run().await;
//! # Ok(())
//! # }
//! ```
//!
//! | engine | KV cache | queue times | running limit | beside that |
//! | --- | --- | --- | --- | --- |
//! | vLLM | blocks, by its usage and `cache_config_info` | yes | | preemptions, prefix cache, LoRA |
//! | SGLang | pages | yes | | retractions as preemptions, prefix cache |
//! | TGI | the token budget of a batch, as a ratio | yes | | |
//! | llama.cpp | tokens held, by `/slots`; of one slot the cells too | | slots | prefix cache |
//! | Triton with TensorRT-LLM, `trtllm-serve` | blocks | `trtllm-serve` | yes | |
//! | mistral.rs | blocks | where its version tells them | yes | preemptions |
//! | Dynamo | blocks or a ratio, by worker | | yes | |
//!
//! A ratio without numbers stands as both ratios of the KV cache. Queue times, and of vLLM the times of
//! prefill and inference, are summed to `model_name`, with the bounds that all engines of a page have.
//! While an engine is watched that has them they are the only ones of the meter, for its own stand for
//! the same quantity; of an engine that has none, the meter's own are published.

#[cfg(feature = "proxy")]
mod drift;
#[cfg(feature = "proxy")]
mod fetch;
mod kind;
mod known;
#[cfg(feature = "proxy")]
mod listing;
#[cfg(feature = "proxy")]
mod metrics;
mod page;
mod told;

#[cfg(feature = "proxy")]
pub(crate) use self::listing::Models;
#[cfg(feature = "proxy")]
pub use self::metrics::{EngineError, EngineMetrics, EngineWatch};
pub use self::{
    kind::EngineKind,
    page::{Page, PageError},
};
