//! The lines of a page, put together to families.

use std::{
    collections::{HashMap, HashSet},
    fmt::Write as _,
    sync::Arc,
};

use super::{
    MOST_FAMILIES, MOST_SERIES, Page, PageError,
    line::{Comment, Sample, number, unescape},
};
use crate::record::{OtherFamily, OtherKind, OtherSample};

/// The lines so far. A family may be split, and its type stand behind its samples: whose a sample
/// is, is known at the end only.
#[derive(Debug, Default)]
pub(super) struct Families<'a> {
    types: HashMap<&'a str, Type>,
    helps: HashMap<&'a str, &'a str>,
    samples: Vec<Sample<'a>>,
    pub(super) skipped: usize,
}

/// The word after `# TYPE`, those of OpenMetrics included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    Counter,
    Gauge,
    Histogram,
    Info,
    Summary,
    Untyped,
    /// One that the text format has no word for.
    Foreign,
}

/// Where a sample belongs.
enum Place<'a> {
    /// The name of the family, what it is, and what the name of the sample has behind that.
    In(&'a str, OtherKind, &'static str),
    /// When something was made: nobody needs that.
    Created,
    Nowhere,
}

/// A family in the making.
struct Making<'a> {
    name: &'a str,
    kind: OtherKind,
    samples: Vec<OtherSample>,
    seen: HashSet<String>,
}

// === impl Families ===

impl<'a> Families<'a> {
    pub(super) fn line(&mut self, line: &'a str) -> Result<(), PageError> {
        let line = line.trim_matches([' ', '\t', '\r']);
        if let Some(comment) = line.strip_prefix('#') {
            // NB: the first one counts. What else a `#` begins are remarks.
            match Comment::parse(comment) {
                Some(Comment::Help(name, help)) => {
                    self.helps.entry(name).or_insert(help);
                }
                Some(Comment::Type(name, word)) => match Type::parse(word) {
                    Some(kind) => {
                        self.types.entry(name).or_insert(kind);
                    }
                    None => self.skipped += 1,
                },
                None => {}
            }
        } else if let Some(sample) = Sample::parse(line) {
            self.samples.push(sample);
        } else if !line.is_empty() {
            self.skipped += 1;
        }
        if self.samples.len() > MOST_SERIES {
            return Err(PageError::TooManySeries);
        }
        let is_few = self.types.len().max(self.helps.len()) <= MOST_FAMILIES;
        if is_few { Ok(()) } else { Err(PageError::TooManyFamilies) }
    }

    pub(super) fn page(mut self) -> Result<Page, PageError> {
        let mut places: HashMap<&str, usize> = HashMap::new();
        let mut all: Vec<Making<'_>> = Vec::new();
        for sample in std::mem::take(&mut self.samples) {
            let (name, kind, suffix) = match self.place(sample.name) {
                Place::In(name, kind, suffix) if fits(kind, suffix, &sample) => {
                    (name, kind, suffix)
                }
                Place::Created => continue,
                Place::In(..) | Place::Nowhere => {
                    self.skipped += 1;
                    continue;
                }
            };
            let place = *places.entry(name).or_insert_with(|| {
                all.push(Making { name, kind, samples: Vec::new(), seen: HashSet::new() });
                all.len() - 1
            });
            if all.len() > MOST_FAMILIES {
                return Err(PageError::TooManyFamilies);
            }
            self.skipped += usize::from(!all[place].add(suffix, sample));
        }
        let families = all.into_iter().map(|making| {
            let Making { name, kind, samples, .. } = making;
            let help = self.helps.get(name).or_else(|| self.helps.get(base_of(name)));
            let help = help.map(|help| unescape(help).into());
            Arc::new(OtherFamily { name: name.into(), kind, help, samples })
        });
        Ok(Page { families: families.collect(), skipped: self.skipped })
    }

    fn place(&self, name: &'a str) -> Place<'a> {
        let is = |name: &str, kind: Type| self.types.get(name) == Some(&kind);
        if let Some(base) = name.strip_suffix("_created") {
            let counter = format!("{base}_total");
            let is_made = [Type::Counter, Type::Histogram, Type::Summary, Type::Foreign];
            if is_made.iter().any(|kind| is(base, *kind)) || is(&counter, Type::Counter) {
                return Place::Created;
            }
        }
        match self.types.get(name) {
            Some(Type::Counter) => return Place::In(name, OtherKind::Counter, ""),
            Some(Type::Gauge | Type::Info) => return Place::In(name, OtherKind::Gauge, ""),
            Some(Type::Summary) => return Place::In(name, OtherKind::Summary, ""),
            Some(Type::Untyped) => return Place::In(name, OtherKind::Untyped, ""),
            Some(Type::Histogram | Type::Foreign) => return Place::Nowhere,
            None => {}
        }
        for suffix in ["_bucket", "_sum", "_count", "_gsum", "_gcount"] {
            let Some(base) = name.strip_suffix(suffix) else { continue };
            match self.types.get(base) {
                Some(Type::Histogram) => return Place::In(base, OtherKind::Histogram, suffix),
                Some(Type::Summary) => return Place::In(base, OtherKind::Summary, suffix),
                Some(Type::Foreign) => return Place::Nowhere,
                _ => {}
            }
        }
        // As OpenMetrics names them.
        let base = base_of(name);
        if name.ends_with("_total") && is(base, Type::Counter) {
            return Place::In(name, OtherKind::Counter, "");
        }
        if name.ends_with("_info") && is(base, Type::Info) {
            return Place::In(name, OtherKind::Gauge, "");
        }
        Place::In(name, OtherKind::Untyped, "")
    }
}

// === impl Type ===

impl Type {
    fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "counter" => Self::Counter,
            "gauge" | "stateset" => Self::Gauge,
            "histogram" => Self::Histogram,
            "info" => Self::Info,
            "summary" => Self::Summary,
            "unknown" | "untyped" => Self::Untyped,
            "gaugehistogram" => Self::Foreign,
            _ => return None,
        })
    }
}

// === impl Making ===

impl Making<'_> {
    /// Says whether it is a new series.
    fn add(&mut self, suffix: &'static str, sample: Sample<'_>) -> bool {
        let Sample { mut labels, value, text, .. } = sample;
        let labels_as_told: Vec<_> =
            labels.iter().map(|(name, value)| (Box::from(*name), Box::from(&**value))).collect();
        labels.sort_unstable();
        let mut key = suffix.to_owned();
        for (name, value) in &labels {
            // The same bound may be written in two ways.
            let bound = number(value).filter(|_| ["le", "quantile"].contains(name));
            // Writing into a String cannot fail.
            let _ = match bound {
                Some(bound) => write!(key, "{{{name}={bound:?}"),
                None => write!(key, "{{{name}={value:?}"),
            };
        }
        let is_new = self.seen.insert(key);
        if is_new {
            let text = text.into();
            self.samples.push(OtherSample { suffix, labels: labels_as_told, value, text });
        }
        is_new
    }
}

/// Whether a sample has the labels of its kind.
fn fits(kind: OtherKind, suffix: &str, sample: &Sample<'_>) -> bool {
    let has_bound = |label| {
        let bound = sample.label(label);
        bound.is_some_and(|bound| {
            // NB: what is too large for a number is an error to some parsers.
            let is_written = bound.to_ascii_lowercase().contains("inf");
            number(bound).is_some_and(|n| n.is_finite() || (is_written && !n.is_nan()))
        })
    };
    match (kind, suffix) {
        (OtherKind::Histogram, "_bucket") => has_bound("le"),
        (OtherKind::Histogram, "_sum" | "_count") => sample.label("le").is_none(),
        (OtherKind::Summary, "") => has_bound("quantile"),
        (OtherKind::Summary, "_sum" | "_count") => sample.label("quantile").is_none(),
        (OtherKind::Counter | OtherKind::Gauge | OtherKind::Untyped, "") => true,
        _ => false,
    }
}

/// The name without what OpenMetrics puts behind it.
fn base_of(name: &str) -> &str {
    name.strip_suffix("_total").or_else(|| name.strip_suffix("_info")).unwrap_or(name)
}
