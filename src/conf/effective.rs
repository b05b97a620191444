//! What every key comes to, as text: the one measure by which two configurations differ, key by key, whatever the file
//! looks like.

use std::collections::BTreeMap;

use super::kind::Value;
use super::schema::{Change, Key};

/// The keys of a task or of the process. Places and comments are no part of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Effective(BTreeMap<&'static str, (Change, String)>);

impl Effective {
    /// Adds a key with the value that works, be it written, a default, or made from other keys.
    pub fn add(&mut self, key: &Key, value: Option<&Value>) {
        let text = match value {
            Some(Value::Items(items)) => items.iter().map(|item| format!("{:?} ", item.text)).collect(),
            other => format!("{other:?}"),
        };
        self.0.insert(key.name, (key.change, text));
    }

    /// Adds the keys of another table.
    pub fn extend(&mut self, others: Effective) {
        self.0.extend(others.0);
    }

    /// The keys whose values are others in `new`, with what the change costs.
    pub fn changed(&self, new: &Effective) -> Vec<(&'static str, Change)> {
        let differs = |(name, value): &(&&'static str, &(Change, String))| new.0.get(**name) != Some(value);
        self.0.iter().filter(differs).map(|(name, (change, _))| (*name, *change)).collect()
    }
}
