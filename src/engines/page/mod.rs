//! A page in the text format, whoever wrote it.

mod families;
mod line;
#[cfg(test)]
mod tests;

use std::{error, fmt, sync::Arc};

use self::families::Families;
use crate::record::{OtherFamily, OtherKind, OtherSample};

/// The page of an engine, as far as it can be read: the Prometheus text format 0.0.4.
///
/// It is made of families that can be published again: each name once, each series once, and no
/// line that a parser would not take. What a page has beside that (comments, time stamps,
/// exemplars, `_created`, lines that are broken) is left out.
///
/// ```
/// use infermeter::engines::Page;
///
/// let page = Page::parse(b"# TYPE queue gauge\nqueue{model=\"tiny\"} 3\nqueue{model= 4\n").unwrap();
/// assert_eq!(page.families().len(), 1);
/// assert_eq!(page.families()[0].samples[0].label("model"), Some("tiny"));
/// assert_eq!(page.skipped(), 1);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    families: Vec<Arc<OtherFamily>>,
    skipped: usize,
}

/// A page that is too much; the message says of what, and how much is allowed.
///
/// ```
/// use infermeter::engines::{Page, PageError};
///
/// let page = vec![b'\n'; 10 * 1024 * 1024 + 1];
/// assert_eq!(Page::parse(&page), Err(PageError::TooLong));
/// assert!(PageError::TooLong.to_string().starts_with("the page is too long; allowed are"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PageError {
    /// Bytes.
    TooLong,
    /// Series.
    TooManySeries,
    /// Families.
    TooManyFamilies,
}

/// How many bytes a page may have.
pub(super) const LONGEST: usize = 10 * 1024 * 1024;

/// How many bytes a line may have; a longer one is left out.
const LONGEST_LINE: usize = 64 * 1024;

const MOST_SERIES: usize = 100_000;

const MOST_FAMILIES: usize = 10_000;

// === impl Page ===

impl Page {
    /// Reads a page.
    ///
    /// # Errors
    ///
    /// If it is too much. Whatever else is wrong with a line costs that line only.
    pub fn parse(page: &[u8]) -> Result<Self, PageError> {
        if page.len() > LONGEST {
            return Err(PageError::TooLong);
        }
        let mut families = Families::default();
        let mut rest = page;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let line = &rest[..end];
            rest = &rest[end + 1..];
            match std::str::from_utf8(line).ok().filter(|line| line.len() <= LONGEST_LINE) {
                Some(line) => families.line(line)?,
                None => families.skipped += 1,
            }
        }
        // Without its end a line may be the half of one.
        families.skipped += usize::from(!rest.trim_ascii().is_empty());
        families.page()
    }

    /// Its families, in the order in which it names them first, those without samples left out.
    pub fn families(&self) -> &[Arc<OtherFamily>] {
        &self.families
    }

    /// How many of its lines could not be read, or said again what another had said.
    pub const fn skipped(&self) -> usize {
        self.skipped
    }

    /// The family of a name.
    pub(super) fn family(&self, name: &str) -> Option<&OtherFamily> {
        self.families.iter().find(|family| &*family.name == name).map(|family| &**family)
    }

    /// The samples of a family of single numbers; none if there is no such family.
    pub(super) fn samples(&self, name: &str) -> &[OtherSample] {
        let is_single = |family: &&OtherFamily| {
            !matches!(family.kind, OtherKind::Histogram | OtherKind::Summary)
        };
        self.family(name).filter(is_single).map_or(&[], |family| &family.samples)
    }

    /// Whether a family is on it whose name starts so.
    pub(super) fn has(&self, start: &str) -> bool {
        self.families.iter().any(|family| family.name.starts_with(start))
    }
}

// === impl PageError ===

impl fmt::Display for PageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(f, "the page is too long; allowed are {LONGEST} bytes"),
            Self::TooManySeries => {
                write!(f, "the page has too many series; allowed are {MOST_SERIES}")
            }
            Self::TooManyFamilies => {
                write!(f, "the page has too many families; allowed are {MOST_FAMILIES}")
            }
        }
    }
}

impl error::Error for PageError {}
