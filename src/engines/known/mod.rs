//! The engines, one file each: how they call what is a family of ours, and what there is to know of
//! it. The names in these files are theirs.

pub(super) mod dynamo;
pub(super) mod llamacpp;
pub(super) mod mistralrs;
pub(super) mod sglang;
pub(super) mod tgi;
pub(super) mod triton;
pub(super) mod vllm;
