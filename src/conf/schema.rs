//! Every key there is, one row each: how it is written, its default and limits, and what a change costs. What is not
//! in these tables is unknown.

use std::borrow::Cow;
use std::time::Duration;

use super::config::Cores;
use super::value::{Kind, Value};
use crate::flow::cluster::Start;

/// What it costs to change a key while the program runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Between two records.
    Live,
    /// That task is drained and restarted, the others are not paused.
    Task,
    /// A restart of the process.
    Process,
}

/// One row.
#[derive(Debug)]
pub struct Key {
    pub name: &'static str,
    /// The name in the service this one replaces; accepted in its place.
    pub old_name: Option<&'static str>,
    pub kind: Kind,
    /// `None`: mandatory, or made from other keys.
    pub default: Option<Value>,
    pub change: Change,
    /// A value as it stands in the file.
    pub example: &'static str,
    /// One sentence for the operator.
    pub help: &'static str,
}

const fn key(
    name: &'static str,
    kind: Kind,
    default: Option<Value>,
    change: Change,
    example: &'static str,
    help: &'static str,
) -> Key {
    Key { name, old_name: None, kind, default, change, example, help }
}

impl Key {
    const fn once(mut self, old_name: &'static str) -> Key {
        self.old_name = Some(old_name);
        self
    }
}

const fn text(text: &'static str) -> Value {
    Value::Text(Cow::Borrowed(text))
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

const fn integer(min: u64, max: u64) -> Kind {
    Kind::Integer { min, max }
}

const fn duration(min_ms: u64, max_ms: u64) -> Kind {
    Kind::Duration { min: Duration::from_millis(min_ms), max: Duration::from_millis(max_ms) }
}

const fn millis(ms: u64) -> Value {
    Value::Duration(Duration::from_millis(ms))
}

const fn size(min: u64, max: u64) -> Kind {
    Kind::Size { min, max, zero: false, power_of_two: false }
}

const fn size_or_none(min: u64, max: u64) -> Kind {
    Kind::Size { min, max, zero: true, power_of_two: false }
}

const fn choice(known: &'static [&'static str], later: &'static [&'static str]) -> Kind {
    Kind::Choice { known, later }
}

const fn later(name: &'static str) -> Key {
    key(name, Kind::Later, None, Change::Process, "", "")
}

use Change::{Live, Process, Task};

/// `[process]`.
pub static PROCESS: &[Key] = &[
    key(
        "data_dir",
        Kind::Path,
        Some(text("data")),
        Process,
        "\"data\"",
        "checkpoints, redo rings, parked records and the lock",
    ),
    key("cores", Kind::Cores, Some(Value::Cores(Cores::Auto)), Process, "[0, 1]", "cores the threads are pinned to"),
    key("stop_timeout", duration(1000, 3_600_000), Some(millis(30_000)), Process, "\"30s\"", "longest orderly stop"),
    later("socket"),
    later("control_users"),
    later("metrics_listen"),
    later("stack_level"),
    later("report_level"),
    later("report_to"),
    later("lag_alert"),
    later("lag_alert_for"),
    later("max_batch_time"),
];

/// `[cluster.NAME]`.
pub static CLUSTER: &[Key] = &[
    key("brokers", Kind::Brokers, None, Task, "\"localhost:9092\"", "where to ask for the cluster's brokers"),
    key(
        "librdkafka",
        Kind::Pairs,
        Some(Value::Pairs(Vec::new())),
        Task,
        "{ \"security.protocol\" = \"SSL\" }",
        "passed to the client library as it stands",
    ),
];

/// `[deliver.NAME]` and `[system]`.
pub static TASK: &[Key] = &[
    key("topics", Kind::Topics, None, Task, "[\"mulog_clean_24\"]", "Kafka topics to read, all partitions")
        .once("queue"),
    key(
        "group_id",
        Kind::Text { max_bytes: 255 },
        None,
        Task,
        "\"logmill_24\"",
        "consumer group whose position is kept",
    )
    .once("key"),
    key("cluster", Kind::Name, Some(text("default")), Task, "\"default\"", "the [cluster.NAME] to read from")
        .once("exchange"),
    key(
        "assignment",
        choice(&["static"], &["group"]),
        Some(text("static")),
        Task,
        "\"static\"",
        "who owns the partitions",
    ),
    key(
        "start",
        Kind::Start,
        Some(Value::Start(Start::Earliest)),
        Task,
        "\"earliest\"",
        "where to begin when no position is stored",
    ),
    key(
        "fetch",
        choice(&["librdkafka"], &["native"]),
        Some(text("librdkafka")),
        Task,
        "\"librdkafka\"",
        "which Kafka client",
    ),
    key(
        "transform",
        choice(&["te", "none"], &[]),
        Some(text("te")),
        Task,
        "\"te\"",
        "ThinkingData lines, or the value as it is",
    ),
    key("app_ids", Kind::AppIds, None, Live, "[24]", "project numbers whose records are accepted"),
    key("settings_dir", Kind::Path, None, Live, "\"conf/settings\"", "the projects' metadata and filter files"),
    key(
        "timezone",
        Kind::Timezone,
        Some(Value::Seconds(8 * 3600)),
        Live,
        "\"+08:00\"",
        "zone of #time and of file names",
    ),
    key(
        "value_codec",
        choice(&["none", "snappy"], &[]),
        Some(text("none")),
        Task,
        "\"none\"",
        "compression inside the values",
    ),
    key(
        "max_record_bytes",
        size(KIB, 64 * MIB),
        Some(Value::Number(MIB)),
        Live,
        "\"1MiB\"",
        "largest value that is looked at",
    ),
    key(
        "max_line_bytes",
        size(KIB, 255 * MIB),
        Some(Value::Number(MIB)),
        Task,
        "\"1MiB\"",
        "longest line, with its newline",
    ),
    key(
        "unknown_log_name",
        choice(&["entry", "park", "drop"], &[]),
        Some(text("entry")),
        Live,
        "\"entry\"",
        "a log without entry",
    ),
    key(
        "bad_property",
        choice(&["drop", "fail"], &[]),
        Some(text("drop")),
        Live,
        "\"drop\"",
        "a property with an illegal name",
    ),
    key(
        "long_string",
        choice(&["keep", "truncate"], &[]),
        Some(text("keep")),
        Live,
        "\"keep\"",
        "text of over 2048 bytes",
    ),
    key(
        "add_uuid",
        Kind::Flag,
        Some(Value::Flag(false)),
        Live,
        "false",
        "adds a #uuid made from the record's position",
    ),
    key(
        "time_fallback",
        choice(&["kafka", "now"], &[]),
        Some(text("kafka")),
        Live,
        "\"kafka\"",
        "#time without a usable source",
    ),
    key("sink", choice(&["file"], &["kafka"]), Some(text("file")), Task, "\"file\"", "where lines go"),
    later("sink_topic"),
    key("dir", Kind::Path, None, Task, "\"data/out/24\"", "directory of the output files"),
    key(
        "file_name",
        Kind::Text { max_bytes: 255 },
        None,
        Task,
        "\"log.%Y-%m-%d_{seq}\"",
        "template of the output files' names",
    ),
    key(
        "rotate",
        choice(&["none", "day", "hour"], &[]),
        Some(text("day")),
        Live,
        "\"day\"",
        "begin new files each period",
    ),
    key(
        "rotate_size",
        size_or_none(KIB, TIB),
        Some(Value::Number(0)),
        Live,
        "\"1GiB\"",
        "begin a new file at this size",
    ),
    key(
        "min_free",
        size_or_none(KIB, 1024 * TIB),
        Some(Value::Number(0)),
        Live,
        "\"10GiB\"",
        "disk space to leave free",
    ),
    key(
        "lanes",
        integer(1, 1024),
        Some(Value::Number(1)),
        Task,
        "1",
        "sets of files that keep one key's records in order",
    ),
    key("deliver_by", Kind::Text { max_bytes: 255 }, None, Task, "\"role_id\"", "field that chooses the lane")
        .once("deliverBy"),
    key("readers", integer(1, 64), Some(Value::Number(2)), Task, "2", "threads that read and transform")
        .once("consumerNum"),
    key("writers", integer(1, 64), Some(Value::Number(1)), Task, "1", "threads that write files"),
    key(
        "channel_capacity",
        integer(1, 65_536),
        Some(Value::Number(1024)),
        Task,
        "1024",
        "messages a writer's queue holds",
    )
    .once("channelLength"),
    key(
        "ring_size",
        Kind::Size { min: MIB, max: GIB, zero: false, power_of_two: true },
        Some(Value::Number(16 * MIB)),
        Task,
        "\"16MiB\"",
        "redo ring of one reader",
    ),
    key(
        "checkpoint_interval",
        duration(100, 3_600_000),
        Some(millis(10_000)),
        Live,
        "\"10s\"",
        "time between checkpoints",
    ),
    key("poll_timeout", duration(1, 10_000), Some(millis(100)), Live, "\"100ms\"", "longest wait for one batch")
        .once("block"),
    key(
        "rate_limit",
        integer(0, 1_000_000_000),
        Some(Value::Number(0)),
        Live,
        "50000",
        "records a second, 0 = no limit",
    ),
    key(
        "failures_max",
        integer(1, 1_000_000_000),
        Some(Value::Number(1_000_000)),
        Live,
        "1_000_000",
        "parked records before the task waits",
    ),
];

/// The sections that hold keys, with the heading an operator writes.
pub static SECTIONS: [(&str, &[Key]); 4] =
    [("[process]", PROCESS), ("[cluster.NAME]", CLUSTER), ("[system]", TASK), ("[deliver.NAME]", TASK)];

/// The one of `known` that was most likely meant by `written`.
pub fn nearest<'k>(written: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let plain = |s: &str| s.to_lowercase().replace('-', "_");
    let written = plain(written);
    let distance = |name: &str| strsim::damerau_levenshtein(&written, &plain(name));
    let best = known.map(|name| (distance(name), name)).min_by_key(|(d, _)| *d);
    best.filter(|(d, name)| *d <= (name.len().max(written.len()) / 3).max(1)).map(|(_, name)| name)
}
