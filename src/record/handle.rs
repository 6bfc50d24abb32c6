//! What the service itself can say about a request.

use std::sync::Arc;

use http::{Extensions, Request};
use tokio::time::Instant;

use super::{Meter, meter::Shared, request::Record, said::Count, steps::Mark};
use crate::outcome::{FailureReason, FinishReason};

/// Lets a service add what only it knows about the request it works on.
///
/// The layer puts one into the request's extensions; with the `axum` feature it is an extractor.
/// What it says goes before what the response bytes tell. Cheap to clone, callable from anywhere;
/// every method does nothing after the response has ended, or where no layer is.
///
/// ```
/// use infermeter::RequestMeter;
///
/// fn decode(meter: &RequestMeter, prompt: &[u32]) {
///     meter.started(); // queue time ends here
///     meter.prompt_tokens(prompt.len() as u64);
///     meter.first_token(); // prefill ends here
///     for _ in 0..3 {
///         meter.add_generated_tokens(1);
///     }
/// }
///
/// decode(&RequestMeter::default(), &[1, 2, 3]); // no layer: nothing happens
/// ```
#[derive(Clone, Debug, Default)]
pub struct RequestMeter(pub(super) Option<Arc<Record>>);

// === impl RequestMeter ===

impl RequestMeter {
    pub(crate) fn new(record: Arc<Record>) -> Self {
        Self(Some(record))
    }

    /// The handle of a request; one that does nothing where no layer is.
    pub fn of<B>(request: &Request<B>) -> Self {
        Self::from_extensions(request.extensions())
    }

    /// The handle among a request's extensions; one that does nothing where no layer is.
    pub fn from_extensions(extensions: &Extensions) -> Self {
        extensions.get::<Self>().cloned().unwrap_or_default()
    }

    /// The request leaves the queue and is worked on. The first mark wins.
    ///
    /// Queue time is from arrival to here. Only `Start::Reported` leaves a request in the queue
    /// until then.
    pub fn started(&self) {
        self.with(|record| record.mark(Mark::Started, Instant::now()));
    }

    /// The first token was generated. The first mark wins, also against the one that the layer
    /// sees in a streamed response.
    pub fn first_token(&self) {
        self.with(|record| record.mark(Mark::FirstToken, Instant::now()));
    }

    /// Names the model that serves the request; bounded, see
    /// [`MeterBuilder::max_models`](super::MeterBuilder::max_models). Ignored after the first
    /// token, and once generated tokens were told: what is counted is not moved.
    ///
    /// For the same reason say it before [`started`](Self::started), or with `Start::Call` before
    /// the service waits for anything: a queue time that was taken stays where it is, and so does
    /// the wait for an admission layer. In flight, the request stays under the name that was known
    /// at arrival, see [`InferenceLayer::model_from`](crate::InferenceLayer::model_from).
    pub fn model(&self, name: &str) {
        self.with(|record| record.rename(name));
    }

    /// Says where the request goes: to the [upstream](Meter::upstream) of `meter`, which serves it by
    /// the model `name`, or by the one that `meter` names. From here on it belongs there, in flight
    /// too. Say it again where it then goes to another. Ignored after the first token, once generated
    /// tokens were told, and where `meter` is not of the layer that measures it.
    ///
    /// Say it before [`started`](Self::started): a queue time that was taken stays where it is, and
    /// so does the wait for an admission layer. [`model`](Self::model) then names a model of this
    /// upstream.
    ///
    /// ```
    /// use infermeter::{Meter, RequestMeter};
    ///
    /// fn route(meter: &Meter, request: &RequestMeter) {
    ///     let small = meter.upstream("small", None);
    ///     request.routed(&small, Some("tiny-words"));
    /// }
    /// ```
    pub fn routed(&self, meter: &Meter, name: Option<&str>) {
        let Some(record) = self.0.as_ref().filter(|record| record.is_of(meter.shared())) else {
            return;
        };
        record.go_over(match name {
            Some(name) => meter.model_id(name),
            None => meter.default_model(),
        });
    }

    /// How many tokens the prompt has, cached ones included. Say it once; it counts from
    /// the first token on, or from the end.
    pub fn prompt_tokens(&self, tokens: u64) {
        self.with(|record| record.count(Count::Prompt, tokens));
    }

    /// How many of the prompt's tokens came from a prefix cache. Say it once; of a prompt that
    /// nobody tells, no part is counted.
    pub fn cached_tokens(&self, tokens: u64) {
        self.with(|record| record.count(Count::Cached, tokens));
    }

    /// How many tokens were generated in all, reasoning included. Of several calls the largest
    /// total wins.
    pub fn generated_tokens(&self, total: u64) {
        self.with(|record| record.generated(total));
    }

    /// So many tokens more were generated. Takes no lock but the first time, so it may be called for every token.
    pub fn add_generated_tokens(&self, tokens: u64) {
        self.with(|record| record.add_generated(tokens));
    }

    /// How many of the generated tokens were reasoning. Say it once.
    pub fn reasoning_tokens(&self, tokens: u64) {
        self.with(|record| record.count(Count::Reasoning, tokens));
    }

    /// Generation came to its proper end: the request is a success, also where its client leaves
    /// before the rest of the response, or the end marker never comes. A status of 400 or more, an
    /// error event, or a body that fails is still a failure.
    pub fn finished(&self, reason: FinishReason) {
        self.with(|record| record.finish(reason));
    }

    /// The request has failed, whatever the status of its response says.
    pub fn fail(&self, reason: FailureReason) {
        self.with(|record| record.fail(reason));
    }

    /// At most so many tokens are to be generated, as the client asked. Say it once.
    pub fn max_tokens(&self, tokens: u64) {
        self.with(|record| record.count(Count::MaxTokens, tokens));
    }

    /// So many choices are to be generated, as the client asked. Say it once.
    pub fn choices(&self, choices: u64) {
        self.with(|record| record.count(Count::Choices, choices));
    }

    /// Whether there is a layer that measures the request.
    pub(crate) const fn is_measuring(&self) -> bool {
        self.0.is_some()
    }

    /// Admission holds the request back; says whether it has to mark the start then.
    pub(crate) fn hold_back(&self) -> bool {
        self.0.as_ref().is_some_and(|record| record.hold_back())
    }

    /// Admission lets the request in.
    pub(crate) fn admitted(&self) {
        self.with(Record::admitted);
    }

    /// Whether the request is being measured by this meter already.
    pub(crate) fn is_open_in(&self, shared: &Arc<Shared>) -> bool {
        self.0.as_ref().is_some_and(|record| record.is_open_in(shared))
    }

    fn with(&self, say: impl FnOnce(&Record)) {
        if let Some(record) = &self.0 {
            say(record);
        }
    }
}
