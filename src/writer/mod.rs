//! A writer thread: published entries in, whole lines appended to files out.
//!
//! wait -> gather messages -> choose files -> note the batch in the slot -> one append per file -> mark it applied.

mod batch;
mod compare;
mod files;
mod inbox;
mod table;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crossbeam_channel::Receiver;

pub use batch::Recovered;
pub use files::route_key;
pub use inbox::Message;

use crate::flow::clock;
use crate::flow::gauge::{Beat, Histogram};
use crate::flow::left::Left;
use crate::flow::name::Rotate;
use crate::flow::problem::LastError;
use crate::ring::layout::Ring;
use crate::ring::slot::{Kind, Slot};

/// What a writer is built from.
#[derive(Debug, Clone)]
pub struct Settings {
    pub task: String,
    /// Its number among the task's writers.
    pub index: usize,
    /// Where lines go.
    pub dir: PathBuf,
    /// Where segments of the failure queue go.
    pub failures_dir: PathBuf,
    pub live: Live,
}

/// What may change while it works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Live {
    /// Seconds east of UTC, for the time in names.
    pub timezone_s: i32,
    pub rotate: Rotate,
    /// Bytes after which a file is finished; 0 = never.
    pub rotate_size: u64,
    /// Bytes of disk to leave free.
    pub min_free: u64,
}

impl Settings {
    fn dir_of(&self, kind: Kind) -> &PathBuf {
        match kind {
            Kind::Lines => &self.dir,
            Kind::Failures => &self.failures_dir,
        }
    }
}

/// What others may see of a writer while it works.
#[derive(Debug, Default)]
pub struct Gauge {
    /// It waits for the disk; the reason is in `last_error`.
    pub blocked: AtomicBool,
    pub batches: AtomicU64,
    pub bytes: AtomicU64,
    /// Bytes of each batch.
    pub batch_bytes: Histogram,
    /// Milliseconds from a record's time to its line in the file, of all lines.
    pub ages: Histogram,
    /// At a batch, retries on a refusing disk included.
    pub beat: Beat,
    /// Files in which somebody else wrote, and which were sealed for it.
    pub strangers: AtomicU64,
    /// Files that were removed or cut while they were being written.
    pub deleted_live: AtomicU64,
    pub last_error: LastError,
    /// Its file table fills up: a checkpoint would make room.
    pub crowded: AtomicBool,
    /// Rows of the file table, each with its file's number, that are sealed in a committed checkpoint: they may go. A
    /// newer checkpoint names the older one's rows again, where they are still in the table.
    pub committed: Left<Vec<(usize, u64)>>,
    /// New values of the keys that may change.
    pub live: Left<Option<Live>>,
    /// Segments of the failure queue with smaller numbers do not grow any more: they are being taken out.
    pub segments_from: AtomicU64,
}

impl Gauge {
    fn count(counter: &AtomicU64, n: u64) {
        counter.fetch_add(n, Ordering::Relaxed);
    }
}

/// One writer with its files.
pub struct Writer {
    settings: Settings,
    rings: Vec<Arc<Ring>>,
    slot: Arc<Slot>,
    files: files::Files,
    gauge: Arc<Gauge>,
}

impl Writer {
    /// `slots` are the task's; the first one counts the file numbers.
    ///
    /// # Errors
    /// The file table is damaged.
    pub fn new(
        settings: Settings,
        rings: Vec<Arc<Ring>>,
        slots: &[Arc<Slot>],
        gauge: Arc<Gauge>,
    ) -> Result<Writer, String> {
        let slot = slots[settings.index].clone();
        let files = files::Files::new(settings.clone(), slot.clone(), slots[0].clone(), gauge.clone())?;
        Ok(Writer { settings, rings, slot, files, gauge })
    }

    /// Until all readers have dropped their senders.
    pub fn run(mut self, inbox: &Receiver<Message>) {
        self.files.keep_spare_rows();
        while let Some(batch) = inbox::gather(inbox, &self.rings, self.settings.index) {
            if !batch.entries.is_empty() {
                self.gauge.beat.begin();
                self.apply(&batch.entries);
                self.gauge.beat.end();
                self.note_ages(&batch.births);
            }
            self.files.seal_stale();
            self.files.forget_committed();
        }
        log::debug!("{}: writer {} has finished", self.settings.task, self.settings.index);
    }

    fn note_ages(&self, births: &[(i64, u64)]) {
        let now_ms = clock::now_ms();
        births.iter().for_each(|(born_ms, lines)| self.gauge.ages.observe((now_ms - born_ms).max(0) as u64, *lines));
    }
}
