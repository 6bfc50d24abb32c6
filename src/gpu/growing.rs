//! A count of the driver's that goes on where the driver begins anew.

/// The sum of all that was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Growing {
    /// What was counted before the driver began anew.
    before: f64,
    last: f64,
    /// The count was below the last one. Whether it began anew, the next one tells.
    has_fallen: bool,
}

// === impl Growing ===

impl Growing {
    /// Takes the driver's count.
    ///
    /// NB: a single count that is too low is not a new beginning: taken for one, everything that was
    /// counted so far would be counted once more.
    pub(super) fn update(&mut self, count: f64) {
        if count < self.last {
            if !self.has_fallen {
                self.has_fallen = true;
                return;
            }
            self.before += self.last;
        }
        self.has_fallen = false;
        self.last = count;
    }

    pub(super) fn total(&self) -> f64 {
        self.before + self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn total(counts: &[f64]) -> Vec<f64> {
        let mut growing = Growing::default();
        let total = |count: &f64| {
            growing.update(*count);
            growing.total()
        };
        counts.iter().map(total).collect()
    }

    #[test]
    fn it_begins_where_the_driver_is_and_never_falls() {
        assert_eq!(total(&[1000.0, 1000.0, 1001.5]), [1000.0, 1000.0, 1001.5]);
    }

    #[test]
    fn a_driver_that_was_loaded_anew_counts_on_top() {
        assert_eq!(total(&[1000.0, 5.0, 7.0, 9.5]), [1000.0, 1000.0, 1007.0, 1009.5]);
    }

    #[test]
    fn one_count_that_is_too_low_is_passed_over() {
        assert_eq!(
            total(&[1000.0, 900.0, 1001.0, 0.0, 1002.0]),
            [1000.0, 1000.0, 1001.0, 1001.0, 1002.0]
        );
    }
}
