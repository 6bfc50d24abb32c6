//! What stands on the page of somebody else, and on ours as it is.

/// A family of another page, which no family of the catalogue is.
///
/// ```
/// # #[cfg(feature = "proxy")] {
/// use infermeter::engines::Page;
///
/// let page = b"# HELP tiny_cache Cells.\n# TYPE tiny_cache gauge\ntiny_cache 3\n";
/// let page = Page::parse(page).unwrap();
/// let family = &page.families()[0];
/// assert_eq!((&*family.name, family.help.as_deref()), ("tiny_cache", Some("Cells.")));
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct OtherFamily {
    /// Its whole name.
    pub name: Box<str>,
    /// What its page says that it is.
    pub kind: OtherKind,
    /// What its page says of it.
    pub help: Option<Box<str>>,
    /// Its samples, in the order of its page, each once.
    pub samples: Vec<OtherSample>,
}

/// The word after `# TYPE`.
///
/// ```
/// use infermeter::record::OtherKind;
///
/// assert_eq!(OtherKind::Summary.as_str(), "summary");
/// # #[cfg(feature = "proxy")] {
/// # use infermeter::engines::Page;
/// let page = Page::parse(b"tiny_cache 3\n").unwrap();
/// assert_eq!(page.families()[0].kind, OtherKind::Untyped);
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OtherKind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Buckets, their sum and their number.
    Histogram,
    /// Quantiles, their sum and their number.
    Summary,
    /// Nothing is said of it.
    Untyped,
}

/// One line of a family.
///
/// ```
/// # #[cfg(feature = "proxy")] {
/// use infermeter::engines::Page;
///
/// let page = Page::parse(b"# TYPE tiny_cache gauge\ntiny_cache{rank=\"0\"} 3e2\n").unwrap();
/// let sample = &page.families()[0].samples[0];
/// assert_eq!((sample.label("rank"), sample.value, &*sample.text), (Some("0"), 300.0, "3e2"));
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct OtherSample {
    /// What stands behind the name of the family: `_bucket`, `_sum`, `_count` or nothing.
    pub suffix: &'static str,
    /// Names and values, not escaped.
    pub labels: Vec<(Box<str>, Box<str>)>,
    /// The number.
    pub value: f64,
    /// The number, as it is written.
    pub text: Box<str>,
}

// === impl OtherKind ===

impl OtherKind {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Summary => "summary",
            Self::Untyped => "untyped",
        }
    }
}

// === impl OtherSample ===

impl OtherSample {
    /// The value of a label.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(known, _)| &**known == name).map(|(_, value)| &**value)
    }
}
