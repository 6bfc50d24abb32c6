//! The tables of flags in `docs` are what `--help` says.

use std::{fs, path::Path};

use clap::{Arg, Command, CommandFactory};

use super::Arguments;

const BEGIN: &str = "<!-- flags -->\n";
const END: &str = "<!-- end of flags -->\n";

#[test]
fn docs_are_current() {
    for name in ["exporter", "proxy"] {
        is_current(name);
    }
}

fn is_current(name: &str) {
    let file = format!("docs/{name}.md");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(&file);
    let found = fs::read_to_string(&path).unwrap();
    let (before, rest) = found.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    let arguments = Arguments::command();
    let table = table(arguments.find_subcommand(name).unwrap());
    let expected = format!("{before}{BEGIN}{table}{END}{after}");
    if std::env::var("UPDATE_DOCS").is_ok_and(|value| value == "1") {
        fs::write(&path, &expected).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap();
    let differs = expected.lines().find(|line| !found.lines().any(|found| found == *line));
    assert!(
        found == expected,
        "{file} differs from the flags (first at {differs:?}); \
         write it anew with: UPDATE_DOCS=1 cargo test --features cli --bin infermeter docs"
    );
}

fn table(command: &Command) -> String {
    let rows = command.get_arguments().filter(|argument| argument.get_id() != "help").map(row);
    let head = "| flag | variable | default | |\n| --- | --- | --- | --- |\n";
    std::iter::once(head.to_owned()).chain(rows).collect()
}

fn row(argument: &Arg) -> String {
    let flag = argument.get_long().unwrap();
    let takes_value = argument.get_action().takes_values();
    let value = argument.get_value_names().filter(|_| takes_value);
    let value = value.map(|names| format!(" {}", names[0])).unwrap_or_default();
    let variable = argument.get_env().unwrap().to_str().unwrap();
    let default = match argument.get_default_values() {
        [] if argument.is_required_set() => "required".to_owned(),
        [default] if takes_value => format!("`{}`", default.to_str().unwrap()),
        _ => String::new(),
    };
    let mut help = argument.get_help().unwrap().to_string();
    if !help.ends_with('.') {
        help.push('.');
    }
    let allowed: Vec<String> =
        argument.get_possible_values().iter().map(|v| format!("`{}`", v.get_name())).collect();
    if takes_value && !allowed.is_empty() {
        help.push_str(&format!(" One of {}.", allowed.join(", ")));
    }
    format!("| `--{flag}{value}` | `{variable}` | {default} | {help} |\n")
}
