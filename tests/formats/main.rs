//! What answers tell, format by format, in the many ways that servers write them.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]

mod anthropic;
mod completions;
mod gemini;
mod generate;
mod llamacpp;
mod ollama;
mod openai;
mod prompt_only;
mod responses;
mod sglang;
#[path = "../support/mod.rs"]
mod support;
mod tgi;
mod triton;
