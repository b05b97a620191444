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
    /// An entry with lines for this writer is published. `born_ms` is the mean of its records' times, milliseconds
    /// since the epoch; `None` where they carry none.
    Entry { ring: usize, pos: u64, born_ms: Option<i64> },
}

/// What a writer does in one go.
#[derive(Debug, Default)]
pub struct Batch {
    /// (Ring, position), in order of arrival.
    pub entries: Vec<(usize, u64)>,
    /// When the records of each entry were born, and the lines of them that are this writer's.
    pub births: Vec<(i64, u64)>,
}

/// Waits for the first message and takes what else has come; nothing after a while without any, `None` at the end.
///
/// A batch is bounded by the slot's runs: the entry that would not fit any more is handed over as a batch of its own.
pub fn gather(inbox: &Receiver<Message>, rings: &[Arc<Ring>], writer: usize) -> Option<Batch> {
    let mut batch = Batch::default();
    let mut next = match inbox.recv_timeout(IDLE) {
        Ok(message) => Some(message),
        Err(RecvTimeoutError::Timeout) => return Some(batch),
        Err(RecvTimeoutError::Disconnected) => return None,
    };
    let (mut runs, mut bytes) = (0, 0);
    while let Some(Message::Entry { ring, pos, born_ms }) = next {
        let size = size(&rings[ring], pos, writer);
        batch.entries.push((ring, pos));
        batch.births.extend(born_ms.map(|born_ms| (born_ms, size.lines)));
        runs += size.runs;
        bytes += size.bytes;
        // The largest entry still fits behind what is gathered, or nothing more is taken.
        let room = bytes < BATCH_BYTES && runs <= BATCH_RUNS_MAX / 2;
        next = if room { inbox.try_recv().ok() } else { None };
    }
    Some(batch)
}

/// What of an entry is one writer's.
#[derive(Default)]
struct Size {
    runs: usize,
    bytes: u64,
    lines: u64,
}

fn size(ring: &Ring, pos: u64, writer: usize) -> Size {
    let mut size = Size::default();
    if let Ok(entry) = ring.entry(pos) {
        for run in entry.runs().filter(|run| run.writer == writer) {
            size.runs += 1;
            size.bytes += run.len as u64;
            size.lines += u64::from(run.lines);
        }
    }
    size
}
