//! What comes to a writer, and how much of it makes a batch.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};

use crate::ring::layout::Ring;
use crate::ring::slot::BATCH_RUNS_MAX;

/// Bytes after which a batch takes no more entries.
const BATCH_BYTES: u64 = 1 << 20;
/// How often an idle writer looks after its files.
const IDLE: Duration = Duration::from_secs(1);

/// To a writer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// An entry with lines for this writer is published.
    Entry { ring: usize, pos: u64 },
}

/// Rows of the file table, each with its file's number, that are sealed in a committed checkpoint: they may go. Not a
/// message, for a writer that waits for a free row does not come to its messages. A newer checkpoint names the older
/// one's rows again, where they are still in the table.
#[derive(Debug, Default)]
pub struct Committed(Mutex<Vec<(usize, u64)>>);

impl Committed {
    pub fn put(&self, rows: Vec<(usize, u64)>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = rows;
    }

    pub fn take(&self) -> Vec<(usize, u64)> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Waits for the first message and takes what else has come: (ring, position), in order of arrival; nothing after a
/// while without any, `None` at the end.
///
/// A batch is bounded by the slot's runs: the entry that would not fit any more is handed over as a batch of its own.
pub fn gather(inbox: &Receiver<Message>, rings: &[Arc<Ring>], writer: usize) -> Option<Vec<(usize, u64)>> {
    let mut entries = Vec::new();
    let mut next = match inbox.recv_timeout(IDLE) {
        Ok(message) => Some(message),
        Err(RecvTimeoutError::Timeout) => return Some(entries),
        Err(RecvTimeoutError::Disconnected) => return None,
    };
    let (mut runs, mut bytes) = (0, 0);
    while let Some(Message::Entry { ring, pos }) = next {
        let (entry_runs, entry_bytes) = size(&rings[ring], pos, writer);
        entries.push((ring, pos));
        runs += entry_runs;
        bytes += entry_bytes;
        // The largest entry still fits behind what is gathered, or nothing more is taken.
        let room = bytes < BATCH_BYTES && runs <= BATCH_RUNS_MAX / 2;
        next = if room { inbox.try_recv().ok() } else { None };
    }
    Some(entries)
}

fn size(ring: &Ring, pos: u64, writer: usize) -> (usize, u64) {
    ring.entry(pos).map_or((0, 0), |entry| {
        entry.runs().filter(|run| run.writer == writer).fold((0, 0), |(n, b), run| (n + 1, b + run.len as u64))
    })
}
