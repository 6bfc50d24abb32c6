//! The answer of `/v1/models`.

use std::borrow::Cow;

use serde::Deserialize;

/// The models that a service says it has, the one for requests that name none first.
#[derive(Debug, Deserialize)]
pub(crate) struct Models<'a> {
    #[serde(borrow)]
    pub(crate) data: Vec<Model<'a>>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Model<'a> {
    #[serde(borrow)]
    pub(crate) id: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(crate) owned_by: Option<Cow<'a, str>>,
    #[serde(default)]
    pub(crate) aliases: Vec<String>,
    /// Of a LoRA adapter: the model that it is for.
    #[serde(borrow, default)]
    pub(crate) parent: Option<Cow<'a, str>>,
}

// === impl Models ===

impl<'a> Models<'a> {
    pub(crate) fn read(body: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(body).ok()
    }

    /// The first that is no adapter, nor the name that mistral.rs has for its first model.
    pub(super) fn base(&self) -> Option<&Model<'a>> {
        let is_base = |model: &&Model<'_>| model.parent.is_none() && model.id != "default";
        self.data.iter().find(is_base).or_else(|| self.data.first())
    }
}
