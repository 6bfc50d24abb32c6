//! Histogram bounds: checked ones, and the defaults of the catalogue.
//!
//! Every bound of vLLM's own histograms is among the defaults, so a query that names a bound finds
//! it here too. Ours add bounds below, where vLLM's cannot tell a short wait from none.

use std::{error, fmt};

/// Upper bounds of a histogram's buckets, without `+Inf`: finite, above 0 and strictly rising.
///
/// ```
/// use infermeter::names::Buckets;
///
/// assert_eq!(Buckets::new([0.1, 1.0, 10.0]).unwrap().bounds(), [0.1, 1.0, 10.0]);
/// assert_eq!(Buckets::tokens(8).bounds(), [1.0, 2.0, 5.0, 8.0]);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Buckets(Box<[f64]>);

/// Bounds that cannot be used; the message says which one, why, and what is allowed.
///
/// ```
/// use infermeter::names::Buckets;
///
/// let error = Buckets::new([0.5, 0.1]).unwrap_err();
/// assert!(error.to_string().starts_with("bucket bound 2 is 0.1, after 0.5"));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct BucketsError(Problem);

#[derive(Clone, Debug, PartialEq)]
enum Problem {
    Empty,
    TooMany,
    NotFinite { position: usize, bound: f64 },
    NotPositive { position: usize, bound: f64 },
    NotRising { position: usize, bound: f64, before: f64 },
}

/// Waiting: from arrival to the start, or to being let in.
pub(crate) const QUEUE: &[f64] = &[
    0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0,
    30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0,
];

/// Time to first token.
pub(crate) const TTFT: &[f64] = &[
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
    20.0, 40.0, 80.0, 160.0, 640.0, 2560.0,
];

/// Time between tokens, and per token.
pub(crate) const ITL: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5,
    5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
];

/// Whole requests, and the parts of their running time.
pub(crate) const LATENCY: &[f64] = &[
    0.01, 0.05, 0.1, 0.2, 0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0,
    50.0, 60.0, 120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0,
];

/// Tokens of one request, for a context of 131072.
pub(crate) const TOKENS: &[f64] = &[
    1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0, 10000.0, 20000.0,
    50000.0, 100000.0, 131072.0,
];

/// Tokens of one engine step.
pub(crate) const ITERATION: &[f64] =
    &[1.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0, 16384.0];

/// Choices of one request.
pub(crate) const N: &[f64] = &[1.0, 2.0, 5.0, 10.0, 20.0];

// === impl Buckets ===

impl Buckets {
    /// The most bounds that a histogram may have: each is a series, for each model.
    pub const MOST: usize = 128;

    /// Checks bounds, which leave out `+Inf`: that bucket is always added.
    ///
    /// # Errors
    ///
    /// If there are none or more than [`Buckets::MOST`], or if one is not finite, not above 0, or
    /// not above the one before it. Nothing that is measured is negative, so a bound of 0 would
    /// say nothing but how many observations were exactly 0.
    pub fn new(bounds: impl IntoIterator<Item = f64>) -> Result<Self, BucketsError> {
        // One more than allowed is enough to see that there are too many, however many come.
        let bounds: Box<[f64]> = bounds.into_iter().take(Self::MOST + 1).collect();
        match problem_of(&bounds) {
            Some(problem) => Err(BucketsError(problem)),
            None => Ok(Self(bounds)),
        }
    }

    /// Bounds for token counts: 1, 2, 5, 10, 20, 50 and so on, the last one exactly
    /// `context_length` (1 for a context length of 0).
    pub fn tokens(context_length: u64) -> Self {
        let last = context_length.max(1) as f64;
        let decades = std::iter::successors(Some(1.0), |decade| Some(decade * 10.0));
        let series = decades.flat_map(|decade| [1.0, 2.0, 5.0].map(|step| step * decade));
        let below = series.take_while(|&bound| bound < last);
        Self(below.chain([last]).collect())
    }

    /// The bounds, rising, without `+Inf`.
    pub fn bounds(&self) -> &[f64] {
        &self.0
    }
}

// === impl BucketsError ===

impl fmt::Display for BucketsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MOST: usize = Buckets::MOST;
        match self.0 {
            Problem::Empty => write!(f, "no bucket bounds given; allowed are 1 to {MOST}"),
            Problem::TooMany => {
                write!(f, "more than {MOST} bucket bounds given; allowed are 1 to {MOST}")
            }
            Problem::NotFinite { position, bound } => write!(
                f,
                "bucket bound {position} is {bound}; allowed are finite numbers (the bucket \
                 `+Inf` is always added)"
            ),
            Problem::NotPositive { position, bound } => {
                write!(f, "bucket bound {position} is {bound}; allowed are numbers above 0")
            }
            Problem::NotRising { position, bound, before } => write!(
                f,
                "bucket bound {position} is {bound}, after {before}; each bound must be above \
                 the one before it"
            ),
        }
    }
}

impl error::Error for BucketsError {}

fn problem_of(bounds: &[f64]) -> Option<Problem> {
    if bounds.is_empty() {
        return Some(Problem::Empty);
    }
    if bounds.len() > Buckets::MOST {
        return Some(Problem::TooMany);
    }
    let mut before = None;
    for (position, &bound) in (1..).zip(bounds) {
        if !bound.is_finite() {
            return Some(Problem::NotFinite { position, bound });
        }
        if bound <= 0.0 {
            return Some(Problem::NotPositive { position, bound });
        }
        if let Some(before) = before.filter(|&before| bound <= before) {
            return Some(Problem::NotRising { position, bound, before });
        }
        before = Some(bound);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::{self, Family};

    #[test]
    fn every_bound_of_vllm_is_among_ours() {
        let latency: &[f64] = &[
            0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0,
            120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0,
        ];
        let first_token: &[f64] = &[
            0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5,
            10.0, 20.0, 40.0, 80.0, 160.0, 640.0, 2560.0,
        ];
        let per_token: &[f64] = &[
            0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5,
            10.0, 20.0, 40.0, 80.0,
        ];
        let tokens: &[f64] = &[
            1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5,
        ];
        let step: &[f64] = &[
            1.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0,
            16384.0,
        ];
        let vllm: [(&Family, &[f64]); 14] = [
            (&names::TIME_IN_QUEUE_SECONDS, latency),
            (&names::TIME_TO_FIRST_TOKEN_SECONDS, first_token),
            (&names::INTER_TOKEN_LATENCY_SECONDS, per_token),
            (&names::TIME_PER_OUTPUT_TOKEN_SECONDS, per_token),
            (&names::E2E_REQUEST_LATENCY_SECONDS, latency),
            (&names::REQUEST_PREFILL_TIME_SECONDS, latency),
            (&names::REQUEST_DECODE_TIME_SECONDS, latency),
            (&names::REQUEST_INFERENCE_TIME_SECONDS, latency),
            (&names::REQUEST_PROMPT_TOKENS, tokens),
            (&names::REQUEST_GENERATION_TOKENS, tokens),
            (&names::REQUEST_MAX_NUM_GENERATION_TOKENS, tokens),
            (&names::REQUEST_PARAMS_MAX_TOKENS, tokens),
            (&names::REQUEST_PARAMS_N, &[1.0, 2.0, 5.0, 10.0, 20.0]),
            (&names::ITERATION_TOKENS_TOTAL, step),
        ];
        for (family, bounds) in vllm {
            let ours = family.buckets.unwrap();
            for bound in bounds {
                assert!(ours.contains(bound), "{} lacks {bound}", family.name);
            }
        }
    }

    #[test]
    fn token_bounds_end_at_the_context_length() {
        assert_eq!(Buckets::tokens(131072).bounds(), TOKENS);
        assert_eq!(Buckets::tokens(8).bounds(), [1.0, 2.0, 5.0, 8.0]);
        assert_eq!(Buckets::tokens(10).bounds(), [1.0, 2.0, 5.0, 10.0]);
        assert_eq!(Buckets::tokens(1).bounds(), [1.0]);
        assert_eq!(Buckets::tokens(0).bounds(), [1.0]);
        for context_length in [1_000_000_000_000_000_001, u64::MAX] {
            let tokens = Buckets::tokens(context_length);
            assert_eq!(Buckets::new(tokens.bounds().iter().copied()), Ok(tokens));
        }
    }

    #[test]
    fn good_bounds_are_kept_as_they_are() {
        assert_eq!(Buckets::new([0.5, 1.0]).unwrap().bounds(), [0.5, 1.0]);
        let most = (1..=128).map(f64::from);
        assert_eq!(Buckets::new(most).unwrap().bounds().len(), Buckets::MOST);
    }

    #[test]
    fn errors_say_which_bound_and_what_is_allowed() {
        let error = |bounds: &[f64]| Buckets::new(bounds.iter().copied()).unwrap_err().to_string();
        assert_eq!(error(&[]), "no bucket bounds given; allowed are 1 to 128");
        let endless = Buckets::new((1..).map(f64::from)).unwrap_err();
        assert_eq!(endless.to_string(), "more than 128 bucket bounds given; allowed are 1 to 128");
        assert_eq!(
            error(&[1.0, f64::INFINITY]),
            "bucket bound 2 is inf; allowed are finite numbers (the bucket `+Inf` is always added)"
        );
        assert!(error(&[f64::NAN]).starts_with("bucket bound 1 is NaN;"));
        assert_eq!(error(&[0.0, 1.0]), "bucket bound 1 is 0; allowed are numbers above 0");
        assert_eq!(
            error(&[1.0, 2.5, 2.5]),
            "bucket bound 3 is 2.5, after 2.5; each bound must be above the one before it"
        );
    }
}
