//! A project's settings files: comment-JSON in; entries and a filter out, or every problem with its place.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::path::Path;

use super::comment_json::{self, Document, Member, Node, Value};
use super::entry::{Cast, Entry, EventType, Fallback, Field, Names, Part, Property, Rule, Source};
use super::filter::{Condition, DropRule, Filter, Literal, Test};
use super::names::{PRESETS, TOP_LEVEL};
use crate::flow::problem::Problem;

/// The entries of a metadata file. After a problem they are incomplete.
pub fn metadata(file: &Path, bytes: &[u8], problems: &mut Vec<Problem>) -> Vec<Entry> {
    let Some(document) = document(file, bytes, problems) else { return Vec::new() };
    let mut check = Check { file, document: &document, problems };
    let mut entries = Vec::new();
    let mut seen: HashMap<String, usize> = HashMap::new();
    for node in check.list(&document.root, "a metadata file", "entries: [ { \"log_name\": … } ]") {
        let entry = check.entry(node);
        if entry.log_name.is_empty() {
            continue;
        }
        if let Some(&first) = seen.get(&entry.log_name) {
            let (line, column) = document.place(first);
            let message = format!("a second entry for the log_name \"{}\"", entry.log_name);
            check.fault(node.at, message, format!("keep one; the first stands at {line}:{column}"));
        }
        seen.insert(entry.log_name.clone(), node.at);
        entries.push(entry);
    }
    entries
}

/// The filter of a filter file. After a problem it is incomplete.
pub fn filter(file: &Path, bytes: &[u8], problems: &mut Vec<Problem>) -> Filter {
    let Some(document) = document(file, bytes, problems) else { return Filter::default() };
    let mut check = Check { file, document: &document, problems };
    let mut filter = Filter::default();
    if let Value::List(_) = document.root.value {
        filter.names = check.names(&document.root, "a filter file");
        return filter;
    }
    for member in check.object(&document.root, "a filter file", &["mode", "names", "rules"]) {
        let node = &member.value;
        match &member.name[..] {
            "mode" => filter.keep = check.choice(node, "mode", &["drop", "keep"]) == Some("keep"),
            "names" => filter.names = check.names(node, "\"names\""),
            "rules" => {
                for rule in check.list(node, "\"rules\"", "rules: [ { \"when\": [ … ] } ]") {
                    let rule = check.rule(rule);
                    filter.rules.push(rule);
                }
            }
            _ => {}
        }
    }
    filter
}

fn document<'t>(file: &Path, bytes: &'t [u8], problems: &mut Vec<Problem>) -> Option<Document<'t>> {
    comment_json::parse(file, bytes).map_err(|problem| problems.push(problem)).ok()
}

/// One file under examination.
struct Check<'c> {
    file: &'c Path,
    document: &'c Document<'c>,
    problems: &'c mut Vec<Problem>,
}

impl<'c> Check<'c> {
    fn entry(&mut self, node: &Node) -> Entry {
        let mut entry = Entry::empty("");
        let mut rules: HashMap<String, Rule> = HashMap::new();
        let known = ["log_name", "event_name", "event_type", "metadata", "exclude", "cast"];
        for member in self.object(node, "an entry", &known) {
            let node = &member.value;
            match &member.name[..] {
                "log_name" => {
                    entry.log_name = self.text(node, "log_name").unwrap_or_default().to_string();
                    if matches!(&node.value, Value::String(text) if text.is_empty()) {
                        self.fault(node.at, "\"log_name\" is empty", "name a log, or write \"*\" for any other");
                    }
                }
                "event_name" if node.value == Value::Null => {}
                "event_name" => {
                    let name = self.text(node, "event_name").unwrap_or_default();
                    entry.event_name = (!matches!(name, "" | "null")).then(|| name.to_string());
                }
                "event_type" => {
                    let names: Vec<&str> = EventType::ALL.iter().map(|kind| kind.name()).collect();
                    let chosen = self.choice(node, "event_type", &names);
                    let chosen = EventType::ALL.iter().find(|kind| Some(kind.name()) == chosen);
                    entry.event_type = chosen.copied().unwrap_or(EventType::Track);
                }
                "metadata" => self.keys(node, &mut entry),
                "exclude" => {
                    for name in self.texts(node, "\"exclude\"") {
                        rules.entry(name.to_string()).or_default().exclude = true;
                    }
                }
                "cast" => {
                    for (name, cast) in self.casts(node) {
                        rules.entry(name).or_default().cast = Some(cast);
                    }
                }
                _ => {}
            }
        }
        if let Value::Object(members) = &node.value
            && !members.iter().any(|member| member.name == "log_name")
        {
            self.fault(node.at, "an entry without \"log_name\"", "name a log, or write \"*\" for any other");
        }
        for (i, property) in entry.properties.iter_mut().enumerate() {
            let rule = rules.entry(property.name.clone()).or_default();
            rule.property = Some(i as u8);
            property.cast = rule.cast;
        }
        entry.rules = rules.into_iter().collect();
        entry
    }

    /// The object `metadata` of an entry.
    fn keys(&mut self, node: &Node, entry: &mut Entry) {
        let Value::Object(members) = &node.value else {
            return self.wrong(node, "\"metadata\"", "an object: { \"#account_id\": { \"field\": … } }");
        };
        for member in members {
            let source = self.source(&member.value, &member.name);
            let slot = match &member.name[..] {
                "#account_id" => &mut entry.account_id,
                "#app_id" => &mut entry.app_id,
                "#distinct_id" => &mut entry.distinct_id,
                "#event_id" => &mut entry.event_id,
                "#first_check_id" => &mut entry.first_check_id,
                "#import_tool_id" => &mut entry.import_tool_id,
                "#ip" => &mut entry.ip,
                "#time" => &mut entry.time,
                "#transaction_property" => &mut entry.transaction_property,
                "#uuid" => &mut entry.uuid,
                "#event_name" | "#type" => {
                    let help = "use \"event_name\" and \"event_type\" of the entry";
                    self.fault(member.at, format!("\"{}\" may not stand in \"metadata\"", member.name), help);
                    continue;
                }
                name if PRESETS.contains(&name) => {
                    entry.properties.push(Property { name: name.to_string(), source, cast: None });
                    continue;
                }
                name => {
                    let known = TOP_LEVEL.iter().chain(PRESETS).copied();
                    let help = match nearest(name, known) {
                        Some(near) => format!("did you mean \"{near}\"?"),
                        None => "write a key of the line such as \"#ip\", or a preset such as \"#os\"".into(),
                    };
                    self.fault(member.at, format!("\"{name}\" is no key that TE knows"), help);
                    continue;
                }
            };
            *slot = source;
        }
    }

    /// `{ "field": …, "default": … }`
    fn source(&mut self, node: &Node, key: &str) -> Source {
        let mut source = Source::default();
        for member in self.object(node, &format!("the source of \"{key}\""), &["field", "default"]) {
            let node = &member.value;
            match (&member.name[..], &node.value) {
                ("field", Value::Null) | ("default", Value::Null) => {}
                ("field", _) => {
                    let name = self.text(node, "field").unwrap_or_default();
                    source.field = (!matches!(name, "" | "null")).then(|| Field::new(name));
                }
                ("default", Value::String(text)) => source.default = Fallback::Template(self.template(node.at, text)),
                ("default", Value::Number(text)) => source.default = Fallback::Number(text.clone()),
                ("default", Value::Bool(value)) => source.default = Fallback::Bool(*value),
                ("default", _) => self.wrong(node, "\"default\"", "a string, a number or a bool"),
                _ => {}
            }
        }
        source
    }

    /// `{x}` is a field, `{{` and `}}` are braces.
    fn template(&mut self, at: usize, text: &str) -> Vec<Part> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(brace) = rest.find(['{', '}']) {
            literal.push_str(&rest[..brace]);
            let tail = &rest[brace..];
            if tail.starts_with("{{") || tail.starts_with("}}") {
                literal.push_str(&tail[..1]);
                rest = &tail[2..];
                continue;
            }
            let end = tail.find('}').filter(|_| tail.starts_with('{'));
            let Some(name) = end.map(|end| &tail[1..end]).filter(|name| !name.is_empty() && !name.contains('{')) else {
                let message = format!("unbalanced or empty braces in the template \"{text}\"");
                self.fault(at, message, "write {field}, and {{ or }} for a brace itself");
                return Vec::new();
            };
            if !literal.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut literal)));
            }
            parts.push(Part::Field(Field::new(name)));
            rest = &tail[name.len() + 2..];
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Text(literal));
        }
        parts
    }

    fn casts(&mut self, node: &Node) -> Vec<(String, Cast)> {
        let Value::Object(members) = &node.value else {
            self.wrong(node, "\"cast\"", "an object: { \"vip\": \"number\" }");
            return Vec::new();
        };
        let cast = |member: &Member| {
            let cast = match self.choice(&member.value, "cast", &["string", "number", "list"])? {
                "string" => Cast::String,
                "number" => Cast::Number,
                _ => Cast::List,
            };
            Some((member.name.clone(), cast))
        };
        members.iter().filter_map(cast).collect()
    }

    fn rule(&mut self, node: &Node) -> DropRule {
        let mut rule = DropRule { log_name: None, when: Vec::new() };
        let mut complete = false;
        for member in self.object(node, "a rule", &["log_name", "when"]) {
            let node = &member.value;
            match &member.name[..] {
                "log_name" => rule.log_name = self.text(node, "log_name").filter(|n| *n != "*").map(str::to_string),
                "when" => {
                    complete = true;
                    for condition in self.list(node, "\"when\"", "conditions: [ { \"field\": …, \"op\": … } ]") {
                        rule.when.extend(self.condition(condition));
                    }
                }
                _ => {}
            }
        }
        if !complete && matches!(node.value, Value::Object(_)) {
            self.fault(node.at, "a rule without \"when\"", "write its conditions: \"when\": [ … ]");
        }
        rule
    }

    fn condition(&mut self, node: &Node) -> Option<Condition> {
        const OPS: &[&str] = &["eq", "ne", "in", "not_in", "gt", "ge", "lt", "le", "prefix", "exists", "missing"];
        let members = self.object(node, "a condition", &["field", "op", "value"]);
        if !matches!(node.value, Value::Object(_)) {
            return None;
        }
        let member = |name: &str| members.iter().find(|member| member.name == name).map(|member| &member.value);
        let Some(field) = member("field") else {
            self.fault(node.at, "a condition without \"field\"", "name the field: \"field\": \"server_id\"");
            return None;
        };
        let Some(op) = member("op") else {
            self.fault(node.at, "a condition without \"op\"", format!("write one of {}", OPS.join(" ")));
            return None;
        };
        let name = self.text(field, "field")?;
        if name.is_empty() {
            self.fault(field.at, "\"field\" is empty", "name the field: \"field\": \"server_id\"");
        }
        let op_name = self.choice(op, "op", OPS)?;
        let value = member("value");
        let test = match (op_name, value) {
            ("exists", None) => Test::Exists,
            ("missing", None) => Test::Missing,
            ("exists" | "missing", Some(value)) => {
                self.fault(value.at, format!("\"{op_name}\" takes no \"value\""), "remove it");
                return None;
            }
            (_, None) => {
                self.fault(node.at, format!("\"{op_name}\" needs a \"value\""), "write what to compare with");
                return None;
            }
            (_, Some(value)) => self.test(op_name, value)?,
        };
        Some(Condition { field: Field::new(name), test })
    }

    fn test(&mut self, op: &str, node: &Node) -> Option<Test> {
        let orders: &'static [Ordering] = match op {
            "eq" => return Some(Test::In(vec![self.literal(op, node)?])),
            "ne" => return Some(Test::NotIn(vec![self.literal(op, node)?])),
            "in" | "not_in" => {
                let nodes = self.list(node, &format!("the value of \"{op}\""), "values: [1, 2]");
                let literals: Vec<_> = nodes.iter().filter_map(|node| self.literal(op, node)).collect();
                return Some(if op == "in" { Test::In(literals) } else { Test::NotIn(literals) });
            }
            "prefix" => return self.text(node, "value").map(|text| Test::Prefix(text.to_string())),
            "gt" => &[Ordering::Greater],
            "ge" => &[Ordering::Greater, Ordering::Equal],
            "lt" => &[Ordering::Less],
            _ => &[Ordering::Less, Ordering::Equal],
        };
        let Value::Number(number) = &node.value else {
            self.wrong(node, &format!("the value of \"{op}\""), "a number");
            return None;
        };
        Some(Test::Order(orders, number.clone()))
    }

    fn literal(&mut self, op: &str, node: &Node) -> Option<Literal> {
        match &node.value {
            Value::Bool(value) => Some(Literal::Bool(*value)),
            Value::Number(text) => Some(Literal::Number(text.clone())),
            Value::String(text) => Some(Literal::Text(text.clone())),
            _ => {
                self.wrong(node, &format!("what \"{op}\" compares with"), "a string, a number or a bool");
                None
            }
        }
    }

    fn names(&mut self, node: &Node, what: &str) -> Names<()> {
        self.texts(node, what).into_iter().map(|name| (name.to_string(), ())).collect()
    }

    fn texts<'n>(&mut self, node: &'n Node, what: &str) -> Vec<&'n str> {
        let nodes = self.list(node, what, "names: [ \"log_a\", \"log_b\" ]");
        nodes.iter().filter_map(|node| self.text(node, what)).collect()
    }

    fn object<'n>(&mut self, node: &'n Node, what: &str, known: &[&str]) -> &'n [Member] {
        let Value::Object(members) = &node.value else {
            self.wrong(node, what, "an object");
            return &[];
        };
        for member in members.iter().filter(|member| !known.contains(&&member.name[..])) {
            let help = match nearest(&member.name, known.iter().copied()) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => format!("write one of {}", known.join(" ")),
            };
            self.fault(member.at, format!("unknown key \"{}\" in {what}", member.name), help);
        }
        members
    }

    fn list<'n>(&mut self, node: &'n Node, what: &str, of: &str) -> &'n [Node] {
        let Value::List(nodes) = &node.value else {
            self.wrong(node, what, &format!("a list of {of}"));
            return &[];
        };
        nodes
    }

    fn text<'n>(&mut self, node: &'n Node, what: &str) -> Option<&'n str> {
        let Value::String(text) = &node.value else {
            self.wrong(node, &format!("\"{}\"", what.trim_matches('"')), "a string");
            return None;
        };
        Some(text)
    }

    fn choice<'k>(&mut self, node: &Node, what: &str, known: &[&'k str]) -> Option<&'k str> {
        let text = self.text(node, what)?;
        let chosen = known.iter().copied().find(|choice| *choice == text);
        if chosen.is_none() {
            self.fault(node.at, format!("unknown {what} \"{text}\""), format!("write one of {}", known.join(" ")));
        }
        chosen
    }

    fn wrong(&mut self, node: &Node, what: &str, wanted: &str) {
        self.fault(node.at, format!("{what} is {}", node.value.kind()), format!("write {wanted}"));
    }

    fn fault(&mut self, at: usize, message: impl Into<String>, help: impl Into<String>) {
        let (line, column) = self.document.place(at);
        let (message, help) = (message.into(), help.into());
        self.problems.push(Problem { file: self.file.to_path_buf(), line, column, message, help });
    }
}

/// The known word that a typo was probably meant to be: at most two edits away.
fn nearest<'k>(word: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    known.map(|choice| (edits(word, choice), choice)).min().filter(|(edits, _)| *edits <= 2).map(|(_, choice)| choice)
}

/// Levenshtein's distance.
fn edits(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut corner = i;
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let replaced = corner + usize::from(x != y);
            corner = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(corner + 1);
        }
    }
    row[b.len()]
}
