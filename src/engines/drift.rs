//! What an engine has counted beyond what was counted here.

use std::{collections::BTreeMap, sync::Arc};

use super::told::Told;
use crate::{
    names,
    record::{Counted, Value},
};

/// How many models are compared.
const MOST: usize = 256;

/// The values of the label `kind`.
const KINDS: [&str; 2] = ["prompt", "generation"];

/// Compares while nothing moves.
///
/// NB: a request that is under way has been counted by the engine in part, and in another part here.
/// So only what stood still for two looks in a row, with nothing in flight, is compared.
#[derive(Debug, Default)]
pub(super) struct Drift {
    models: BTreeMap<Arc<str>, [Compared; 2]>,
    last: Option<(Engine, Counted)>,
}

/// By model: what the engine has counted of each kind.
type Engine = BTreeMap<Arc<str>, [f64; 2]>;

/// One counter of the engine, and ours.
#[derive(Clone, Copy, Debug)]
struct Compared {
    /// What both stood at first.
    from: (f64, u64),
    last: f64,
    /// The most that the engine was ahead since, and before it started anew.
    ahead: u64,
    before: u64,
}

// === impl Drift ===

impl Drift {
    pub(super) fn compare(&mut self, engine: &Engine, ours: Counted) {
        let now = (engine.clone(), ours);
        let is_still = now.1.in_flight == 0 && self.last.as_ref() == Some(&now);
        if is_still {
            let (engine, ours) = &now;
            for (model, counters) in engine {
                let ours = tokens_of(ours, model, engine.len() == 1);
                if let Some(known) = self.models.get_mut(model) {
                    for (known, now) in known.iter_mut().zip(counters.iter().zip(ours)) {
                        known.goes_on(*now.0, now.1);
                    }
                } else if self.models.len() < MOST {
                    let new = |kind: usize| Compared::new(counters[kind], ours[kind]);
                    self.models.insert(Arc::clone(model), [new(0), new(1)]);
                }
            }
        }
        self.last = Some(now);
    }

    pub(super) fn tell(&self, told: &mut Told) {
        for (model, compared) in &self.models {
            for (kind, compared) in KINDS.into_iter().zip(compared) {
                let value = Value::Counter(compared.before + compared.ahead);
                let labels = [Arc::clone(model), kind.into()];
                told.readings.push(&names::TOKEN_DRIFT_TOTAL, labels, value);
            }
        }
    }
}

/// NB: an engine counts what its adapters do under the name of their model. Where it names one only,
/// everything that was counted here is that one's.
fn tokens_of(ours: &Counted, model: &str, is_only: bool) -> [u64; 2] {
    let those = ours.tokens.iter().filter(|(name, _)| is_only || **name == *model);
    those.fold([0, 0], |sum, (_, tokens)| [sum[0] + tokens[0], sum[1] + tokens[1]])
}

// === impl Compared ===

impl Compared {
    const fn new(engine: f64, ours: u64) -> Self {
        Self { from: (engine, ours), last: engine, ahead: 0, before: 0 }
    }

    fn goes_on(&mut self, engine: f64, ours: u64) {
        if engine < self.last {
            // It started anew: what it counted before it ended, and was not seen, is not compared.
            *self = Self { before: self.before + self.ahead, ..Self::new(engine, ours) };
        }
        self.last = engine;
        let (from, ours_from) = self.from;
        let ahead = (engine - from) - (ours - ours_from) as f64;
        // NB: the most, as a counter cannot fall where ours was ahead later.
        self.ahead = self.ahead.max(ahead as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is told after each look: engine, ours, in flight.
    fn looks(looks: &[([f64; 2], [u64; 2], u64)]) -> Vec<Option<[u64; 2]>> {
        let mut drift = Drift::default();
        let look = |(engine, ours, in_flight): &([f64; 2], [u64; 2], u64)| {
            let ours = Counted {
                received: ours[0],
                in_flight: *in_flight,
                tokens: vec![("m".into(), *ours), ("adapter".into(), [0, 0])],
            };
            drift.compare(&BTreeMap::from([("m".into(), *engine)]), ours);
            let told = drift.models.get("m");
            told.map(|both| both.map(|compared| compared.before + compared.ahead))
        };
        looks.iter().map(look).collect()
    }

    #[test]
    fn only_what_stands_still_is_compared() {
        let told = looks(&[
            ([100.0, 10.0], [0, 0], 0),
            ([100.0, 10.0], [0, 0], 0),
            // A request that both know of.
            ([105.0, 12.0], [0, 1], 1),
            ([105.0, 12.0], [0, 1], 1),
            ([105.0, 14.0], [5, 4], 0),
            ([105.0, 14.0], [5, 4], 0),
            // One that went past.
            ([112.0, 15.0], [5, 4], 0),
            ([112.0, 15.0], [5, 4], 0),
        ]);
        let zero = Some([0, 0]);
        assert_eq!(told, [None, zero, zero, zero, zero, zero, zero, Some([7, 1])]);
    }

    #[test]
    fn it_never_falls_and_goes_on_where_the_engine_starts_anew() {
        let twice = |engine, ours| [(engine, ours, 0); 2];
        let all = [
            twice([0.0, 0.0], [0, 0]),
            twice([9.0, 3.0], [5, 3]),
            // We counted more, of a client that has left for instance.
            twice([9.0, 3.0], [7, 9]),
            twice([2.0, 2.0], [8, 9]),
            twice([4.0, 4.0], [9, 11]),
        ];
        let told: Vec<_> = looks(&all.concat()).into_iter().skip(1).step_by(2).collect();
        let expected = [[0, 0], [4, 0], [4, 0], [4, 0], [5, 0]];
        assert_eq!(told, expected.map(Some));
    }

    #[test]
    fn adapters_are_the_models() {
        let ours = Counted {
            received: 2,
            in_flight: 0,
            tokens: vec![("m".into(), [1, 2]), ("a".into(), [3, 4])],
        };
        assert_eq!(tokens_of(&ours, "m", true), [4, 6]);
        assert_eq!(tokens_of(&ours, "m", false), [1, 2]);
    }
}
