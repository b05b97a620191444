//! What is stored of a task: in its rings, where a start would go on from them, else in the ledger.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use crate::conf::config::Deliver;
use crate::flow::span::{Mark, queued};
use crate::ledger::cut::Cut;
use crate::ledger::store::{Store, StoreError};
use crate::ring::peek;
use crate::sys::file;
use crate::tail::recall::RecallError;

/// Tries to read a value that is being written.
const TRIES: usize = 5;

/// Why it cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    #[error("cannot read {}: {source}; the user that logmill runs as can, and root", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Recall(#[from] RecallError),
    #[error("there is no task {0} in the configuration")]
    NoTask(String),
}

/// What is stored of a task.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stored {
    /// The offset to take next, by topic and partition.
    pub next: BTreeMap<(String, i32), i64>,
    /// Topics that have a state: partitions of them that have no place yet begin at their beginning.
    pub topics: Vec<String>,
    /// The failure queue; `None` before the first start.
    pub queue: Option<Queue>,
}

/// A failure queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    /// Of its segments.
    pub dir: PathBuf,
    /// The place up to which it is taken out.
    pub next: i64,
    /// Records in it.
    pub records: u64,
}

/// What is stored of each of the tasks.
///
/// # Errors
/// It cannot be read. Where nothing was stored yet, nothing is found.
pub fn of(data_dir: &Path, tasks: &[Deliver]) -> Result<Vec<Stored>, InspectError> {
    let Some(store) = ledger(data_dir)? else { return Ok(vec![Stored::default(); tasks.len()]) };
    let boot_id = file::boot_id().map_err(|source| InspectError::Io { path: "/proc".into(), source })?;
    tasks.iter().map(|task| Ok(of_task(data_dir, task, &store, boot_id)?)).collect()
}

/// `None` before the first start.
///
/// # Errors
/// It cannot be read.
pub fn ledger(data_dir: &Path) -> Result<Option<Store>, InspectError> {
    let ledger = data_dir.join("ledger");
    match std::fs::File::open(ledger.join("data.mdb")) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(InspectError::Io { path: ledger, source }),
        Ok(_) => Ok(Some(Store::open_to_read(&ledger)?)),
    }
}

fn of_task(data_dir: &Path, task: &Deliver, store: &Store, boot_id: u128) -> Result<Stored, StoreError> {
    let mut tried = 1;
    let found = loop {
        match newest(task, store) {
            Err(StoreError::Damaged { .. }) if tried < TRIES => tried += 1,
            other => break other?,
        }
    };
    let Some((state_id, cut)) = found else { return Ok(Stored::default()) };
    let state_dir = data_dir.join(format!("state.{state_id:016x}"));
    let in_cut = cut.sources.iter().map(|source| Mark::from(*source));
    let mut marks: BTreeMap<_, _> = in_cut.map(|mark| ((mark.topic, mark.partition), mark)).collect();
    // Maps of another boot or set are void: a start would go back to the ledger.
    if let Ok((set_id, in_rings)) = peek::peek(&state_dir, boot_id)
        && set_id == cut.set_id
    {
        marks.extend(in_rings.into_iter().map(|mark| ((mark.topic, mark.partition), mark)));
    }
    let name = |mark: &Mark| (cut.topic_name(mark.topic).to_string(), mark.partition);
    let of_kafka = marks.values().filter(|mark| mark.is_of_kafka());
    let queue = marks.values().find(|mark| !mark.is_of_kafka());
    Ok(Stored {
        next: of_kafka.map(|mark| (name(mark), mark.next)).collect(),
        topics: cut.topics.iter().map(|topic| topic.name.clone()).collect(),
        queue: Some(Queue {
            dir: state_dir.join("failures"),
            next: queue.map_or(0, |mark| mark.next),
            records: queued(marks.values().copied()),
        }),
    })
}

fn newest(task: &Deliver, store: &Store) -> Result<Option<(u64, Cut)>, StoreError> {
    for topic in &task.topics {
        if let Some(id) = store.state_of(&task.group_id, topic)? {
            return Ok(store.cut(id)?.map(|cut| (id, cut)));
        }
    }
    Ok(None)
}
