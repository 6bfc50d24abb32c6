//! One reading of everything that counts requests, and the sums over it.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, PoisonError},
};

use super::{
    ends::End,
    meter::Shared,
    model::ModelId,
    moves::Moved,
    series::{Endpoint, ModelSeries},
    tenant::TenantId,
};
use crate::outcome::{Outcome, Phase, TokenSource};

/// What the atomics of all requests stood at, each read once.
pub(super) struct Tally {
    /// By the model they ended under.
    ends: HashMap<ModelId, Vec<(End, u64)>>,
    /// How many ended in each phase, by the model they were in flight under.
    ended_in: HashMap<ModelId, [u64; Phase::ALL.len()]>,
    first_token: HashMap<ModelId, u64>,
    moved_in_prefill: Moved,
    started: HashMap<ModelId, u64>,
    moved_in_queue: Moved,
    received: Vec<(Arc<Endpoint>, HashMap<ModelId, u64>)>,
}

/// The labels of `infermeter_requests_total` that are sets of words: endpoint, outcome, reason,
/// code.
pub(super) type Detail = (Arc<str>, &'static str, &'static str, Option<u16>);

// === impl Tally ===

impl Tally {
    /// NB: a request's later facts are read before its earlier ones. Whoever is seen to have ended
    /// is then seen to have arrived as well, so that nothing in flight is ever negative, and what
    /// is in flight is exactly the rest.
    pub(super) fn read(shared: &Shared) -> Self {
        let facts = |read: fn(&ModelSeries) -> u64| -> HashMap<ModelId, u64> {
            shared.models.iter().map(|(id, series)| (id, read(series))).collect()
        };
        let all_ends = shared.ends.read();
        let first_token = facts(|series| series.first_token.read());
        let moved_in_prefill = shared.moved_in_prefill.read();
        let started = facts(|series| series.started.read());
        let moved_in_queue = shared.moved_in_queue.read();
        let endpoints = shared.endpoints.read().unwrap_or_else(PoisonError::into_inner);
        let received = endpoints.iter().map(|e| (Arc::clone(e), e.read())).collect();

        let mut ends: HashMap<_, Vec<_>> = HashMap::new();
        let mut ended_in: HashMap<_, [u64; Phase::ALL.len()]> = HashMap::new();
        for (end, n) in all_ends {
            ended_in.entry(end.flew_as).or_default()[end.phase as usize] += n;
            ends.entry(end.model).or_default().push((end, n));
        }
        Self { ends, ended_in, first_token, moved_in_prefill, started, moved_in_queue, received }
    }

    /// Whether a model has been that of a request: in flight, or at its end.
    pub(super) fn is_used(&self, model: ModelId) -> bool {
        self.came_under(model) > 0 || self.ends.contains_key(&model)
    }

    /// Requests that were received under a model, or went over to it.
    pub(super) fn came_under(&self, model: ModelId) -> u64 {
        let moved = [&self.moved_in_queue, &self.moved_in_prefill].map(|moved| moved.of(model).0);
        self.received_under(model) + moved.iter().sum::<u64>()
    }

    fn received_under(&self, model: ModelId) -> u64 {
        self.received.iter().filter_map(|(_, by_model)| by_model.get(&model)).sum()
    }

    /// Requests that ended under a model and pass a test.
    pub(super) fn ended(&self, model: ModelId, test: impl Fn(&End) -> bool) -> u64 {
        let ends = self.ends_of(model).iter();
        ends.filter(|(end, _)| test(end)).map(|(_, n)| n).sum()
    }

    fn ends_of(&self, model: ModelId) -> &[(End, u64)] {
        self.ends.get(&model).map_or(&[], Vec::as_slice)
    }

    /// Requests in flight under a model, by phase.
    pub(super) fn in_flight(&self, model: ModelId, phase: Phase) -> u64 {
        let at = |facts: &HashMap<_, _>| facts.get(&model).copied().unwrap_or(0);
        let (started, first_token) = (at(&self.started), at(&self.first_token));
        let (from, (came, left), to) = match phase {
            Phase::Queue => (self.received_under(model), self.moved_in_queue.of(model), started),
            Phase::Prefill => (started, self.moved_in_prefill.of(model), first_token),
            Phase::Decode => (first_token, (0, 0), 0),
        };
        let ended = self.ended_in.get(&model).map_or(0, |ended_in| ended_in[phase as usize]);
        from + came - left - to - ended
    }

    /// Requests received, by endpoint.
    pub(super) fn received(&self) -> impl Iterator<Item = (&Arc<str>, u64)> {
        self.received.iter().map(|(endpoint, by_model)| (&endpoint.label, by_model.values().sum()))
    }

    /// Requests that ended under a model, by everything that is told of them.
    pub(super) fn details(&self, model: ModelId) -> BTreeMap<Detail, u64> {
        let mut details = BTreeMap::new();
        for (end, n) in self.ends_of(model) {
            let Some((endpoint, _)) = self.received.get(usize::from(end.endpoint)) else {
                continue;
            };
            let detail =
                (Arc::clone(&endpoint.label), end.outcome.label(), end.outcome.reason(), end.code);
            *details.entry(detail).or_insert(0) += n;
        }
        details
    }

    /// Requests that ended under a model, by tenant: successes, failures, aborted ones.
    pub(super) fn tenants(&self, model: ModelId) -> BTreeMap<TenantId, [u64; 3]> {
        let mut tenants = BTreeMap::new();
        for (end, n) in self.ends_of(model) {
            let outcome = match end.outcome {
                Outcome::Success(_) => 0,
                Outcome::Failure(_) => 1,
                Outcome::Aborted(_) => 2,
            };
            if let Some(tenant) = end.tenant {
                tenants.entry(tenant).or_insert([0; 3])[outcome] += n;
            }
        }
        tenants
    }

    pub(super) fn failed(&self, model: ModelId) -> u64 {
        self.ended(model, |end| matches!(end.outcome, Outcome::Failure(_)))
    }

    pub(super) fn aborted(&self, model: ModelId) -> u64 {
        self.ended(model, |end| matches!(end.outcome, Outcome::Aborted(_)))
    }

    pub(super) fn accounted(&self, model: ModelId, source: TokenSource) -> u64 {
        self.ended(model, |end| end.source == Some(source))
    }
}
