//! The file as a whole.

use std::{collections::HashMap, path::Path};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    Config, Flaws,
    flaws::Found,
    upstream::{Read, Upstream},
};

const UPSTREAM: &str = "upstream";

const ALLOWED: &str = "allowed is [[upstream]], one for each service; all else is said by flags and \
                       variables";

pub(super) fn read(path: &Path, text: &str) -> Result<Config, Flaws> {
    let mut found = Found::new(path, text);
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        found
            .push(error.span().unwrap_or_default(), format!("it is not TOML: {}", error.message()));
    }
    if !errors.is_empty() {
        // What was made of it may not be what was meant.
        return Err(found.into_flaws());
    }
    let mut read = Vec::new();
    for (key, value) in table.get_ref() {
        match (&**key.get_ref(), value.get_ref()) {
            (UPSTREAM, DeValue::Array(all)) => {
                read.extend(all.iter().map(|one| upstream(one, &mut found)));
            }
            (UPSTREAM, _) => found.push(key.span(), format!("upstream: it is no list; {ALLOWED}")),
            (key_name, _) => {
                found.push(key.span(), format!("{key_name}: it is not known; {ALLOWED}"))
            }
        }
    }
    let upstreams = table.get_ref().get(UPSTREAM).map(|all| all.get_ref());
    if upstreams.is_none_or(|all| all.as_array().is_some_and(|all| all.is_empty())) {
        found.push(text.len()..text.len(), format!("there is no upstream; {ALLOWED}"));
    }
    let read: Vec<Read> = read.into_iter().flatten().collect();
    distinct(&read, &mut found);
    if found.are_any() {
        return Err(found.into_flaws());
    }
    Ok(Config { upstreams: read.into_iter().map(Upstream::from).collect() })
}

fn upstream(value: &Spanned<DeValue<'_>>, found: &mut Found<'_>) -> Option<Read> {
    match value.get_ref() {
        DeValue::Table(table) => Some(Read::new(table, value.span(), found)),
        _ => {
            found.push(value.span(), format!("upstream: it is no table; {ALLOWED}"));
            None
        }
    }
}

/// No name is there twice, and no model is of two upstreams.
fn distinct(read: &[Read], found: &mut Found<'_>) {
    let (mut names, mut models) = (HashMap::new(), HashMap::new());
    for name in read.iter().filter_map(|one| one.name.as_ref()) {
        if let Some(before) = names.insert(name.get_ref(), name.span()) {
            let (name_is, line) = (name.get_ref(), found.line(before));
            let what = format!(
                "upstream.name: {name_is:?} is the name of the upstream in line {line}; allowed are \
                 different names"
            );
            found.push(name.span(), what);
        }
    }
    for model in read.iter().flat_map(|one| &one.models) {
        if let Some(before) = models.insert(model.get_ref(), model.span()) {
            let (model_is, line) = (model.get_ref(), found.line(before));
            let what = format!(
                "upstream.models: {model_is:?} stands in line {line} already; allowed is one upstream \
                 for each model"
            );
            found.push(model.span(), what);
        }
    }
}
