//! Lists of what is to be followed: comment-JSON in, entries out, or every problem with its place.
//!
//! ```text
//! [ {"path": "/var/log/game/*.log", "topic": "game"}, {"path": "/srv/**/web.log", "topic": "web", "key": "front"} ]
//! { "configpath": {"front": "/srv/web/access.log"} }        key and path; the topic is the task's
//! ```

use std::collections::HashMap;
use std::path::Path;

use super::patterns::Pattern;
use crate::flow::problem::Problem;
use crate::transform::comment_json::{self, Document, Node, Value};

/// Entries of one list.
pub const ENTRIES_MAX: usize = 100_000;
/// Characters of a topic's name, Kafka's limit.
const TOPIC_MAX: usize = 249;

/// Files that go to a topic.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Entry {
    /// Absolute; a glob where it holds one of `*?[{`.
    pub path: String,
    pub topic: String,
    /// Goes with each record.
    pub key: Option<String>,
}

/// The entries of a list in one of its two forms. `file` is named in problems; `topic` is for entries without one.
///
/// # Errors
/// Every problem of the list; none of it is to be used then.
pub fn parse(file: &Path, bytes: &[u8], topic: Option<&str>) -> Result<Vec<Entry>, Vec<Problem>> {
    let document = comment_json::parse(file, bytes).map_err(|problem| vec![problem])?;
    let mut check = Check { file, document: &document, topic, problems: Vec::new() };
    let entries = match &document.root.value {
        Value::List(items) => items.iter().filter_map(|item| Some((item.at, check.entry(item)?))).collect(),
        Value::Object(_) => check.paths(&document.root),
        other => {
            let message = format!("{} where a list of entries was expected", other.kind());
            check.fault(document.root.at, message, r#"write [ {"path": "/var/log/x.log", "topic": "x"} ]"#);
            Vec::new()
        }
    };
    check.once(&entries);
    if entries.len() > ENTRIES_MAX {
        let message = format!("{} entries; at most {ENTRIES_MAX} are followed", entries.len());
        check.fault(document.root.at, message, "write globs, or give a part of them to another host");
    }
    if check.problems.is_empty() {
        Ok(entries.into_iter().map(|(_, entry)| entry).collect())
    } else {
        Err(check.problems)
    }
}

struct Check<'c> {
    file: &'c Path,
    document: &'c Document<'c>,
    topic: Option<&'c str>,
    problems: Vec<Problem>,
}

impl Check<'_> {
    /// `{"path": …, "topic": …, "key": …}`
    fn entry(&mut self, node: &Node) -> Option<Entry> {
        let Value::Object(members) = &node.value else {
            let message = format!("{} where an entry was expected", node.value.kind());
            self.fault(node.at, message, r#"write {"path": "/var/log/x.log", "topic": "x"}"#);
            return None;
        };
        let (mut path, mut topic, mut key) = (None, None, None);
        for member in members {
            let place = match member.name.as_str() {
                "path" => &mut path,
                "topic" => &mut topic,
                "key" => &mut key,
                other => {
                    self.fault(member.at, format!("unknown member {other:?} of an entry"), "write path, topic or key");
                    continue;
                }
            };
            *place = self.text(&member.value, &member.name);
        }
        let path = self.path(node, path, members.iter().any(|m| m.name == "path"))?;
        let topic = match topic {
            Some((at, topic)) => self.legal_topic(at, topic)?,
            None => self.task_topic(node)?,
        };
        Some(Entry { path, topic, key: key.map(|(_, key)| key) })
    }

    /// `{"configpath": {key: path}}`
    fn paths(&mut self, root: &Node) -> Vec<(usize, Entry)> {
        let Value::Object(members) = &root.value else { return Vec::new() };
        let mut entries = Vec::new();
        for member in members {
            let Value::Object(paths) = &member.value.value else {
                self.fault(member.at, format!("{:?} holds {}", member.name, member.value.value.kind()), MAP);
                continue;
            };
            if member.name != "configpath" {
                self.fault(member.at, format!("unknown member {:?} of a list", member.name), MAP);
                continue;
            }
            for pair in paths {
                let path = self.text(&pair.value, &pair.name);
                let path = self.path(&pair.value, path, true);
                let topic = self.task_topic(&pair.value);
                if let (Some(path), Some(topic)) = (path, topic) {
                    entries.push((pair.at, Entry { path, topic, key: Some(pair.name.clone()) }));
                }
            }
        }
        entries
    }

    fn text(&mut self, node: &Node, name: &str) -> Option<(usize, String)> {
        match &node.value {
            Value::String(text) if !text.is_empty() => Some((node.at, text.clone())),
            other => {
                let found = if let Value::String(_) = other { "empty" } else { other.kind() };
                self.fault(node.at, format!("{name:?} is {found}"), "write a text in quotes");
                None
            }
        }
    }

    fn path(&mut self, node: &Node, path: Option<(usize, String)>, written: bool) -> Option<String> {
        let Some((at, path)) = path else {
            if !written {
                self.fault(node.at, "an entry without path", r#"write "path": "/var/log/x.log""#);
            }
            return None;
        };
        if !path.starts_with('/') || path.contains('\0') {
            self.fault(at, format!("{path:?} is no absolute path"), "begin it with /: nobody knows the directory else");
            return None;
        }
        if let Err(why) = Pattern::parse(&path) {
            self.fault(at, format!("{path:?} is no glob"), &why);
            return None;
        }
        Some(path)
    }

    fn task_topic(&mut self, node: &Node) -> Option<String> {
        if self.topic.is_none() {
            self.fault(node.at, "an entry without topic", "write a topic here, or topic = \"…\" for the task");
        }
        self.topic.map(String::from)
    }

    /// Kafka's own rule for names.
    fn legal_topic(&mut self, at: usize, topic: String) -> Option<String> {
        let legal = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if topic.len() <= TOPIC_MAX && topic.chars().all(legal) && topic != "." && topic != ".." {
            return Some(topic);
        }
        let help = format!("write at most {TOPIC_MAX} letters, digits, '.', '_' and '-'");
        self.fault(at, format!("{topic:?} is no legal name of a topic"), &help);
        None
    }

    /// The same path for the same topic twice would send every line twice.
    fn once(&mut self, entries: &[(usize, Entry)]) {
        let mut seen = HashMap::new();
        for (at, entry) in entries {
            if let Some(first) = seen.insert((&entry.path, &entry.topic), *at) {
                let (line, column) = self.document.place(first);
                let message = format!("{:?} goes to {} twice", entry.path, entry.topic);
                self.fault(*at, message, &format!("keep one; the first stands at {line}:{column}"));
            }
        }
    }

    fn fault(&mut self, at: usize, message: impl Into<String>, help: &str) {
        let (line, column) = self.document.place(at);
        let problem = Problem { file: self.file.into(), line, column, message: message.into(), help: help.into() };
        self.problems.push(problem);
    }
}

const MAP: &str = r#"write {"configpath": {"key": "/var/log/x.log"}}"#;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, topic: Option<&str>) -> Result<Vec<Entry>, Vec<String>> {
        parse(Path::new("list"), text.as_bytes(), topic).map_err(|all| all.iter().map(Problem::to_string).collect())
    }

    fn entry(path: &str, topic: &str, key: Option<&str>) -> Entry {
        Entry { path: path.into(), topic: topic.into(), key: key.map(String::from) }
    }

    #[test]
    fn both_forms_give_entries_in_their_order() {
        let list = "[ // ours\n {\"path\": \"/b/*.log\", \"topic\": \"t\"},\n {\"path\": \"/a\", \"key\": \"k\"}, ]";
        let wanted = vec![entry("/b/*.log", "t", None), entry("/a", "task", Some("k"))];
        assert_eq!(read(list, Some("task")), Ok(wanted));
        let map = r#"{"configpath": {"one": "/x.log", "two": "/y.log"}}"#;
        let wanted = vec![entry("/x.log", "task", Some("one")), entry("/y.log", "task", Some("two"))];
        assert_eq!(read(map, Some("task")), Ok(wanted));
        assert_eq!(read("[]", None), Ok(Vec::new()));
        assert_eq!(read(r#"{"configpath": {}}"#, Some("task")), Ok(Vec::new()));
    }

    #[test]
    fn every_problem_of_a_list_is_told_with_its_place() {
        let list = concat!(
            "[{\"path\": \"a\", \"topic\": \"t\"},\n",
            " {\"topic\": \"t\"}, 7,\n",
            " {\"path\": \"/a\", \"topic\": \"a b\"},\n",
            " {\"path\": \"/a\"}, {\"path\": 1, \"tpoic\": \"\"}]",
        );
        let told = read(list, None).expect_err("nothing is right");
        let wanted = [
            ("list:1:11", "no absolute path"),
            ("list:2:2", "without path"),
            ("list:2:18", "a number where an entry"),
            ("list:3:26", "no legal name"),
            ("list:4:2", "without topic"),
            ("list:4:27", "\"path\" is a number"),
            ("list:4:30", "unknown member \"tpoic\""),
        ];
        assert_eq!(told.len(), wanted.len(), "{told:#?}");
        for (told, (place, word)) in told.iter().zip(wanted) {
            assert!(told.starts_with(&format!("{place}: ")) && told.contains(word), "{told}\nhas no {place} {word}");
        }
    }

    #[test]
    fn a_broken_list_is_refused_whole() {
        for (list, word) in [
            ("[{\"path\": \"/a\", \"topic\": \"t\"}", "list:1"),
            ("\"a\"", "a string where a list"),
            ("{\"configpaths\": {}}", "unknown member"),
            ("{\"configpath\": []}", "holds a list"),
            ("{\"configpath\": {\"k\": \"/a\"}}", "without topic"),
            ("[{\"path\": \"/a\", \"topic\": \"t\"}, {\"path\": \"/a\", \"topic\": \"t\", \"key\": \"k\"}]", "twice"),
        ] {
            let told = read(list, None).expect_err(list);
            assert!(told.len() == 1 && told[0].contains(word), "{list}: {told:?}");
        }
    }
}
