//! Words, and the tokens they are: one word is one token, always.

use std::hash::{DefaultHasher, Hash, Hasher};

/// What the simulated model knows of a word.
pub(crate) type Token = u64;

const WORDS: [&str; 64] = [
    "a", "all", "amber", "and", "answer", "as", "at", "away", "before", "blue", "bridge", "by",
    "carries", "clear", "clouds", "comes", "down", "early", "every", "evening", "far", "field",
    "finds", "from", "garden", "goes", "green", "harbour", "high", "in", "into", "keeps", "late",
    "leaves", "light", "long", "morning", "moves", "near", "north", "of", "old", "on", "open",
    "over", "quiet", "rain", "river", "road", "sees", "silver", "slow", "small", "stone", "summer",
    "the", "through", "to", "turns", "under", "water", "wind", "winter", "with",
];

/// The word at a place of a text; the same seed always tells the same text.
pub(crate) fn word(seed: u64, place: usize) -> &'static str {
    let mut hasher = DefaultHasher::new();
    (seed, place).hash(&mut hasher);
    WORDS[(hasher.finish() % WORDS.len() as u64) as usize]
}

/// The first words of a text.
pub(crate) fn text(seed: u64, length: usize) -> String {
    let mut text = String::with_capacity(length * 7);
    for place in 0..length {
        text.push_str(if place == 0 { "" } else { " " });
        text.push_str(word(seed, place));
    }
    text
}

/// The tokens of a text that someone else wrote.
pub(crate) fn tokens(text: &str) -> impl Iterator<Item = Token> {
    text.split_whitespace().map(token)
}

pub(crate) fn token(word: &str) -> Token {
    hash(word)
}

pub(crate) fn hash(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_always_the_same_and_has_a_token_for_each_word() {
        assert_eq!(text(7, 40), text(7, 40));
        assert_ne!(text(7, 40), text(8, 40));
        assert_eq!(text(7, 0), "");
        assert!(text(7, 40).starts_with(&text(7, 39)));
        let tokens: Vec<Token> = tokens(&text(7, 40)).collect();
        assert_eq!(tokens.len(), 40);
        assert_eq!(tokens[3], token(word(7, 3)));
    }
}
