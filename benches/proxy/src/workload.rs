//! What the engine shall answer, as the text of a message says it: `chunks=100 gap_ms=20
//! per_write=1`. In the text, since gateways drop fields of a request that they do not know.

use std::{num::ParseIntError, time::Duration};

/// One answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Workload {
    /// Content events, which are tokens too; at least one.
    pub chunks: u32,
    /// The time before each write; none where it is zero.
    pub gap: Duration,
    /// Content events that are written at once; at least one.
    pub per_write: u32,
}

// === impl Workload ===

impl Default for Workload {
    fn default() -> Self {
        Self { chunks: 16, gap: Duration::ZERO, per_write: 1 }
    }
}

impl Workload {
    /// Reads it out of a text. Words that are not about it are a prompt like any other.
    pub fn parse(text: &str) -> Result<Self, ParseIntError> {
        let mut all = Self::default();
        for (key, value) in text.split_whitespace().filter_map(|word| word.split_once('=')) {
            match key {
                "chunks" => all.chunks = value.parse::<u32>()?.max(1),
                "gap_ms" => all.gap = Duration::from_millis(value.parse()?),
                "per_write" => all.per_write = value.parse::<u32>()?.max(1),
                _ => {}
            }
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_says_the_workload() {
        let said = Workload::parse("Say: chunks=3 gap_ms=20 temperature=hot per_write=0");
        let gap = Duration::from_millis(20);
        assert_eq!(said, Ok(Workload { chunks: 3, gap, per_write: 1 }));
        assert_eq!(Workload::parse("hello"), Ok(Workload::default()));
        assert!(Workload::parse("chunks=many").is_err());
    }
}
