//! What is counted at the end of a request.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use tokio::time::Instant;

use super::{
    ended::{Asked, Ended},
    histogram::nanos,
    request::{Record, State},
    said::Count,
    series::ModelSeries,
};
use crate::{
    outcome::{Outcome, TokenSource},
    stream::{Summary, per_gap},
    wire::Usage,
};

/// Everything that is known of a request once it has ended.
#[derive(Clone, Copy)]
pub(super) struct Closing<'a> {
    pub(super) outcome: Outcome,
    pub(super) state: &'a State,
    pub(super) body: Option<&'a Summary>,
    /// Generated tokens, if the service told.
    pub(super) generated: Option<u64>,
    /// Generated tokens that the counter has got already.
    pub(super) published: u64,
    /// When the service last told of generated tokens, since arrival.
    pub(super) last_told: Option<Duration>,
    pub(super) arrival: Instant,
    /// From its arrival to its end.
    pub(super) whole: Duration,
}

// === impl Closing ===

impl Closing<'_> {
    pub(super) fn record(&self, series: &ModelSeries) {
        self.tokens(series);
        self.times(series);
        if let Some(tokens) = self.said(Count::MaxTokens) {
            series.max_tokens.record(tokens);
        }
        if let Some(choices) = self.said(Count::Choices) {
            series.choices.record(choices);
        }
    }

    /// What is told to who asks.
    #[cold]
    pub(super) fn ended(self, record: &Record, asked: &Asked, source: TokenSource) -> Ended {
        let told = self.body.and_then(|body| body.error.as_ref());
        Ended {
            request_id: asked.request_id.clone(),
            traceparent: asked.traceparent.clone(),
            endpoint: record.shared.endpoint_label(record.endpoint),
            model: record.shared.model_label(record.model.load(Relaxed)),
            upstream: record.upstream_label(),
            tenant: record.tenant.map(|tenant| record.shared.tenants.label(tenant)),
            outcome: self.outcome,
            phase: self.state.phase,
            status: self.body.and_then(|body| body.status),
            error: asked.error.get().or(told).cloned(),
            arrived: asked.arrived,
            queue: self.state.started,
            time_to_first_token: self.state.first_token,
            duration: self.whole,
            usage: self.usage(),
            source,
        }
    }

    fn said(&self, count: Count) -> Option<u64> {
        self.state.said.count(count)
    }

    /// Whether nobody has told of any tokens: then there is nothing to count.
    fn tells_none(&self) -> bool {
        let Self { state, body, generated, published, .. } = self;
        let counts = [Count::Prompt, Count::Cached, Count::Reasoning];
        let said = generated.is_some() || counts.iter().any(|count| self.said(*count).is_some());
        let counted = *published > 0 || state.published_prompt > 0;
        !said && !counted && body.is_none_or(|body| body.usage == Usage::default())
    }

    /// Prompt and generated tokens, as far as they were counted.
    pub(super) fn used(&self) -> [u64; 2] {
        let told = self.body.map(|body| body.usage).unwrap_or_default();
        let prompt =
            self.said(Count::Prompt).or(told.prompt).unwrap_or(self.state.published_prompt);
        let completion = self.generated.or(told.completion).unwrap_or(self.published);
        [prompt, completion]
    }

    /// All tokens that were told or counted.
    pub(super) fn usage(&self) -> Usage {
        let mut usage = self.body.map(|body| body.usage).unwrap_or_default();
        let counted = |tokens: u64| Some(tokens).filter(|tokens| *tokens > 0);
        usage.prompt = self
            .said(Count::Prompt)
            .or(usage.prompt)
            .or_else(|| counted(self.state.published_prompt));
        usage.cached = self.said(Count::Cached).or(usage.cached);
        usage.completion = self.generated.or(usage.completion).or_else(|| counted(self.published));
        usage.reasoning = self.said(Count::Reasoning).or(usage.reasoning);
        usage
    }

    fn tokens(&self, series: &ModelSeries) {
        if self.tells_none() {
            return;
        }
        let published_prompt = self.state.published_prompt;
        let told = self.body.map(|body| body.usage).unwrap_or_default();
        let prompt = self.said(Count::Prompt).or(told.prompt);
        let completion = self.generated.or(told.completion);
        let [used_prompt, used_completion] = self.used();
        series.prompt.settle(published_prompt, used_prompt);
        series.generation.settle(self.published, used_completion);
        // NB: parts of what is counted: of a prompt that nobody told, no part is either.
        series.cached.add(self.said(Count::Cached).or(told.cached).unwrap_or(0).min(used_prompt));
        series
            .reasoning
            .add(self.said(Count::Reasoning).or(told.reasoning).unwrap_or(0).min(used_completion));

        if let Some(prompt) = prompt {
            series.prompt_size.record(prompt);
        }
        if let Some(completion) = completion {
            series.generation_size.record(completion);
        }
        let told = self.body.and_then(|body| body.longest_choice);
        if let Some(longest) = self.generated_by_one_choice().or(told) {
            series.longest_size.record(longest);
        }
    }

    fn times(&self, series: &ModelSeries) {
        let State { started, first_token, .. } = *self.state;
        let whole = nanos(self.whole);
        let since_arrival = |at: Instant| at.duration_since(self.arrival);
        if let Some(started) = started {
            series.inference.record(whole.saturating_sub(nanos(started)));
        }
        if let (Some(started), Some(first)) = (started, first_token) {
            series.prefill.time(first.saturating_sub(started));
        }
        let last = self.body.and_then(|body| body.last_token).map(since_arrival);
        let last = last.or(self.last_told);
        let decode = first_token.zip(last).map(|(first, last)| last.saturating_sub(first));
        if let Some(decode) = decode {
            series.decode.time(decode);
        }
        series.duration(self.outcome).record(whole);
        if let Outcome::Success(_) = self.outcome {
            // NB: each of them counts the same.
            if series.success_duration.is_some() {
                series.e2e.record(whole);
            }
            let tpot = match (self.generated_by_one_choice(), decode) {
                (Some(tokens), Some(decode)) => per_gap(decode, tokens),
                _ => self.body.and_then(|body| body.time_per_output_token),
            };
            if let Some(tpot) = tpot {
                series.tpot.time(tpot);
            }
        }
    }

    /// What the service told, which knows best, where all of it is one choice's.
    fn generated_by_one_choice(&self) -> Option<u64> {
        let is_one = |body: &Summary| body.longest_choice == body.usage.completion;
        self.generated.filter(|_| self.body.is_none_or(is_one))
    }
}

/// When something came of a request last. A whole answer comes at its end, as does what is not read.
pub(super) fn last_sign(outcome: Outcome, body: Option<&Summary>) -> Option<Instant> {
    let Summary { last_token, ended, .. } = body?;
    let is_whole = matches!(outcome, Outcome::Success(_));
    last_token.or(is_whole.then_some(*ended))
}
