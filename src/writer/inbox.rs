//! What comes to a writer, and how much of it makes a batch.

use std::sync::Arc;
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
    /// These rows of the file table, each with its file's number, are sealed in a committed checkpoint: they may go.
    Forget(Vec<(usize, u64)>),
}

/// One batch.
#[derive(Default)]
pub struct Gathered {
    /// (ring, position), in order of arrival.
    pub entries: Vec<(usize, u64)>,
    pub forget: Vec<(usize, u64)>,
}

/// Waits for the first message and takes what else has come; empty after a while without any, `None` at the end.
///
/// A batch is bounded by the slot's runs: the entry that would not fit any more is handed over as a batch of its own.
pub fn gather(inbox: &Receiver<Message>, rings: &[Arc<Ring>], writer: usize) -> Option<Gathered> {
    let mut gathered = Gathered::default();
    let mut next = match inbox.recv_timeout(IDLE) {
        Ok(message) => Some(message),
        Err(RecvTimeoutError::Timeout) => return Some(gathered),
        Err(RecvTimeoutError::Disconnected) => return None,
    };
    let (mut runs, mut bytes) = (0, 0);
    while let Some(message) = next {
        match message {
            Message::Forget(rows) => gathered.forget.extend(rows),
            Message::Entry { ring, pos } => {
                let (entry_runs, entry_bytes) = size(&rings[ring], pos, writer);
                gathered.entries.push((ring, pos));
                runs += entry_runs;
                bytes += entry_bytes;
            }
        }
        // The largest entry still fits behind what is gathered, or nothing more is taken.
        let room = bytes < BATCH_BYTES && runs <= BATCH_RUNS_MAX / 2;
        next = if room { inbox.try_recv().ok() } else { None };
    }
    Some(gathered)
}

fn size(ring: &Ring, pos: u64, writer: usize) -> (usize, u64) {
    ring.entry(pos).map_or((0, 0), |entry| {
        entry.runs().filter(|run| run.writer == writer).fold((0, 0), |(n, b), run| (n + 1, b + run.len as u64))
    })
}
