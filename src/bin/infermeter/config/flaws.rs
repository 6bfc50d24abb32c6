//! What is wrong with a file.

use std::{error::Error, fmt, ops::Range, path::Path};

/// All that is wrong with a file: a line for each, in the order of the file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Flaws(Vec<String>);

/// What was found so far.
#[derive(Debug)]
pub(super) struct Found<'a> {
    path: &'a Path,
    text: &'a str,
    flaws: Vec<(usize, String)>,
}

// === impl Found ===

impl<'a> Found<'a> {
    pub(super) const fn new(path: &'a Path, text: &'a str) -> Self {
        Self { path, text, flaws: Vec::new() }
    }

    /// Something is wrong at a place of the text.
    pub(super) fn push(&mut self, at: Range<usize>, what: impl Into<String>) {
        self.flaws.push((at.start, what.into()));
    }

    /// The line of a place.
    pub(super) fn line(&self, at: Range<usize>) -> usize {
        let before = self.text.as_bytes().get(..at.start).unwrap_or_default();
        1 + before.iter().filter(|byte| **byte == b'\n').count()
    }

    pub(super) fn are_any(&self) -> bool {
        !self.flaws.is_empty()
    }

    pub(super) fn into_flaws(mut self) -> Flaws {
        self.flaws.sort_by_key(|(at, _)| *at);
        let path = self.path.display();
        let line = |(at, what): &(usize, String)| format!("{path}:{}: {what}", self.line(*at..*at));
        Flaws(self.flaws.iter().map(line).collect())
    }
}

// === impl Flaws ===

impl Flaws {
    /// Of the file as a whole.
    pub(super) fn of_all(what: String) -> Self {
        Self(vec![what])
    }
}

impl fmt::Display for Flaws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl Error for Flaws {}
