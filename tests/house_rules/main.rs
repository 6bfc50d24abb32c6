//! The rules of this code base that a machine can hold. Each reads the sources or the manifest, and
//! is shown to fail once by an example that breaks it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]

mod arrows;
mod manifest;
mod source;

use infermeter::names::CATALOGUE;

use self::source::{Source, is_word};

/// One thing, one file: what is longer has more than one thing in it.
const MOST_LINES: usize = 400;

/// The raw calls of a library in C.
const UNSAFE: &str = "src/gpu/nvml/raw.rs";

// === Rules ===

/// Tests in the file count too: they are read with it.
#[test]
fn files_are_short() {
    fn broken(source: &Source) -> Vec<String> {
        let lines = source.lines();
        let message = || format!("{}: {lines} lines; allowed are {MOST_LINES}", source.path);
        (lines > MOST_LINES).then(message).into_iter().collect()
    }

    let example = |lines| broken(&Source::new("src/x.rs", &"\n".repeat(lines))).len();
    assert_eq!([example(401), example(400)], [1, 0]);
    hold(&["src"], broken);
}

/// A name that is written twice is one day changed once.
///
/// How engines call their own is written where each is read: those names are not ours to change,
/// also where they are the same.
#[test]
fn metric_names_stand_in_the_catalogue_only() {
    fn broken(source: &Source) -> Vec<String> {
        let module = source.module();
        if module.first() == Some(&"names") || module.starts_with(&["engines", "known"]) {
            return Vec::new();
        }
        let families = CATALOGUE.iter().flat_map(|family| [Some(family.name), family.alias]);
        let names: Vec<&str> = families.flatten().chain(["infermeter_", "vllm:"]).collect();
        let tests = source.tests();
        let strings = source.strings.iter().filter(|(at, _)| !tests.iter().any(|t| t.contains(at)));
        strings
            .filter_map(|(at, string)| {
                let name = names.iter().find(|name| string.contains(**name))?;
                let place = source.place(*at);
                Some(format!("{place}: {name:?} is in a literal; use the statics of `names`"))
            })
            .collect()
    }

    let text = "const A: &str = \"llm_request_total{\";\n#[cfg(test)]\nconst B: &str = \"vllm:x\";";
    assert_eq!(
        broken(&Source::new("src/record/x.rs", text)),
        ["src/record/x.rs:1: \"request_total\" is in a literal; use the statics of `names`"]
    );
    assert_eq!(broken(&Source::new("src/names/x.rs", text)), [""; 0]);
    assert_eq!(broken(&Source::new("src/engines/known/x.rs", text)), [""; 0]);
    assert_eq!(broken(&Source::new("src/engines/x.rs", text)).len(), 1);
    assert_eq!(broken(&Source::new("src/x.rs", "/// vllm:x\nconst A: u8 = 1; // vllm:y")), [""; 0]);
    hold(&["src"], broken);
}

/// Features add whole modules: nothing inside of a module is another thing with one than without.
#[test]
fn features_switch_modules_only() {
    fn broken(source: &Source) -> Vec<String> {
        let code = &source.code;
        // `#[cfg(`, `#![cfg(`, `cfg!(`, `cfg_attr(`: whatever asks for a feature.
        let asked = code.match_indices("cfg").filter(|(at, _)| {
            let condition = code[at + 3..].trim_start_matches("_attr").trim_start_matches('!');
            let end = condition.find(']').unwrap_or(condition.len());
            condition.starts_with('(') && condition[..end].contains("feature")
        });
        asked
            .filter_map(|(at, _)| {
                let is_attribute = code[..at].ends_with("#[") && code[at..].starts_with("cfg(");
                let mut item = code[at..].split_once(']').map_or("", |(_, item)| item).trim_start();
                while item.starts_with("#[") {
                    item = item.split_once(']').map_or("", |(_, item)| item).trim_start();
                }
                let item = ["pub(crate) ", "pub(super) ", "pub "]
                    .iter()
                    .find_map(|visible| item.strip_prefix(visible))
                    .unwrap_or(item);
                let is_module = item.starts_with("mod ") || item.starts_with("use ");
                (!is_attribute || !is_module).then(|| {
                    let place = source.place(at);
                    format!(
                        "{place}: a feature is asked for; allowed is `#[cfg(…)]` on mod and use"
                    )
                })
            })
            .collect()
    }

    let example = |text| broken(&Source::new("src/x.rs", text)).len();
    assert_eq!(example("#[cfg(feature = \"a\")]\npub mod a;"), 0);
    assert_eq!(example("#[cfg(not(feature = \"a\"))]\n#[path = \"a.rs\"]\nmod b;"), 0);
    assert_eq!(example("#[cfg(all(feature = \"a\", unix))]\npub(crate) use self::a::A;"), 0);
    assert_eq!(example("#[cfg(test)]\nfn features() {}"), 0);
    assert_eq!(example("#[cfg(feature = \"a\")]\nfn a() {}"), 1);
    assert_eq!(example("#![cfg(feature = \"a\")]\nmod a;"), 1);
    assert_eq!(example("#[cfg_attr(feature = \"a\", path = \"a.rs\")]\nmod a;"), 1);
    assert_eq!(example("fn a() { if cfg!(feature = \"a\") {} }"), 1);
    hold(&["src"], broken);
}

/// A test that does not run says why.
#[test]
fn ignored_tests_say_why() {
    fn broken(source: &Source) -> Vec<String> {
        let ignored = source.code.match_indices("#[ignore");
        ignored
            .filter_map(|(at, attribute)| {
                let after = source.code[at + attribute.len()..].trim_start();
                let reason = source.strings.iter().find(|(string, _)| *string > at);
                let has_reason = after.starts_with('=')
                    && reason.is_some_and(|(_, reason)| !reason.trim().is_empty());
                let place = source.place(at);
                (!has_reason).then(|| format!("{place}: allowed is `#[ignore = \"a reason\"]`"))
            })
            .collect()
    }

    let example = |text| broken(&Source::new("tests/x.rs", text)).len();
    assert_eq!(example("#[ignore = \"needs a device\"]\nfn a() {}"), 0);
    assert_eq!(example("#[ignore]\nfn a() { \"not a reason\"; }"), 1);
    assert_eq!(example("#[ignore = \"\"]\nfn a() {}"), 1);
    hold(&["src", "tests", "examples", "benches"], broken);
}

/// `if let … && …` needs Rust 1.88, and there is seldom an older compiler at hand to say so.
#[test]
fn no_let_chains() {
    fn broken(source: &Source) -> Vec<String> {
        let code = &source.code;
        let starts = ["if let ", "while let ", "&& let "].into_iter();
        let starts = starts.flat_map(|start| code.match_indices(start));
        let chains = starts.filter(|(at, start)| {
            let condition = code[*at..].split('{').next().unwrap_or_default();
            let mut depth = 0_i32;
            let is_outside = |byte: u8| {
                depth += i32::from(byte == b'(') - i32::from(byte == b')');
                depth == 0 && byte == b'&'
            };
            let outside: Vec<bool> = condition.bytes().map(is_outside).collect();
            *start == "&& let " || outside.windows(2).any(|pair| pair == [true, true])
        });
        let message = |at| format!("{}: a let chain; this needs Rust 1.88", source.place(at));
        chains.map(|(at, _)| message(at)).collect()
    }

    let example = |text| broken(&Source::new("src/x.rs", text)).len();
    assert_eq!(example("fn a() { if let Some(x) = (a && b).then(|| &&c) { d && e } }"), 0);
    assert_eq!(example("fn a() { if let Some(x) = y\n && z {} }"), 1);
    assert_eq!(example("fn a() { if z && let Some(x) = y {} }"), 1);
    hold(&["src"], broken);
}

/// What the compiler cannot hold is in one place, where each line says why it holds.
#[test]
fn unsafe_is_in_one_file() {
    fn broken(source: &Source) -> Vec<String> {
        let found = source.code.match_indices("unsafe").filter(|(at, word)| {
            let after = source.code[at + word.len()..].chars().next();
            !source.code[..*at].ends_with(is_word) && !after.is_some_and(is_word)
        });
        let found = found.filter(|_| source.path != UNSAFE);
        found.map(|(at, _)| format!("{}: allowed in {UNSAFE}", source.place(at))).collect()
    }

    let text = "#![deny(unsafe_code)] // unsafe\nfn a() { unsafe { b() } }";
    assert_eq!(
        broken(&Source::new("src/x.rs", text)),
        [format!("src/x.rs:2: allowed in {UNSAFE}")]
    );
    assert_eq!(broken(&Source::new(UNSAFE, text)), [""; 0]);
    hold(&["src"], broken);
}

// === Helpers ===

/// Fails with all that is broken, not only with the first.
fn hold(folders: &[&str], broken: impl Fn(&Source) -> Vec<String>) {
    let sources = Source::all(folders);
    assert!(!sources.is_empty(), "nothing was read");
    let broken: Vec<String> = sources.iter().flat_map(broken).collect();
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}
