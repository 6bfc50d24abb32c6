//! Which engine is behind the upstream, and what it needs to be asked for.

use http::{HeaderMap, HeaderValue, header};

use crate::{engines::EngineKind, wire::Wire};

/// An engine, as far as its habits matter here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Engine {
    /// Nothing is known of it, so nothing is asked of it.
    #[default]
    Unknown,
    /// NVIDIA Dynamo's frontend.
    Dynamo,
    /// The simulated one of `infermeter demo`.
    Infermeter,
    LlamaCpp,
    LmDeploy,
    MistralRs,
    MlxLm,
    Ollama,
    OpenAi,
    SgLang,
    Tgi,
    /// The OpenAI frontend of Triton, or `trtllm-serve`.
    Triton,
    Vllm,
}

/// How an engine tells the token counts of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Usage {
    /// Unasked, or not at all.
    Unasked,
    /// In one chunk at the end, if asked.
    AtTheEnd,
    /// The same, and zeros in every chunk before it.
    AtTheEndAfterZeros,
}

/// An endpoint whose requests have `stream_options`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Api {
    Chat,
    Completions,
}

// === impl Api ===

impl Api {
    /// The API whose answers are written so.
    pub(super) fn of(wire: &Wire) -> Option<Self> {
        match wire.name() {
            Some("openai") => Some(Self::Chat),
            Some("completions") => Some(Self::Completions),
            _ => None,
        }
    }
}

// === impl Engine ===

impl Engine {
    /// By what `/v1/models` says of a model's owner, and how the server calls itself.
    pub(super) fn of(model: &str, owned_by: Option<&str>, headers: &HeaderMap) -> Self {
        match owned_by {
            Some("vllm") => Self::Vllm,
            Some("infermeter") => Self::Infermeter,
            Some("sglang") => Self::SgLang,
            Some("llamacpp") => Self::LlamaCpp,
            Some("lmdeploy") => Self::LmDeploy,
            Some("library") => Self::Ollama,
            Some("local") => Self::MistralRs,
            Some("openai" | "openai-internal" | "system") => Self::OpenAi,
            // TGI writes the name of the model there.
            Some(owner) if owner == model => Self::Tgi,
            None => Self::of_no_model(headers),
            _ => Self::Unknown,
        }
    }

    /// By how the server calls itself only.
    pub(super) fn of_no_model(headers: &HeaderMap) -> Self {
        let server = headers.get(header::SERVER).map(HeaderValue::as_bytes);
        let is_python = server.is_some_and(|server| server.starts_with(b"BaseHTTP/"));
        if is_python { Self::MlxLm } else { Self::Unknown }
    }

    /// How it tells the usage of a stream. Read from the engines' sources, and for vLLM, llama.cpp
    /// and mlx-lm measured.
    pub(super) const fn usage(self, api: Api) -> Usage {
        match (self, api) {
            (Self::Unknown | Self::LlamaCpp | Self::MistralRs, _) => Usage::Unasked,
            (Self::Tgi, Api::Completions) => Usage::Unasked,
            (Self::Ollama, Api::Completions) => Usage::AtTheEndAfterZeros,
            _ => Usage::AtTheEnd,
        }
    }

    /// Whether it can be asked for a running usage in every chunk.
    pub(super) const fn runs_usage(self) -> bool {
        matches!(self, Self::Vllm | Self::SgLang | Self::Infermeter)
    }
}

impl From<EngineKind> for Engine {
    fn from(kind: EngineKind) -> Self {
        match kind {
            EngineKind::Dynamo => Self::Dynamo,
            EngineKind::LlamaCpp => Self::LlamaCpp,
            EngineKind::MistralRs => Self::MistralRs,
            EngineKind::SgLang => Self::SgLang,
            EngineKind::Tgi => Self::Tgi,
            EngineKind::Triton => Self::Triton,
            EngineKind::Vllm => Self::Vllm,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_by_what_they_say_of_themselves() {
        let mut python = HeaderMap::new();
        python.insert("server", "BaseHTTP/0.6 Python/3.11.2".parse().unwrap());
        for (owner, engine) in [
            (Some("vllm"), Engine::Vllm),
            (Some("infermeter"), Engine::Infermeter),
            (Some("me/model"), Engine::Tgi),
            (Some("somebody"), Engine::Unknown),
            (None, Engine::MlxLm),
        ] {
            assert_eq!(Engine::of("me/model", owner, &python), engine, "{owner:?}");
        }
        assert_eq!(Engine::of("m", None, &HeaderMap::new()), Engine::Unknown);
    }
}
