//! What every start stands on: the process's ground, a task's places, which files are ours, and why it may fail.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::flow::name::Template;
use crate::flow::span::Mark;
use crate::ledger::cut::Cut;
use crate::ledger::failures;
use crate::ledger::store::{Store, StoreError};
use crate::ring::slot::{Kind, Row, State};
use crate::sys::file;

/// Where a task keeps what.
#[derive(Debug, Clone)]
pub struct Places {
    pub dir: PathBuf,
    pub state_dir: PathBuf,
    pub failures_dir: PathBuf,
    pub snapshots_dir: PathBuf,
}

/// What the process gives to every task's start.
pub struct Ground {
    pub data_dir: PathBuf,
    pub store: Arc<Store>,
    pub boot_id: u128,
    /// Names this process to others that find its locks.
    pub holder: String,
}

/// Why a task cannot start.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    #[error("{what} {}: {source}", path.display())]
    Io { what: &'static str, path: PathBuf, source: io::Error },
    #[error("{} is in use by {holder}; two programs must not write the same files", path.display())]
    InUse { path: PathBuf, holder: String },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{0}")]
    Refused(String),
}

pub fn io_at<'p>(what: &'static str, path: &'p Path) -> impl Fn(io::Error) -> RestoreError + 'p {
    move |source| RestoreError::Io { what, path: path.to_path_buf(), source }
}

impl Places {
    /// The directory of a kind of files.
    pub fn root(&self, kind: Kind) -> &Path {
        match kind {
            Kind::Lines => &self.dir,
            Kind::Failures => &self.failures_dir,
        }
    }
}

/// A file of a writer's table: its row, state, length and identity.
pub type FileRow = (Row, State, u64, file::Identity);

/// Partitions in turn, so that every topic is spread over all readers.
pub fn spread_marks(sources: impl IntoIterator<Item = Mark>, readers: usize) -> Vec<Vec<Mark>> {
    let mut marks: Vec<Mark> = sources.into_iter().collect();
    marks.sort_by_key(|m| (m.topic, m.partition));
    let mut spread = vec![Vec::new(); readers];
    marks.into_iter().enumerate().for_each(|(i, mark)| spread[i % readers].push(mark));
    spread
}

/// A directory, the kind of its files, and the templates of their names.
pub type Owned<'p> = (&'p Path, Kind, Vec<Template>);

/// The task's directories with the templates of their files.
///
/// # Errors
/// A stored template is none.
pub fn owned<'p>(cut: &Cut, places: &'p Places) -> Result<[Owned<'p>; 2], String> {
    let templates: Result<_, _> = cut.output.templates.iter().map(|t| Template::parse(t)).collect();
    let segments = vec![Template::parse(failures::SEGMENT)?];
    Ok([(&places.dir, Kind::Lines, templates?), (&places.failures_dir, Kind::Failures, segments)])
}

/// Files below `dir` whose names one of the templates can have made, with their numbers.
///
/// # Errors
/// The kernel's.
pub fn ours(dir: &Path, templates: &[Template]) -> io::Result<Vec<(String, u64)>> {
    let mut found = Vec::new();
    let mut dirs = vec![PathBuf::new()];
    while let Some(below) = dirs.pop() {
        for item in std::fs::read_dir(dir.join(&below))? {
            let item = item?;
            let path = below.join(item.file_name());
            let Some(name) = path.to_str() else { continue };
            if item.file_type()?.is_dir() && !name.starts_with(".logmill") {
                dirs.push(path);
            } else if let Some(seq) = templates.iter().find_map(|t| t.seq_of(name)) {
                found.push((name.to_string(), seq));
            }
        }
    }
    Ok(found)
}
