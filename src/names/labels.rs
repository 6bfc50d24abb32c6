//! Static labels: what an operator adds to every series, such as a region.

use std::{error, fmt};

use super::catalogue_labels;

/// A label that stands on every series of the page with the same value.
///
/// ```
/// use infermeter::names::StaticLabel;
///
/// let label = StaticLabel::new("region", "eu").unwrap();
/// assert_eq!([label.key(), label.value()], ["region", "eu"]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticLabel {
    key: String,
    value: String,
}

/// A label name that cannot be used; the message says which rule it breaks.
///
/// ```
/// use infermeter::names::StaticLabel;
///
/// let error = StaticLabel::new("my-region", "eu").unwrap_err();
/// assert!(error.to_string().starts_with(r#"the static label "my-region" is no label name"#));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelError {
    key: String,
    problem: Problem,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Problem {
    NotAName,
    Underscores,
    Prometheus,
    Catalogue,
}

/// Names that Prometheus or its text format sets.
const SET_BY_PROMETHEUS: [&str; 4] = ["le", "quantile", "job", "instance"];

// === impl StaticLabel ===

impl StaticLabel {
    /// Checks a label's name; the value may be any text.
    ///
    /// To Prometheus a label with an empty value is the same as none.
    ///
    /// # Errors
    ///
    /// If the name does not match `[a-zA-Z_][a-zA-Z0-9_]*`, starts with `__`, is one that
    /// Prometheus sets (`le`, `quantile`, `job`, `instance`), or is a label of a family here.
    pub fn new(key: impl Into<String>, value: impl Into<String>) -> Result<Self, LabelError> {
        let key = key.into();
        match problem_of(&key) {
            Some(problem) => Err(LabelError { key, problem }),
            None => Ok(Self { key, value: value.into() }),
        }
    }

    /// The label's name.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The label's value, not escaped.
    pub fn value(&self) -> &str {
        &self.value
    }
}

// === impl LabelError ===

impl fmt::Display for LabelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, problem } = self;
        match problem {
            Problem::NotAName => write!(
                f,
                "the static label {key:?} is no label name; allowed is a letter or `_`, then \
                 letters, digits or `_`"
            ),
            Problem::Underscores => write!(
                f,
                "the static label {key:?} starts with `__`, which Prometheus keeps for itself; \
                 allowed are names that do not"
            ),
            Problem::Prometheus => {
                let taken = SET_BY_PROMETHEUS.join(", ");
                write!(
                    f,
                    "the static label {key:?} is one that Prometheus sets; allowed is any name \
                     but {taken}"
                )
            }
            Problem::Catalogue => {
                let taken = catalogue_labels().collect::<Vec<_>>().join(", ");
                write!(
                    f,
                    "the static label {key:?} is a label of a metric family; allowed is any name \
                     but {taken}"
                )
            }
        }
    }
}

impl error::Error for LabelError {}

fn problem_of(key: &str) -> Option<Problem> {
    if !is_label_name(key) {
        Some(Problem::NotAName)
    } else if key.starts_with("__") {
        Some(Problem::Underscores)
    } else if SET_BY_PROMETHEUS.contains(&key) {
        Some(Problem::Prometheus)
    } else if catalogue_labels().any(|taken| taken == key) {
        Some(Problem::Catalogue)
    } else {
        None
    }
}

fn is_label_name(key: &str) -> bool {
    let mut bytes = key.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_names_and_any_value_are_kept() {
        for key in ["region", "_x1", "Zone", "le_", "job_name"] {
            let label = StaticLabel::new(key, "eu \"1\"\n").unwrap();
            assert_eq!((label.key(), label.value()), (key, "eu \"1\"\n"));
        }
    }

    #[test]
    fn errors_say_which_rule_is_broken() {
        let error = |key: &str| StaticLabel::new(key, "x").unwrap_err().to_string();
        for key in ["", "1a", "a-b", "a:b", "é"] {
            assert_eq!(
                error(key),
                format!(
                    "the static label {key:?} is no label name; allowed is a letter or `_`, then \
                     letters, digits or `_`"
                )
            );
        }
        assert_eq!(
            error("__name__"),
            "the static label \"__name__\" starts with `__`, which Prometheus keeps for itself; \
             allowed are names that do not"
        );
        for key in SET_BY_PROMETHEUS {
            assert_eq!(
                error(key),
                format!(
                    "the static label {key:?} is one that Prometheus sets; allowed is any name \
                     but le, quantile, job, instance"
                )
            );
        }
        for key in catalogue_labels() {
            let error = error(key);
            assert!(error.contains("is a label of a metric family"), "{error}");
            assert!(error.contains("but backend, block_size, code, direction, domain,"), "{error}");
        }
    }
}
