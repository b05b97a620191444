//! What was written: TOML text in, its sections with typed values and places out. Knows the tables of keys, but not
//! what values mean together.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::expand::{Expanded, expand};
use super::kind::Value;
use super::place::{Place, Source};
use super::schema::{CLUSTER, COLLECT, ETCD, Key, PROCESS, SECTIONS, TASK, is_secret, nearest, rows};
use super::value::{NAME_MAX, Reading, is_name};
use crate::flow::problem::Problem;

/// A whole file. Named sections stand in the order of the file.
pub struct Written {
    pub process: Section,
    pub system: Section,
    pub clusters: Vec<Section>,
    pub deliver: Vec<Section>,
    pub collect: Vec<Section>,
    pub etcd: Section,
}

/// One section, or an empty one for a heading that is not there.
pub struct Section {
    /// `game_24` of `[deliver.game_24]`; "" where a heading has no name.
    pub name: String,
    /// Of the heading.
    pub place: Place,
    entries: BTreeMap<&'static str, Entry>,
    /// Keys that unknown ones were taken for.
    misspelt: Vec<&'static str>,
}

pub struct Entry {
    /// `None`: it is wrong, and that was reported.
    pub value: Option<Value>,
    /// Of the value.
    pub place: Place,
    /// As written: the key's name, its old name, or an environment variable.
    pub written_name: String,
    /// The value as it stands in the file, where a part of it comes through `${…}`.
    pub taken: Option<String>,
}

impl Written {
    /// With what follows the brackets of each heading, and the keys it may hold.
    pub fn sections_mut(&mut self) -> Vec<(String, Vec<&'static Key>, &mut Section)> {
        let mut sections = vec![
            ("process".into(), rows(&[PROCESS]), &mut self.process),
            ("system".into(), rows(&[TASK, COLLECT]), &mut self.system),
            ("etcd".into(), rows(&[ETCD]), &mut self.etcd),
        ];
        sections.extend(self.clusters.iter_mut().map(|s| (format!("cluster.{}", s.name), rows(&[CLUSTER]), s)));
        sections.extend(self.deliver.iter_mut().map(|s| (format!("deliver.{}", s.name), rows(&[TASK]), s)));
        sections.extend(self.collect.iter_mut().map(|s| (format!("collect.{}", s.name), rows(&[COLLECT]), s)));
        sections
    }

    /// Lays another file over this one, key by key; its new sections come last.
    pub fn lay_over(&mut self, overlay: Written) {
        self.process.lay_over(overlay.process);
        self.system.lay_over(overlay.system);
        lay_over_named(&mut self.clusters, overlay.clusters);
        lay_over_named(&mut self.deliver, overlay.deliver);
        lay_over_named(&mut self.collect, overlay.collect);
        if !self.etcd.is_written() {
            self.etcd.place = overlay.etcd.place.clone();
        }
        self.etcd.lay_over(overlay.etcd);
    }
}

fn lay_over_named(sections: &mut Vec<Section>, overlay: Vec<Section>) {
    for over in overlay {
        match sections.iter_mut().find(|section| section.name == over.name) {
            Some(section) => section.lay_over(over),
            None => sections.push(over),
        }
    }
}

impl Section {
    fn new(name: &str, place: Place) -> Section {
        Section { name: name.into(), place, entries: BTreeMap::new(), misspelt: Vec::new() }
    }

    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.get(key)
    }

    /// Its heading stands somewhere, or a variable sets a key of it.
    pub fn is_written(&self) -> bool {
        self.place.line > 0 || !self.entries.is_empty()
    }

    /// No value in it was refused.
    pub fn is_sound(&self) -> bool {
        self.entries.values().all(|entry| entry.value.is_some())
    }

    /// A key that is nearly this one stands in the section, and that was reported.
    pub fn is_misspelt(&self, key: &str) -> bool {
        self.misspelt.contains(&key)
    }

    pub fn put(&mut self, key: &'static str, entry: Entry) {
        self.entries.insert(key, entry);
    }

    fn lay_over(&mut self, overlay: Section) {
        self.entries.extend(overlay.entries);
    }
}

/// Adds every problem that a single section shows, and a warning for each key that is planned: a file for a later
/// version starts on this one, and hears what has no effect. `None`: the text is no TOML, and only that was reported.
pub fn parse(source: &Source<'_>, problems: &mut Vec<Problem>, warnings: &mut Vec<Problem>) -> Option<Written> {
    let (mut root, errors) = DeTable::parse_recoverable(source.text);
    let is_duplicate = |e: &&toml::de::Error| e.message().contains("duplicate key");
    if let Some(error) = errors.iter().find(|e| !is_duplicate(e)) {
        problems.push(syntax_problem(source, error));
        return None;
    }
    problems.extend(errors.iter().map(|e| syntax_problem(source, e)));
    let expanded = expand(root.get_mut(), source, problems);
    let mut walk = Walk { source, expanded, problems, warnings };
    Some(walk.root(root.get_ref()))
}

pub fn syntax_problem(source: &Source<'_>, error: &toml::de::Error) -> Problem {
    let span = error.span().unwrap_or_default();
    let mut written = source.text.get(span.clone()).unwrap_or_default();
    if is_secret(source.line(span.start)) {
        written = "…";
    }
    let message = error.message();
    let place = source.place(span.start);
    if message.contains("duplicate key") {
        return place.problem(format!("{written} is written twice"), "keep one and remove the other");
    }
    let help = if message.contains("must be quoted") && !written.is_empty() {
        format!("write \"{written}\" with quotes")
    } else if message.contains("must be quoted") {
        "write a value behind the =".into()
    } else if message.contains("boolean") {
        "write true or false in small letters".into()
    } else if message.contains("invalid basic string, expected `\"`") {
        "write a \" at the end of the text, on the same line".into()
    } else if message.contains("invalid unquoted key") {
        "write names of letters a to z, digits, _ and -, as in key = value and [deliver.name]".into()
    } else {
        "write key = value, text as \"text\", lists as [1, 2], headings as [deliver.name]".into()
    };
    place.problem(format!("this is no TOML: {message}"), help)
}

struct Walk<'a> {
    source: &'a Source<'a>,
    expanded: Expanded,
    problems: &'a mut Vec<Problem>,
    warnings: &'a mut Vec<Problem>,
}

type Member<'m, 'i> = (&'m Spanned<DeString<'i>>, &'m Spanned<DeValue<'i>>);

impl Walk<'_> {
    fn root(&mut self, root: &DeTable<'_>) -> Written {
        let absent = || Section::new("", self.source.whole());
        let mut written = Written {
            process: absent(),
            system: absent(),
            clusters: Vec::new(),
            deliver: Vec::new(),
            collect: Vec::new(),
            etcd: absent(),
        };
        for (key, value) in in_order(root) {
            match key.get_ref().as_ref() {
                "process" => written.process = self.plain_section(key, value, &rows(&[PROCESS])),
                "system" => written.system = self.plain_section(key, value, &rows(&[TASK, COLLECT])),
                "cluster" => written.clusters = self.named_sections(key, value, &rows(&[CLUSTER])),
                "deliver" => written.deliver = self.named_sections(key, value, &rows(&[TASK])),
                "collect" => written.collect = self.named_sections(key, value, &rows(&[COLLECT])),
                "etcd" => written.etcd = self.plain_section(key, value, &rows(&[ETCD])),
                other => self.unknown_root(key.span().start, other, value.get_ref()),
            }
        }
        written
    }

    fn plain_section(
        &mut self,
        key: &Spanned<DeString<'_>>,
        value: &Spanned<DeValue<'_>>,
        keys: &[&'static Key],
    ) -> Section {
        let heading = format!("[{}]", key.get_ref());
        match value.get_ref() {
            DeValue::Table(table) => self.section("", &heading, key.span().start, table, keys),
            _ => {
                self.add(
                    key.span().start,
                    format!("{} is a heading, not a key", key.get_ref()),
                    format!("write {heading}"),
                );
                self.section("", &heading, key.span().start, &DeTable::new(), keys)
            }
        }
    }

    fn named_sections(
        &mut self,
        key: &Spanned<DeString<'_>>,
        value: &Spanned<DeValue<'_>>,
        keys: &[&'static Key],
    ) -> Vec<Section> {
        let group = key.get_ref();
        let empty = DeTable::new();
        let mut sections = Vec::new();
        for (key, value) in in_order(value.get_ref().as_table().unwrap_or(&empty)) {
            let name = key.get_ref().as_ref();
            let at = key.span().start;
            match value.get_ref() {
                DeValue::Table(table) => {
                    if !is_name(name) {
                        let help = format!("write 1 to {NAME_MAX} letters, digits, _ and -");
                        self.add(at, format!("{name:?} is no legal name of a section"), help);
                    }
                    sections.push(self.section(name, &format!("[{group}.{name}]"), at, table, keys));
                }
                DeValue::Array(_) => {
                    let help = format!("write [{group}.{name}] with single brackets, each name once");
                    self.add(at, format!("{group}.{name} is a list"), help);
                }
                _ => {
                    let example = match group.as_ref() {
                        "cluster" => "default",
                        "deliver" => "game_24",
                        _ => "web",
                    };
                    let help = format!("write the heading as [{group}.NAME], for example [{group}.{example}]");
                    self.add(at, format!("{name} stands directly in [{group}], which needs a name"), help);
                }
            }
        }
        if !value.get_ref().is_table() {
            self.add(key.span().start, format!("{group} is a heading, not a key"), format!("write [{group}.NAME]"));
        }
        sections
    }

    fn section(&mut self, name: &str, heading: &str, at: usize, table: &DeTable<'_>, keys: &[&'static Key]) -> Section {
        let mut section = Section::new(name, self.source.place(at));
        for (key, value) in in_order(table) {
            let written = key.get_ref().as_ref();
            let at = key.span().start;
            let Some(known) = find(keys, written) else {
                let is_table = value.get_ref().is_table();
                self.unknown_key(at, written, heading, is_table, keys);
                section.misspelt.extend(nearest_key(written, keys));
                continue;
            };
            if !known.is_available() {
                self.without_effect(at, written);
                continue;
            }
            if let Some(other) = section.entry(known.name) {
                let message = format!("{written} and {} are the same key", other.written_name);
                self.add(at, message, format!("keep {} and remove {}", known.name, known.old_name.unwrap_or_default()));
                continue;
            }
            section.put(known.name, self.entry(known, written, value));
        }
        section
    }

    fn entry(&mut self, key: &'static Key, written: &str, value: &Spanned<DeValue<'_>>) -> Entry {
        let (source, expanded, span) = (self.source, &self.expanded, value.span());
        let mut reading = Reading { key, name: written, source, expanded, problems: self.problems };
        Entry {
            value: if expanded.is_failed(&span) { None } else { reading.read(value) },
            place: source.place(span.start),
            written_name: written.into(),
            taken: expanded.is_taken(&span).then(|| source.text[span].into()),
        }
    }

    fn unknown_key(&mut self, at: usize, written: &str, heading: &str, is_table: bool, keys: &[&'static Key]) {
        let message = format!("unknown key {written} in {heading}");
        let home = |(section, keys): &(&'static str, &'static [Key])| Some((*section, find(&rows(&[keys]), written)?));
        let help = match (SECTIONS.iter().find_map(home), nearest_key(written, keys)) {
            (Some((_, key)), _) if !key.is_available() => {
                return self.add(at, format!("{written} is not available in this version"), "remove the line".into());
            }
            (Some((section, _)), _) => format!("{written} belongs into {section}"),
            (_, Some(near)) => format!("write {near}"),
            _ if is_table => {
                let name = heading.trim_matches(['[', ']']);
                format!("names hold no dot: write the heading as [{name}_{written}]")
            }
            _ => format!("remove it; the keys of {heading} are {}", names(keys).collect::<Vec<_>>().join(", ")),
        };
        self.add(at, message, help);
    }

    fn unknown_root(&mut self, at: usize, written: &str, value: &DeValue<'_>) {
        if value.is_table() {
            let known = ["process", "system", "cluster", "deliver", "collect", "etcd"];
            let help = match nearest(written, known.into_iter()) {
                Some(near @ ("cluster" | "deliver" | "collect")) => format!("write [{near}.NAME]"),
                Some(near) => format!("write [{near}]"),
                None => {
                    "the sections are [process], [cluster.NAME], [system], [deliver.NAME], [collect.NAME] and [etcd]"
                        .into()
                }
            };
            return self.add(at, format!("unknown section [{written}]"), help);
        }
        let home = SECTIONS.iter().find_map(|(section, keys)| Some((section, nearest_key(written, &rows(&[keys]))?)));
        let help = match home {
            Some((section, key)) => format!("write {key} below the heading {section}"),
            None => "remove it, or write it below the heading it belongs to".into(),
        };
        self.add(at, format!("{written} stands before every heading"), help);
    }

    fn without_effect(&mut self, at: usize, what: &str) {
        self.warnings.push(self.source.place(at).problem(format!("{what} has no effect in this version"), ""));
    }

    fn add(&mut self, at: usize, message: String, help: String) {
        self.problems.push(self.source.place(at).problem(message, help));
    }
}

/// Names that may be proposed to an operator.
fn names(keys: &[&'static Key]) -> impl Iterator<Item = &'static str> {
    keys.iter().filter(|k| k.is_available()).map(|k| k.name)
}

fn nearest_key(written: &str, keys: &[&'static Key]) -> Option<&'static str> {
    let old_names = keys.iter().filter_map(|k| k.old_name);
    let near = nearest(written, names(keys).chain(old_names))?;
    find(keys, near).map(|k| k.name)
}

fn find(keys: &[&'static Key], name: &str) -> Option<&'static Key> {
    keys.iter().find(|k| k.name == name || k.old_name == Some(name)).copied()
}

/// The library keeps tables sorted by name; people read files from the top.
fn in_order<'m, 'i>(table: &'m DeTable<'i>) -> Vec<Member<'m, 'i>> {
    let mut members: Vec<_> = table.iter().collect();
    members.sort_by_key(|(key, _)| key.span().start);
    members
}
