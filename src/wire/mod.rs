//! What the bytes of an answer mean, format by format.
//!
//! A [`WireFormat`] is handed the events of a stream, or a whole answer, and says which of them
//! carry generated tokens and what the engine tells about the request: token counts, finish reason,
//! errors, the end marker. It does no I/O and knows nothing of metrics, so that a gateway can use it
//! alone (through [`ObservedBody`](crate::stream::ObservedBody)).
//!
//! A new format is one type behind [`WireFormat`], made known by [`Wire::custom`].

mod anthropic;
mod completions;
mod counts;
mod details;
mod error;
#[cfg(feature = "proxy")]
mod gateway;
mod gemini;
mod generate;
mod json;
mod llamacpp;
mod ollama;
mod openai;
mod parts;
mod prompt_only;
mod responses;
mod sglang;
mod tgi;
mod triton;

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use http::HeaderMap;

pub use self::details::ErrorDetails;
pub(crate) use self::details::{WORD, bounded, of_body};
use crate::outcome::{FinishReason, TokenSource};

/// Which format a response body is written in.
///
/// Cheap to clone; makes a fresh [`WireFormat`] for every response.
///
/// ```
/// use infermeter::{layer::Endpoint, wire::Wire};
///
/// let endpoint = Endpoint::new("words", Wire::anthropic());
/// ```
#[derive(Clone)]
pub struct Wire(Kind);

#[derive(Clone)]
enum Kind {
    Opaque,
    /// One of ours: its name, and how it is made.
    BuiltIn(&'static str, fn() -> Box<dyn WireFormat>),
    Custom(Arc<dyn Fn() -> Box<dyn WireFormat> + Send + Sync>),
}

/// Reads one response.
///
/// A format sees every event of a stream in order ([`event`](Self::event)), or one whole body
/// ([`whole`](Self::whole)), and is asked for its [`facts`](Self::facts) once, at the end. It must
/// never panic, whatever the bytes are, and must keep a bounded amount of memory.
///
/// ```
/// use infermeter::{outcome::TokenSource, wire::*};
///
/// // Whole answers, in which each word is a token.
/// #[derive(Default)]
/// struct Words(Facts);
///
/// impl WireFormat for Words {
///     fn event<'a>(&mut self, _: Event<'a>, _: &mut dyn FnMut(Progress)) -> Option<Varying<'a>> {
///         None
///     }
///     fn whole(&mut self, body: &[u8]) {
///         let words = body.split(u8::is_ascii_whitespace).count();
///         self.0.usage.completion = Some(words as u64);
///         self.0.source = Some(TokenSource::Counted);
///     }
///     fn so_far(&self) -> Usage {
///         self.0.usage
///     }
///     fn facts(&self) -> Facts {
///         self.0.clone()
///     }
/// }
///
/// let wire = Wire::custom(|| Box::new(Words::default()));
/// ```
pub trait WireFormat: Send + Sync {
    /// Reads one event of a stream; tells `content` of each choice that got tokens with it.
    ///
    /// May return what the next event of its kind will differ in, so that it need not be read:
    /// `None` is always right, and slower.
    fn event<'a>(
        &mut self,
        event: Event<'a>,
        content: &mut dyn FnMut(Progress),
    ) -> Option<Varying<'a>>;

    /// So many events have come that differ from an earlier one in the [`Varying`] text only. Each
    /// is one token of that choice, and is not given to [`event`](Self::event). They are told
    /// together, before anything else is.
    fn again(&mut self, _choice: usize, _events: u64) {}

    /// Reads a whole answer, or the whole body of an error.
    fn whole(&mut self, body: &[u8]);

    /// What is known so far, for counters that grow during a stream: the prompt once it is
    /// certain, and the generated tokens of all choices as well as they can be told.
    fn so_far(&self) -> Usage;

    /// Everything learned from the response.
    fn facts(&self) -> Facts;

    /// Reads the head of the response, before anything of its body.
    fn head(&mut self, _headers: &HeaderMap) {}

    /// Whether a proper stream of this format says that it is over. Where it does, one that just
    /// ends was cut short.
    fn has_end_marker(&self) -> bool {
        true
    }

    /// Whether a body whose content type is not said, and which begins as JSON does, is a stream of
    /// JSON lines rather than one whole answer.
    fn streams_lines(&self) -> bool {
        false
    }
}

/// One event of a stream, as bytes: a server-sent event, or a line of JSON.
///
/// ```
/// let event = infermeter::wire::Event { name: b"word", data: b"small" };
/// assert_eq!(std::str::from_utf8(event.data), Ok("small"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// The event's name; empty where it has none.
    pub name: &'a [u8],
    /// Its data, without the field name and without the line end.
    pub data: &'a [u8],
}

/// Generated content that came with one event.
///
/// ```
/// use infermeter::wire::Progress;
///
/// // What a format says to `content` of one token of the first choice.
/// let progress = Progress { choice: 0, tokens: 1 };
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Which choice it belongs to: a small number, dense from 0 in order of appearance.
    pub choice: usize,
    /// How many tokens the event carries: exact where the engine tells (which may be 0), else 1.
    pub tokens: u64,
}

/// The one text by which the events of a stream differ while nothing but content comes.
///
/// ```
/// let data = r#"{"text":"small"}"#;
/// let varying = infermeter::wire::Varying { choice: 0, text: &data[8..15] };
/// assert_eq!(varying.text, r#""small""#);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Varying<'a> {
    /// The choice that gets one token with every such event.
    pub choice: usize,
    /// The JSON text, with its quotes: a part of [`Event::data`].
    pub text: &'a str,
}

/// The most tokens that one request can be believed to have.
pub(crate) const MOST_TOKENS: u64 = u32::MAX as u64;

/// What a response told about its request.
///
/// ```
/// let mut facts = infermeter::wire::Facts::default();
/// facts.usage.completion = Some(2);
/// facts.done = true;
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Facts {
    /// Token counts.
    pub usage: Usage,
    /// Where `usage.completion` came from; `None` where it has no value.
    pub source: Option<TokenSource>,
    /// The choice with the most tokens.
    pub longest: Option<Longest>,
    /// Why generation stopped.
    pub finish: Option<Finish>,
    /// The response holds an error.
    pub error: Option<ErrorKind>,
    /// What it says of itself.
    pub error_details: Option<Box<ErrorDetails>>,
    /// The format's end marker was seen.
    pub done: bool,
    /// How long the request waited before it started, as the engine tells.
    pub queue_time: Option<Duration>,
    /// How long its prefill took, as the engine tells: what is left of the time to the first token
    /// was spent waiting.
    pub prefill_time: Option<Duration>,
}

/// Token counts of one request. `None` is "not told", which is not 0.
///
/// ```
/// let mut usage = infermeter::wire::Usage::default();
/// usage.prompt = Some(3);
/// assert_eq!((usage.prompt, usage.completion), (Some(3), None));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// Prompt tokens, cached ones included.
    pub prompt: Option<u64>,
    /// The part of the prompt that came from a prefix cache.
    pub cached: Option<u64>,
    /// Generated tokens of all choices, reasoning included.
    pub completion: Option<u64>,
    /// The part of the generated tokens that was reasoning.
    pub reasoning: Option<u64>,
}

/// The choice with the most tokens.
///
/// ```
/// let mut facts = infermeter::wire::Facts::default();
/// facts.longest = Some(infermeter::wire::Longest { choice: 0, tokens: 2, exact: true });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Longest {
    /// Its number, as in [`Progress::choice`].
    pub choice: usize,
    /// Its tokens.
    pub tokens: u64,
    /// False where the engine told only the sum of several choices, and the share of this one was
    /// taken from its events.
    pub exact: bool,
}

/// How generation ended.
///
/// ```
/// use infermeter::{outcome::FinishReason, wire::Finish};
///
/// let finish = Finish::Reason(FinishReason::from_engine("stop"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finish {
    /// Properly.
    Reason(FinishReason),
    /// The engine gave up: `finish_reason` abort or error.
    Abort,
}

/// An error inside a body.
///
/// ```
/// let mut facts = infermeter::wire::Facts::default();
/// facts.error = Some(infermeter::wire::ErrorKind::ContextLength);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Its code or type says that the prompt does not fit the context.
    ContextLength,
    /// Any other.
    Other,
}

// === impl Wire ===

impl Wire {
    /// OpenAI chat completions and completions, streamed (SSE) or whole (JSON), with what vLLM,
    /// llama.cpp, mlx-lm, SGLang and others add to it or leave out.
    pub const fn openai() -> Self {
        Self(Kind::BuiltIn("openai", || Box::new(openai::OpenAi::default())))
    }

    /// Anthropic Messages, as vLLM, llama.cpp and Ollama speak it too.
    pub const fn anthropic() -> Self {
        Self(Kind::BuiltIn("anthropic", || Box::new(anthropic::Anthropic::default())))
    }

    /// OpenAI completions, or llama.cpp's own where that answers at `/completions`: the first answer
    /// tells which of them it is.
    pub const fn completions() -> Self {
        Self(Kind::BuiltIn("completions", || Box::new(completions::Completions::default())))
    }

    /// Gemini `generateContent` and `streamGenerateContent` (SSE, or one JSON array).
    pub const fn gemini() -> Self {
        Self(Kind::BuiltIn("gemini", || Box::new(gemini::Gemini::default())))
    }

    /// `/generate` and `/generate_stream`, which TGI and SGLang (and LMDeploy after it) share: the
    /// first answer tells which of them it is.
    pub const fn generate() -> Self {
        Self(Kind::BuiltIn("generate", || Box::new(generate::Generate::default())))
    }

    /// Llama.cpp's own `/completion`.
    pub const fn llamacpp() -> Self {
        Self(Kind::BuiltIn("llamacpp", || Box::new(llamacpp::LlamaCpp::default())))
    }

    /// Ollama's `/api/chat` and `/api/generate` (lines of JSON).
    pub const fn ollama() -> Self {
        Self(Kind::BuiltIn("ollama", || Box::new(ollama::Ollama::default())))
    }

    /// Answers that generate nothing and tell prompt tokens only: embeddings, rerank, score,
    /// classify, pooling.
    pub const fn prompt_only() -> Self {
        Self(Kind::BuiltIn("prompt_only", || Box::new(prompt_only::PromptOnly::default())))
    }

    /// OpenAI Responses, as vLLM and llama.cpp speak it too.
    pub const fn responses() -> Self {
        Self(Kind::BuiltIn("responses", || Box::new(responses::Responses::default())))
    }

    /// SGLang's `/generate`, which LMDeploy speaks too.
    pub const fn sglang() -> Self {
        Self(Kind::BuiltIn("sglang", || Box::new(sglang::SgLang::default())))
    }

    /// TGI's `/generate` and `/generate_stream`, the counts in its response headers included.
    pub const fn tgi() -> Self {
        Self(Kind::BuiltIn("tgi", || Box::new(tgi::Tgi::default())))
    }

    /// Triton's generate extension: `generate` and `generate_stream`.
    pub const fn triton() -> Self {
        Self(Kind::BuiltIn("triton", || Box::new(triton::Triton::default())))
    }

    /// A body that is passed through unread: only its end is observed.
    pub const fn opaque() -> Self {
        Self(Kind::Opaque)
    }

    /// A format of your own.
    pub fn custom(make: impl Fn() -> Box<dyn WireFormat> + Send + Sync + 'static) -> Self {
        Self(Kind::Custom(Arc::new(make)))
    }

    /// A fresh reader; `None` where nothing is read.
    pub(crate) fn format(&self) -> Option<Box<dyn WireFormat>> {
        match &self.0 {
            Kind::BuiltIn(_, make) => Some(make()),
            Kind::Opaque => None,
            // The panic hook has told of it; the body passes unread.
            Kind::Custom(make) => catch_unwind(AssertUnwindSafe(|| make())).ok(),
        }
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::BuiltIn(name, _) => write!(f, "Wire::{name}()"),
            Kind::Opaque => f.write_str("Wire::opaque()"),
            Kind::Custom(_) => f.write_str("Wire::custom(..)"),
        }
    }
}

// === impl Usage ===

impl Usage {
    /// The same, without what no request can have: such a count would spoil every sum.
    pub(crate) fn believable(self) -> Self {
        let believable = |count: Option<u64>| count.filter(|count| *count <= MOST_TOKENS);
        let Self { prompt, cached, completion, reasoning } = self;
        Self {
            prompt: believable(prompt),
            cached: believable(cached),
            completion: believable(completion),
            reasoning: believable(reasoning),
        }
    }
}
