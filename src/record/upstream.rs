//! Where requests are sent on to, where there are several places.

use std::{
    collections::HashMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

use super::{
    collect::{FamilyReadings, OtherReadings, Readings, Series},
    model::{ModelId, OTHER},
    owners::Owners,
};
use crate::names::label;

/// How many upstreams are told apart; those beyond are [`OTHER`].
const MOST_UPSTREAMS: usize = 62;

/// How many rows of models there are at most: of no upstream, of each, and of [`OTHER`].
pub(super) const MOST_ROWS: usize = MOST_UPSTREAMS + 2;

/// The label of what belongs to no upstream, and of an upstream without a variant.
const NONE: &str = "none";

/// The upstreams of a meter, of which the first is none.
#[derive(Debug)]
pub(super) struct Upstreams {
    none: Arc<Upstream>,
    named: RwLock<Vec<Arc<Upstream>>>,
    /// Whether they stand on series.
    are_told: AtomicBool,
    overflow: AtomicU64,
}

/// One of them, or none.
#[derive(Debug)]
pub(crate) struct Upstream {
    /// Its row in the tables of models.
    pub(super) row: usize,
    /// `upstream` and `variant`.
    pub(super) labels: [Arc<str>; 2],
    /// The places of its models.
    pub(super) ids: RwLock<HashMap<Arc<str>, ModelId>>,
    pub(super) owners: Owners,
}

// === impl Upstreams ===

impl Default for Upstreams {
    fn default() -> Self {
        Self {
            none: Arc::new(Upstream::new(0, NONE, NONE)),
            named: RwLock::default(),
            are_told: AtomicBool::new(false),
            overflow: AtomicU64::new(0),
        }
    }
}

impl Upstreams {
    pub(super) fn none(&self) -> &Arc<Upstream> {
        &self.none
    }

    /// An upstream, made if there is room for it. From here on they stand on series.
    pub(super) fn named(&self, name: &str, variant: Option<&str>) -> Arc<Upstream> {
        self.are_told.store(true, Relaxed);
        let or_none = |label: Option<&str>| match label {
            // To Prometheus an empty label is none at all.
            None | Some("") => NONE.to_owned(),
            Some(label) => label.to_owned(),
        };
        let (name, variant) = (or_none(Some(name)), or_none(variant));
        if name == NONE && variant == NONE {
            return Arc::clone(&self.none);
        }
        let mut all = self.named.write().unwrap_or_else(PoisonError::into_inner);
        let is_other = |name: &str, variant: &str| name == OTHER && variant == NONE;
        let find = |all: &[Arc<Upstream>], name: &str, variant: &str| {
            let is_it = |known: &&Arc<Upstream>| known.is(name, variant);
            all.iter().find(is_it).cloned()
        };
        if let Some(known) = find(&all, &name, &variant) {
            return known;
        }
        // NB: `other` takes no place from the named ones.
        let named = all.iter().filter(|known| !known.is(OTHER, NONE)).count();
        let is_full = named >= MOST_UPSTREAMS && !is_other(&name, &variant);
        let (name, variant) = if is_full {
            self.overflow.fetch_add(1, Relaxed);
            (OTHER.to_owned(), NONE.to_owned())
        } else {
            (name, variant)
        };
        if let Some(known) = find(&all, &name, &variant) {
            return known;
        }
        let new = Arc::new(Upstream::new(all.len() + 1, &name, &variant));
        all.push(Arc::clone(&new));
        new
    }

    /// Whether they stand on series.
    pub(super) fn are_told(&self) -> bool {
        self.are_told.load(Relaxed)
    }

    pub(super) fn overflow(&self) -> u64 {
        self.overflow.load(Relaxed)
    }
}

// === impl Upstream ===

impl Upstream {
    fn new(row: usize, name: &str, variant: &str) -> Self {
        let labels = [name, variant].map(Arc::from);
        Self { row, labels, ids: RwLock::default(), owners: Owners::default() }
    }

    fn is(&self, name: &str, variant: &str) -> bool {
        let [known_name, known_variant] = &self.labels;
        **known_name == *name && **known_variant == *variant
    }

    /// Whether it is one.
    pub(super) const fn is_some(&self) -> bool {
        self.row > 0
    }

    /// The name of a source of it on series, which no other source has.
    pub(super) fn source_label(&self, name: &str, is_taken: impl Fn(&str) -> bool) -> String {
        let [upstream, variant] = &self.labels;
        let short = if self.is_some() { format!("{name}:{upstream}") } else { name.to_owned() };
        if is_taken(&short) { format!("{short}:{variant}") } else { short }
    }

    /// Adds what a source of it tells: of an upstream, every series carries its labels.
    pub(super) fn tell(&self, told: &Readings, upstreams_are_told: bool, out: &mut Readings) {
        for FamilyReadings { family, series } in &told.families {
            let has_model = family.labels.contains(&label::MODEL_NAME);
            let carries = self.is_some() || (upstreams_are_told && has_model);
            let own = if carries { &self.labels[..] } else { &[] };
            out.family(family);
            for Series { labels, value } in series {
                out.push(family, labels.iter().chain(own).cloned(), value.clone());
            }
        }
        let upstream = self.is_some().then_some(&self.labels);
        out.others.extend(told.others.iter().map(|other| {
            let family = Arc::clone(&other.family);
            OtherReadings { family, upstream: upstream.cloned() }
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_for_each_name_and_variant() {
        let upstreams = Upstreams::default();
        assert!(!upstreams.are_told());
        let a = upstreams.named("a", None);
        assert!(upstreams.are_told());
        let rows = [("a", None), ("a", Some("")), ("a", Some("x")), ("b", None), ("", None)];
        let rows = rows.map(|(name, variant)| upstreams.named(name, variant).row);
        assert_eq!((a.row, rows), (1, [1, 1, 2, 3, 0]));
        assert_eq!(upstreams.named("none", Some("none")).row, 0);
        assert_eq!(a.labels, ["a", "none"].map(Arc::from));
    }

    #[test]
    fn beyond_the_cap_is_other_and_counted() {
        let upstreams = Upstreams::default();
        let last = (0..MOST_UPSTREAMS).map(|n| upstreams.named(&n.to_string(), None)).last();
        assert_eq!(last.unwrap().row, MOST_UPSTREAMS);
        assert_eq!(upstreams.overflow(), 0);
        let beyond = ["x", "y"].map(|name| upstreams.named(name, Some("v")));
        for upstream in beyond {
            assert_eq!(upstream.labels, ["other", "none"].map(Arc::from));
            assert_eq!(upstream.row, MOST_ROWS - 1);
        }
        assert_eq!(upstreams.named("0", None).row, 1);
        assert_eq!(upstreams.overflow(), 2);
    }
}
