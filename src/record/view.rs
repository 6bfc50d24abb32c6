//! Turns one reading into the families of the catalogue.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use super::{
    collect::{FamilyReadings, Readings, Series, Value},
    histogram::Histogram,
    meter::Shared,
    model::ModelId,
    series::ModelSeries,
    source::SourceStatus,
    tally::Tally,
};
use crate::{
    names::{self, Family, label},
    outcome::{Dropped, FinishReason, Outcome, Phase, TokenSource, Unread},
};

/// The engine of a server that has one.
const ONLY_ENGINE: &str = "0";

pub(super) fn take(shared: &Shared) -> Readings {
    let upstreams_are_told = shared.upstreams.are_told();
    let told = shared.sources.read(upstreams_are_told);
    let tally = Tally::read(shared);
    // NB: after the tally, so that no model is missing that a request in it is of.
    let mut models: Vec<(ModelId, &ModelSeries)> = shared.models.iter().collect();
    if upstreams_are_told {
        // What belongs to no upstream is there only if there is any.
        models.retain(|(id, series)| {
            series.upstream.is_some() || tally.is_used(*id) || series.has_any()
        });
    }
    let mut view = View { readings: Readings::default(), models, upstreams_are_told };
    view.readings.labels = Arc::clone(&shared.labels);

    view.requests(&tally);
    // NB: the parts before the whole, which is counted first: no part is ever more than it.
    view.tenants(shared, &tally);
    view.tokens();
    view.latency();
    view.state(&tally, &told);
    view.details(&tally);
    view.durations(shared);
    view.in_flight(&tally);
    view.pulse();
    view.sources(shared, told);
    view.own(shared);
    view.readings.in_page_order()
}

struct View<'a> {
    readings: Readings,
    models: Vec<(ModelId, &'a ModelSeries)>,
    upstreams_are_told: bool,
}

// === impl View ===

impl View<'_> {
    fn requests(&mut self, tally: &Tally) {
        self.counter(&names::REQUEST_TOTAL, |id, _| tally.ended(id, |_| true));
        for reason in FinishReason::ALL {
            self.each(&names::REQUEST_SUCCESS_TOTAL, Some(reason.label()), |id, _| {
                let is_it = Outcome::Success(*reason);
                Value::Counter(tally.ended(id, |end| end.outcome == is_it))
            });
        }
        self.counter(&names::REQUEST_FAILURE_TOTAL, |id, _| tally.failed(id));
        self.counter(&names::REQUEST_ABORTED_TOTAL, |id, _| tally.aborted(id));
    }

    fn tokens(&mut self) {
        self.counter(&names::PROMPT_TOKENS_CACHED_TOTAL, |_, series| series.cached.read());
        self.counter(&names::PROMPT_TOKENS_TOTAL, |_, series| series.prompt.get());
        self.counter(&names::REASONING_TOKENS_TOTAL, |_, series| series.reasoning.read());
        self.counter(&names::GENERATION_TOKENS_TOTAL, |_, series| series.generation.get());
    }

    fn latency(&mut self) {
        self.histogram(&names::TIME_IN_QUEUE_SECONDS, |series| &series.queue);
        self.histogram(&names::TIME_TO_FIRST_TOKEN_SECONDS, |series| &series.ttft);
        self.histogram(&names::INTER_TOKEN_LATENCY_SECONDS, |series| &series.itl);
        self.histogram(&names::TIME_PER_OUTPUT_TOKEN_SECONDS, |series| &series.tpot);
        self.histogram(&names::E2E_REQUEST_LATENCY_SECONDS, |series| &series.e2e);
        self.histogram(&names::REQUEST_PREFILL_TIME_SECONDS, |series| &series.prefill);
        self.histogram(&names::REQUEST_DECODE_TIME_SECONDS, |series| &series.decode);
        self.histogram(&names::REQUEST_INFERENCE_TIME_SECONDS, |series| &series.inference);
        self.histogram(&names::REQUEST_PROMPT_TOKENS, |series| &series.prompt_size);
        self.histogram(&names::REQUEST_GENERATION_TOKENS, |series| &series.generation_size);
        self.histogram(&names::REQUEST_MAX_NUM_GENERATION_TOKENS, |series| &series.longest_size);
        self.histogram_if_any(&names::REQUEST_PARAMS_MAX_TOKENS, |series| &series.max_tokens);
        self.histogram_if_any(&names::REQUEST_PARAMS_N, |series| &series.choices);
        self.histogram_if_any(&names::ITERATION_TOKENS_TOTAL, |series| &series.iteration);
    }

    /// What is seen from outside, of models whose engines do not tell themselves.
    fn state(&mut self, tally: &Tally, told: &Readings) {
        self.unless_told(told, &names::NUM_REQUESTS_WAITING, |id, _| {
            Some(gauge(tally.in_flight(id, Phase::Queue)))
        });
        self.unless_told(told, &names::NUM_REQUESTS_RUNNING, |id, _| {
            Some(gauge(tally.in_flight(id, Phase::Prefill) + tally.in_flight(id, Phase::Decode)))
        });
        self.unless_told(told, &names::RUNNING_LIMIT, |_, series| {
            series.running_limit.load(Relaxed).checked_sub(1).map(gauge)
        });
    }

    fn pulse(&mut self) {
        let engine = Some(ONLY_ENGINE);
        self.each(&names::QUEUE_OLDEST_AGE_SECONDS, engine, |_, series| {
            Value::Gauge(series.pulse.oldest_age().as_secs_f64())
        });
        for (_, series) in &self.models {
            if let Some(age) = series.pulse.last_sign_age() {
                let labels = series.labels([ONLY_ENGINE.into()], self.upstreams_are_told);
                let age = Value::Gauge(age.as_secs_f64());
                self.readings.push(&names::LAST_TOKEN_AGE_SECONDS, labels, age);
            }
        }
    }

    /// What others have told, and how they do.
    fn sources(&mut self, shared: &Shared, told: Readings) {
        self.readings.others = told.others;
        for FamilyReadings { family, series } in told.families {
            self.readings.family(family);
            for Series { labels, value } in series {
                let is_known = |known: &Series| known.labels == labels;
                if self.readings.series(family).iter().any(is_known) {
                    shared.sources.dropped(Dropped::Duplicate);
                } else {
                    self.readings.push(family, labels, value);
                }
            }
        }
        for SourceStatus { name, up, age, .. } in shared.sources.status() {
            if let Some(up) = up {
                let up = Value::Gauge(f64::from(u8::from(up)));
                self.readings.push(&names::SOURCE_UP, [Arc::clone(&name)], up);
            }
            if let Some(age) = age {
                let age = Value::Gauge(age.as_secs_f64());
                self.readings.push(&names::SOURCE_AGE_SECONDS, [name], age);
            }
        }
    }

    fn tenants(&mut self, shared: &Shared, tally: &Tally) {
        for (id, series) in &self.models {
            for (tenant, by_outcome) in tally.tenants(*id) {
                let label = shared.tenants.label(tenant);
                let told = self.upstreams_are_told;
                let labels =
                    |last: &str| series.labels([Arc::clone(&label), Arc::from(last)], told);
                for (outcome, n) in ["success", "failure", "aborted"].into_iter().zip(by_outcome) {
                    let value = Value::Counter(n);
                    self.readings.push(&names::TENANT_REQUESTS_TOTAL, labels(outcome), value);
                }
                let tokens = shared.tenants.tokens(*id, tenant);
                for (kind, n) in ["prompt", "generation"].into_iter().zip(tokens) {
                    let value = Value::Counter(n);
                    self.readings.push(&names::TENANT_TOKENS_TOTAL, labels(kind), value);
                }
            }
        }
    }

    fn details(&mut self, tally: &Tally) {
        for (id, series) in &self.models {
            for ((endpoint, outcome, reason, code), n) in tally.details(*id) {
                let code = code.map_or_else(|| "none".into(), |code| code.to_string().into());
                let labels = [endpoint, outcome.into(), reason.into(), code];
                let labels = series.labels(labels, self.upstreams_are_told);
                self.readings.push(&names::REQUESTS_TOTAL, labels, Value::Counter(n));
            }
        }
        for (endpoint, n) in tally.received() {
            let labels = [Arc::clone(endpoint)];
            self.readings.push(&names::REQUESTS_RECEIVED_TOTAL, labels, Value::Counter(n));
        }
        for source in TokenSource::ALL {
            self.each(&names::TOKEN_ACCOUNTING_TOTAL, Some(source.label()), |id, _| {
                Value::Counter(tally.accounted(id, *source))
            });
        }
    }

    fn durations(&mut self, shared: &Shared) {
        if shared.has_admission.load(Relaxed) {
            self.histogram(&names::ADMISSION_WAIT_SECONDS, |series| &series.admission);
        }
        type Pick = fn(&ModelSeries) -> &Histogram;
        let outcomes: [(&str, Pick); 3] = [
            ("success", ModelSeries::successes),
            ("failure", |series| &series.failure_duration),
            ("aborted", |series| &series.aborted_duration),
        ];
        for (outcome, pick) in outcomes {
            self.each(&names::REQUEST_DURATION_SECONDS, Some(outcome), |_, series| {
                Value::Histogram(pick(series).read())
            });
        }
    }

    fn in_flight(&mut self, tally: &Tally) {
        for phase in Phase::ALL {
            self.each(&names::REQUESTS_IN_FLIGHT, Some(phase.label()), |id, _| {
                gauge(tally.in_flight(id, *phase))
            });
        }
    }

    fn own(&mut self, shared: &Shared) {
        let build =
            [env!("CARGO_PKG_VERSION"), env!("INFERMETER_RUSTC"), env!("INFERMETER_FEATURES")];
        self.readings.push(&names::BUILD_INFO, build.map(Arc::from), Value::Gauge(1.0));

        let upstreams = (label::UPSTREAM, shared.upstreams.overflow());
        let overflow = [
            (label::MODEL_NAME, shared.models.overflow()),
            (label::TENANT, shared.tenants.overflow()),
        ];
        let upstreams = self.upstreams_are_told.then_some(upstreams);
        for (label, n) in overflow.into_iter().chain(upstreams) {
            let value = Value::Counter(n);
            self.readings.push(&names::LABEL_OVERFLOW_TOTAL, [Arc::from(label)], value);
        }
        for (reason, n) in Unread::ALL.iter().zip(&shared.unread) {
            let value = Value::Counter(n.load(Relaxed));
            self.readings.push(&names::UNREAD_BODIES_TOTAL, [reason.label().into()], value);
        }
        for reason in Dropped::ALL {
            let value = Value::Counter(shared.sources.dropped_so_far(*reason));
            let labels = [reason.label().into()];
            self.readings.push(&names::OBSERVATIONS_DROPPED_TOTAL, labels, value);
        }
    }

    fn counter(&mut self, family: &'static Family, value: impl Fn(ModelId, &ModelSeries) -> u64) {
        self.each(family, None, |id, series| Value::Counter(value(id, series)));
    }

    /// A series for each model whose upstream has no source that tells it.
    fn histogram(&mut self, family: &'static Family, pick: fn(&ModelSeries) -> &Histogram) {
        for (_, series) in &self.models {
            if !series.upstream.owners.is_told(family) {
                let labels = series.labels([], self.upstreams_are_told);
                self.readings.push(family, labels, Value::Histogram(pick(series).read()));
            }
        }
    }

    /// A series for each model of which somebody has told.
    fn histogram_if_any(&mut self, family: &'static Family, pick: fn(&ModelSeries) -> &Histogram) {
        for (_, series) in &self.models {
            let read = pick(series).read();
            if read.count() > 0 {
                let labels = series.labels([], self.upstreams_are_told);
                self.readings.push(family, labels, Value::Histogram(read));
            }
        }
    }

    /// A series for each model of which no engine tells it.
    fn unless_told(
        &mut self,
        told: &Readings,
        family: &'static Family,
        value: impl Fn(ModelId, &ModelSeries) -> Option<Value>,
    ) {
        for (id, series) in &self.models {
            let [upstream, variant] = &series.upstream.labels;
            let is_told = |told: &Series| {
                let of = told.labels.get(family.labels.len()..).unwrap_or_default();
                let is_of = of.is_empty() || of == [Arc::clone(upstream), Arc::clone(variant)];
                let is_of_model = told.labels.first() == Some(&series.label);
                is_of && (is_of_model || series.upstream.owners.tells_of_all_models(family))
            };
            if told.series(family).iter().any(is_told) {
                continue;
            }
            if let Some(value) = value(*id, series) {
                let labels = series.labels([ONLY_ENGINE.into()], self.upstreams_are_told);
                self.readings.push(family, labels, value);
            }
        }
    }

    /// A series for each model, with its name and at most one more label.
    fn each(
        &mut self,
        family: &'static Family,
        label: Option<&str>,
        value: impl Fn(ModelId, &ModelSeries) -> Value,
    ) {
        for (id, series) in &self.models {
            let labels = series.labels(label.map(Arc::from), self.upstreams_are_told);
            self.readings.push(family, labels, value(*id, series));
        }
    }
}

fn gauge(n: u64) -> Value {
    Value::Gauge(n as f64)
}
