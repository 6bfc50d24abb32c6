//! Files, right and wrong.

use std::path::Path;

use super::{Upstream, file::read};
use crate::arguments::{EnginePid, Kind};

fn flaws(text: &str) -> Vec<String> {
    let error = read(Path::new("a.toml"), text).unwrap_err().to_string();
    error.lines().map(str::to_owned).collect()
}

#[test]
fn a_file_that_is_right() {
    let text = r#"
        # Two variants.
        [[upstream]]
        name = "instruct"
        url = "http://127.0.0.1:8000"
        models = ["qwen", 'qwen/"2"']
        variant = "a-1"

        [[upstream]]
        url = "https://h/below"
        name = "thinking"
    "#;
    let made = |name: &str, url: &str, models: &[&str], variant: Option<&str>| Upstream {
        name: name.to_owned(),
        url: url.to_owned(),
        models: models.iter().map(|model| (*model).to_owned()).collect(),
        variant: variant.map(str::to_owned),
        engine: Kind::Auto,
        engine_metrics: None,
        engine_pid: None,
    };
    let config = read(Path::new("a.toml"), text).unwrap();
    assert_eq!(
        config.upstreams,
        [
            made("instruct", "http://127.0.0.1:8000", &["qwen", "qwen/\"2\""], Some("a-1")),
            made("thinking", "https://h/below", &[], None),
        ]
    );
    assert!(config.upstreams.iter().all(|upstream| upstream.build().is_ok()));
    // The same, in a line.
    let line = "upstream = [{ name = \"a\", url = \"http://h\" }]";
    assert_eq!(read(Path::new("a.toml"), line).unwrap().upstreams.len(), 1);
}

#[test]
fn the_page_of_each_engine() {
    const A: &str = "[[upstream]]\nname = \"a\"\nurl = \"http://h:1/below\"\n";
    for (more, page) in [
        ("", Some("http://h:1/below/metrics")),
        ("engine = \"vllm\"", Some("http://h:1/below/metrics")),
        ("engine = \"none\"", None),
        ("engine_metrics = \"http://h:2\"", Some("http://h:2/metrics")),
    ] {
        let config = read(Path::new("a.toml"), &format!("{A}{more}")).unwrap();
        let metrics = config.upstreams[0].metrics().unwrap();
        assert_eq!(metrics.map(|engine| engine.page_url()).as_deref(), page, "{more}");
    }
}

#[test]
fn the_process_of_an_engine() {
    for (pid, expected) in [("4711", EnginePid::Is(4711)), ("\"auto\"", EnginePid::Auto)] {
        let text = format!("[[upstream]]\nname = \"a\"\nurl = \"http://h\"\nengine_pid = {pid}");
        let config = read(Path::new("a.toml"), &text).unwrap();
        assert_eq!(config.upstreams[0].engine_pid, Some(expected));
    }
}

#[test]
fn each_mistake_is_told_with_its_line_its_key_and_what_is_allowed() {
    const A: &str = "[[upstream]]\nname = \"a\"\nurl = \"http://h\"\n";
    let long = "x".repeat(257);
    for (text, line, key, what) in [
        ("".to_owned(), 1, "", "there is no upstream; allowed is [[upstream]]"),
        ("# nothing\n".to_owned(), 2, "", "there is no upstream"),
        ("upstream = []".to_owned(), 1, "", "there is no upstream"),
        ("[upstream]\nname = \"a\"".to_owned(), 1, "upstream:", "no list; allowed is [[upstream]]"),
        ("upstream = [7]".to_owned(), 1, "upstream:", "no table; allowed is [[upstream]]"),
        (format!("listen = \"x\"\n{A}"), 1, "listen:", "flags and variables"),
        (format!("{A}[upstreams]\n"), 4, "upstreams:", "not known; allowed is [[upstream]]"),
        (
            format!("{A}Name = \"b\"\n"),
            4,
            "upstream.Name:",
            "allowed are name, url, models, variant, engine, engine_metrics, engine_pid",
        ),
        ("\n[[upstream]]\nurl = \"http://h\"".to_owned(), 2, "upstream.name:", "missing"),
        ("\n[[upstream]]\nname = \"a\"".to_owned(), 2, "upstream.url:", "missing"),
        (
            "[[upstream]]\nname = 7\nurl = \"http://h\"".to_owned(),
            2,
            "upstream.name:",
            "integer; allowed is a string",
        ),
        (
            "[[upstream]]\nname = \"none\"\nurl = \"http://h\"".to_owned(),
            2,
            "upstream.name:",
            "64 letters",
        ),
        (
            "[[upstream]]\nname = \"a\"\nurl = \"ftp://h\"".to_owned(),
            3,
            "upstream.url:",
            "ftp is not known; allowed is http://HOST",
        ),
        (
            "[[upstream]]\nname = \"a\"\nurl = \"http://u:secret@h\"".to_owned(),
            3,
            "upstream.url:",
            "passwords",
        ),
        (format!("{A}variant = \"a b\""), 4, "upstream.variant:", "64 letters"),
        (format!("{A}engine = \"ollama\""), 4, "upstream.engine:", "allowed are auto, dynamo"),
        (format!("{A}engine = true"), 4, "upstream.engine:", "boolean; allowed is a string"),
        (format!("{A}engine_metrics = \"h\""), 4, "upstream.engine_metrics:", "http://HOST"),
        (format!("{A}engine_pid = -4"), 4, "upstream.engine_pid:", "-4; allowed is the number"),
        (format!("{A}engine_pid = \"me\""), 4, "upstream.engine_pid:", "me; allowed is the number"),
        (format!("{A}engine_pid = true"), 4, "upstream.engine_pid:", "boolean; allowed is the"),
        (format!("{A}variant = true"), 4, "upstream.variant:", "boolean; allowed is a string"),
        (format!("{A}models = \"m\""), 4, "upstream.models:", "string; allowed is a list of names"),
        (format!("{A}models = []"), 4, "upstream.models:", "empty; allowed is a list"),
        (format!("{A}models = [\n\"m\",\n7]"), 6, "upstream.models:", "integer; allowed is a list"),
        (format!("{A}models = [\"\"]"), 4, "upstream.models:", "1 to 256 bytes"),
        (format!("{A}models = [\"{long}\"]"), 4, "upstream.models:", "1 to 256 bytes"),
        (
            format!("{A}models = [\"m\", \"m\"]"),
            4,
            "upstream.models:",
            "\"m\" stands in line 4 already",
        ),
        (format!("{A}{A}"), 5, "upstream.name:", "\"a\" is the name of the upstream in line 2"),
        (
            format!("{A}models = [\"m\"]\n{}models = [\"m\"]", A.replace("\"a\"", "\"b\"")),
            8,
            "upstream.models:",
            "\"m\" stands in line 4 already; allowed is one upstream for each model",
        ),
        (format!("{A}name = \"b\"\n"), 4, "it is not TOML:", "duplicate key"),
        ("[[upstream]\n".to_owned(), 1, "it is not TOML:", ""),
        (format!("{A}models = [\"m\""), 4, "it is not TOML:", ""),
    ] {
        let flaws = flaws(&text);
        let start = format!("a.toml:{line}: {key}");
        let [flaw] = &flaws[..] else { panic!("{text:?}: {flaws:?}") };
        assert!(
            flaw.starts_with(&start) && flaw.contains(what),
            "{text:?}: {start:?} {what:?}: {flaw}"
        );
        assert!(!flaw.contains("secret"), "{flaw}");
    }
}

#[test]
fn all_mistakes_are_told_at_once_in_their_order() {
    let text = "x = 1\n[[upstream]]\nname = \"a b\"\nurl = \"h\"\nvariant = \"\"\n[[upstream]]\n\
                models = 7\n";
    let flaws = flaws(text);
    let places: Vec<&str> = flaws.iter().map(|flaw| flaw.split(": ").nth(1).unwrap()).collect();
    let expected = [
        "x",
        "upstream.name",
        "upstream.url",
        "upstream.variant",
        "upstream.name",
        "upstream.url",
        "upstream.models",
    ];
    assert_eq!(places, expected, "{flaws:#?}");
}
