//! How long prompts and answers are.

use std::f64::consts::TAU;

/// A log-normal distribution, cut at both ends: most are short, a few are long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lengths {
    /// Half of all are shorter.
    pub(crate) median: f64,
    /// The standard deviation of the logarithm.
    pub(crate) spread: f64,
    pub(crate) least: usize,
    pub(crate) most: usize,
}

// === impl Lengths ===

impl Lengths {
    pub(crate) fn draw(&self, random: &mut fastrand::Rng) -> usize {
        // Box and Muller's way to the normal distribution; `1 - x` is never 0.
        let radius = (-2.0 * (1.0 - random.f64()).ln()).sqrt();
        let normal = radius * (TAU * random.f64()).cos();
        let length = self.median * (self.spread * normal).exp();
        // NB: a cast from a float saturates.
        (length.round() as usize).clamp(self.least, self.most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_are_shorter_and_all_are_within_the_ends() {
        let lengths = Lengths { median: 60.0, spread: 0.8, least: 10, most: 200 };
        let mut random = fastrand::Rng::with_seed(1);
        let mut all: Vec<usize> = (0..2001).map(|_| lengths.draw(&mut random)).collect();
        all.sort_unstable();
        assert!((55..65).contains(&all[1000]), "{}", all[1000]);
        assert_eq!((all[0], all[2000]), (10, 200));
        let again = lengths.draw(&mut fastrand::Rng::with_seed(3));
        assert_eq!(again, lengths.draw(&mut fastrand::Rng::with_seed(3)));
    }
}
