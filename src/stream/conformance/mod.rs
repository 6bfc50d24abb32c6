//! What every format must hold, to be run over answers of its own. With the feature `test-util`.
//!
//! [`check`] passes each [`Sample`] through an [`ObservedBody`](super::ObservedBody): as it is, cut
//! everywhere, with other line ends and comments, broken off, left early, with bytes in it that are
//! not JSON. It panics where a count, an outcome or a byte is not what it should be, and names the
//! sample and the property.
//!
//! ```
//! use infermeter::{
//!     outcome::{FinishReason, Outcome, TokenSource},
//!     stream::conformance::{self, Sample},
//!     wire::{Event, Facts, Finish, Progress, Usage, Varying, Wire, WireFormat},
//! };
//!
//! /// A stream of one word an event, and an `end` that tells how many.
//! #[derive(Default)]
//! struct Words {
//!     facts: Facts,
//!     words: u64,
//! }
//!
//! impl WireFormat for Words {
//!     fn event<'a>(
//!         &mut self,
//!         event: Event<'a>,
//!         content: &mut dyn FnMut(Progress),
//!     ) -> Option<Varying<'a>> {
//!         let Ok(text) = std::str::from_utf8(event.data) else { return None };
//!         if event.name == b"word" {
//!             self.words += 1;
//!             content(Progress { choice: 0, tokens: 1 });
//!         } else if let (b"end", Ok(told)) = (event.name, text.parse()) {
//!             self.facts.usage.completion = Some(told);
//!             self.facts.source = Some(TokenSource::Usage);
//!             self.facts.finish = Some(Finish::Reason(FinishReason::Stop));
//!             self.facts.done = true;
//!         }
//!         None
//!     }
//!
//!     fn whole(&mut self, _body: &[u8]) {}
//!
//!     fn so_far(&self) -> Usage {
//!         let mut usage = self.facts.usage;
//!         usage.completion = usage.completion.or(Some(self.words));
//!         usage
//!     }
//!
//!     fn facts(&self) -> Facts {
//!         let mut facts = self.facts.clone();
//!         if facts.source.is_none() && self.words > 0 {
//!             facts.usage.completion = Some(self.words);
//!             facts.source = Some(TokenSource::Counted);
//!         }
//!         facts
//!     }
//! }
//!
//! let words = Wire::custom(|| Box::new(Words::default()));
//! let body = "event: word\ndata: Hello\n\nevent: word\ndata: you\n\nevent: end\ndata: 2\n\n";
//! conformance::check(&words, &[
//!     Sample::new("two words", "text/event-stream", body)
//!         .ends(Outcome::Success(FinishReason::Stop))
//!         .completion(2, TokenSource::Usage),
//! ]);
//! ```

mod run;
mod steps;
mod text;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use self::{
    run::{Ending, Run},
    steps::{Case, STEPS},
};
use crate::{
    outcome::{FinishReason, Outcome, TokenSource},
    wire::{Usage, Wire},
};

/// One answer, recorded or made by hand, and what is known of it.
///
/// ```
/// use infermeter::{outcome::*, stream::conformance::Sample};
///
/// let body = r#"{"choices":[{"index":0,"text":"one two","finish_reason":"stop"}],
///     "usage":{"prompt_tokens":3,"completion_tokens":2}}"#;
/// let sample = Sample::new("two words", "application/json", body)
///     .ends(Outcome::Success(FinishReason::Stop))
///     .prompt(3)
///     .completion(2, TokenSource::Usage);
/// ```
#[derive(Clone, Debug)]
pub struct Sample {
    name: String,
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    ends: Outcome,
    usage: Usage,
    source: TokenSource,
    most_prompt: Option<u64>,
}

/// Passes every sample through the format, in all ways in which an answer can come.
///
/// A body of up to 2 KiB is cut after each of its bytes; a longer one around the ends of its events
/// and at an even choice of the places between, so that the work does not grow with its square.
///
/// # Panics
///
/// Where a property does not hold.
///
/// ```
/// use infermeter::{outcome::*, stream::conformance::{Sample, check}, wire::Wire};
///
/// let body = r#"{"error":{"message":"busy","type":"overloaded_error"}}"#;
/// let sample = Sample::new("an error", "application/json", body)
///     .ends(Outcome::Failure(FailureReason::StreamError));
/// check(&Wire::openai(), &[sample]);
/// ```
pub fn check(wire: &Wire, samples: &[Sample]) {
    for sample in samples {
        let whole = Run::of(wire, sample, [sample.body.clone()], Ending::Eof);
        for (property, holds) in STEPS {
            holds(&Case { wire, sample, whole: &whole, property });
        }
    }
}

/// Passes bytes of any kind through the format, in one piece and in frames of these sizes, over and
/// over: for a fuzzer.
///
/// Whatever the bytes are, the two tell the same, what passes is what was sent, the format does not
/// panic and is not handed more than the limit, no count is more than a request can have, and none
/// that was counted is more than the bytes.
///
/// # Panics
///
/// Where that does not hold.
///
/// ```
/// use infermeter::{stream::conformance::check_bytes, wire::Wire};
///
/// let body = b"data: {\"choices\":[{\"index\":0,\"text\":\"one\"}]}\n\ndata: \xff\n\n";
/// check_bytes(&Wire::openai(), &http::HeaderMap::new(), body, &[1, 3]);
/// ```
pub fn check_bytes(wire: &Wire, headers: &HeaderMap, body: &[u8], sizes: &[usize]) {
    let body = Bytes::copy_from_slice(body);
    let sample = Sample::new("any bytes", "", body.clone()).head(StatusCode::OK, headers.clone());
    for ending in [Ending::Eof, Ending::Dropped] {
        let whole = Run::of(wire, &sample, [body.clone()], ending);
        let cut = Run::of(wire, &sample, text::frames(&body, sizes), ending);
        assert_eq!(whole.told, cut.told, "frames of {sizes:?}: {ending:?}");
        steps::plausible(&cut, body.len());
    }
}

// === impl Sample ===

impl Sample {
    /// An answer with status 200, which so far is known to end well and to tell nothing.
    ///
    /// # Panics
    ///
    /// If the content type is none that a header can hold.
    pub fn new(
        name: impl Into<String>,
        content_type: &'static str,
        body: impl Into<Bytes>,
    ) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        Self {
            name: name.into(),
            status: StatusCode::OK,
            headers,
            body: body.into(),
            ends: Outcome::Success(FinishReason::Other),
            usage: Usage::default(),
            source: TokenSource::Unknown,
            most_prompt: None,
        }
    }

    /// The status and all headers of the answer. A `content-length` is left out: where there has to
    /// be one, the suite says its own.
    #[must_use]
    pub fn head(mut self, status: StatusCode, headers: HeaderMap) -> Self {
        self.status = status;
        self.headers = headers;
        self.headers.remove(header::CONTENT_LENGTH);
        self
    }

    /// How the request ends when all of the body has passed.
    #[must_use]
    pub fn ends(mut self, outcome: Outcome) -> Self {
        self.ends = outcome;
        self
    }

    /// The prompt tokens that the answer tells.
    #[must_use]
    pub fn prompt(mut self, tokens: u64) -> Self {
        self.usage.prompt = Some(tokens);
        self
    }

    /// What a part of the answer may tell of the prompt at most, where the engine estimates it first.
    #[must_use]
    pub fn prompt_at_most(mut self, tokens: u64) -> Self {
        self.most_prompt = Some(tokens);
        self
    }

    /// The part of the prompt that came from a cache; not looked at where it is not said.
    #[must_use]
    pub fn cached(mut self, tokens: u64) -> Self {
        self.usage.cached = Some(tokens);
        self
    }

    /// The part of the generated tokens that was reasoning; not looked at where it is not said.
    #[must_use]
    pub fn reasoning(mut self, tokens: u64) -> Self {
        self.usage.reasoning = Some(tokens);
        self
    }

    /// The generated tokens that the answer tells, and where it does.
    #[must_use]
    pub fn completion(mut self, tokens: u64, source: TokenSource) -> Self {
        (self.usage.completion, self.source) = (Some(tokens), source);
        self
    }
}
