//! Which token comes next.

use fastrand::Rng;

use crate::model::END;

/// Draws the tokens of one sequence.
#[derive(Debug)]
pub(crate) struct Sampler {
    /// 0 takes the likeliest token, always.
    temperature: f32,
    random: Rng,
}

// === impl Sampler ===

impl Sampler {
    /// Without a seed each answer is another one, if the temperature lets it.
    pub(crate) fn new(temperature: f32, seed: Option<u64>) -> Self {
        Self { temperature, random: seed.map_or_else(Rng::new, Rng::with_seed) }
    }

    pub(crate) fn draw(&mut self, scores: &[f32]) -> u32 {
        let score = |token: u32| scores[token as usize];
        let likeliest = allowed().max_by(|a, b| score(*a).total_cmp(&score(*b))).unwrap_or(END);
        if self.temperature == 0.0 {
            return likeliest;
        }
        let weight = |token| ((score(token) - score(likeliest)) / self.temperature).exp();
        let mut left = self.random.f32() * allowed().map(weight).sum::<f32>();
        let drawn = allowed().find(|token| {
            left -= weight(*token);
            left < 0.0
        });
        drawn.unwrap_or(likeliest) // where rounding has left something over
    }
}

/// A random model knows no UTF-8, so of the bytes only those are drawn that are a character alone.
fn allowed() -> impl Iterator<Item = u32> {
    (u32::from(b' ')..=u32::from(b'~')).chain([END])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_likeliest_without_a_temperature_and_only_what_is_allowed() {
        let mut scores = [0.0; 257];
        scores[usize::from(b'x')] = 1.0;
        scores[200] = 9.0;
        assert_eq!(Sampler::new(0.0, None).draw(&scores), u32::from(b'x'));
    }

    #[test]
    fn the_same_seed_draws_the_same() {
        let draw = |seed| {
            let mut sampler = Sampler::new(1.0, Some(seed));
            [(); 20].map(|()| sampler.draw(&[0.0; 257]))
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        assert!(draw(1).iter().all(|drawn| allowed().any(|token| token == *drawn)));
    }
}
