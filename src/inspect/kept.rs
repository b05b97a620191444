//! Where collected files stand by what is kept of them: in the ledger, or in the topic of places.

use std::path::Path;
use std::time::Instant;

use super::{BROKERS_MAX, InspectError};
use crate::conf::config::Collect;
use crate::ctl::protocol::FileRow;
use crate::ledger::store::Store;
use crate::sys::follow;
use crate::tail::positions::{Position, Remembered};
use crate::tail::recall::recall;

/// The state of a file that nobody follows at the moment.
const STORED: &str = "stored";
/// The same of one that is gone, or was left alone.
const GONE: &str = "gone";

/// The files of one task, by name. `store` is the ledger, where there is one.
///
/// # Errors
/// What is kept cannot be read.
pub fn of(task: &Collect, store: Option<&Store>) -> Result<Vec<FileRow>, InspectError> {
    let remembered = match (&task.positions_topic, store) {
        (Some(topic), _) => {
            let until = Instant::now() + BROKERS_MAX;
            let values = recall(&task.cluster, topic, &mut || Instant::now() < until)?;
            let text = |(key, value): (Vec<u8>, Vec<u8>)| (String::from_utf8_lossy(&key).into_owned(), value);
            Remembered::of(&task.name, values.into_iter().map(text)).0
        }
        (None, Some(store)) => Remembered::kept(store, &task.name)?.0,
        (None, None) => Remembered::default(),
    };
    let mut rows: Vec<FileRow> = remembered.positions.values().map(|position| row(task, position)).collect();
    rows.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(rows)
}

fn row(task: &Collect, position: &Position) -> FileRow {
    let is_it = |path: &Path| follow::file_id(path).is_ok_and(|id| id == position.id);
    let size = position.path.metadata().map(|meta| meta.len()).ok().filter(|_| is_it(&position.path));
    let at = position.place.at;
    FileRow {
        task: task.name.clone(),
        path: position.path.display().to_string(),
        // Places are of files; an entry says where their lines go.
        topic: String::new(),
        position: at,
        size: size.unwrap_or(at),
        behind: size.map_or(0, |size| size.saturating_sub(at)),
        identity: position.id.hex(),
        state: if size.is_some() { STORED } else { GONE }.into(),
        reason: String::new(),
    }
}
