//! `docs/metrics.md` is what the catalogue says.

use std::{fs, path::Path};

#[test]
fn docs_are_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
    let expected = infermeter::names::markdown();
    if std::env::var("UPDATE_DOCS").is_ok_and(|value| value == "1") {
        fs::write(&path, &expected).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    // Not assert_eq: two whole pages in the output would hide the one line that helps.
    let differs = (1..)
        .zip(expected.lines())
        .find(|(number, line)| found.lines().nth(number - 1) != Some(line));
    assert!(
        found == expected,
        "docs/metrics.md differs from the catalogue (first at {differs:?}); \
         write it anew with: UPDATE_DOCS=1 cargo test --test metrics_doc"
    );
}
