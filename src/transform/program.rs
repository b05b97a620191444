//! The settings files of all projects of a task, checked and compiled.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::entry::{Entry, Names};
use super::filter::Filter;
use super::{names, settings};
use crate::flow::problem::Problem;

/// Immutable: a reload makes a new one.
#[derive(Debug, Default)]
pub struct Program {
    /// What is odd and yet accepted, to be logged once.
    pub warnings: Vec<Problem>,
    projects: Vec<Project>,
    pub(super) stamp: Stamp,
}

/// Tells a program from all others of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stamp(u64);

impl PartialEq for Program {
    /// By what they say.
    fn eq(&self, other: &Program) -> bool {
        (&self.warnings, &self.projects) == (&other.warnings, &other.projects)
    }
}

/// The settings of one `app_id`.
#[derive(Debug, PartialEq)]
pub struct Project {
    pub app_id: String,
    /// In the order of the file, the built-in one last.
    pub entries: Vec<Chosen>,
    by_log_name: Names<usize>,
    /// The entry of a `log_name` that has none of its own.
    pub any: usize,
    pub filter: Filter,
}

/// An entry, with all that follows from its names alone.
#[derive(Debug, PartialEq)]
pub struct Chosen {
    pub entry: Entry,
    /// `None` where it depends on the record's `log_name`.
    pub names: Option<ChosenNames>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChosenNames {
    pub event_name: String,
    /// Fit for `#event_name`.
    pub legal: bool,
    /// The name filter drops these records.
    pub dropped: bool,
}

/// Settings files larger than this are refused unread.
const FILE_BYTES_MAX: u64 = 16 << 20;

impl Program {
    /// Reads `mthinkingdata:metadata.<app_id>.json` and `mthinkingdata:filter.<app_id>.json` (`.` for `:` too) of every
    /// project. A missing filter file drops nothing; a missing metadata file leaves the built-in entry and a warning.
    ///
    /// # Errors
    /// Every problem of every file, with its place.
    pub fn load(dir: &Path, app_ids: &[String]) -> Result<Program, Vec<Problem>> {
        if !dir.is_dir() {
            let help = "create it, or correct settings_dir";
            return Err(vec![whole_file(dir, "there is no such settings directory", help)]);
        }
        let (mut problems, mut warnings, mut projects) = (Vec::new(), Vec::new(), Vec::new());
        for app_id in app_ids {
            let entries = match read(dir, "metadata", app_id, &mut problems) {
                Some((path, bytes)) => settings::metadata(&path, &bytes, &mut problems),
                None => {
                    let path = dir.join(format!("mthinkingdata:metadata.{app_id}.json"));
                    let message = "there is no such metadata file: every record will lack an id";
                    warnings.push(whole_file(&path, message, "write one, or take the app_id out of app_ids"));
                    Vec::new()
                }
            };
            let filter = match read(dir, "filter", app_id, &mut problems) {
                Some((path, bytes)) => settings::filter(&path, &bytes, &mut problems),
                None => Filter::default(),
            };
            projects.push(Project::new(app_id, entries, filter));
        }
        if problems.is_empty() { Ok(Program { warnings, projects, stamp: Stamp::new() }) } else { Err(problems) }
    }

    /// The place of an `app_id`.
    pub(super) fn find(&self, app_id: &[u8]) -> Option<usize> {
        self.projects.iter().position(|project| project.app_id.as_bytes() == app_id)
    }

    pub(super) fn project(&self, place: usize) -> &Project {
        &self.projects[place]
    }
}

impl Stamp {
    fn new() -> Stamp {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Stamp(LAST.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

impl Project {
    fn new(app_id: &str, mut entries: Vec<Entry>, filter: Filter) -> Project {
        entries.push(Entry::empty(""));
        let built_in = entries.len() - 1;
        let any = entries.iter().position(|entry| entry.log_name == "*").unwrap_or(built_in);
        let named = entries[..built_in].iter().enumerate();
        let by_log_name = named.map(|(i, entry)| (entry.log_name.clone(), i)).collect();
        let chosen = |(i, entry): (usize, Entry)| {
            let event_name = entry.event_name.clone().unwrap_or_else(|| format!("t_{}", entry.log_name));
            let names = (i != any && i != built_in).then(|| ChosenNames {
                legal: names::is_legal(event_name.as_bytes()),
                dropped: filter.drops_name(&entry.log_name, &event_name),
                event_name,
            });
            Chosen { entry, names }
        };
        let entries = entries.into_iter().enumerate().map(chosen).collect();
        Project { app_id: app_id.to_string(), entries, by_log_name, any, filter }
    }

    /// The entry that bears this `log_name` itself.
    pub fn named(&self, log_name: &[u8], hash: u32) -> Option<usize> {
        self.by_log_name.get(log_name, hash).copied()
    }
}

/// The file of one kind of a project; `None` where there is none or it cannot be read (then a problem says so).
fn read(dir: &Path, kind: &str, app_id: &str, problems: &mut Vec<Problem>) -> Option<(PathBuf, Vec<u8>)> {
    let paths = [':', '.'].map(|mark| dir.join(format!("mthinkingdata{mark}{kind}.{app_id}.json")));
    if paths.iter().all(|path| path.exists()) {
        let message = format!("stands beside {}: both are for the same project", paths[1].display());
        problems.push(whole_file(&paths[0], &message, "remove one of them"));
        return Some((paths[0].clone(), b"[]".to_vec()));
    }
    for path in paths {
        let bytes = fs::metadata(&path).and_then(|found| {
            if found.len() > FILE_BYTES_MAX {
                return Err(std::io::Error::other(format!("larger than {FILE_BYTES_MAX} bytes")));
            }
            fs::read(&path)
        });
        match bytes {
            Ok(bytes) => return Some((path, bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => {
                problems.push(whole_file(&path, &format!("cannot be read: {error}"), "check the file and its rights"));
                return Some((path, b"[]".to_vec()));
            }
        }
    }
    None
}

fn whole_file(path: &Path, message: &str, help: &str) -> Problem {
    Problem { file: path.to_path_buf(), line: 0, column: 0, message: message.into(), help: help.into() }
}
