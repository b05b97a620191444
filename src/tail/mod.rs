//! files -> Kafka. In: entries, each a path or glob with a topic. Out: every line of the files they mean, and the place
//! in each file up to which all lines are confirmed.
//!
//! One thread for a task: wait -> take orders, changes of directories and delivery reports -> read -> keep places. A
//! file is a [`cursor`], found by its identity whatever its name is ([`fleet`]); its bytes are read into slabs, split
//! where they stand ([`lines`]) and sent from there ([`produce`]). A full buffer stops the reading, nothing else does.

pub mod alone;
pub mod collector;
pub mod cursor;
pub mod entries;
pub mod etcd;
mod exact;
pub mod fleet;
pub mod lease;
pub mod lines;
mod orders;
pub mod partition;
pub mod patterns;
pub mod positions;
pub mod produce;
mod reading;
pub mod recall;
pub mod station;
mod watching;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_channel::Sender;

use crate::flow::cluster::{Cluster, Wish};
use crate::sys::follow::Bell;
use lease::Lease;
use partition::Partitioner;

pub use collector::{Collector, State};
pub use entries::Entry;
pub use station::{Station, TailError};

/// Where a file begins that stood there when its entry was first looked at. What comes later is read from its
/// beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StartFrom {
    Beginning,
    /// Behind its last whole line.
    #[default]
    End,
}

/// When a station ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Until {
    /// When it is told.
    #[default]
    Stopped,
    /// When every file that is there at the start was read to its end and confirmed. A last line without newline is a
    /// line then.
    Sent,
}

/// Lines and places go out in transactions: a reader of committed records sees every line once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExactlyOnce {
    /// A compacted topic; tasks may share it.
    pub positions_topic: String,
    /// The same for every start of this task on this host, and for nobody else: a second instance with it ends the
    /// first one.
    pub transactional_id: String,
}

impl ExactlyOnce {
    /// With an id made of this host's name, the task's and the topic's.
    pub fn on_this_host(task: &str, positions_topic: &str) -> ExactlyOnce {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let transactional_id = format!("logmill-{}-{task}-{positions_topic}", host.trim());
        ExactlyOnce { positions_topic: positions_topic.into(), transactional_id }
    }
}

/// What a station is built from.
#[derive(Debug, Clone)]
pub struct Settings {
    pub task: String,
    pub cluster: Cluster,
    pub entries: Vec<Entry>,
    /// Links may lead into these directories beside those of the entries.
    pub roots: Vec<PathBuf>,
    pub start_from: StartFrom,
    pub partitioner: Partitioner,
    pub client: Wish,
    pub compression: String,
    pub max_line_bytes: usize,
    /// A regular expression: a line that matches begins a record of several lines.
    pub multiline_start: Option<String>,
    /// How long a rotated file that does not grow is kept open for whoever still holds it.
    pub close_delay: Duration,
    /// How often everything is looked at that inotify should have told.
    pub poll_interval: Duration,
    /// Bytes of lines in memory at most.
    pub buffer_bytes: usize,
    /// A thread that did not go round for so long hangs.
    pub hang_timeout: Duration,
    pub until: Until,
    /// While it is set, nothing is read; files stay open.
    pub paused: Arc<AtomicBool>,
    /// `None`: places are kept in the ledger, and a kill may repeat lines that were not confirmed.
    pub exactly_once: Option<ExactlyOnce>,
}

impl Settings {
    /// What holds where nobody says otherwise.
    pub fn new(task: &str, cluster: Cluster, entries: Vec<Entry>) -> Settings {
        Settings {
            task: task.to_owned(),
            cluster,
            entries,
            roots: Vec::new(),
            start_from: StartFrom::default(),
            partitioner: Partitioner::default(),
            client: Wish::Auto,
            compression: "snappy".into(),
            max_line_bytes: 1 << 20,
            multiline_start: None,
            close_delay: Duration::from_secs(300),
            poll_interval: Duration::from_secs(20),
            buffer_bytes: 32 << 20,
            hang_timeout: Duration::from_secs(30),
            until: Until::default(),
            paused: Arc::default(),
            exactly_once: None,
        }
    }
}

/// To a station.
pub enum Order {
    /// Follow these from now on. A list with a fault changes nothing; the answer names all faults.
    Entries(Vec<Entry>, Sender<Result<(), Vec<String>>>),
    /// What is followed, and what is not and why.
    Files(Sender<Vec<FileStatus>>),
    /// Stop or go on reading what has this name, now and later.
    Pause(PathBuf, bool, Sender<Result<(), OrderError>>),
    /// Read this file from this byte on.
    Seek(PathBuf, u64, Sender<Result<(), OrderError>>),
    /// Read no more, wait at most so long for what is in flight, keep the places, end.
    Stop(Duration),
}

/// Why an order was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    #[error("no file that is followed has this name; `files` lists those that are")]
    NotFollowed,
    #[error("the file has {size} bytes: choose a place within")]
    BehindEnd { size: u64 },
    #[error("no answer yet, following files is {state}{}", .cause.as_ref().map_or(String::new(), |c| format!(": {c}")))]
    NoAnswer { state: State, cause: Option<String> },
}

/// A file as an operator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileStatus {
    pub path: PathBuf,
    pub topic: String,
    /// Up to here every line is confirmed.
    pub position: u64,
    pub size: u64,
    pub identity: String,
    /// reading, idle, leaving, final, paused, stuck, refused.
    pub state: &'static str,
    /// Why it is stuck or refused.
    pub reason: String,
}

/// What a station tells while it runs; all sums are of this process.
#[derive(Debug, Default)]
pub struct Totals {
    /// Lines whose delivery was reported.
    pub lines: AtomicU64,
    /// Bytes that confirmed lines reach over, newlines with them.
    pub bytes: AtomicU64,
    /// Reports of lines that were not delivered; each was sent again.
    pub failed: AtomicU64,
    /// Times that a file's content vanished under it.
    pub truncations: AtomicU64,
    /// Bytes that were seen and cut before they were read.
    pub lost_bytes: AtomicU64,
    pub long_lines: AtomicU64,
    pub skipped_nul_bytes: AtomicU64,
    pub files: AtomicU64,
}

impl Totals {
    fn add(sum: &AtomicU64, more: u64) {
        sum.fetch_add(more, Ordering::Relaxed);
    }
}

/// Orders to a running station; they wake it.
#[derive(Clone)]
pub struct Door {
    orders: Sender<Order>,
    bell: Arc<Bell>,
    pub lease: Arc<Lease>,
}

impl Door {
    /// False where the station has ended, or hangs with all its orders waiting.
    pub fn send(&self, order: Order) -> bool {
        let sent = self.orders.try_send(order).is_ok();
        self.bell.ring();
        sent
    }
}
