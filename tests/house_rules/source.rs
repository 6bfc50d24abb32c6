//! A source file, split into what is code and what is only text.

use std::{
    fs,
    ops::Range,
    path::{Path, PathBuf},
};

/// One Rust file.
pub(crate) struct Source {
    /// From the package root, with `/`.
    pub(crate) path: String,
    /// The file with blanks for comments, for the insides of literals and for all that is not
    /// ASCII: one byte for each character, so that offsets and lines are those of the file.
    pub(crate) code: String,
    /// Every string literal, and where in `code` it starts.
    pub(crate) strings: Vec<(usize, String)>,
}

// === impl Source ===

impl Source {
    /// Every Rust file below some folders of the package; the order is that of the paths.
    pub(crate) fn all(folders: &[&str]) -> Vec<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut paths = Vec::new();
        for folder in folders.iter().map(|folder| root.join(folder)).filter(|path| path.exists()) {
            collect(&folder, &mut paths);
        }
        paths.sort();
        let read = |path: &PathBuf| {
            let inside: Vec<_> = path.strip_prefix(root).unwrap().iter().collect();
            let inside: Vec<_> = inside.iter().map(|part| part.to_str().unwrap()).collect();
            Self::new(&inside.join("/"), &fs::read_to_string(path).unwrap())
        };
        paths.iter().map(read).collect()
    }

    pub(crate) fn new(path: &str, text: &str) -> Self {
        let mut lexer = Lexer { text: text.chars().collect(), at: 0, code: String::new() };
        let mut strings = Vec::new();
        while lexer.at < lexer.text.len() {
            let start = lexer.at;
            if lexer.comment() || lexer.character() {
            } else if let Some(string) = lexer.string() {
                strings.push((start, string));
            } else {
                lexer.keep(1);
            }
        }
        Self { path: path.to_owned(), code: lexer.code, strings }
    }

    pub(crate) fn lines(&self) -> usize {
        self.code.lines().count()
    }

    /// `src/x.rs:12`, as editors and terminals understand it.
    pub(crate) fn place(&self, offset: usize) -> String {
        let line = 1 + self.code[..offset].matches('\n').count();
        format!("{}:{line}", self.path)
    }

    /// The modules that the file is inside of: `["stream", "sse"]` for `src/stream/sse.rs`.
    pub(crate) fn module(&self) -> Vec<&str> {
        let path = self.path.strip_prefix("src/").unwrap_or(&self.path);
        let path = path.strip_suffix(".rs").unwrap_or(path);
        let mut module: Vec<&str> = path.split('/').collect();
        if module.last().is_some_and(|last| ["mod", "lib"].contains(last)) {
            module.pop();
        }
        module
    }

    /// Where there are items under `#[cfg(test)]`.
    pub(crate) fn tests(&self) -> Vec<Range<usize>> {
        let starts = self.code.match_indices("#[cfg(test)]").map(|(start, _)| start);
        starts.map(|start| start..self.item_end(start)).collect()
    }

    /// How many `mod name { … }` an offset is inside of.
    pub(crate) fn inline_depth(&self, offset: usize) -> usize {
        let mut open = Vec::new();
        for (i, byte) in self.code[..offset].bytes().enumerate() {
            if byte == b'{' {
                open.push(self.code[..i].split_whitespace().rev().nth(1) == Some("mod"));
            } else if byte == b'}' {
                open.pop();
            }
        }
        open.into_iter().filter(|is_module| *is_module).count()
    }

    /// Where the item ends that starts at an offset: with `;`, or with the brace that it opens.
    fn item_end(&self, start: usize) -> usize {
        let mut depth = 0_usize;
        for (i, byte) in self.code.bytes().enumerate().skip(start) {
            match byte {
                b'{' => depth += 1,
                b'}' if depth <= 1 => return i + 1,
                b'}' => depth -= 1,
                b';' if depth == 0 => return i + 1,
                _ => {}
            }
        }
        self.code.len()
    }
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
}

/// Knows just enough of Rust to tell code from comments and literals.
struct Lexer {
    text: Vec<char>,
    at: usize,
    code: String,
}

// === impl Lexer ===

impl Lexer {
    /// Steps over a comment, nested ones included.
    fn comment(&mut self) -> bool {
        let start = self.at;
        if self.looking_at("//") {
            while self.at < self.text.len() && self.text[self.at] != '\n' {
                self.blank(1);
            }
        } else if self.looking_at("/*") {
            let mut depth = 0_usize;
            while self.at < self.text.len() {
                if self.looking_at("/*") {
                    depth += 1;
                    self.blank(2);
                } else if self.looking_at("*/") {
                    depth -= 1;
                    self.blank(2);
                    if depth == 0 {
                        break;
                    }
                } else {
                    self.blank(1);
                }
            }
        }
        self.at > start
    }

    /// Steps over `'x'` or `'\n'`, but not over a lifetime.
    fn character(&mut self) -> bool {
        if !self.looking_at("'") {
            return false;
        }
        let after = &self.text[self.at + 1..];
        let length = match after {
            ['\\', _, rest @ ..] => rest.iter().position(|c| *c == '\'').map(|end| end + 4),
            [_, '\'', ..] => Some(3),
            _ => None,
        };
        self.blank(length.unwrap_or(0));
        length.is_some()
    }

    /// Steps over a string literal of whatever kind, and gives its inside as it is written.
    fn string(&mut self) -> Option<String> {
        let goes_on_a_word = self.at > 0 && is_word(self.text[self.at - 1]);
        let rest = &self.text[self.at..];
        let prefix = rest.iter().take_while(|c| ['b', 'c', 'r'].contains(c)).count();
        let is_raw = prefix > 0 && rest[prefix - 1] == 'r';
        let hashes = rest[prefix..].iter().take_while(|c| **c == '#').count();
        let is_string = rest.get(prefix + hashes) == Some(&'"')
            && (is_raw || hashes == 0)
            && !(goes_on_a_word && prefix > 0);
        if !is_string {
            return None;
        }
        self.keep(prefix + hashes + 1);
        let start = self.at;
        let mut end: Vec<char> = vec!['"'];
        end.extend(std::iter::repeat_n('#', hashes));
        while self.at < self.text.len() && !self.text[self.at..].starts_with(&end) {
            let is_escape = !is_raw && self.text[self.at] == '\\';
            self.blank(if is_escape { 2 } else { 1 });
        }
        let inside = self.text[start..self.at].iter().collect();
        self.keep(end.len());
        Some(inside)
    }

    fn looking_at(&self, word: &str) -> bool {
        let mut here = self.text[self.at..].iter();
        word.chars().all(|c| here.next() == Some(&c))
    }

    fn keep(&mut self, length: usize) {
        self.step(length, |c| if c.is_ascii() { c } else { ' ' });
    }

    fn blank(&mut self, length: usize) {
        self.step(length, |c| if c == '\n' { c } else { ' ' });
    }

    fn step(&mut self, length: usize, seen_as: impl Fn(char) -> char) {
        let end = (self.at + length).min(self.text.len());
        self.code.extend(self.text[self.at..end].iter().map(|c| seen_as(*c)));
        self.at = end;
    }
}

pub(crate) fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

#[test]
fn code_is_told_from_text() {
    let text = r####"
// crate::a "x"
/* crate::b /* nested */ "y" */
const A: &str = "one \" // two"; // "not this"
const B: &[u8] = br#"raw " \"#;
const C: (char, &'static str) = ('"', "é");
#[cfg(test)]
mod tests { fn f() { "in a test"; } }
fn r#type<'a>(x: &'a str) { "last"; }
"####;
    let source = Source::new("src/stream/sse.rs", text);
    assert_eq!(source.code.len(), text.chars().count());
    assert!(!source.code.contains("crate::") && source.code.contains("fn r#type<'a>(x: &'a str)"));
    let strings: Vec<&str> = source.strings.iter().map(|(_, string)| string.as_str()).collect();
    assert_eq!(strings, [r#"one \" // two"#, "raw \" \\", "é", "in a test", "last"]);
    let [tests] = &source.tests()[..] else { panic!("{:?}", source.tests()) };
    assert!(tests.contains(&source.strings[3].0) && !tests.contains(&source.strings[4].0));
    assert_eq!(source.inline_depth(source.strings[3].0), 1);
    assert_eq!(source.inline_depth(source.strings[4].0), 0);
    assert_eq!(source.place(source.strings[2].0), "src/stream/sse.rs:6");
    assert_eq!(source.module(), ["stream", "sse"]);
    assert_eq!(Source::new("src/wire/openai/mod.rs", "").module(), ["wire", "openai"]);
}
