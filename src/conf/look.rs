//! What holds for a key: a section comes in, then the one that stands behind it, then the default.

use std::time::Duration;

use log::LevelFilter;

use super::config::Cores;
use super::effective::Effective;
use super::kind::{Item, Value};
use super::place::Place;
use super::schema::Key;
use super::written::{Entry, Section};
use crate::flow::cluster::Start;

/// Looks a key up: task -> `[system]` -> default.
pub struct Look<'a> {
    pub keys: &'static [Key],
    pub sections: [&'a Section; 2],
}

impl<'a> Look<'a> {
    pub fn key(&self, name: &str) -> &'static Key {
        match self.keys.iter().find(|k| k.name == name) {
            Some(key) => key,
            None => unreachable!("{name} stands in the table of keys"),
        }
    }

    pub fn entry(&self, name: &str) -> Option<&'a Entry> {
        self.sections.iter().find_map(|section| section.entry(name))
    }

    /// Of the value, or of the section's heading.
    pub fn place(&self, name: &str) -> &'a Place {
        self.entry(name).map_or(&self.sections[0].place, |entry| &entry.place)
    }

    /// What is written is wrong, and that was reported: the default stands in for it.
    pub fn is_wrong(&self, name: &str) -> bool {
        self.entry(name).is_some_and(|entry| entry.value.is_none())
    }

    pub fn value(&self, name: &str) -> Option<&'a Value> {
        let default = self.key(name).default();
        self.entry(name).and_then(|entry| entry.value.as_ref()).or(default)
    }

    /// Every key with the value that works.
    pub fn effective(&self) -> Effective {
        let mut effective = Effective::default();
        let keys = self.keys.iter().filter(|key| key.is_available());
        keys.for_each(|key| effective.add(key, self.value(key.name)));
        effective
    }

    /// "" where there is none.
    pub fn text(&self, name: &str) -> &'a str {
        match self.value(name) {
            Some(Value::Text(text)) => text,
            None => "",
            Some(other) => unreachable!("{name} is a text, not {other:?}"),
        }
    }

    /// `None` where it is "" or there is none.
    pub fn given(&self, name: &str) -> Option<&'a str> {
        Some(self.text(name)).filter(|text| !text.is_empty())
    }

    pub fn level(&self, name: &str) -> LevelFilter {
        match self.text(name).parse() {
            Ok(level) => level,
            Err(_) => unreachable!("{name} is one of the log's levels"),
        }
    }

    /// Empty where there is none.
    pub fn items(&self, name: &str) -> &'a [Item] {
        match self.value(name) {
            Some(Value::Items(items)) => items,
            None => &[],
            Some(other) => unreachable!("{name} is a list, not {other:?}"),
        }
    }

    pub fn number(&self, name: &str) -> u64 {
        match self.value(name) {
            Some(Value::Number(number)) => *number,
            other => unreachable!("{name} is a number, not {other:?}"),
        }
    }

    pub fn flag(&self, name: &str) -> bool {
        match self.value(name) {
            Some(Value::Flag(flag)) => *flag,
            other => unreachable!("{name} is true or false, not {other:?}"),
        }
    }

    pub fn duration(&self, name: &str) -> Duration {
        match self.value(name) {
            Some(Value::Duration(duration)) => *duration,
            other => unreachable!("{name} is a duration, not {other:?}"),
        }
    }

    pub fn seconds(&self, name: &str) -> i32 {
        match self.value(name) {
            Some(Value::Seconds(seconds)) => *seconds,
            other => unreachable!("{name} is in seconds, not {other:?}"),
        }
    }

    pub fn start(&self, name: &str) -> Start {
        match self.value(name) {
            Some(Value::Start(start)) => *start,
            other => unreachable!("{name} is a start, not {other:?}"),
        }
    }

    pub fn cores(&self, name: &str) -> Cores {
        match self.value(name) {
            Some(Value::Cores(cores)) => cores.clone(),
            other => unreachable!("{name} is about cores, not {other:?}"),
        }
    }

    pub fn pairs(&self, name: &str) -> Vec<(String, String)> {
        match self.value(name) {
            Some(Value::Pairs(pairs)) => pairs.iter().map(|p| (p.name.clone(), p.value.clone())).collect(),
            other => unreachable!("{name} holds pairs, not {other:?}"),
        }
    }
}
