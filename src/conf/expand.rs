//! `${NAME}` in the strings of a file: each is replaced by an environment variable, before anything looks at the
//! value. `$${` stands for `${` itself.

use std::borrow::Cow;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::place::Source;
use crate::flow::problem::Problem;

/// Where strings took something from the environment, by the byte where their value begins.
#[derive(Debug, Default)]
pub struct Expanded {
    taken: Vec<usize>,
    failed: Vec<usize>,
}

impl Expanded {
    pub fn is_taken(&self, value: &Range<usize>) -> bool {
        self.taken.iter().any(|at| value.contains(at))
    }

    /// A string in it could not be made whole, and that was reported.
    pub fn is_failed(&self, value: &Range<usize>) -> bool {
        self.failed.iter().any(|at| value.contains(at))
    }
}

/// Adds a problem for each variable that is not there.
pub fn expand(table: &mut DeTable<'_>, source: &Source<'_>, problems: &mut Vec<Problem>) -> Expanded {
    let mut walk = Walk { source, problems, expanded: Expanded::default() };
    table.iter_mut().for_each(|(_, value)| walk.value(value));
    walk.expanded
}

struct Walk<'a> {
    source: &'a Source<'a>,
    problems: &'a mut Vec<Problem>,
    expanded: Expanded,
}

impl Walk<'_> {
    fn value(&mut self, value: &mut Spanned<DeValue<'_>>) {
        let at = value.span().start;
        match value.get_mut() {
            DeValue::String(text) if text.contains("${") => match self.text(text, at) {
                Some(whole) => *text = Cow::Owned(whole),
                None => self.expanded.failed.push(at),
            },
            DeValue::Array(array) => array.iter_mut().for_each(|value| self.value(value)),
            DeValue::Table(table) => table.iter_mut().for_each(|(_, value)| self.value(value)),
            _ => {}
        }
    }

    fn text(&mut self, text: &str, at: usize) -> Option<String> {
        let mut whole = String::new();
        let mut rest = text;
        while let Some(start) = rest.find("${") {
            let (before, name) = (&rest[..start], &rest[start + 2..]);
            if let Some(before) = before.strip_suffix('$') {
                whole.extend([before, "${"]);
                rest = name;
                continue;
            }
            let end = name.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(name.len());
            let (name, behind) = name.split_at(end);
            let Some(behind) = behind.strip_prefix('}').filter(|_| !name.is_empty()) else {
                let help = "write ${NAME}, the name of letters, digits and _; $${ stands for ${ itself";
                return self.refuse(at, format!("${{ without the name of a variable and }} in {text:?}"), help.into());
            };
            match std::env::var(name) {
                Ok(value) => whole.extend([before, &value]),
                Err(std::env::VarError::NotPresent) => {
                    let help = format!("set it where logmill is started, {name}=…, or write the value itself");
                    return self.refuse(at, format!("the environment variable {name} is not set"), help);
                }
                Err(std::env::VarError::NotUnicode(_)) => {
                    let help = "set it to UTF-8 text".into();
                    return self.refuse(at, format!("the environment variable {name} is no UTF-8 text"), help);
                }
            }
            self.expanded.taken.push(at);
            rest = behind;
        }
        Some(whole + rest)
    }

    fn refuse(&mut self, at: usize, message: String, help: String) -> Option<String> {
        self.problems.push(self.source.place(at).problem(message, help));
        None
    }
}
