//! How families are called on a page: the prefix, and whether vLLM's names stand beside ours.

use std::{borrow::Cow, error, fmt};

use super::Family;

/// The prefix of the prefixed families, and whether aliases are published.
///
/// The default is [`Naming::vllm`]. Families named `infermeter_*` and `process_*` keep their
/// name under any naming.
///
/// ```
/// use infermeter::names::{Naming, REQUEST_TOTAL, REQUESTS_TOTAL};
///
/// let naming = Naming::prefix("acme_").unwrap();
/// assert_eq!(naming.name(&REQUEST_TOTAL), "acme_request_total");
/// assert_eq!(naming.name(&REQUESTS_TOTAL), "infermeter_requests_total");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Naming {
    prefix: Cow<'static, str>,
    aliases: bool,
}

/// A prefix that cannot be used; the message says why and what is allowed.
///
/// ```
/// use infermeter::names::Naming;
///
/// let error = Naming::prefix("my-llm_").unwrap_err();
/// assert!(error.to_string().starts_with(r#"the metric prefix "my-llm_" has '-' as character 3"#));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamingError {
    given: String,
    problem: Problem,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Problem {
    Empty,
    Character { found: char, position: usize },
    Reserved,
}

const VLLM: &str = "vllm:";
const NEUTRAL: &str = "llm_";

/// The families that never carry a prefix all start so.
const OWN: &str = "infermeter_";

// === impl Naming ===

impl Naming {
    /// `vllm:`, with aliases: what is made for vLLM's dashboards and autoscalers works unchanged.
    pub const fn vllm() -> Self {
        Self { prefix: Cow::Borrowed(VLLM), aliases: true }
    }

    /// `llm_`, without aliases.
    pub const fn neutral() -> Self {
        Self { prefix: Cow::Borrowed(NEUTRAL), aliases: false }
    }

    /// A prefix of your own, without aliases; exactly `vllm:` is [`Naming::vllm`].
    ///
    /// # Errors
    ///
    /// If the prefix is empty, is not the start of a Prometheus metric name
    /// (`[a-zA-Z_:][a-zA-Z0-9_:]*`), or starts with `infermeter_`, where a prefixed family could
    /// meet one that never carries the prefix.
    pub fn prefix(prefix: impl Into<String>) -> Result<Self, NamingError> {
        let prefix = prefix.into();
        match problem_of(&prefix) {
            Some(problem) => Err(NamingError { given: prefix, problem }),
            None => Ok(Self { aliases: prefix == VLLM, prefix: Cow::Owned(prefix) }),
        }
    }

    /// The same prefix, and each quantity under one name only.
    #[must_use]
    pub fn without_aliases(self) -> Self {
        Self { aliases: false, ..self }
    }

    /// The full name of a family.
    pub fn name(&self, family: &Family) -> String {
        if family.prefixed { self.with_prefix(family.name) } else { family.name.to_owned() }
    }

    /// The full second name of a family, where it has one and this naming publishes it.
    pub fn alias(&self, family: &Family) -> Option<String> {
        let alias = family.alias.filter(|_| self.aliases)?;
        Some(self.with_prefix(alias))
    }

    fn with_prefix(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }
}

impl Default for Naming {
    fn default() -> Self {
        Self::vllm()
    }
}

// === impl NamingError ===

impl fmt::Display for NamingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const ALLOWED: &str =
            "a letter, `_` or `:`, then letters, digits, `_` or `:`, such as `llm_` or `vllm:`";

        let Self { given, problem } = self;
        match problem {
            Problem::Empty => write!(f, "the metric prefix is empty; allowed is {ALLOWED}"),
            Problem::Character { found, position } => write!(
                f,
                "the metric prefix {given:?} has {found:?} as character {position}; \
                 allowed is {ALLOWED}"
            ),
            Problem::Reserved => write!(
                f,
                "the metric prefix {given:?} starts with `{OWN}`, which is kept for families that \
                 never carry a prefix; allowed is any other start, such as `llm_` or `vllm:`"
            ),
        }
    }
}

impl error::Error for NamingError {}

fn problem_of(prefix: &str) -> Option<Problem> {
    if prefix.is_empty() {
        return Some(Problem::Empty);
    }
    let wrong = |(index, c): &(usize, char)| {
        let digit_inside = *index > 0 && c.is_ascii_digit();
        !(c.is_ascii_alphabetic() || matches!(c, '_' | ':') || digit_inside)
    };
    if let Some((index, found)) = prefix.chars().enumerate().find(wrong) {
        let position = index + 1;
        return Some(Problem::Character { found, position });
    }
    prefix.starts_with(OWN).then_some(Problem::Reserved)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::{REQUEST_TOTAL, REQUESTS_TOTAL, TIME_IN_QUEUE_SECONDS};

    #[test]
    fn only_prefixed_families_get_the_prefix() {
        let naming = Naming::prefix("acme:llm2_").unwrap();
        assert_eq!(naming.name(&REQUEST_TOTAL), "acme:llm2_request_total");
        assert_eq!(naming.name(&REQUESTS_TOTAL), "infermeter_requests_total");
    }

    #[test]
    fn aliases_stand_under_vllms_prefix_only() {
        let alias = |naming: Naming| naming.alias(&TIME_IN_QUEUE_SECONDS);
        let expected = Some("vllm:request_queue_time_seconds".to_owned());
        assert_eq!(alias(Naming::default()), expected);
        assert_eq!(alias(Naming::prefix("vllm:").unwrap()), expected);
        assert_eq!(alias(Naming::vllm().without_aliases()), None);
        assert_eq!(alias(Naming::neutral()), None);
        assert_eq!(alias(Naming::prefix("vllm_").unwrap()), None);
        assert_eq!(Naming::vllm().alias(&REQUEST_TOTAL), None);
    }

    #[test]
    fn errors_say_what_is_wrong_and_what_is_allowed() {
        let error = |prefix: &str| Naming::prefix(prefix).unwrap_err().to_string();
        let name = "a letter, `_` or `:`, then letters, digits, `_` or `:`";
        let allowed = format!("allowed is {name}, such as `llm_` or `vllm:`");
        assert_eq!(error(""), format!("the metric prefix is empty; {allowed}"));
        assert_eq!(
            error("9x_"),
            format!("the metric prefix \"9x_\" has '9' as character 1; {allowed}")
        );
        assert_eq!(
            error("my-llm_"),
            format!("the metric prefix \"my-llm_\" has '-' as character 3; {allowed}")
        );
        assert_eq!(
            error("infermeter_"),
            "the metric prefix \"infermeter_\" starts with `infermeter_`, which is kept for \
             families that never carry a prefix; allowed is any other start, such as `llm_` or \
             `vllm:`"
        );
        assert!(error("é_").contains("character 1"));
    }
}
