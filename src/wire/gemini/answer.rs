//! The JSON of one answer: borrowed and lenient.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::wire::json::{Raw, number, word};

#[derive(Deserialize)]
pub(super) struct Answer<'a> {
    #[serde(borrow)]
    pub(super) candidates: Raw<'a>,
    #[serde(borrow, rename = "promptFeedback")]
    pub(super) prompt_feedback: Raw<'a>,
    #[serde(borrow, rename = "usageMetadata")]
    pub(super) usage: Raw<'a>,
    #[serde(borrow)]
    pub(super) error: Raw<'a>,
}

#[derive(Deserialize)]
pub(super) struct RawCandidate<'a> {
    #[serde(borrow)]
    pub(super) index: Raw<'a>,
    #[serde(borrow)]
    pub(super) content: Raw<'a>,
    #[serde(borrow, rename = "finishReason")]
    pub(super) finish_reason: Raw<'a>,
}

#[derive(Deserialize)]
pub(super) struct Content<'a> {
    #[serde(borrow)]
    pub(super) parts: Raw<'a>,
}

#[derive(Deserialize)]
pub(super) struct Part<'a> {
    #[serde(borrow)]
    pub(super) text: Raw<'a>,
    #[serde(borrow, rename = "functionCall")]
    pub(super) function_call: Raw<'a>,
    #[serde(borrow, rename = "executableCode")]
    pub(super) code: Raw<'a>,
    #[serde(borrow, rename = "inlineData")]
    pub(super) data: Raw<'a>,
}

#[derive(Deserialize)]
pub(super) struct Feedback<'a> {
    #[serde(borrow, rename = "blockReason")]
    pub(super) block_reason: Raw<'a>,
}

#[derive(Deserialize)]
pub(super) struct RawUsage<'a> {
    #[serde(borrow, rename = "promptTokenCount")]
    pub(super) prompt: Raw<'a>,
    #[serde(borrow, rename = "toolUsePromptTokenCount")]
    pub(super) tools: Raw<'a>,
    #[serde(borrow, rename = "cachedContentTokenCount")]
    pub(super) cached: Raw<'a>,
    #[serde(borrow, rename = "candidatesTokenCount")]
    pub(super) candidates: Raw<'a>,
    #[serde(borrow, rename = "thoughtsTokenCount")]
    pub(super) thoughts: Raw<'a>,
}

/// Keeps a count if there is one; false where it cannot be read.
pub(super) fn latest(kept: &mut Option<u64>, raw: Raw<'_>) -> bool {
    let count = number(raw);
    *kept = count.or(*kept);
    raw.is_none() || count.is_some()
}

/// A reason; `None` for the word that says there is none.
pub(super) fn said(raw: &RawValue) -> Option<&str> {
    word(raw).filter(|word| !word.is_empty() && !word.ends_with("_UNSPECIFIED"))
}
