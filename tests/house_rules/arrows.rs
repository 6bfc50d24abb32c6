//! Which module may use which.

use std::fs;

use crate::source::{Source, is_word};

/// A module uses modules of the groups before its own; those of one group do not use each other.
/// `docs/ARCHITECTURE.md` draws it.
const ARROWS: [&[&str]; 7] = [
    &["names", "outcome"],
    &["wire"],
    &["stream"],
    &["record"],
    &["engine", "gpu", "process", "upstream"],
    &["layer", "admission", "exporter", "engines"],
    &["proxy"],
];

/// Not modules of the library: its root, which names all others, and the build script.
const OUTSIDE: [&str; 2] = ["src/lib.rs", "src/build.rs"];

/// The binary is a crate of its own: it sees the library as its users do, and its `crate::` is not
/// the library's.
const BINARIES: &str = "src/bin/";

#[test]
fn modules_use_only_modules_to_their_left() {
    let example = |path, text| broken(&Source::new(path, text));
    let used = "use crate::{names, outcome::Phase};\nuse super::sse;\nmod a { use super::b; }";
    assert_eq!(example("src/stream/x.rs", used), [""; 0]);
    assert_eq!(example("src/stream/mod.rs", "use self::sse; // crate::record"), [""; 0]);
    assert_eq!(example("src/bin/x/main.rs", "use crate::arguments;"), [""; 0]);
    for (path, text, what) in [
        ("src/wire/x.rs", "\nuse crate::record::Meter;", "wire/x.rs:2: wire uses record;"),
        ("src/layer/mod.rs", "use super::exporter;", "layer/mod.rs:1: layer uses exporter;"),
        ("src/exporter/x.rs", "use crate::{record::Meter, layer};", "exporter uses layer;"),
        ("src/names/x.rs", "use super::super::{outcome::A};", "names uses outcome;"),
        ("src/wire/a/b.rs", "fn a() { super::super::super::layer::a() }", "wire uses layer;"),
        ("src/wire/x.rs", "mod a { use super::super::super::record::B; }", "wire uses record;"),
        ("src/wire/x.rs", "macro_rules! a { () => { $crate::layer::a() } }", "wire uses layer;"),
        // A name from the root hides which module it comes from.
        ("src/wire/x.rs", "use crate::Meter;", "wire uses Meter;"),
        ("src/wire/x.rs", "use crate::*;", "wire uses *;"),
        ("src/new/x.rs", "", "no place"),
    ] {
        let broken = example(path, text);
        assert!(broken.len() == 1 && broken[0].contains(what), "{what}: {broken:?}");
    }
    assert_eq!(
        example("src/stream/x.rs", "use crate::layer;"),
        ["src/stream/x.rs:1: stream uses layer; allowed are names, outcome, wire"]
    );
    super::hold(&["src"], broken);
}

#[test]
fn the_documentation_draws_the_same_arrows() {
    let group = |group: &&[&str]| match *group {
        // The last groups need braces to be read as one, the first does not.
        ["layer" | "engine", ..] => format!("{{ {} }}", group.join(", ")),
        _ => group.join(", "),
    };
    let drawn = ARROWS.iter().map(group).collect::<Vec<_>>().join("  ◄  ");
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/ARCHITECTURE.md");
    assert!(fs::read_to_string(path).unwrap().contains(&drawn), "{path} lacks {drawn:?}");
}

fn broken(source: &Source) -> Vec<String> {
    if OUTSIDE.contains(&source.path.as_str()) || source.path.starts_with(BINARIES) {
        return Vec::new();
    }
    let module = source.module()[0];
    let Some(group) = ARROWS.iter().position(|group| group.contains(&module)) else {
        let path = &source.path;
        return vec![format!("{path}: {module} has no place in the arrows: give it one here")];
    };
    let allowed: Vec<&str> = ARROWS[..group].concat();
    used(source)
        .into_iter()
        .filter(|(_, used)| *used != module && !allowed.contains(used))
        .map(|(at, used)| {
            let (place, allowed) = (source.place(at), allowed.join(", "));
            format!("{place}: {module} uses {used}; allowed are {allowed}")
        })
        .collect()
}

/// What a file names of the crate's root, and where.
fn used(source: &Source) -> Vec<(usize, &str)> {
    let mut all = Vec::new();
    for start in ["crate::", "super::"] {
        for (at, _) in source.code.match_indices(start) {
            // In the middle of a path that was followed from its start, or of another word.
            if source.code[..at].ends_with(|c| is_word(c) || c == ':') {
                continue;
            }
            let depth = match start {
                "crate::" => 0,
                _ => source.module().len() + source.inline_depth(at) - 1,
            };
            let mut found = Vec::new();
            follow(&source.code[at + start.len()..], depth, &mut found);
            all.extend(found.into_iter().map(|name| (at, name)));
        }
    }
    all
}

/// Follows a path, or each path of a group, from a module at `depth` up to the root.
fn follow<'a>(path: &'a str, depth: usize, found: &mut Vec<&'a str>) {
    let path = path.trim_start();
    if let Some(group) = path.strip_prefix('{') {
        for path in branches(group) {
            follow(path, depth, found);
        }
    } else if let (Some(path), 1..) = (path.strip_prefix("super::"), depth) {
        follow(path, depth - 1, found);
    } else if depth == 0 {
        let end = path.find(|c| !is_word(c)).unwrap_or(path.len());
        found.push(&path[..end.max(1)]);
    }
}

/// The parts of `a, b::{c, d}, e}…` that commas of the outermost group divide.
fn branches(group: &str) -> Vec<&str> {
    let (mut depth, mut start, mut parts) = (0_usize, 0, Vec::new());
    for (i, byte) in group.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b',' | b'}' if depth == 0 => {
                parts.push(&group[start..i]);
                start = i + 1;
                if byte == b'}' {
                    break;
                }
            }
            b'}' => depth -= 1,
            _ => {}
        }
    }
    // After the last comma there may be nothing.
    parts.retain(|part| !part.trim().is_empty());
    parts
}
