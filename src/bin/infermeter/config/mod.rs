//! The file of `infermeter proxy --config`: the upstreams, and nothing else.

mod file;
mod flaws;
#[cfg(test)]
mod tests;
mod upstream;

use std::{fs, path::Path};

pub(crate) use self::{flaws::Flaws, upstream::Upstream};

/// What a file says.
#[derive(Debug)]
pub(crate) struct Config {
    /// In the order of the file; there is one at least.
    pub(crate) upstreams: Vec<Upstream>,
}

// === impl Config ===

impl Config {
    /// Reads a file; the error has all that is wrong with it, and what is allowed.
    pub(crate) fn read(path: &Path) -> Result<Self, Flaws> {
        let wrong = |what: String| Flaws::of_all(format!("{}: {what}", path.display()));
        let bytes = fs::read(path)
            .map_err(|error| wrong(format!("{error}; allowed is a file that can be read")))?;
        let text = String::from_utf8(bytes)
            .map_err(|_| wrong("it is not text; allowed is TOML in UTF-8".to_owned()))?;
        file::read(path, &text)
    }
}
