//! What users record by the `metrics` macros.

use std::collections::HashSet;

/// Their families without those in `taken`, and each once: a scraper refuses the whole page where
/// a family stands twice.
///
/// NB: the recorder lets a counter and a gauge have the same name.
pub(super) fn each_once(users: &str, mut taken: HashSet<String>) -> String {
    // An empty line ends each family.
    let families = users.split_inclusive("\n\n");
    families.filter(|family| taken.insert(name_of(family).to_owned())).collect()
}

/// Of `# HELP name …` or `# TYPE name …`, whichever is first.
fn name_of(family: &str) -> &str {
    family.split(' ').nth(2).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_stands_once() {
        let a = "# TYPE a counter\na{b=\"c d\"} 1\na 2\n\n";
        let taken = "# HELP taken # TYPE a gauge\n# TYPE taken gauge\ntaken{x=\"\\n\\n\"} 1\n\n";
        let b = "# HELP b It is\\n\\nb.\n# TYPE b summary\nb_sum 1\nb_count 1\n\n";
        let again = "# TYPE a gauge\na 7\n\n";
        let users = [a, taken, b, again].concat();
        assert_eq!(each_once(&users, HashSet::from(["taken".to_owned()])), [a, b].concat());
        assert_eq!(each_once("", HashSet::new()), "");
    }
}
