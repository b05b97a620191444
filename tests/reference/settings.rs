//! Settings files: comment-JSON that is known to be right comes in, entries and filters go out.

use std::cmp::Ordering;

use super::fields::{self, Place, Source};
use super::json::{self, Json, get};
use super::number;

/// The settings of one `app_id`.
#[derive(Debug, Clone)]
pub struct Project {
    pub app_id: String,
    pub entries: Vec<Entry>,
    pub filter: Filter,
}

#[derive(Debug, Clone)]
pub struct Entry {
    pub log_name: String,
    /// `None`: "t_" and the log's name.
    pub event_name: Option<String>,
    pub event_type: String,
    /// In the file's order.
    pub metadata: Vec<(String, Source)>,
    pub exclude: Vec<String>,
    pub cast: Vec<(String, String)>,
}

#[derive(Debug, Clone, Default)]
pub struct Filter {
    keep: bool,
    names: Option<Vec<String>>,
    rules: Vec<Rule>,
}

#[derive(Debug, Clone)]
struct Rule {
    log_name: String,
    when: Vec<Condition>,
}

#[derive(Debug, Clone)]
struct Condition {
    field: String,
    op: String,
    value: Json,
}

impl Project {
    /// From the text of the two files, where there are any.
    pub fn new(app_id: &str, metadata: Option<&str>, filter: Option<&str>) -> Project {
        let entries = metadata.map(read).map_or(Vec::new(), |file| list(&file).iter().map(Entry::new).collect());
        let filter = filter.map(read).map(|file| Filter::new(&file)).unwrap_or_default();
        Project { app_id: app_id.to_string(), entries, filter }
    }
}

impl Entry {
    pub fn built_in() -> Entry {
        Entry::new(&json::tree(r#"{"log_name":"*"}"#))
    }

    fn new(entry: &Json) -> Entry {
        let text = |name: &str| member(entry, name).and_then(Json::as_text).map(str::to_string);
        let cast = |(name, kind): &(String, Json)| (name.clone(), kind.as_text().unwrap().to_string());
        Entry {
            log_name: text("log_name").unwrap(),
            event_name: text("event_name").filter(|name| !name.is_empty() && name != "null"),
            event_type: text("event_type").unwrap_or_else(|| "track".to_string()),
            metadata: members(entry, "metadata").iter().map(|(key, value)| (key.clone(), source(value))).collect(),
            exclude: member(entry, "exclude").map_or(Vec::new(), texts),
            cast: members(entry, "cast").iter().map(cast).collect(),
        }
    }

    pub fn source(&self, key: &str) -> Option<&Source> {
        self.metadata.iter().find(|(name, _)| name == key).map(|(_, source)| source)
    }
}

fn source(value: &Json) -> Source {
    let field = member(value, "field").and_then(Json::as_text).filter(|f| !f.is_empty() && *f != "null");
    let default = match member(value, "default") {
        None | Some(Json::Null) => fields::Default::None,
        Some(Json::Text(text)) => fields::Default::Template(fields::template(text)),
        Some(fixed) => fields::Default::Fixed(fixed.clone()),
    };
    Source { field: field.map(str::to_string), default }
}

impl Filter {
    fn new(file: &Json) -> Filter {
        if let Json::List(_) = file {
            return Filter { keep: false, names: Some(texts(file)), rules: Vec::new() };
        }
        let text = |of: &Json, name: &str| member(of, name).and_then(Json::as_text).map(str::to_string);
        let condition = |c: &Json| Condition {
            field: text(c, "field").unwrap(),
            op: text(c, "op").unwrap(),
            value: member(c, "value").cloned().unwrap_or(Json::Null),
        };
        let rule = |r: &Json| Rule {
            log_name: text(r, "log_name").unwrap_or_else(|| "*".to_string()),
            when: member(r, "when").map_or(Vec::new(), |w| list(w).iter().map(condition).collect()),
        };
        Filter {
            keep: text(file, "mode").as_deref() == Some("keep"),
            names: member(file, "names").map(texts),
            rules: member(file, "rules").map_or(Vec::new(), |r| list(r).iter().map(rule).collect()),
        }
    }

    pub fn drops_name(&self, log_name: &str, event_name: &str) -> bool {
        let names = self.names.as_deref().unwrap_or_default();
        let is_named = names.iter().any(|name| name == log_name || name == event_name);
        is_named != self.keep
    }

    pub fn drops_record(&self, log_name: &str, place: &Place<'_>) -> bool {
        let concerns = |rule: &&Rule| rule.log_name == "*" || rule.log_name == log_name;
        self.rules.iter().filter(concerns).any(|rule| rule.when.iter().all(|condition| condition.holds(place)))
    }
}

impl Condition {
    fn holds(&self, place: &Place<'_>) -> bool {
        let Some(field) = place.field(&self.field) else { return self.op == "missing" };
        let order = match (&field, &self.value) {
            (Json::Number(a), Json::Number(b)) => Some(number::compare(a, b)),
            _ => None,
        };
        match self.op.as_str() {
            "exists" => true,
            "missing" => false,
            "eq" => is_equal(&field, &self.value),
            "ne" => !is_equal(&field, &self.value),
            "in" => list(&self.value).iter().any(|value| is_equal(&field, value)),
            "not_in" => !list(&self.value).iter().any(|value| is_equal(&field, value)),
            "gt" => order == Some(Ordering::Greater),
            "ge" => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
            "lt" => order == Some(Ordering::Less),
            "le" => matches!(order, Some(Ordering::Less | Ordering::Equal)),
            "prefix" => match (&field, &self.value) {
                (Json::Text(text), Json::Text(prefix)) => text.starts_with(prefix.as_str()),
                _ => false,
            },
            op => panic!("no such op: {op}"),
        }
    }
}

fn is_equal(a: &Json, b: &Json) -> bool {
    match (a, b) {
        (Json::Number(a), Json::Number(b)) => number::compare(a, b) == Ordering::Equal,
        _ => a == b,
    }
}

fn member<'a>(of: &'a Json, name: &str) -> Option<&'a Json> {
    if let Json::Object(members) = of { get(members, name) } else { None }
}

fn members<'a>(of: &'a Json, name: &str) -> &'a [(String, Json)] {
    if let Some(Json::Object(members)) = member(of, name) { members } else { &[] }
}

fn list(of: &Json) -> &[Json] {
    if let Json::List(items) = of { items } else { panic!("not a list: {of:?}") }
}

fn texts(of: &Json) -> Vec<String> {
    list(of).iter().map(|item| item.as_text().unwrap().to_string()).collect()
}

fn read(file: &str) -> Json {
    let plain = without_trailing_commas(&without_comments(file.strip_prefix('\u{feff}').unwrap_or(file)));
    json::tree(json::valid_text(plain.as_bytes()).expect("settings that are right"))
}

fn without_comments(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let length = if c == '"' {
            let length = string_length(rest);
            out += &rest[..length];
            length
        } else if c == '#' || rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if let Some(comment) = rest.strip_prefix("/*") {
            out.push(' ');
            comment.find("*/").expect("a terminated comment") + 4
        } else {
            out.push(c);
            c.len_utf8()
        };
        rest = &rest[length..];
    }
    out
}

fn without_trailing_commas(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let length = if c == '"' { string_length(rest) } else { c.len_utf8() };
        let is_trailing = c == ',' && rest[1..].trim_start().starts_with(['}', ']']);
        if !is_trailing {
            out += &rest[..length];
        }
        rest = &rest[length..];
    }
    out
}

/// Bytes of the string that `text` begins with, quotes included.
fn string_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut i = 1;
    while bytes[i] != b'"' {
        i += if bytes[i] == b'\\' { 2 } else { 1 };
    }
    i + 1
}
