//! Which engine it is.

use std::{collections::BTreeMap, fmt, str::FromStr, sync::Arc};

use super::{
    Page, known,
    told::{Told, label_or},
};
use crate::{
    names::{self, Family},
    record::Readings,
};

/// An engine whose page is known.
///
/// ```
/// use infermeter::{engines::{EngineKind, Page}, names};
///
/// let page = b"# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running 3\n";
/// let page = Page::parse(page).unwrap();
/// let kind = EngineKind::of(&page).unwrap();
/// assert_eq!(kind, EngineKind::Vllm);
///
/// let readings = kind.readings(&page, "tiny-words");
/// assert_eq!(readings.series(&names::NUM_REQUESTS_RUNNING)[0].gauge(), Some(3.0));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EngineKind {
    /// NVIDIA Dynamo: its frontend, or a worker.
    Dynamo,
    /// llama.cpp's server, with `--metrics`.
    LlamaCpp,
    /// mistral.rs.
    MistralRs,
    /// SGLang, with `--enable-metrics`.
    SgLang,
    /// Text Generation Inference.
    Tgi,
    /// Triton with the TensorRT-LLM backend, or `trtllm-serve`.
    Triton,
    /// vLLM.
    Vllm,
}

/// Those that an engine may have and that can be recorded here too.
pub(super) static ALL_HISTOGRAMS: [&Family; 3] = [
    &names::TIME_IN_QUEUE_SECONDS,
    &names::REQUEST_PREFILL_TIME_SECONDS,
    &names::REQUEST_INFERENCE_TIME_SECONDS,
];

/// What an engine has said at one moment.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    pub(super) page: &'a Page,
    /// The label of a model that the page does not name.
    pub(super) model: &'a str,
    /// llama.cpp: the answer of `/slots`.
    pub(super) slots: Option<&'a [u8]>,
}

// === impl EngineKind ===

impl EngineKind {
    /// Every one, in alphabetical order of their words.
    pub const ALL: &[Self] = &[
        Self::Dynamo,
        Self::LlamaCpp,
        Self::MistralRs,
        Self::SgLang,
        Self::Tgi,
        Self::Triton,
        Self::Vllm,
    ];

    /// The word for it, as `--engine` takes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dynamo => "dynamo",
            Self::LlamaCpp => "llamacpp",
            Self::MistralRs => "mistralrs",
            Self::SgLang => "sglang",
            Self::Tgi => "tgi",
            Self::Triton => "triton",
            Self::Vllm => "vllm",
        }
    }

    /// Whose page it is, by how its families begin.
    ///
    /// NB: workers of Dynamo have the families of their engine too, which say more; and Triton has
    /// those of vLLM where that is its backend, without its state.
    pub fn of(page: &Page) -> Option<Self> {
        let known = [
            (Self::Triton, known::triton::STARTS),
            (Self::Vllm, known::vllm::STARTS),
            (Self::SgLang, known::sglang::STARTS),
            (Self::LlamaCpp, known::llamacpp::STARTS),
            (Self::MistralRs, known::mistralrs::STARTS),
            (Self::Tgi, known::tgi::STARTS),
            (Self::Dynamo, known::dynamo::STARTS),
        ];
        let has = |starts: &[&str]| starts.iter().any(|start| page.has(start));
        known.into_iter().find(|(_, starts)| has(starts)).map(|(kind, _)| kind)
    }

    /// What a page says of the state of such an engine; `model` is the label of a model that it does
    /// not name. For pages that come to you in another way than [`EngineMetrics`](super::EngineMetrics)
    /// asks for them: hand it out in a [`Source`](crate::record::Source).
    pub fn readings(self, page: &Page, model: &str) -> Readings {
        let mut told = Told::default();
        self.read(&Asked { page, model, slots: None }, &mut told);
        told.process(page);
        told.readings
    }

    /// By what `/v1/models` says of a model's owner.
    pub(super) fn of_owner(model: &str, owner: Option<&str>) -> Option<Self> {
        match owner? {
            "vllm" => Some(Self::Vllm),
            "sglang" => Some(Self::SgLang),
            "llamacpp" => Some(Self::LlamaCpp),
            "local" => Some(Self::MistralRs),
            // The name of the model stands there.
            owner if owner == model => Some(Self::Tgi),
            _ => None,
        }
    }

    /// Writes what the engine says of its state.
    pub(super) fn read(self, asked: &Asked<'_>, told: &mut Told) {
        match self {
            Self::Dynamo => known::dynamo::read(asked, told),
            Self::LlamaCpp => known::llamacpp::read(asked, told),
            Self::MistralRs => known::mistralrs::read(asked, told),
            Self::SgLang => known::sglang::read(asked, told),
            Self::Tgi => known::tgi::read(asked, told),
            Self::Triton => known::triton::read(asked, told),
            Self::Vllm => known::vllm::read(asked, told),
        }
    }

    /// What it has counted itself by model: prompt tokens and generated tokens. Nothing of an engine
    /// that does not count every request, or at its end only.
    pub(super) fn counted(self, asked: &Asked<'_>) -> BTreeMap<Arc<str>, [f64; 2]> {
        let counters = match self {
            Self::LlamaCpp => known::llamacpp::COUNTED,
            Self::SgLang => known::sglang::COUNTED,
            Self::Vllm => known::vllm::COUNTED,
            Self::Dynamo | Self::MistralRs | Self::Tgi | Self::Triton => return BTreeMap::new(),
        };
        let mut counted: BTreeMap<Arc<str>, [f64; 2]> = BTreeMap::new();
        for (kind, names) in counters.into_iter().enumerate() {
            for sample in names.iter().flat_map(|name| asked.page.samples(name)) {
                let model = label_or(sample, &["model_name"], asked.model);
                counted.entry(model).or_default()[kind] += sample.value;
            }
        }
        counted
    }

    /// Which histograms it has that can be recorded here too, now or once there was a request.
    pub(super) fn histograms(self) -> &'static [&'static Family] {
        match self {
            Self::Vllm => &ALL_HISTOGRAMS,
            Self::SgLang | Self::Tgi => &ALL_HISTOGRAMS[..1],
            // Some versions, which have it on their pages.
            Self::Dynamo | Self::LlamaCpp | Self::MistralRs | Self::Triton => &[],
        }
    }
}

impl fmt::Display for EngineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for EngineKind {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let kind = Self::ALL.iter().find(|kind| kind.as_str() == word).copied();
        kind.ok_or_else(|| {
            let words: Vec<_> = Self::ALL.iter().map(|kind| kind.as_str()).collect();
            format!("{word:?} is no engine that is known; allowed are {}", words.join(", "))
        })
    }
}
