//! Families of other pages, as their pages have them.

use std::{collections::HashSet, sync::Arc};

use super::text::{push_head, push_label};
use crate::{
    names::StaticLabel,
    record::{OtherFamily, OtherKind, OtherSample},
};

/// Behind a name, these make it that of a line of a summary or a histogram, to some readers.
const PARTS: [&str; 4] = ["_bucket", "_sum", "_count", "_created"];

/// Those families none of whose names is taken, and how many series they have. Static labels stand
/// on them as on all others, but for one that a sample has of its own.
pub(super) fn render(
    others: &[Arc<OtherFamily>],
    labels: &[StaticLabel],
    mut taken: HashSet<String>,
) -> (String, usize) {
    let more: Vec<_> = taken
        .iter()
        .flat_map(|name| {
            let counter = name.strip_suffix("_total").map(|_| OtherKind::Counter);
            let histogram = name.strip_suffix("_bucket").map(|name| (name, OtherKind::Histogram));
            let kind = counter.map(|kind| (&**name, kind)).or(histogram);
            kind.map(|(name, kind)| names_of(name, kind)).unwrap_or_default()
        })
        .collect();
    taken.extend(more);
    let (mut page, mut series) = (String::new(), 0);
    for other in others {
        let OtherFamily { name, kind, help, samples } = &**other;
        let names = names_of(name, *kind);
        if samples.is_empty() || names.iter().any(|name| taken.contains(name)) {
            continue;
        }
        taken.extend(names);
        push_head(&mut page, name, help.as_deref(), kind.as_str());
        for sample in samples {
            push_sample(&mut page, name, sample, labels);
        }
        series += samples.len();
    }
    (page, series)
}

/// The names that a page of the user's own metrics takes, beside those of its families.
pub(super) fn names_on(page: &str) -> impl Iterator<Item = String> {
    let families = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    families.flat_map(|(name, kind)| {
        let kind = match kind {
            "counter" => OtherKind::Counter,
            "histogram" => OtherKind::Histogram,
            "summary" => OtherKind::Summary,
            _ => OtherKind::Gauge,
        };
        names_of(name, kind)
    })
}

/// All that a reader takes for a name of the family.
fn names_of(name: &str, kind: OtherKind) -> Vec<String> {
    let mut names = vec![name.to_owned()];
    match kind {
        OtherKind::Histogram | OtherKind::Summary => {
            names.extend(PARTS.map(|part| format!("{name}{part}")));
        }
        // To OpenMetrics the family is called so.
        OtherKind::Counter => {
            let base = name.strip_suffix("_total").unwrap_or(name);
            names.extend([base.to_owned(), format!("{base}_created")]);
        }
        OtherKind::Gauge | OtherKind::Untyped => {}
    }
    names
}

fn push_sample(page: &mut String, name: &str, sample: &OtherSample, ours: &[StaticLabel]) {
    let mut text = String::new();
    for (key, value) in &sample.labels {
        push_label(&mut text, key, value);
    }
    for label in ours.iter().filter(|label| sample.label(label.key()).is_none()) {
        push_label(&mut text, label.key(), label.value());
    }
    page.push_str(name);
    page.push_str(sample.suffix);
    if !text.is_empty() {
        page.push('{');
        page.push_str(&text);
        page.push('}');
    }
    page.push(' ');
    page.push_str(&sample.text);
    page.push('\n');
}
