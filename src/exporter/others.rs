//! Families of other pages, as their pages have them.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::text::{push_head, push_label};
use crate::{
    names::{StaticLabel, UPSTREAM_LABELS},
    record::{OtherFamily, OtherKind, OtherReadings, OtherSample},
};

/// Behind a name, these make it that of a line of a summary or a histogram, to some readers.
const PARTS: [&str; 4] = ["_bucket", "_sum", "_count", "_created"];

/// Those families none of whose names is taken, and how many series they have. Those of several
/// upstreams are one where they have one name and are of one kind. Static labels stand on them as on
/// all others, but for one that a sample has of its own.
pub(super) fn render(
    others: &[OtherReadings],
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
    let mut by_name: HashMap<&str, Vec<&OtherReadings>> = HashMap::new();
    for other in others {
        by_name.entry(&other.family.name).or_default().push(other);
    }
    for other in others {
        let OtherFamily { name, kind, help, samples } = &*other.family;
        let names = names_of(name, *kind);
        if samples.is_empty() || names.iter().any(|name| taken.contains(name)) {
            continue;
        }
        taken.extend(names);
        push_head(&mut page, name, help.as_deref(), kind.as_str());
        let same_name = by_name.get(&**name).map_or(&[][..], Vec::as_slice);
        for OtherReadings { family, upstream, .. } in together(other, same_name) {
            for sample in &family.samples {
                push_sample(&mut page, name, sample, upstream.as_ref(), labels);
            }
            series += family.samples.len();
        }
    }
    (page, series)
}

/// A family, and those of its name and kind that other upstreams have, one of each.
///
/// NB: two of one upstream, or of none, may have the same series.
fn together<'a>(
    first: &'a OtherReadings,
    same_name: &[&'a OtherReadings],
) -> impl Iterator<Item = &'a OtherReadings> {
    let mut seen: HashSet<_> = first.upstream.iter().collect();
    let more = same_name.iter().copied().filter(move |other| {
        let is_like_it = first.upstream.is_some() && other.family.kind == first.family.kind;
        is_like_it && other.upstream.as_ref().is_some_and(|upstream| seen.insert(upstream))
    });
    [first].into_iter().chain(more)
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

fn push_sample(
    page: &mut String,
    name: &str,
    sample: &OtherSample,
    upstream: Option<&[Arc<str>; 2]>,
    ours: &[StaticLabel],
) {
    let (mut text, mut taken) = (String::new(), Vec::new());
    let is_upstreams = |key: &str| upstream.is_some() && UPSTREAM_LABELS.contains(&key);
    for (key, value) in &sample.labels {
        let mut name = Cow::Borrowed(&**key);
        // NB: as Prometheus does it. Left out, two series could become one.
        while is_upstreams(&name) || (name != **key && sample.label(&name).is_some()) {
            name = format!("exported_{name}").into();
        }
        push_label(&mut text, &name, value);
        taken.push(name);
    }
    for (key, value) in UPSTREAM_LABELS.iter().zip(upstream.into_iter().flatten()) {
        push_label(&mut text, key, value);
    }
    let is_free = |key: &str| !is_upstreams(key) && !taken.iter().any(|name| name == key);
    for label in ours.iter().filter(|label| is_free(label.key())) {
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
