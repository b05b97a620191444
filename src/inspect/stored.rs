//! The stored places of a task: in its rings, where a start would go on from them, else in the ledger.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use crate::conf::config::Deliver;
use crate::ledger::cut::Cut;
use crate::ledger::store::{Store, StoreError};
use crate::ring::peek;
use crate::sys::file;

/// Tries to read a value that is being written.
const TRIES: usize = 5;

/// Why stored places cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    #[error("cannot read {}: {source}; the user that logmill runs as can, and root", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What is stored of a task.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stored {
    /// The offset to take next, by topic and partition.
    pub next: BTreeMap<(String, i32), i64>,
    /// Topics that have a state: partitions of them that have no place yet begin at their beginning.
    pub topics: Vec<String>,
}

/// What is stored of each of the tasks.
///
/// # Errors
/// It cannot be read. Where nothing was stored yet, nothing is found.
pub fn of(data_dir: &Path, tasks: &[Deliver]) -> Result<Vec<Stored>, InspectError> {
    let ledger = data_dir.join("ledger");
    match std::fs::File::open(ledger.join("data.mdb")) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(vec![Stored::default(); tasks.len()]),
        Err(source) => return Err(InspectError::Io { path: ledger, source }),
        Ok(_) => {}
    }
    let boot_id = file::boot_id().map_err(|source| InspectError::Io { path: "/proc".into(), source })?;
    let store = Store::open_to_read(&ledger)?;
    tasks.iter().map(|task| Ok(of_task(data_dir, task, &store, boot_id)?)).collect()
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
    let name = |topic: u16| cut.topic_name(topic).to_string();
    let mut next: BTreeMap<_, _> = cut.sources.iter().map(|s| ((name(s.topic), s.partition), s.next)).collect();
    // Maps of another boot or set are void: a start would go back to the ledger.
    if let Ok((set_id, marks)) = peek::peek(&data_dir.join(format!("state.{state_id:016x}")), boot_id)
        && set_id == cut.set_id
    {
        next.extend(marks.iter().map(|m| ((name(m.topic), m.partition), m.next)));
    }
    Ok(Stored { next, topics: cut.topics.iter().map(|topic| topic.name.clone()).collect() })
}

fn newest(task: &Deliver, store: &Store) -> Result<Option<(u64, Cut)>, StoreError> {
    for topic in &task.topics {
        if let Some(id) = store.state_of(&task.group_id, topic)? {
            return Ok(store.cut(id)?.map(|cut| (id, cut)));
        }
    }
    Ok(None)
}
