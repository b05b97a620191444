//! `config show`: the value that holds for every key, with its unit and where it comes from. As text it is a
//! configuration again, which means the same.

use std::fmt::Write;
use std::path::Path;

use serde_json::{Map, Value as Json, json};

use super::config::Cores;
use super::kind::{Kind, Pair, Value};
use super::look::Look;
use super::place::Place;
use super::schema::{CLUSTER, COLLECT, Change, ETCD, Key, PROCESS, TASK, is_secret, nearest};
use super::units::{show_duration, show_size, show_start, show_timezone};
use super::written::{Entry, Section};
use super::{Loaded, Written};

/// Where the remarks behind values begin, if the values are shorter.
const REMARK_COLUMN: usize = 40;

const HIDDEN: &str = "(hidden)";

/// Everything, or what holds for one task: its section and its cluster's.
///
/// # Errors
/// There is no such task.
pub fn show(loaded: &Loaded, task: Option<&str>, as_json: bool) -> Result<String, String> {
    let sections = sections(loaded, task)?;
    if !as_json {
        return Ok(sections.iter().map(Shown::text).collect::<Vec<_>>().join("\n"));
    }
    let mut all = Map::new();
    for section in &sections {
        let mut at = &mut all;
        for part in section.heading.split('.') {
            let inner = at.entry(part).or_insert_with(|| json!({}));
            let Json::Object(inner) = inner else { unreachable!("only objects are put in") };
            at = inner;
        }
        at.extend(section.rows.iter().map(|row| (row.key.name.into(), row.json())));
    }
    Ok(format!("{:#}\n", Json::Object(all)))
}

fn sections<'a>(loaded: &'a Loaded, task: Option<&str>) -> Result<Vec<Shown<'a>>, String> {
    let Written { process, system, clusters, deliver, collect, etcd } = &loaded.written;
    let main = &*process.place.file;
    let names = || deliver.iter().chain(collect).map(|section| section.name.as_str());
    if let Some(wanted) = task.filter(|wanted| !names().any(|name| name == *wanted)) {
        let near = nearest(wanted, names()).map_or_else(|| names().collect::<Vec<_>>().join(", "), String::from);
        return Err(format!("error: there is no task {wanted}; did you mean {near}?"));
    }
    let is_wanted = |name: &str| task.is_none_or(|task| task == name);
    let tasks: Vec<_> = loaded.config.deliver.iter().filter(|deliver| is_wanted(&deliver.name)).collect();
    let collecting: Vec<_> = loaded.config.collect.iter().filter(|collect| is_wanted(&collect.name)).collect();
    let used = || tasks.iter().map(|t| &t.cluster.name).chain(collecting.iter().map(|t| &t.cluster.name));
    let mut shown = Vec::new();
    if task.is_none() {
        shown.push(Shown::new("process".into(), PROCESS, [process; 2], main, ""));
    }
    for section in clusters.iter().filter(|c| task.is_none() || used().any(|name| *name == c.name)) {
        shown.push(Shown::new(format!("cluster.{}", section.name), CLUSTER, [section; 2], main, ""));
    }
    for task in &tasks {
        for section in deliver.iter().filter(|section| section.name == task.name) {
            let heading = format!("deliver.{}", section.name);
            shown.push(Shown::new(heading, TASK, [section, system], main, &task.file_name));
        }
    }
    for section in collect.iter().filter(|section| is_wanted(&section.name)) {
        shown.push(Shown::new(format!("collect.{}", section.name), COLLECT, [section, system], main, ""));
    }
    if etcd.is_written() && (task.is_none() || collecting.iter().any(|task| task.from_etcd)) {
        shown.push(Shown::new("etcd".into(), ETCD, [etcd; 2], main, ""));
    }
    Ok(shown)
}

struct Shown<'a> {
    heading: String,
    rows: Vec<Row<'a>>,
}

/// One key with what holds for it.
struct Row<'a> {
    key: &'static Key,
    value: Option<Value>,
    entry: Option<&'a Entry>,
    /// The value stands in `[system]`.
    is_system: bool,
    /// The file that was asked for; any other is an overlay.
    main: &'a Path,
}

impl<'a> Shown<'a> {
    fn new(
        heading: String,
        keys: &'static [Key],
        sections: [&'a Section; 2],
        main: &'a Path,
        file_name: &str,
    ) -> Shown<'a> {
        let look = Look { keys, sections };
        let row = |key: &'static Key| {
            let entry = look.entry(key.name);
            // The one value that other keys make.
            let made = (key.name == "file_name").then(|| Value::Text(file_name.to_string().into()));
            let is_system = entry.is_some() && sections[0].entry(key.name).is_none();
            Row { key, value: look.value(key.name).cloned().or(made), entry, is_system, main }
        };
        Shown { heading, rows: keys.iter().filter(|key| key.is_available()).map(row).collect() }
    }

    fn text(&self) -> String {
        let mut text = format!("[{}]\n", self.heading);
        for row in &self.rows {
            let line = match row.toml() {
                Some(value) => format!("{} = {value}", row.key.name),
                None => format!("# {} is not set", row.key.name),
            };
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{line:REMARK_COLUMN$}  # {}", row.remark());
        }
        text
    }
}

impl Row<'_> {
    /// As it may stand in a file.
    fn toml(&self) -> Option<String> {
        let value = self.value.as_ref()?;
        Some(match (self.taken(), value) {
            (_, Value::Pairs(pairs)) => {
                let pair = |pair: &Pair| match &pair.taken {
                    Some(taken) => format!("{} = {taken}", quoted(&pair.name)),
                    None => format!("{} = {}", quoted(&pair.name), quoted(open(pair))),
                };
                let pairs: Vec<String> = pairs.iter().map(pair).collect();
                if pairs.is_empty() { "{}".into() } else { format!("{{ {} }}", pairs.join(", ")) }
            }
            (Some(taken), _) => taken.into(),
            (None, _) if self.is_hidden() => quoted(HIDDEN),
            (None, value) => toml(&self.key.kind, value),
        })
    }

    fn json(&self) -> Json {
        let change = match self.key.change {
            Change::Live => "live",
            Change::Task => "task",
            Change::Process => "process",
        };
        let value = match (self.taken(), &self.value) {
            (_, Some(Value::Pairs(pairs))) => {
                let pair = |pair: &Pair| {
                    let value = if pair.taken.is_some() { HIDDEN } else { open(pair) };
                    (pair.name.clone(), value.into())
                };
                Json::Object(pairs.iter().map(pair).collect())
            }
            (Some(_), _) => HIDDEN.into(),
            (None, None) => Json::Null,
            (None, _) if self.is_hidden() => HIDDEN.into(),
            (None, Some(value)) => json(&self.key.kind, value),
        };
        json!({ "value": value, "unit": self.key.kind.unit(), "change": change, "origin": self.origin() })
    }

    /// The value as it is written, if a part of it comes from the environment: what it came to is not shown.
    fn taken(&self) -> Option<&str> {
        self.entry?.taken.as_deref()
    }

    /// A secret that was given.
    fn is_hidden(&self) -> bool {
        is_secret(self.key.name) && self.entry.is_some()
    }

    fn origin(&self) -> Json {
        let Some(Entry { place: Place { file, line, column }, written_name, .. }) = self.entry else {
            return json!({ "kind": "default" });
        };
        if *line == 0 {
            return json!({ "kind": "variable", "variable": written_name });
        }
        let kind = if **file == *self.main { "file" } else { "overlay" };
        let section = if self.is_system { Some("system") } else { None };
        json!({ "kind": kind, "file": file.display().to_string(), "line": line, "column": column, "section": section })
    }

    /// `threads, conf/logmill.toml:24 [system]`
    fn remark(&self) -> String {
        let unit = match self.key.kind {
            Kind::Integer { unit, .. } => format!("{unit}, "),
            _ => String::new(),
        };
        let system = if self.is_system { " [system]" } else { "" };
        match self.entry {
            None => format!("{unit}default"),
            Some(entry) if entry.place.line == 0 => format!("{unit}{}", entry.written_name),
            Some(entry) => format!("{unit}{}:{}{system}", entry.place.file.display(), entry.place.line),
        }
    }
}

/// A property's value, unless its name tells that it is a secret.
fn open(pair: &Pair) -> &str {
    if is_secret(&pair.name) { HIDDEN } else { &pair.value }
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.into()).to_string()
}

/// A value as it is written in a file.
pub fn toml(kind: &Kind, value: &Value) -> String {
    let list = |items: Vec<String>| format!("[{}]", items.join(", "));
    match value {
        Value::Text(text) => quoted(text),
        Value::Items(items) if matches!(kind, Kind::AppIds) => list(items.iter().map(|i| i.text.clone()).collect()),
        Value::Items(items) => list(items.iter().map(|i| quoted(&i.text)).collect()),
        Value::Number(bytes) if matches!(kind, Kind::Size { .. }) => quoted(&show_size(*bytes)),
        Value::Number(number) => number.to_string(),
        Value::Flag(flag) => flag.to_string(),
        Value::Duration(duration) => quoted(&show_duration(*duration)),
        Value::Seconds(seconds) => quoted(&show_timezone(*seconds)),
        Value::Start(start) => quoted(&show_start(*start)),
        Value::Cores(Cores::Auto) => quoted("auto"),
        Value::Cores(Cores::These(cores)) => list(cores.iter().map(usize::to_string).collect()),
        Value::Pairs(pairs) if pairs.is_empty() => "{}".into(),
        Value::Pairs(_) => unreachable!("pairs are shown one by one"),
    }
}

/// A value for programs: quantities are numbers, of the kind's unit.
fn json(kind: &Kind, value: &Value) -> Json {
    match value {
        Value::Text(text) => json!(text),
        Value::Items(items) if matches!(kind, Kind::AppIds) => {
            items.iter().map(|item| item.text.parse::<u64>().map_or(Json::Null, Json::from)).collect()
        }
        Value::Items(items) => items.iter().map(|item| item.text.as_str()).collect(),
        Value::Number(number) => json!(number),
        Value::Flag(flag) => json!(flag),
        Value::Duration(duration) => json!(duration.as_millis() as u64),
        Value::Seconds(seconds) => json!(show_timezone(*seconds)),
        Value::Start(start) => json!(show_start(*start)),
        Value::Cores(Cores::Auto) => json!("auto"),
        Value::Cores(Cores::These(cores)) => json!(cores),
        Value::Pairs(_) => unreachable!("pairs are shown one by one"),
    }
}
