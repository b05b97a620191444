//! What is meant: the checked, immutable configuration that stations are built from.
//! `conf` makes it, `engine` reads it.

use std::path::PathBuf;
use std::time::Duration;

use log::LevelFilter;

use super::effective::Effective;
use crate::flow::cluster::{Cluster, Start, Wish};
use crate::flow::name::Rotate;
use crate::tail::partition::Partitioner;
use crate::tail::{StartFrom, etcd};
use crate::transform::Options;

/// The whole program.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    pub process: Process,
    /// In the order of the file.
    pub deliver: Vec<Deliver>,
    /// In the order of the file.
    pub collect: Vec<Collect>,
    /// Where a list of entries stands that a task takes; `collect_key` as written.
    pub etcd: Option<etcd::Settings>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Process {
    pub data_dir: PathBuf,
    pub cores: Cores,
    pub stop_timeout: Duration,
    /// Of the door that `millctl` knocks at.
    pub socket: PathBuf,
    /// Names or numbers of the users who may use it; none: root and the user that logmill runs as.
    pub control_users: Vec<String>,
    /// `host:port` of the metrics; `None`: they are not served.
    pub metrics_listen: Option<String>,
    pub log: Log,
    /// Messages of this level and above get a stack.
    pub stack_level: LevelFilter,
    /// Alerts of this level and above are reported.
    pub report_level: LevelFilter,
    /// A command, or a URL that begins with http:// or https://; `None`: nothing is reported.
    pub report_to: Option<String>,
    /// Records; 0 = no alert.
    pub lag_alert: u64,
    /// A lag that grows this long raises an alert.
    pub lag_alert_for: Duration,
    /// A batch that takes longer raises an alert.
    pub max_batch_time: Duration,
    /// For comparing two configurations.
    pub effective: Effective,
}

/// Where the log goes.
#[derive(Debug, Clone, PartialEq)]
pub struct Log {
    /// `None`: stderr.
    pub file: Option<PathBuf>,
    pub level: LevelFilter,
    pub rotate: LogRotate,
    /// Rotated files beside the one that grows.
    pub keep: usize,
}

/// When a new log file begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogRotate {
    Never,
    Daily,
    /// At so many bytes.
    AtSize(u64),
}

/// Which cores the pinned threads take, in turn.
#[derive(Debug, Clone, PartialEq)]
pub enum Cores {
    Auto,
    These(Vec<usize>),
}

/// One `[deliver.NAME]` task.
#[derive(Debug, Clone, PartialEq)]
pub struct Deliver {
    pub name: String,
    pub cluster: Cluster,
    /// What is to fetch from it.
    pub client: Wish,
    pub topics: Vec<String>,
    pub group_id: String,
    pub start: Start,
    pub transform: Transform,
    /// The project numbers as decimal text.
    pub app_ids: Vec<String>,
    pub settings_dir: PathBuf,
    pub options: Options,
    pub dir: PathBuf,
    /// As written, or the default for `rotate` and `lanes`; a valid `flow::name::Template`.
    pub file_name: String,
    pub rotate: Rotate,
    /// Bytes; 0 = no limit.
    pub rotate_size: u64,
    /// Bytes of disk to leave free; 0 = none.
    pub min_free: u64,
    pub lanes: u32,
    pub deliver_by: Option<String>,
    pub readers: usize,
    pub writers: usize,
    /// Messages per channel.
    pub channel_capacity: usize,
    /// Bytes of one reader's redo ring; a power of two, at least 1 MiB.
    pub ring_size: usize,
    pub checkpoint_interval: Duration,
    /// Longest wait for one batch.
    pub poll_timeout: Duration,
    /// Records a second per task; 0 = no limit.
    pub rate_limit: u64,
    /// Parked records the failure queue may hold before the task waits.
    pub failures_max: u64,
    /// For comparing two configurations; with the keys of its cluster.
    pub effective: Effective,
}

/// One `[collect.NAME]` task. What it follows stands in [`Loaded::lists`](super::Loaded::lists).
#[derive(Debug, Clone, PartialEq)]
pub struct Collect {
    pub name: String,
    pub cluster: Cluster,
    /// Absolute paths and valid globs.
    pub paths: Vec<String>,
    /// A list file.
    pub entries: Option<PathBuf>,
    /// What the list in etcd names is followed too.
    pub from_etcd: bool,
    /// Of entries that name none.
    pub topic: Option<String>,
    /// Of entries that name none.
    pub key: Option<String>,
    pub roots: Vec<PathBuf>,
    pub start_from: StartFrom,
    pub partitioner: Partitioner,
    pub client: Wish,
    pub compression: String,
    /// The topic of places, where lines go out in transactions.
    pub positions_topic: Option<String>,
    pub max_line_bytes: usize,
    /// A valid regular expression.
    pub multiline_start: Option<String>,
    pub close_delay: Duration,
    /// For comparing two configurations; with the keys of its cluster, and those of etcd where it needs it.
    pub effective: Effective,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transform {
    /// ThinkingData lines.
    Te,
    /// The value as it is, one line each.
    None,
}
