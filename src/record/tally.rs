//! One reading of everything that counts requests, and the sums over it.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError},
};

use super::{
    ends::End,
    meter::Shared,
    model::ModelId,
    series::{Endpoint, ModelSeries},
    tenant::TenantId,
};
use crate::outcome::{Outcome, Phase, TokenSource};

/// What the atomics of all requests stood at, each read once.
pub(super) struct Tally {
    /// By the model they ended under.
    ends: Vec<Vec<(End, u64)>>,
    /// How many ended in each phase, by the model they arrived under.
    ended_in: Vec<[u64; Phase::ALL.len()]>,
    first_token: Vec<u64>,
    started: Vec<u64>,
    received: Vec<(Arc<Endpoint>, Vec<u64>)>,
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
        let facts = |read: fn(&ModelSeries) -> u64| -> Vec<u64> {
            (0..shared.models.places())
                .map(|id| shared.models.get(id as ModelId).map_or(0, read))
                .collect()
        };
        let all_ends = shared.ends.read();
        let first_token = facts(|series| series.first_token.read());
        let started = facts(|series| series.started.read());
        let endpoints = shared.endpoints.read().unwrap_or_else(PoisonError::into_inner);
        let received = endpoints.iter().map(|e| (Arc::clone(e), e.read().collect())).collect();

        let mut ends = vec![Vec::new(); shared.models.places()];
        let mut ended_in = vec![[0; Phase::ALL.len()]; shared.models.places()];
        for (end, n) in all_ends {
            ended_in[usize::from(end.arrived_as)][end.phase as usize] += n;
            ends[usize::from(end.model)].push((end, n));
        }
        Self { ends, ended_in, first_token, started, received }
    }

    /// Requests that ended under a model and pass a test.
    pub(super) fn ended(&self, model: ModelId, test: impl Fn(&End) -> bool) -> u64 {
        let ends = self.ends[usize::from(model)].iter();
        ends.filter(|(end, _)| test(end)).map(|(_, n)| n).sum()
    }

    /// Requests in flight that arrived under a model, by phase.
    pub(super) fn in_flight(&self, model: ModelId, phase: Phase) -> u64 {
        let place = usize::from(model);
        let at = |facts: &[u64]| facts.get(place).copied().unwrap_or(0);
        let ended_in = |phase: Phase| self.ended_in[place][phase as usize];
        let received = self.received.iter().map(|(_, by_model)| at(by_model)).sum::<u64>();
        let (started, first_token) = (at(&self.started), at(&self.first_token));
        match phase {
            Phase::Queue => received - started - ended_in(Phase::Queue),
            Phase::Prefill => started - first_token - ended_in(Phase::Prefill),
            Phase::Decode => first_token - ended_in(Phase::Decode),
        }
    }

    /// Requests received, by endpoint.
    pub(super) fn received(&self) -> impl Iterator<Item = (&Arc<str>, u64)> {
        self.received.iter().map(|(endpoint, by_model)| (&endpoint.label, by_model.iter().sum()))
    }

    /// Requests that ended under a model, by everything that is told of them.
    pub(super) fn details(&self, model: ModelId) -> BTreeMap<Detail, u64> {
        let mut details = BTreeMap::new();
        for (end, n) in &self.ends[usize::from(model)] {
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
        for (end, n) in &self.ends[usize::from(model)] {
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
