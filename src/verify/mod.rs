//! Files against the topic: which lines are lost, doubled, out of order, or nobody's.
//!
//! In: a task's configuration, its last checkpoint, its files up to the lengths in it. The topic is read again from
//! where delivery began up to the checkpoint's marks, and every record transformed again. Lines are compared by 128-bit
//! hashes, some millions at a time: a large topic is read several times rather than held in memory.

mod lines;
mod topic;

use std::collections::HashSet;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::conf::Loaded;
use crate::conf::config::Deliver;
use crate::dry_run::{DryRunError, Rules};
use crate::engine::{Places, owned};
use crate::flow::span::Counts;
use crate::ledger::cut::Cut;
use crate::ledger::failures::Failure;
use crate::ledger::queue;
use crate::ledger::store::{Store, StoreError};
use crate::reader::kafka::FetchError;
use crate::sys::file;
use lines::{LineFile, Lines};
use topic::Topic;

/// Lines compared in one reading; some 300 MB.
const LINES_PER_READING: u64 = 4 << 20;
/// Places named of each kind of finding.
const EXAMPLES: usize = 5;

/// Why nothing can be compared.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    #[error(transparent)]
    Task(#[from] DryRunError),
    #[error("{} is in use by {holder}; stop that one first, so that files and checkpoint stand still", path.display())]
    InUse { path: PathBuf, holder: String },
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("{0}")]
    Refused(String),
}

/// What the comparison found.
#[derive(Debug, Default)]
pub struct Report {
    pub task: String,
    pub files: usize,
    /// Lines in the files.
    pub lines: u64,
    /// The topic's records, by what has to become of them.
    pub records: Counts,
    /// Records that the checkpoint counts and the topic no longer has.
    pub gone: u64,
    /// Parked records that became lines later: these stand behind younger ones.
    pub retried: u64,
    /// Parked records that were cleared.
    pub cleared: u64,
    pub lost: Finding,
    pub doubled: Finding,
    pub out_of_order: Finding,
    /// Lines in the files that no record of the topic gives.
    pub unknown: Finding,
}

/// How many, and where the first ones are.
#[derive(Debug, Default)]
pub struct Finding {
    pub count: u64,
    pub places: Vec<String>,
}

impl Finding {
    fn add(&mut self, count: u64, place: impl FnOnce() -> String) {
        self.count += count;
        if count > 0 && self.places.len() < EXAMPLES {
            self.places.push(place());
        }
    }
}

impl Report {
    /// Every line exactly once, as far as the topic can tell. Where lines are missing or late, so many parked records
    /// were cleared or retried.
    pub fn is_exact(&self) -> bool {
        self.doubled.count == 0
            && self.unknown.count <= self.gone
            && self.lost.count <= self.cleared
            && self.out_of_order.count <= self.retried
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (task, r) = (&self.task, self.records);
        writeln!(
            out,
            "{task}: {} records = {} lines + {} filtered + {} parked",
            r.consumed, r.written, r.filtered, r.parked
        )?;
        if self.gone > 0 {
            writeln!(out, "{task}: {} more are delivered and no longer in the topic: not compared", self.gone)?;
        }
        if self.retried > 0 {
            writeln!(out, "{task}: {} parked records became lines later: so many may be out of order", self.retried)?;
        }
        if self.cleared > 0 {
            writeln!(out, "{task}: {} parked records were cleared: so many may be lost", self.cleared)?;
        }
        writeln!(
            out,
            "{task}: {} files, {} lines: {} lost, {} doubled, {} out of order, {} that no record gives",
            self.files, self.lines, self.lost.count, self.doubled.count, self.out_of_order.count, self.unknown.count
        )?;
        let kinds = [
            ("lost", &self.lost),
            ("doubled", &self.doubled),
            ("out of order", &self.out_of_order),
            ("no record gives", &self.unknown),
        ];
        for (what, finding) in kinds {
            finding.places.iter().try_for_each(|place| writeln!(out, "  {what}: {place}"))?;
        }
        Ok(())
    }
}

/// Compares a task's files, below its own directory or another that holds a copy of them, with its topics.
///
/// # Errors
/// Why nothing can be compared.
pub fn run(loaded: &Loaded, task: &str, dir: Option<&Path>) -> Result<Report, VerifyError> {
    let rules = Rules::of_task(loaded, task)?;
    let known = loaded.config.deliver.iter().find(|deliver| deliver.name == task);
    let deliver = known.ok_or_else(|| VerifyError::Refused(format!("there is no task {task}")))?;
    let data_dir = &loaded.config.process.data_dir;
    let _lock = lock(data_dir)?;
    let store = Store::open(&data_dir.join("ledger"))?;
    let (cut, places) = state(deliver, dir, data_dir, &store)?;
    let [lines, segments] = owned(&cut, &places).map_err(VerifyError::Refused)?;
    let files = LineFile::of(&cut, &lines)?;
    let parked = parked(&cut, &LineFile::of(&cut, &segments)?)?;
    let mut report = Report { task: task.to_string(), files: files.len(), ..Report::default() };
    let topic = Topic::new(deliver, &cut, rules, &parked)?;
    let readings = cut.counts().written.div_ceil(LINES_PER_READING).max(1);
    for reading in 0..readings {
        let mut lines = Lines::new(reading, readings);
        report.records = topic.read(&mut lines, &mut report.lost)?;
        report.lines = lines.compare(&files, &topic, &mut report)?;
        lines.missing(&topic, &mut report.lost);
    }
    (report.retried, report.cleared) = (cut.retried().written, cut.cleared());
    report.gone = cut.counts().consumed.saturating_sub(report.records.consumed);
    Ok(report)
}

fn lock(data_dir: &Path) -> Result<file::Lock, VerifyError> {
    let path = data_dir.join("lock");
    let holder = format!("logmill verify, process {}", std::process::id());
    if !data_dir.join("ledger").is_dir() {
        return Err(VerifyError::Refused(format!("{} holds no checkpoints", data_dir.display())));
    }
    file::Lock::take(&path, &holder, file::PRIVATE_FILE_MODE).map_err(|source| match source.kind() {
        std::io::ErrorKind::WouldBlock => {
            VerifyError::InUse { path: data_dir.to_path_buf(), holder: source.to_string() }
        }
        _ => VerifyError::Io { path, source },
    })
}

/// The task's last checkpoint, and where its files are.
fn state(deliver: &Deliver, dir: Option<&Path>, data_dir: &Path, store: &Store) -> Result<(Cut, Places), VerifyError> {
    for topic in &deliver.topics {
        let Some(id) = store.state_of(&deliver.group_id, topic)? else { continue };
        let Some(cut) = store.cut(id)? else { continue };
        let state_dir = data_dir.join(format!("state.{id:016x}"));
        let places = Places {
            dir: dir.unwrap_or(&deliver.dir).to_path_buf(),
            failures_dir: state_dir.join("failures"),
            snapshots_dir: state_dir.join("snapshots"),
            state_dir,
        };
        return Ok((cut, places));
    }
    Err(VerifyError::Refused(format!("task {} has no checkpoint yet: run it first", deliver.name)))
}

/// The places of parked records, as (topic, partition, offset, k).
type Parked = HashSet<(String, i32, i64, u32)>;

fn parked(cut: &Cut, segments: &[LineFile]) -> Result<Parked, VerifyError> {
    let mut parked = Parked::new();
    let taken = cut.queue().next;
    for segment in segments {
        let mut at = queue::place(segment.number, 0);
        segment.each(|number, line| {
            at += line.len() as i64 + 1;
            if at <= taken {
                return Ok(());
            }
            let failure = Failure::parse(line)
                .map_err(|what| VerifyError::Refused(format!("{}: line {number}: {what}", segment.path.display())))?;
            let known = cut.topics.iter().any(|topic| topic.name == failure.topic);
            if known {
                parked.insert((failure.topic, failure.partition, failure.offset, failure.k));
            }
            Ok(())
        })?;
    }
    Ok(parked)
}
