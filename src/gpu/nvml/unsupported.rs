//! What a GPU does not support, so that it is not asked for it again and again.

use std::{collections::BTreeMap, time::Duration};

use nvml_wrapper::error::NvmlError;
use tokio::time::Instant;

use super::errors::is_lasting;
use crate::gpu::Quantity;

/// How long an answer holds.
const HOLDS: Duration = Duration::from_secs(3600);

/// What is asked by one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Question {
    /// A reading; of a call that gives several, the first.
    Of(Quantity),
    /// The traffic over all links in bytes, before it is asked for in KiB.
    LinkBytes,
}

/// Of one GPU; forgotten when it is listed anew, or was lost.
#[derive(Debug, Default)]
pub(super) struct Unsupported(BTreeMap<Question, Instant>);

// === impl Unsupported ===

impl Unsupported {
    /// Whether there is no need to ask.
    pub(super) fn has(&self, question: Question, now: Instant) -> bool {
        let asked = self.0.get(&question);
        asked.is_some_and(|asked| now.saturating_duration_since(*asked) < HOLDS)
    }

    /// What came of asking.
    pub(super) fn note(&mut self, question: Question, error: Option<&NvmlError>, now: Instant) {
        if error.is_some_and(is_lasting) {
            self.0.insert(question, now);
        } else {
            self.0.remove(&question);
        }
    }

    /// The answer, if there is need to ask.
    pub(super) fn ask<T>(
        &mut self,
        question: Question,
        now: Instant,
        call: impl FnOnce() -> Result<T, NvmlError>,
    ) -> Result<T, NvmlError> {
        if self.has(question, now) {
            return Err(NvmlError::NotSupported);
        }
        let answer = call();
        self.note(question, answer.as_ref().err(), now);
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POWER: Question = Question::Of(Quantity::Power);

    #[test]
    fn an_answer_holds_for_an_hour() {
        let (mut unsupported, start) = (Unsupported::default(), Instant::now());
        let mut asked = 0;
        let mut ask = |after: u64| {
            let now = start + Duration::from_secs(after);
            let no = || {
                asked += 1;
                Err::<(), _>(NvmlError::NotSupported)
            };
            assert!(matches!(unsupported.ask(POWER, now, no), Err(NvmlError::NotSupported)));
            asked
        };
        assert_eq!([0, 1, 3599, 3600, 3601, 7199, 7200].map(&mut ask), [1, 1, 1, 2, 2, 2, 3]);
        assert!(!unsupported.has(Question::LinkBytes, start));
    }

    #[test]
    fn other_errors_are_asked_for_again() {
        let (mut unsupported, now) = (Unsupported::default(), Instant::now());
        let refused = [
            NvmlError::NoPermission,
            NvmlError::OperatingSystem,
            NvmlError::Unknown,
            NvmlError::GpuLost,
            NvmlError::UnexpectedVariant(27),
        ];
        for error in refused {
            unsupported.note(POWER, Some(&error), now);
            assert!(!unsupported.has(POWER, now), "{error}");
        }
        for error in [NvmlError::FunctionNotFound, NvmlError::UnexpectedVariant(26)] {
            unsupported.note(POWER, Some(&error), now);
            assert!(unsupported.has(POWER, now), "{error}");
            unsupported.note(POWER, None, now);
            assert!(!unsupported.has(POWER, now), "{error}");
        }
    }
}
