//! Where every file stands, kept in the ledger: a value for each file, under the task's name and the file's identity.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use serde::{Deserialize, Serialize};

use super::cursor::{MARK_MAX, Mark, Place};
use crate::flow::clock;
use crate::ledger::store::{Store, StoreError};
use crate::sys::follow::FileId;
use crate::sys::thread;
use crate::tail::lease::Lease;

/// How long the place of a file that is gone is kept.
pub const GONE_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);
/// How often a commit that failed is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// One file's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    pub id: FileId,
    /// The name that led to it last.
    pub path: PathBuf,
    /// The last name that an entry meant: another one where the file was rotated away.
    pub meant: PathBuf,
    pub place: Place,
    /// Since when it is gone or left alone, in milliseconds since the epoch; 0 while it is followed.
    pub gone_ms: i64,
}

/// A position as it is written.
#[derive(Serialize, Deserialize)]
struct Written {
    id: String,
    path: PathBuf,
    meant: PathBuf,
    at: u64,
    #[serde(default)]
    pieces: u32,
    mark: WrittenMark,
    #[serde(default)]
    gone_ms: i64,
}

/// The first versions wrote the bytes themselves, as base64.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum WrittenMark {
    Sum(Mark),
    Bytes(String),
}

impl Position {
    pub fn to_bytes(&self) -> Vec<u8> {
        let written = Written {
            id: self.id.hex(),
            path: self.path.clone(),
            meant: self.meant.clone(),
            at: self.place.at,
            pieces: self.place.pieces,
            mark: WrittenMark::Sum(self.place.mark),
            gone_ms: self.gone_ms,
        };
        serde_json::to_vec(&written).unwrap_or_else(|e| unreachable!("plain fields always serialise: {e}"))
    }

    /// # Errors
    /// What does not fit.
    pub fn parse(bytes: &[u8]) -> Result<Position, String> {
        let written: Written = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
        let id = FileId::from_hex(&written.id).ok_or("its id is no identity")?;
        let Written { at, pieces, mark, .. } = written;
        let mark = match mark {
            WrittenMark::Sum(mark) => mark,
            WrittenMark::Bytes(text) => Mark::of(&STANDARD.decode(&text).map_err(|e| e.to_string())?),
        };
        if mark.bytes > MARK_MAX || mark.bytes as u64 > at {
            return Err(format!("{} bytes before byte {at} cannot be known", mark.bytes));
        }
        let place = Place { at, pieces, mark };
        Ok(Position { id, path: written.path, meant: written.meant, place, gone_ms: written.gone_ms })
    }

    pub fn is_too_old(&self, now_ms: i64) -> bool {
        self.gone_ms > 0 && now_ms - self.gone_ms > GONE_KEPT.as_millis() as i64
    }
}

/// What a task's earlier runs left.
#[derive(Debug, Default)]
pub struct Remembered {
    pub positions: HashMap<FileId, Position>,
    /// Patterns whose files were looked for before: what appears now is read from its beginning.
    pub begun: Vec<String>,
}

impl Remembered {
    /// From the ledger, which may be open for reading alone.
    ///
    /// # Errors
    /// The ledger's.
    pub fn kept(store: &Store, task: &str) -> Result<(Remembered, Vec<FileId>), StoreError> {
        let mut kept = store.with_prefix(&position_key(task, ""))?;
        kept.extend(store.with_prefix(&begun_key(task, ""))?);
        Ok(Remembered::of(task, kept.into_iter()))
    }

    /// From what is kept; what is too old, and gone by that, comes beside it.
    pub fn of(task: &str, kept: impl Iterator<Item = (String, Vec<u8>)>) -> (Remembered, Vec<FileId>) {
        let (mut remembered, mut old) = (Remembered::default(), Vec::new());
        let (positions, begun) = (position_key(task, ""), begun_key(task, ""));
        for (key, value) in kept {
            if key.starts_with(&begun) {
                remembered.begun.push(String::from_utf8_lossy(&value).into_owned());
            } else if key.starts_with(&positions) {
                match Position::parse(&value) {
                    Ok(position) if position.is_too_old(clock::now_ms()) => old.push(position.id),
                    Ok(position) => drop(remembered.positions.insert(position.id.clone(), position)),
                    Err(e) => log::error!("{task}: the place kept under {key} is not to be read: {e}"),
                }
            }
        }
        (remembered, old)
    }
}

/// What is to be kept next.
#[derive(Debug, Default)]
pub struct Owed {
    pub changed: HashMap<FileId, Position>,
    pub begun: Vec<String>,
    pub forgotten: Vec<FileId>,
}

impl Owed {
    pub fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.begun.is_empty() && self.forgotten.is_empty()
    }

    /// What is written under which key; `None`: what is taken away.
    pub fn changes(&self, task: &str) -> Changes {
        let positions = self.changed.values().map(|p| (position_key(task, &p.id.hex()), Some(p.to_bytes())));
        let begun = self.begun.iter().map(|p| (begun_key(task, p), Some(p.clone().into_bytes())));
        let forgotten = self.forgotten.iter().map(|id| (position_key(task, &id.hex()), None));
        forgotten.chain(positions).chain(begun).collect()
    }
}

/// The ledger's part for one task. Commits run on a thread of their own, so that no disk stops the reading.
pub struct Positions {
    task: String,
    changes: Option<Sender<Changes>>,
    thread: Option<JoinHandle<()>>,
}

/// Values by key.
pub type Changes = BTreeMap<String, Option<Vec<u8>>>;

impl Positions {
    /// Reads what is kept; places of files that are gone for more than [`GONE_KEPT`] are forgotten.
    ///
    /// # Errors
    /// The ledger's.
    pub fn open(store: Arc<Store>, task: &str, lease: Arc<Lease>) -> Result<(Positions, Remembered), StoreError> {
        let (remembered, forgotten) = Remembered::kept(&store, task)?;
        store.put_all(&Owed { forgotten, ..Owed::default() }.changes(task))?;
        let (sender, receiver) = bounded(1);
        let body = move || keep(&store, &lease, &receiver);
        let thread = thread::spawn("tail-keep", None, body);
        let thread = thread.map_err(|source| StoreError::Io { path: Path::new(task).into(), source })?;
        Ok((Positions { task: task.into(), changes: Some(sender), thread: Some(thread) }, remembered))
    }

    /// Hands changes over; false where the thread still works on earlier ones: come again with them.
    pub fn offer(&self, owed: &Owed) -> bool {
        let Some(sender) = &self.changes else { return false };
        !sender.is_full() && sender.try_send(owed.changes(&self.task)).is_ok()
    }

    /// The last changes; returns when they are committed, or cannot be.
    pub fn close(self, owed: &Owed) {
        if let Some(sender) = &self.changes {
            // It fails where the thread is gone, which has said why.
            let _ = sender.send(owed.changes(&self.task));
        }
    }
}

impl Drop for Positions {
    /// What was handed over is committed before a successor reads it.
    fn drop(&mut self) {
        self.changes = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Until the station drops its sender, or a successor is at work. What cannot be committed is tried again, with what
/// has come since.
fn keep(store: &Store, lease: &Lease, changes: &Receiver<Changes>) {
    let mut owed = Changes::new();
    loop {
        let next = match owed.is_empty() {
            true => changes.recv().map_err(|_| RecvTimeoutError::Disconnected),
            false => changes.recv_timeout(RETRY),
        };
        let is_over = next == Err(RecvTimeoutError::Disconnected);
        owed.extend(next.into_iter().flatten());
        match lease.keep(|| store.put_all(&owed)) {
            None => return,
            Some(Ok(())) => owed.clear(),
            Some(Err(e)) => log::error!("places of files cannot be kept: {e}; what was sent since may be sent again"),
        }
        if is_over {
            return;
        }
    }
}

/// The ledger's key of one file's place; of all of them the beginning, with an empty `id`.
pub fn position_key(task: &str, id: &str) -> String {
    format!("tail/{task}/{id}")
}

fn begun_key(task: &str, pattern: &str) -> String {
    format!("tail-begun/{task}/{pattern}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_of_the_first_versions_is_read() {
        let Position { id, path, meant, place, .. } = position(1, 0);
        let (id, at) = (id.hex(), place.at);
        let old = serde_json::json!({"id": id, "path": path, "meant": meant, "at": at, "pieces": 3, "mark": "AP8K"});
        assert_eq!(Position::parse(old.to_string().as_bytes()), Ok(position(1, 0)));
        let before_all = Position { place: Place { at: 1, ..place }, ..position(1, 0) };
        assert!(Position::parse(&before_all.to_bytes()).is_err_and(|e| e.contains("cannot be known")));
    }

    fn position(number: u8, gone_ms: i64) -> Position {
        let place = Place { at: 1 << 40, pieces: 3, mark: Mark::of(&[0, 255, b'\n']) };
        let id = FileId::of_bytes(&[number; 20]);
        Position { id, path: "/var/log/a.log.1".into(), meant: "/var/log/a.log".into(), place, gone_ms }
    }

    #[test]
    fn places_come_back_until_their_files_are_gone_for_seven_days() {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(dir.path()).unwrap());
        let now = clock::now_ms();
        let days = |n: i64| now - n * 24 * 3600 * 1000;
        let all = [position(1, 0), position(2, days(6)), position(3, days(8))];
        let (positions, remembered) = Positions::open(store.clone(), "web", Arc::default()).unwrap();
        assert!(remembered.positions.is_empty() && remembered.begun.is_empty());
        assert!(positions.offer(&Owed { begun: vec!["/var/log/*".into()], ..Owed::default() }));
        positions.close(&Owed { changed: all.iter().map(|p| (p.id.clone(), p.clone())).collect(), ..Owed::default() });
        let (other, of_another) = Positions::open(store.clone(), "web2", Arc::default()).unwrap();
        assert!(of_another.positions.is_empty());
        other.close(&Owed::default());
        for _ in 0..2 {
            let (positions, remembered) = Positions::open(store.clone(), "web", Arc::default()).unwrap();
            let mut found: Vec<_> = remembered.positions.into_values().collect();
            found.sort_by(|a, b| a.id.cmp(&b.id));
            assert_eq!((&found[..], &remembered.begun[..]), (&all[..2], &["/var/log/*".to_owned()][..]));
            positions.close(&Owed::default());
        }
    }
}
