//! `LOGMILL_…` variables, laid over what the files say.
//!
//! A variable's name is `LOGMILL_`, the section and the key with two underscores between the parts, in any case:
//! `LOGMILL_PROCESS__DATA_DIR`, `LOGMILL_DELIVER__GAME_24__READERS`; a `-` in a section's name is written `_`.
//!
//! Its value is written as in the file, but the quotes around a text may be left out, and `${…}` means nothing.

use std::borrow::Cow;

use toml::Spanned;
use toml::de::DeValue;

use super::expand::Expanded;
use super::kind::Kind;
use super::place::Source;
use super::schema::{Key, nearest};
use super::value::Reading;
use super::written::{Entry, Section, Written, syntax_problem};
use crate::flow::problem::Problem;

const PREFIX: &str = "LOGMILL_";

/// Where a variable's value goes.
struct Target {
    variable: String,
    /// By number, among all sections.
    section: usize,
    key: &'static Key,
}

/// Sets the values of all variables of this process. A variable of this form that names no key is a warning.
pub fn lay_over(written: &mut Written, problems: &mut Vec<Problem>, warnings: &mut Vec<Problem>) {
    let mut sections: Vec<(String, Vec<&'static Key>, &mut Section)> = written.sections_mut();
    let mut targets = Vec::new();
    for (section, (heading, keys, _)) in sections.iter().enumerate() {
        let variable = |key: &str| format!("{PREFIX}{}__{key}", heading.replace('.', "__").replace('-', "_"));
        targets.extend(keys.iter().copied().map(|key| Target {
            variable: variable(key.name).to_uppercase(),
            section,
            key,
        }));
    }
    let mut variables: Vec<_> = std::env::vars_os().collect();
    variables.sort();
    for (name, value) in variables {
        let Some(name) = name.to_str().filter(|name| name.to_uppercase().starts_with(PREFIX)) else { continue };
        let value = value.to_string_lossy();
        let source = Source::variable(name, &value);
        let meant: Vec<&Target> = targets.iter().filter(|target| target.variable == name.to_uppercase()).collect();
        match meant[..] {
            [] => {
                warnings.extend(stranger(name, &targets).map(|(message, help)| source.whole().problem(message, help)))
            }
            [target] if !target.key.is_available() => {
                warnings.push(source.whole().problem(format!("{name} has no effect in this version"), ""));
            }
            [target] => {
                let entry = entry(target.key, name, &source, problems);
                sections[target.section].2.put(target.key.name, entry);
            }
            [one, two, ..] => {
                let [one, two] = [one, two].map(|target| &sections[target.section].0);
                let message = format!("{name} may mean [{one}] or [{two}]");
                problems.push(source.whole().problem(message, "rename one of these sections, or unset the variable"));
            }
        }
    }
}

/// What to say of a variable that names no key: `None` if it may well be somebody else's.
fn stranger(name: &str, targets: &[Target]) -> Option<(String, String)> {
    let known = || targets.iter().filter(|target| target.key.is_available());
    let name_upper = name.to_uppercase();
    let single = |text: &str| text.replace("__", "_");
    let rest = name_upper.strip_prefix(PREFIX)?;
    let meant = known().find(|t| single(&t.variable) == single(&name_upper));
    let meant = meant.or_else(|| known().find(|t| t.variable.ends_with(&format!("__{rest}"))));
    if meant.is_none() && !rest.contains("__") {
        return None;
    }
    let meant = meant.map(|target| target.variable.as_str());
    let help = match meant.or_else(|| nearest(&name_upper, known().map(|target| target.variable.as_str()))) {
        Some(near) => format!("set {near}, or unset it"),
        None => "unset it; `logmill config show` lists the sections and keys there are".into(),
    };
    Some((format!("{name} is the name of no key and has no effect"), help))
}

fn entry(key: &'static Key, variable: &str, source: &Source<'_>, problems: &mut Vec<Problem>) -> Entry {
    let mut entry = Entry { value: None, place: source.whole(), written_name: variable.into(), taken: None };
    match value(&key.kind, source.text) {
        Ok(value) => {
            let mut reading = Reading { key, name: key.name, source, expanded: &Expanded::default(), problems };
            entry.value = reading.read(&value);
        }
        Err(error) => problems.push(syntax_problem(source, &error)),
    }
    entry
}

/// Text stands for itself unless it is written as TOML has it.
fn value<'t>(kind: &Kind, text: &'t str) -> Result<Spanned<DeValue<'t>>, toml::de::Error> {
    let opens = match kind {
        Kind::Topics | Kind::AppIds | Kind::Users | Kind::Cores | Kind::Paths | Kind::Endpoints => {
            &['"', '\'', '['][..]
        }
        Kind::Pairs => &['{'],
        _ => &['"', '\''],
    };
    if text.starts_with(opens) {
        return DeValue::parse(text);
    }
    let may_be_plain = matches!(kind, Kind::Integer { .. } | Kind::Flag | Kind::Size { .. } | Kind::Start);
    match DeValue::parse(text) {
        Ok(value) if may_be_plain => Ok(value),
        _ => Ok(Spanned::new(0..text.len(), DeValue::String(Cow::Borrowed(text)))),
    }
}
