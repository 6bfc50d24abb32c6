//! Observations made up anew from what a histogram counted.

/// For each bucket that counted something, one value in it, so that these values as often as was
/// counted have the given sum.
///
/// `counts` has one more than there are bounds. All values stand at the same place `t` between the
/// bounds of their bucket, in `(0, 1]`; what lies beyond the last bound takes the rest. A sum that
/// no such observations have gives the nearest one that they can have.
pub(super) fn values<'a>(
    bounds: &'a [f64],
    counts: &'a [u64],
    sum: f64,
) -> impl Iterator<Item = (usize, f64)> + 'a {
    let buckets = || lower(bounds).zip(bounds.iter().copied()).zip(counts);
    // The sum for `t` = 0, and what `t` = 1 adds to it.
    let (least, width) = buckets().fold((0.0, 0.0), |(least, width), ((low, high), count)| {
        let count = *count as f64;
        (least + count * low, width + count * (high - low))
    });
    let beyond = counts.get(bounds.len()).map_or(0.0, |count| *count as f64);
    let far = bounds.last().map_or(0.0, |last| above(*last));
    // NB: what is no number (nothing by nothing, or a sum that is none) does not get past `max`.
    let far = ((sum - least - width / 2.0) / beyond).max(far);
    let rest = if beyond > 0.0 { sum - far * beyond } else { sum };
    let t = ((rest - least) / width).clamp(0.0, 1.0);

    let within = lower(bounds).zip(bounds).enumerate().map(move |(i, (low, high))| {
        // Only the first bucket holds its lower end, which is 0.
        let least = if i == 0 { low } else { above(low) };
        (low + t * (high - low)).max(least).min(*high)
    });
    within
        .chain([far])
        .zip(counts)
        .enumerate()
        .filter_map(|(bucket, (value, count))| (*count > 0).then_some((bucket, value)))
}

/// Where each bucket begins.
fn lower(bounds: &[f64]) -> impl Iterator<Item = f64> + '_ {
    [0.0].into_iter().chain(bounds.iter().copied())
}

/// The next number above one that is above 0.
// With Rust 1.86 this is `f64::next_up`.
fn above(bound: f64) -> f64 {
    f64::from_bits(bound.to_bits() + 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::names::buckets::{ITL, QUEUE, TOKENS};

    /// A histogram as any recorder has it.
    #[derive(Clone, Debug, PartialEq)]
    struct Recorded {
        counts: Vec<u64>,
        sum: f64,
    }

    fn recorded(bounds: &[f64], values: impl IntoIterator<Item = f64>) -> Recorded {
        let mut all = Recorded { counts: vec![0; bounds.len() + 1], sum: 0.0 };
        for value in values {
            all.counts[bounds.partition_point(|bound| *bound < value)] += 1;
            all.sum += value;
        }
        all
    }

    fn made_up(bounds: &[f64], counts: &[u64], sum: f64) -> Vec<f64> {
        let values = values(bounds, counts, sum);
        values.flat_map(|(i, value)| (0..counts[i]).map(move |_| value)).collect()
    }

    fn assert_made_up(bounds: &[f64], observed: &[f64]) {
        let observed = recorded(bounds, observed.iter().copied());
        let found = recorded(bounds, made_up(bounds, &observed.counts, observed.sum));
        assert_eq!(found.counts, observed.counts);
        let off = (found.sum - observed.sum).abs();
        assert!(off <= observed.sum * 1e-12, "{found:?} {observed:?}");
    }

    #[test]
    fn at_the_edges() {
        let bounds = [0.5, 1.0, 2.5];
        for observed in [
            &[][..],
            &[0.0, 0.0],
            &[0.5],
            &[1.0, 1.0, 2.5],
            &[above(0.5), above(1.0)],
            &[0.0, above(2.5)],
            &[2.5, 2.5, above(2.5)],
            &[0.25, 1e12],
            &[1e-300],
            &[0.5, 0.7, 1.3, 2.6, 7.0],
        ] {
            assert_made_up(&bounds, observed);
        }
        assert_made_up(&[], &[1.0, 3.5]);
    }

    #[test]
    fn a_sum_that_cannot_be_gives_the_nearest_that_can() {
        let bounds = [0.5, 1.0];
        assert_eq!(made_up(&bounds, &[0, 2, 0], 7.0), [1.0, 1.0]);
        assert_eq!(made_up(&bounds, &[0, 2, 0], 0.1), [above(0.5), above(0.5)]);
        assert_eq!(made_up(&bounds, &[1, 0, 1], -3.0), [0.0, above(1.0)]);
        assert_eq!(made_up(&bounds, &[1, 1, 0], f64::NAN), [0.0, above(0.5)]);
    }

    proptest! {
        /// Observations of all sizes, as a meter takes them: whole nanoseconds, or tokens.
        #[test]
        fn counts_are_exact_and_so_is_the_sum(
            bounds in prop::sample::select(vec![(QUEUE, 1e-9), (ITL, 1e-9), (TOKENS, 1.0)]),
            observed in prop::collection::vec((0..45_u32, any::<u64>()), 0..200),
        ) {
            let (bounds, unit) = bounds;
            let sizes = observed.iter().map(|(bits, any)| (any >> (63 - bits)) as f64 * unit);
            assert_made_up(bounds, &sizes.collect::<Vec<_>>());
        }
    }
}
