//! What `Cargo.toml` promises.

use std::{collections::HashSet, process::Command};

use serde_json::Value;

/// The packages that the crate is made of.
const CARD: [&str; 8] = [
    "axum",
    "http",
    "metrics",
    "metrics-exporter-prometheus",
    "pin-project",
    "tokio",
    "tower",
    "tower-http",
];

/// Nobody who can build the crate's own code is stopped by one of its dependencies.
#[test]
fn no_dependency_needs_a_newer_rust() {
    let metadata = metadata();
    let own = version(&metadata["packages"][root(&metadata)]["rust_version"]).expect("declared");
    assert!(version(&"1.85.1".into()) > version(&"1.85".into()));
    assert!(version(&"1.100".into()) > version(&"1.85".into()));

    let needed = needed(&metadata);
    assert!(needed.len() > CARD.len(), "{needed:?}");
    let newer: Vec<&Value> = packages(&metadata)
        .iter()
        .filter(|package| needed.contains(text(&package["id"])))
        .filter(|package| version(&package["rust_version"]) > Some(own))
        .map(|package| &package["id"])
        .collect();
    assert!(newer.is_empty(), "these need a newer Rust than {own:?}: {newer:#?}");
}

#[test]
fn the_card_of_packages_is_what_it_is_made_of() {
    let metadata = metadata();
    let dependencies = &metadata["packages"][root(&metadata)]["dependencies"];
    let dependencies = dependencies.as_array().unwrap();
    let normal = |name: &str| {
        let is_it = |found: &&Value| found["name"] == name && found["kind"].is_null();
        dependencies.iter().find(is_it)
    };
    assert!(normal("criterion").is_none(), "only a dev-dependency");
    let missing: Vec<_> = CARD.iter().filter(|name| normal(name).is_none()).collect();
    assert!(missing.is_empty(), "{missing:?}");

    // Its default features bring a TLS stack and a C build with them, and a server of its own.
    let exporter = normal("metrics-exporter-prometheus").unwrap();
    assert_eq!(exporter["uses_default_features"], false);
}

/// An edit can lose the end of the file, and then nothing warns and the instructions that are counted
/// are others.
#[test]
fn the_lints_and_the_profile_that_is_counted_are_there() {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let manifest = std::fs::read_to_string(manifest).unwrap();
    for line in [
        "[lints.rust]",
        "missing_docs = \"warn\"",
        "unsafe_code = \"deny\"",
        "[lints.clippy]",
        "unwrap_used = \"warn\"",
        "[profile.release.package.infermeter]",
        "codegen-units = 1",
    ] {
        assert!(manifest.lines().any(|found| found == line), "{line}");
    }
}

/// Every package that a user of this one compiles, with all features, on this platform.
fn needed(metadata: &Value) -> HashSet<&str> {
    let nodes = metadata["resolve"]["nodes"].as_array().unwrap();
    let mut needed = HashSet::new();
    let mut open = vec![text(&metadata["resolve"]["root"])];
    while let Some(id) = open.pop() {
        let node = nodes.iter().find(|node| node["id"] == id).unwrap();
        for dependency in node["deps"].as_array().unwrap() {
            let kinds = dependency["dep_kinds"].as_array().unwrap();
            let package = text(&dependency["pkg"]);
            if kinds.iter().any(|kind| kind["kind"] != "dev") && needed.insert(package) {
                open.push(package);
            }
        }
    }
    needed
}

fn metadata() -> Value {
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let about = Command::new(rustc).arg("-vV").output().unwrap();
    let about = String::from_utf8(about.stdout).unwrap();
    let host = about.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();

    // NB: other platforms' packages may not have been downloaded.
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--offline", "--all-features"])
        .args(["--filter-platform", host])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}\nIf something is not downloaded: cargo fetch");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn packages(metadata: &Value) -> &[Value] {
    metadata["packages"].as_array().unwrap()
}

fn root(metadata: &Value) -> usize {
    let root = &metadata["resolve"]["root"];
    packages(metadata).iter().position(|package| package["id"] == *root).unwrap()
}

/// `None` where none is declared: older than all others.
fn version(text: &Value) -> Option<[u64; 3]> {
    let mut numbers = [0; 3];
    for (number, part) in numbers.iter_mut().zip(text.as_str()?.split('.')) {
        *number = part.parse().unwrap();
    }
    Some(numbers)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}
