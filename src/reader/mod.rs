//! A reader thread: its partitions' records in, published entries out.
//!
//! wait -> take a batch -> unpack, transform, build each line in the ring -> publish -> wake the writers -> free.

mod again;
pub mod kafka;
mod outlet;
pub mod route;
pub mod scout;
pub mod source;
pub mod tap;
mod turn;
mod work;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};

use crate::flow::cluster::Cluster;
use crate::flow::gauge::{Beat, Histogram};
use crate::flow::left::Left;
use crate::flow::problem::LastError;
use crate::flow::span::{Counts, Mark};
use crate::ledger::queue::Job;
use crate::ring::layout::Work;
use crate::transform::{Options, Program};

/// What a reader is built from.
#[derive(Debug, Clone)]
pub struct Settings {
    pub task: String,
    /// Its number among the task's readers.
    pub index: usize,
    pub cluster: Cluster,
    pub group_id: String,
    /// Marks name a topic by its index here.
    pub topics: Vec<String>,
    /// Topics that the task had once and has no more: their marks are kept, not read on.
    pub dormant: Vec<u16>,
    /// False: values go as they are, once unpacked.
    pub transform: bool,
    pub rules: route::Rules,
    /// Records under which the process died too often: parked as E21_CRASH.
    pub deadly: Vec<Work>,
    /// Where the failure queue's segments are.
    pub failures_dir: PathBuf,
    pub live: Live,
}

/// What may change between two batches, all of it at once: a record is transformed wholly with one set.
#[derive(Debug, Clone, PartialEq)]
pub struct Live {
    pub program: Arc<Program>,
    pub options: Options,
    pub poll_timeout: Duration,
    /// Records a second; 0 = no limit.
    pub rate_limit: u64,
}

/// To a reader.
#[derive(Clone)]
pub enum Control {
    /// Take these partitions too.
    Assign(Vec<Mark>),
    /// For each topic, whether it is the one that was read so far; nothing is read before it is.
    Topics(Vec<Topic>),
    /// The ends of the broker's log, for partitions that were [`Event::OutOfRange`].
    Bounds(Vec<Bounds>),
    /// Stop each partition at this (topic, partition, offset), and say when all are there.
    EndAt(Vec<(u16, i32, i64)>),
    /// Publish what is in hand and rest; answered by [`Event::Paused`] with the same number once the ring is empty.
    Pause(u64),
    Resume,
    /// Retry or clear parked records; the reader that has the queue's mark does, and says so with [`Event::JobDone`].
    Job(Job),
    Stop,
}

/// What a topic of this name is now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Topic {
    /// It is not there, or nobody has asked yet.
    #[default]
    Unknown,
    /// The one that was read so far, as far as the broker tells.
    Same,
    /// Another one, and what that means.
    Other(String),
}

/// Where a partition's log begins and ends at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    pub topic: u16,
    pub partition: i32,
    pub low: i64,
    pub high: i64,
}

/// From a reader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The ring is empty and nothing is in hand.
    Paused(u64),
    /// All partitions are at the end they were given.
    AtEnd,
    /// All that the job was about is published.
    JobDone,
    /// The log does not hold the offset where this partition stands; it waits for [`Control::Bounds`].
    OutOfRange { topic: u16, partition: i32 },
    /// A partition cannot be read on; the others go on.
    Broken { topic: u16, partition: i32, offset: i64, reason: String },
}

/// What the whole task shares: counted by its readers, read by whoever asks.
#[derive(Debug, Default)]
pub struct Shared {
    /// Records in the failure queue.
    pub failures: AtomicU64,
    /// So many it may hold. A reader that waits for room sees it change.
    pub failures_max: AtomicU64,
    /// The operator wants nothing to be read from the next batch on.
    pub paused: AtomicBool,
    /// What its readers fetch with.
    pub choice: source::Choice,
    job: Mutex<JobProgress>,
    pub tap: tap::Tap,
}

/// How far the newest retry or clear is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct JobProgress {
    pub running: bool,
    /// Parked records that it has to come by.
    pub goal: u64,
    /// Those that it has come by.
    pub done: u64,
    /// What became of those that it was asked for; cleared ones are filtered.
    pub counts: Counts,
}

impl Shared {
    pub fn new(choice: source::Choice) -> Shared {
        Shared { choice, ..Shared::default() }
    }

    fn is_full(&self) -> bool {
        self.failures.load(Ordering::Relaxed) >= self.failures_max.load(Ordering::Relaxed)
    }

    pub fn job(&self) -> JobProgress {
        *self.job.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn note_job(&self, note: impl FnOnce(&mut JobProgress)) {
        note(&mut self.job.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// One entry less in the failure queue.
    fn take_out(&self) {
        let less = |failures: u64| Some(failures.saturating_sub(1));
        let _ = self.failures.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }
}

/// What others may see of a reader while it works.
#[derive(Debug, Default)]
pub struct Gauge {
    pub consumed: AtomicU64,
    pub written: AtomicU64,
    pub filtered: AtomicU64,
    pub parked: AtomicU64,
    /// Offsets that the broker's retention removed before they were read, in this run.
    pub lost_to_retention: AtomicU64,
    /// It waits for room in its ring.
    pub blocked: AtomicBool,
    /// It waits for room in the failure queue.
    pub failures_full: AtomicBool,
    /// Records of each batch.
    pub batch_records: Histogram,
    /// At a batch, waits for room included.
    pub beat: Beat,
    /// Kafka's timestamp of the newest record taken, milliseconds since the epoch.
    pub newest_ms: AtomicI64,
    pub last_error: LastError,
    /// New values of the keys that may change.
    pub live: Left<Option<Live>>,
    standings: Mutex<Vec<Standing>>,
}

/// Where a reader stands in one of its partitions, as it was a second ago at most, unless the reader waits for room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Index in the task's list of topics.
    pub topic: u16,
    pub partition: i32,
    /// The offset to take next.
    pub next: i64,
    /// The end of the log, as the newest fetch told it; `None` before the first one.
    pub high: Option<i64>,
    /// It cannot be read on.
    pub stopped: bool,
}

impl Standing {
    /// Records that are not taken yet, as offsets count them; `None` where nobody knows.
    pub fn lag(&self) -> Option<u64> {
        self.high.map(|high| high.saturating_sub(self.next).max(0) as u64)
    }
}

impl Gauge {
    /// One for each partition that the task wants read.
    pub fn standings(&self) -> Vec<Standing> {
        self.standings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_standings(&self, standings: Vec<Standing>) {
        *self.standings.lock().unwrap_or_else(PoisonError::into_inner) = standings;
    }

    /// Takes over the sums of the marks of all the reader's partitions.
    pub fn follow(&self, marks: &[Mark]) {
        let mut sum = Counts::default();
        marks.iter().filter(|m| m.is_of_kafka()).for_each(|m| sum.add(m.counts));
        self.consumed.store(sum.consumed, Ordering::Relaxed);
        self.written.store(sum.written, Ordering::Relaxed);
        self.filtered.store(sum.filtered, Ordering::Relaxed);
        self.parked.store(sum.parked, Ordering::Relaxed);
    }

    /// The sums as they are known now; between two of them another batch may have come.
    pub fn counts(&self) -> Counts {
        Counts {
            consumed: self.consumed.load(Ordering::Relaxed),
            written: self.written.load(Ordering::Relaxed),
            filtered: self.filtered.load(Ordering::Relaxed),
            parked: self.parked.load(Ordering::Relaxed),
        }
    }
}

/// The ends of a reader's channels.
pub struct Wires {
    pub control: Receiver<Control>,
    /// One for each writer.
    pub writers: Vec<Sender<crate::writer::Message>>,
    /// To the engine; false once nobody listens.
    pub report: Box<dyn Fn(Event) + Send>,
}

pub use turn::Reader;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_is_never_below_zero_and_never_invented() {
        let at = |next, high| Standing { topic: 0, partition: 0, next, high, stopped: false }.lag();
        assert_eq!(
            [at(3, Some(10)), at(10, Some(10)), at(12, Some(10)), at(3, None)],
            [Some(7), Some(0), Some(0), None]
        );
    }
}
