//! Where the readings of one sample go, and the units of what the driver says.

use nvml_wrapper::error::NvmlError;
use tokio::time::Instant;

use super::{
    errors::{absent, in_words, is_lasting, is_of_one_reading},
    unsupported::{Question, Unsupported},
};
use crate::gpu::{Absent, DeviceReadings, ProbeError, Quantity, Reading};

/// Where a value is not known, some calls succeed and say so by all bits of it,
const NOT_AVAILABLE: u64 = u32::MAX as u64;
/// or by the largest numbers that have a sign, or by one that is negative.
const BLANK: u64 = i64::MAX as u64 - 15;

/// Two counts, each of them with its own error.
type Counts = Result<[Result<u64, NvmlError>; 2], NvmlError>;

/// What a driver's number is multiplied with, or divided by, to be in our unit.
#[derive(Clone, Copy)]
pub(super) enum Scale {
    Times(f64),
    Per(f64),
}

pub(super) const AS_IT_IS: Scale = Scale::Times(1.0);

/// Asks, and writes down what is said. An error of the whole GPU ends the sample.
pub(super) struct Sink<'a> {
    out: &'a mut DeviceReadings,
    unsupported: &'a mut Unsupported,
    now: Instant,
    /// Whether anything was asked at all.
    pub(super) has_asked: bool,
    /// Whether there is any number.
    has_any: bool,
    /// An error of the driver, as opposed to what it does not support or allow.
    failed: Option<ProbeError>,
}

// === impl Sink ===

impl<'a> Sink<'a> {
    pub(super) fn new(out: &'a mut DeviceReadings, unsupported: &'a mut Unsupported) -> Self {
        let now = Instant::now();
        Self { out, unsupported, now, has_asked: false, has_any: false, failed: None }
    }

    /// Errors of the driver in all that was asked are one of the GPU.
    pub(super) fn end(self) -> Result<(), ProbeError> {
        match self.failed {
            Some(error) if !self.has_any => Err(error),
            _ => Ok(()),
        }
    }

    pub(super) fn one<T: Into<u64>>(
        &mut self,
        quantity: Quantity,
        call: impl FnOnce() -> Result<T, NvmlError>,
        scale: Scale,
    ) -> Result<(), NvmlError> {
        self.each(&[quantity], call, |value| [number(value.into(), scale)])
    }

    /// What one call says of several, unless it is known not to be supported.
    pub(super) fn each<T, const N: usize>(
        &mut self,
        quantities: &[Quantity],
        call: impl FnOnce() -> Result<T, NvmlError>,
        readings: impl FnOnce(T) -> [Reading; N],
    ) -> Result<(), NvmlError> {
        let answer = match quantities.first() {
            Some(first) => self.ask(Question::Of(*first), call),
            None => {
                self.has_asked = true;
                call()
            }
        };
        match answer {
            Ok(value) => {
                for (quantity, reading) in quantities.iter().zip(readings(value)) {
                    self.set(*quantity, reading);
                }
                Ok(())
            }
            Err(error) => self.failed(quantities, error),
        }
    }

    pub(super) fn counts(
        &mut self,
        quantities: [Quantity; 2],
        call: impl FnOnce() -> Counts,
        scale: Scale,
    ) -> Result<(), NvmlError> {
        let reading = |count: Result<u64, NvmlError>| {
            count.map_err(|error| absent(&error)).and_then(|count| number(count, scale))
        };
        self.each(&quantities, || both(call()), |counts| counts.map(reading))
    }

    /// Two counts, if the driver tells both.
    pub(super) fn told(
        &mut self,
        question: Question,
        call: impl FnOnce() -> Counts,
    ) -> Option<[u64; 2]> {
        match self.ask(question, || both(call())) {
            Ok([Ok(first), Ok(second)]) => Some([first, second]),
            _ => None,
        }
    }

    /// What one call says of each by itself, of those that are not known to be unsupported.
    pub(super) fn batch<T: Copy>(
        &mut self,
        all: &[(Quantity, T)],
        call: impl FnOnce(&[T]) -> Result<Vec<Result<Reading, NvmlError>>, NvmlError>,
    ) -> Result<(), NvmlError> {
        let now = self.now;
        let (mut quantities, mut asked) = (Vec::new(), Vec::new());
        for (quantity, what) in all {
            if self.unsupported.has(Question::Of(*quantity), now) {
                self.set(*quantity, Err(Absent::NotSupported));
            } else {
                quantities.push(*quantity);
                asked.push(*what);
            }
        }
        if asked.is_empty() {
            return Ok(());
        }
        self.has_asked = true;
        let answers = match call(&asked) {
            Ok(answers) => answers,
            Err(error) => {
                let questions = quantities.iter().map(|quantity| Question::Of(*quantity));
                questions.for_each(|question| self.unsupported.note(question, Some(&error), now));
                return self.failed(&quantities, error);
            }
        };
        // NB: by position. A value comes back under the number of a newer driver.
        for (quantity, answer) in quantities.into_iter().zip(answers) {
            self.unsupported.note(Question::Of(quantity), answer.as_ref().err(), now);
            match answer {
                Ok(reading) => self.set(quantity, reading),
                Err(error) => self.failed(&[quantity], error)?,
            }
        }
        Ok(())
    }

    pub(super) fn set(&mut self, quantity: Quantity, reading: Reading) {
        self.has_any |= reading.is_ok();
        self.out.set(quantity, reading);
    }

    fn ask<T>(
        &mut self,
        question: Question,
        call: impl FnOnce() -> Result<T, NvmlError>,
    ) -> Result<T, NvmlError> {
        let has_asked = &mut self.has_asked;
        self.unsupported.ask(question, self.now, || {
            *has_asked = true;
            call()
        })
    }

    fn failed(&mut self, quantities: &[Quantity], error: NvmlError) -> Result<(), NvmlError> {
        if !is_of_one_reading(&error) {
            return Err(error);
        }
        let reason = absent(&error);
        if matches!(reason, Absent::Failed(_)) {
            self.failed = Some(in_words(&error));
        }
        for quantity in quantities {
            self.out.set(*quantity, Err(reason.clone()));
        }
        Ok(())
    }
}

/// Where neither is supported, the call is not.
fn both(counts: Counts) -> Counts {
    match counts? {
        [Err(first), Err(second)] if is_lasting(&first) && is_lasting(&second) => Err(first),
        counts => Ok(counts),
    }
}

pub(super) fn number(value: u64, scale: Scale) -> Reading {
    if value == NOT_AVAILABLE || value >= BLANK {
        return Err(Absent::NotSupported);
    }
    let value = value as f64;
    Ok(match scale {
        Scale::Times(times) => value * times,
        // NB: `7 / 100` is 0.07, `7 * 0.01` is not.
        Scale::Per(per) => value / per,
    })
}
