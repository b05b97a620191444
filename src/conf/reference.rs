//! `config reference`: the page of all keys, printed from their table.

use std::fmt::Write;

use super::schema::{CLUSTER, COLLECT, Change, ETCD, Key, PROCESS, TASK, Unset};
use super::show::toml;

/// The words around the tables, which stand where `{PROCESS}` and the like do.
const PAGE: &str = include_str!("reference.md");

/// The page as Markdown.
pub fn reference() -> String {
    [("{PROCESS}", PROCESS), ("{CLUSTER}", CLUSTER), ("{TASK}", TASK), ("{COLLECT}", COLLECT), ("{ETCD}", ETCD)]
        .into_iter()
        .fold(PAGE.to_string(), |page, (mark, keys)| page.replace(mark, table(keys).trim_end()))
}

fn table(keys: &[Key]) -> String {
    let mut table = "| Key | Write | Without it | A change | What it is |\n|---|---|---|---|---|\n".to_string();
    for key in keys.iter().filter(|key| key.is_available()) {
        // Writing to a String cannot fail.
        let _ = writeln!(
            table,
            "| {} | {} | {} | {} | {} |",
            name(key),
            write(key),
            without(key),
            change(key.change),
            cell(key.help)
        );
    }
    table
}

fn name(key: &Key) -> String {
    match key.old_name {
        Some(old) => format!("`{}`, once `{old}`", key.name),
        None => format!("`{}`", key.name),
    }
}

fn write(key: &Key) -> String {
    let wanted = cell(&key.kind.wanted());
    let unit = key.kind.unit().filter(|_| key.kind.is_bare_number()).map(|unit| format!(" ({unit})"));
    let example = Some(key.example).filter(|example| !example.is_empty());
    let is_default = |example: &&str| key.default().is_some_and(|value| toml(&key.kind, value) == *example);
    let example = example.filter(|example| !is_default(example)).map(|example| format!(", as in `{}`", cell(example)));
    format!("{wanted}{}{}", unit.unwrap_or_default(), example.unwrap_or_default())
}

fn without(key: &Key) -> String {
    match &key.unset {
        Unset::Default(value) => format!("`{}`", cell(&toml(&key.kind, value))),
        Unset::Mandatory => "mandatory".into(),
        Unset::MandatoryForTe => "mandatory with `transform = \"te\"`".into(),
        Unset::Nothing(what) => (*what).into(),
    }
}

fn change(change: Change) -> &'static str {
    match change {
        Change::Live => "live",
        Change::Task => "task",
        Change::Process => "process",
    }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
