//! Every key there is, one row each: how it is written, its default and limits, and what a change costs. What is not
//! in these tables is unknown.

use std::borrow::Cow;
use std::time::Duration;

use super::config::Cores;
use super::kind::{Kind, Value};
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
    /// A value as it stands in the file; "" where the kind says all.
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
    /// False for a known key that nothing reads yet.
    pub fn is_available(&self) -> bool {
        !matches!(self.kind, Kind::Later)
    }

    const fn once(mut self, old_name: &'static str) -> Key {
        self.old_name = Some(old_name);
        self
    }
}

const fn word(word: &'static str) -> Option<Value> {
    Some(Value::Text(Cow::Borrowed(word)))
}

const fn number(number: u64) -> Option<Value> {
    Some(Value::Number(number))
}

const fn millis(ms: u64) -> Option<Value> {
    Some(Value::Duration(Duration::from_millis(ms)))
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;
const BILLION: u64 = 1_000_000_000;

const TEXT: Kind = Kind::Text { min_bytes: 1, max_bytes: 255 };
const TEXT_OR_NONE: Kind = Kind::Text { min_bytes: 0, max_bytes: 4095 };
/// As in the log's own words.
const LEVELS: Kind = Kind::Choice { known: &["off", "error", "warn", "info", "debug", "trace"], later: &[] };
const RING_SIZE: Kind = Kind::Size { min: MIB, max: GIB, zero: false, power_of_two: true };
const NO: Option<Value> = Some(Value::Flag(false));
const EARLIEST: Option<Value> = Some(Value::Start(Start::Earliest));
const NO_ITEMS: Option<Value> = Some(Value::Items(Vec::new()));
const NO_PAIRS: Option<Value> = Some(Value::Pairs(Vec::new()));
const UTC_PLUS_8: Option<Value> = Some(Value::Seconds(8 * 3600));

const fn integer(min: u64, max: u64) -> Kind {
    Kind::Integer { min, max }
}

const fn duration(min_ms: u64, max_ms: u64) -> Kind {
    Kind::Duration { min: Duration::from_millis(min_ms), max: Duration::from_millis(max_ms) }
}

const fn size(min: u64, max: u64) -> Kind {
    Kind::Size { min, max, zero: false, power_of_two: false }
}

const fn size_or_none(min: u64, max: u64) -> Kind {
    Kind::Size { min, max, zero: true, power_of_two: false }
}

/// The first word is the default; `later` are words that are planned and refused.
const fn choice(
    name: &'static str,
    known: &'static [&'static str],
    later: &'static [&'static str],
    change: Change,
    help: &'static str,
) -> Key {
    key(name, Kind::Choice { known, later }, word(known[0]), change, "", help)
}

const fn level(name: &'static str, default: &'static str, help: &'static str) -> Key {
    key(name, LEVELS, word(default), Change::Process, "", help)
}

const fn later(name: &'static str) -> Key {
    key(name, Kind::Later, None, Change::Process, "", "")
}

use Change::{Live, Process, Task};

/// `[process]`.
pub static PROCESS: &[Key] = &[
    key("data_dir", Kind::Path, word("data"), Process, "\"data\"", "checkpoints, redo rings, parked records, lock"),
    key("cores", Kind::Cores, Some(Value::Cores(Cores::Auto)), Process, "[0, 1]", "cores the threads are pinned to"),
    key("stop_timeout", duration(1000, 3_600_000), millis(30_000), Process, "\"30s\"", "longest orderly stop"),
    key("socket", Kind::Path, word("run/logmill.sock"), Process, "\"run/logmill.sock\"", "socket that millctl asks"),
    key("control_users", Kind::Users, NO_ITEMS, Process, "[\"root\", \"ops\"]", "users who may use the socket"),
    key("metrics_listen", Kind::Listen, word(""), Process, "\"127.0.0.1:9108\"", "address of /metrics and /health"),
    key("log_file", Kind::PathOrNone, word(""), Process, "\"log/logmill.log\"", "where the log goes; \"\" = stderr"),
    level("log_level", "info", "what is logged: this level and those above it"),
    choice("log_rotate", &["size", "day", "none"], &[], Process, "begin a new log file at a size, each day, or never"),
    key(
        "log_rotate_size",
        size(4 * KIB, 64 * GIB),
        number(64 * MIB),
        Process,
        "\"64MiB\"",
        "a new log file at this size",
    ),
    key("log_keep", integer(1, 1000), number(8), Process, "8", "rotated log files that are kept"),
    level("stack_level", "off", "messages of this level and above get a stack"),
    level("report_level", "error", "alerts of this level and above are reported"),
    key("report_to", TEXT_OR_NONE, word(""), Process, "\"/usr/local/bin/page\"", "command or URL that gets alerts"),
    key("lag_alert", integer(0, BILLION), number(0), Process, "100000", "lag of a task that raises an alert, 0 = none"),
    key(
        "lag_alert_for",
        duration(1000, 86_400_000),
        millis(300_000),
        Process,
        "\"5m\"",
        "alert on lag that grows so long",
    ),
    key("max_batch_time", duration(1, 3_600_000), millis(10_000), Process, "\"10s\"", "a slower batch raises an alert"),
];

/// `[cluster.NAME]`.
pub static CLUSTER: &[Key] = &[
    key("brokers", Kind::Brokers, None, Task, "\"localhost:9092\"", "where to ask for the cluster's brokers"),
    key("librdkafka", Kind::Pairs, NO_PAIRS, Task, "{ \"security.protocol\" = \"SSL\" }", "for the client library"),
];

/// `[deliver.NAME]` and `[system]`.
pub static TASK: &[Key] = &[
    key("topics", Kind::Topics, None, Task, "[\"mulog_clean_24\"]", "topics to read, all partitions").once("queue"),
    key("group_id", TEXT, None, Task, "\"logmill_24\"", "consumer group of the stored position").once("key"),
    key("cluster", Kind::Name, word("default"), Task, "\"default\"", "which [cluster.NAME]").once("exchange"),
    choice("assignment", &["static"], &["group"], Task, "who owns the partitions"),
    key("start", Kind::Start, EARLIEST, Task, "\"earliest\"", "where to begin when no position is stored"),
    choice("fetch", &["auto", "librdkafka"], &["native"], Task, "which Kafka client"),
    choice("transform", &["te", "none"], &[], Task, "ThinkingData lines, or the value as it is"),
    key("app_ids", Kind::AppIds, None, Live, "[24]", "project numbers whose records are accepted"),
    key("settings_dir", Kind::Path, None, Live, "\"conf/settings\"", "the projects' metadata and filter files"),
    key("timezone", Kind::Timezone, UTC_PLUS_8, Live, "\"+08:00\"", "zone of #time and of file names"),
    choice("value_codec", &["none", "snappy"], &[], Task, "compression inside the values"),
    key("max_record_bytes", size(KIB, 64 * MIB), number(MIB), Live, "\"1MiB\"", "largest value that is looked at"),
    key("max_line_bytes", size(KIB, 255 * MIB), number(MIB), Task, "\"1MiB\"", "longest line, with its newline"),
    choice("unknown_log_name", &["entry", "park", "drop"], &[], Live, "a log without entry"),
    choice("bad_property", &["drop", "fail"], &[], Live, "a property with an illegal name"),
    choice("long_string", &["keep", "truncate"], &[], Live, "text of over 2048 bytes"),
    key("add_uuid", Kind::Flag, NO, Live, "false", "adds a #uuid made from the record's position"),
    choice("time_fallback", &["kafka", "now"], &[], Live, "#time without a usable source"),
    choice("sink", &["file"], &["kafka"], Task, "where lines go"),
    later("sink_topic"),
    key("dir", Kind::Path, None, Task, "\"data/out/24\"", "directory of the output files"),
    key("file_name", TEXT, None, Task, "\"log.%Y-%m-%d_{seq}\"", "template of the output files' names"),
    choice("rotate", &["day", "hour", "none"], &[], Live, "begin new files each period"),
    key("rotate_size", size_or_none(KIB, TIB), number(0), Live, "\"1GiB\"", "begin a new file at this size"),
    key("min_free", size_or_none(KIB, 1024 * TIB), number(0), Live, "\"10GiB\"", "disk space to leave free"),
    key("lanes", integer(1, 1024), number(1), Task, "1", "sets of files that keep one key's records in order"),
    key("deliver_by", TEXT, None, Task, "\"role_id\"", "field that chooses the lane").once("deliverBy"),
    key("readers", integer(1, 64), number(2), Task, "2", "threads that read and transform").once("consumerNum"),
    key("writers", integer(1, 64), number(1), Task, "1", "threads that write files"),
    key("channel_capacity", integer(1, 65_536), number(1024), Task, "1024", "messages of a writer's queue")
        .once("channelLength"),
    key("ring_size", RING_SIZE, number(16 * MIB), Task, "\"16MiB\"", "redo ring of one reader"),
    key("checkpoint_interval", duration(100, 3_600_000), millis(10_000), Live, "\"10s\"", "time between checkpoints"),
    key("poll_timeout", duration(1, 10_000), millis(100), Live, "\"100ms\"", "longest wait for a batch").once("block"),
    key("rate_limit", integer(0, BILLION), number(0), Live, "50000", "records a second, 0 = no limit"),
    key("failures_max", integer(1, BILLION), number(1_000_000), Live, "1_000_000", "parked records that are kept"),
];

/// The sections that hold keys, with the heading an operator writes.
pub static SECTIONS: [(&str, &[Key]); 4] =
    [("[process]", PROCESS), ("[cluster.NAME]", CLUSTER), ("[system]", TASK), ("[deliver.NAME]", TASK)];

/// Does this name, or text with a name in it, tell of something that nobody else may read?
pub fn is_secret(text: &str) -> bool {
    let text = text.to_lowercase();
    ["password", "secret", "ssl.key.pem", "sasl.oauthbearer.config"].iter().any(|word| text.contains(word))
}

/// The one of `known` that was most likely meant by `written`.
pub fn nearest<'k>(written: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let plain = |s: &str| s.to_lowercase().replace('-', "_");
    let written = plain(written);
    let distance = |name: &str| strsim::damerau_levenshtein(&written, &plain(name));
    let best = known.map(|name| (distance(name), name)).min_by_key(|(d, _)| *d);
    best.filter(|(d, name)| *d <= (name.len().max(written.len()) / 3).max(1)).map(|(_, name)| name)
}
