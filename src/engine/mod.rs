//! What an inference engine can say of itself: its KV cache, its steps, its limits.
//!
//! An engine that you write tells by an [`Engine`] handle, or is asked by a closure; both fill the
//! same families, those of an engine in vLLM's vocabulary. One that runs elsewhere, and publishes
//! its own page, is not meant here.
//!
//! ```
//! use infermeter::{Meter, engine::{EngineState, KvUsage}};
//!
//! let meter = Meter::new().model("tiny-words");
//! let engine = meter.engine("0");
//!
//! // In each step of the scheduler: what it did, and what is held then.
//! engine.iteration(512);
//! engine.kv(KvUsage { used_blocks: 90, total_blocks: 100, block_size: 16, tokens: Some(700) });
//!
//! // Or: asked once a second, by the exporter's own thread.
//! meter.engine("1").watch("engine_1", || {
//!     let kv = KvUsage { used_blocks: 1, total_blocks: 100, block_size: 16, tokens: None };
//!     Ok(EngineState { kv: Some(kv), running_limit: Some(8), ..EngineState::default() })
//! });
//! ```
//!
//! What is told stays until it is told anew, [cleared](Engine::clear), or the last clone of the
//! handle is dropped; what is asked for vanishes when asking fails. Nothing is published that was
//! never told.

mod handle;
mod state;

pub use self::{
    handle::Engine,
    state::{EngineState, KvUsage, Lora},
};
