//! How long the parts of an answer took, as the engine tells it.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

/// The moments of one sequence.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    asked: Instant,
    started: Instant,
    /// The first word, and the last one so far.
    words: Option<(Instant, Instant)>,
}

// === impl Timing ===

impl Timing {
    /// It is put into the queue now.
    pub(crate) fn new() -> Self {
        let now = Instant::now();
        Self { asked: now, started: now, words: None }
    }

    /// It is worked on from now on.
    pub(crate) fn started(&mut self) {
        self.started = Instant::now();
    }

    pub(crate) fn word(&mut self) {
        let now = Instant::now();
        self.words = Some((self.words.map_or(now, |(first, _)| first), now));
    }

    /// In the members that vLLM has for it.
    pub(crate) fn json(&self, words: usize) -> Value {
        let Self { asked, started, words: moments } = *self;
        let (first, last) = moments.unwrap_or((started, started));
        let generation = last - first;
        // Between words, so that one alone has none.
        let gap = u32::try_from(words)
            .ok()
            .and_then(|words| generation.checked_div(words.saturating_sub(1)));
        let rate = gap.map(|gap| gap.as_secs_f64().recip()).filter(|rate| rate.is_finite());
        json!({
            "time_to_first_token_ms": millis(first - asked),
            "generation_time_ms": millis(generation),
            "queue_time_ms": millis(started - asked),
            "mean_itl_ms": gap.map(millis),
            "tokens_per_second": rate,
        })
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_part_is_told() {
        let mut timing = Timing::new();
        advance(Duration::from_millis(30)).await;
        timing.started();
        for pause in [20, 10, 10] {
            advance(Duration::from_millis(pause)).await;
            timing.word();
        }
        let told = timing.json(3);
        let is = |name: &str, expected: f64| {
            let found = told[name].as_f64().unwrap();
            assert!((found - expected).abs() < 0.01, "{name}: {told}");
        };
        is("queue_time_ms", 30.0);
        is("time_to_first_token_ms", 50.0);
        is("generation_time_ms", 20.0);
        is("mean_itl_ms", 10.0);
        is("tokens_per_second", 100.0);
        assert_eq!(timing.json(1)["mean_itl_ms"], Value::Null);
    }
}
