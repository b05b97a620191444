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

/// What holds where a key is not written.
#[derive(Debug)]
pub enum Unset {
    Default(Value),
    Mandatory,
    /// Mandatory with `transform = "te"`, else of no use.
    MandatoryForTe,
    /// There is no value, or one that other keys make; said in words.
    Nothing(&'static str),
}

/// One row.
#[derive(Debug)]
pub struct Key {
    pub name: &'static str,
    /// The name in the service this one replaces; accepted in its place.
    pub old_name: Option<&'static str>,
    pub kind: Kind,
    pub unset: Unset,
    pub change: Change,
    /// A value as it stands in the file; "" where the kind says all.
    pub example: &'static str,
    /// For the operator: a sentence that says what it is, and what else must be known.
    pub help: &'static str,
}

const fn key(name: &'static str, kind: Kind, unset: Unset, change: Change, example: &'static str) -> Key {
    Key { name, old_name: None, kind, unset, change, example, help: "" }
}

impl Key {
    /// False for a known key that nothing reads yet.
    pub fn is_available(&self) -> bool {
        !matches!(self.kind, Kind::Later)
    }

    pub fn default(&self) -> Option<&Value> {
        match &self.unset {
            Unset::Default(value) => Some(value),
            _ => None,
        }
    }

    const fn once(mut self, old_name: &'static str) -> Key {
        self.old_name = Some(old_name);
        self
    }

    const fn help(mut self, help: &'static str) -> Key {
        self.help = help;
        self
    }
}

const fn word(word: &'static str) -> Unset {
    Unset::Default(Value::Text(Cow::Borrowed(word)))
}

const fn number(number: u64) -> Unset {
    Unset::Default(Value::Number(number))
}

const fn millis(ms: u64) -> Unset {
    Unset::Default(Value::Duration(Duration::from_millis(ms)))
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;
const BILLION: u64 = 1_000_000_000;
const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;

const TEXT: Kind = Kind::Text { min_bytes: 1, max_bytes: 255 };
const LONG_TEXT: Kind = Kind::Text { min_bytes: 1, max_bytes: 4095 };
const TEXT_OR_NONE: Kind = Kind::Text { min_bytes: 0, max_bytes: 4095 };
/// As in the log's own words.
const LEVELS: Kind = Kind::Choice { known: &["off", "error", "warn", "info", "debug", "trace"], later: &[] };
const RING_SIZE: Kind = Kind::Size { min: MIB, max: GIB, zero: false, power_of_two: true };
const NO: Unset = Unset::Default(Value::Flag(false));
const ALL_CORES: Unset = Unset::Default(Value::Cores(Cores::Auto));
const EARLIEST: Unset = Unset::Default(Value::Start(Start::Earliest));
const NO_ITEMS: Unset = Unset::Default(Value::Items(Vec::new()));
const NO_PAIRS: Unset = Unset::Default(Value::Pairs(Vec::new()));
const UTC_PLUS_8: Unset = Unset::Default(Value::Seconds(8 * 3600));

const fn integer(unit: &'static str, min: u64, max: u64) -> Kind {
    Kind::Integer { unit, min, max }
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
) -> Key {
    key(name, Kind::Choice { known, later }, word(known[0]), change, "")
}

const fn level(name: &'static str, default: &'static str) -> Key {
    key(name, LEVELS, word(default), Change::Process, "")
}

const fn later(name: &'static str) -> Key {
    key(name, Kind::Later, Unset::Nothing(""), Change::Process, "")
}

use Change::{Live, Process, Task};
use Unset::{Mandatory, MandatoryForTe, Nothing};

/// `[process]`.
pub static PROCESS: &[Key] = &[
    key("data_dir", Kind::Path, word("data"), Process, "\"data\"").help(
        "Checkpoints, redo rings, parked records and the lock. A local disk, never NFS; one logmill per directory.",
    ),
    key("cores", Kind::Cores, ALL_CORES, Process, "[0, 1]").help(
        "Cores that readers and writers are pinned to, in turn. \"auto\": all; nobody is where threads outnumber \
         cores.",
    ),
    key("stop_timeout", duration(1000, HOUR_MS), millis(30_000), Process, "\"30s\"")
        .help("Longest orderly stop. Past it logmill ends as after a kill: still exact."),
    key("socket", Kind::Path, word("run/logmill.sock"), Process, "\"run/logmill.sock\"")
        .help("Socket at which millctl asks. Its directory is made if it is missing."),
    key("control_users", Kind::Users, NO_ITEMS, Process, "[\"root\", \"ops\"]")
        .help("Users who may use the socket. Empty: root and the user that logmill runs as."),
    key("metrics_listen", Kind::Listen, word(""), Process, "\"127.0.0.1:9108\"")
        .help("Address that serves /metrics, /health and a page with charts. \"\": none."),
    key("log_file", Kind::PathOrNone, word(""), Process, "\"log/logmill.log\"")
        .help("File that the log goes to. \"\": stderr. Its directory is made if it is missing."),
    level("log_level", "info")
        .help("What is logged is of this level or above. The environment variable RUST_LOG goes before it."),
    choice("log_rotate", &["size", "day", "none"], &[], Process)
        .help("When a new log file begins: at log_rotate_size, each day, or never."),
    key("log_rotate_size", size(4 * KIB, 64 * GIB), number(64 * MIB), Process, "\"64MiB\"")
        .help("Size at which a new log file begins, with log_rotate = \"size\"."),
    key("log_keep", integer("files", 1, 1000), number(8), Process, "8")
        .help("Log files that are kept beside the one that grows. Older ones are removed."),
    level("stack_level", "off").help("Messages of this level and above get a stack, which tells where they came from."),
    level("report_level", "error").help("Alerts of this level and above are reported to report_to."),
    key("report_to", TEXT_OR_NONE, word(""), Process, "\"/usr/local/bin/page\"")
        .help("Who gets alerts: a command, which reads one JSON object from its stdin, or a URL. \"\": nobody."),
    key("lag_alert", integer("records", 0, BILLION), number(0), Process, "100000")
        .help("A task that is behind by more records raises an alert. 0: never."),
    key("lag_alert_for", duration(1000, DAY_MS), millis(300_000), Process, "\"5m\"")
        .help("A lag that grows this long raises an alert."),
    key("max_batch_time", duration(1, HOUR_MS), millis(10_000), Process, "\"10s\"")
        .help("A batch that takes longer raises an alert."),
];

/// `[cluster.NAME]`.
pub static CLUSTER: &[Key] = &[
    key("brokers", Kind::Brokers, Mandatory, Task, "\"localhost:9092\"")
        .help("Where to ask for the cluster's brokers."),
    key("librdkafka", Kind::Pairs, NO_PAIRS, Task, "{ \"security.protocol\" = \"SSL\" }").help(
        "Properties for the client library librdkafka, passed on as they stand. With `fetch = \"auto\"`, one that the \
         native client does not know makes a task take librdkafka. An overlay replaces all of them.",
    ),
];

/// `[deliver.NAME]` and `[system]`.
pub static TASK: &[Key] = &[
    key("topics", Kind::Topics, Mandatory, Task, "[\"mulog_clean_24\"]")
        .once("queue")
        .help("Topics to read, all their partitions."),
    key("group_id", TEXT, Mandatory, Task, "\"logmill_24\"").once("key").help(
        "The consumer group. The position is kept under group and topic, not under the task's name: a new group begins \
         anew, and no topic may stand in two tasks of one group.",
    ),
    key("cluster", Kind::Name, word("default"), Task, "\"default\"")
        .once("exchange")
        .help("Which [cluster.NAME] to read from."),
    choice("assignment", &["static"], &["group"], Task)
        .help("Who owns the partitions. \"static\": this process owns all of them."),
    key("start", Kind::Start, EARLIEST, Task, "\"earliest\"")
        .help("Where to begin when no position is stored. A stored position always wins."),
    choice("fetch", &["auto", "librdkafka", "native"], &[], Task).help(
        "The Kafka client: librdkafka, or logmill's own, \"native\", which costs less and speaks neither TLS nor SASL. \
         \"auto\": the native one where it can serve the cluster, else librdkafka; log and status say why.",
    ),
    choice("transform", &["te", "none"], &[], Task)
        .help("\"te\": a ThinkingData line. \"none\": the value as it is, one line each."),
    key("app_ids", Kind::AppIds, MandatoryForTe, Live, "[24]")
        .help("Project numbers. Records with another headers.app_id are parked."),
    key("settings_dir", Kind::Path, MandatoryForTe, Live, "\"conf/settings\"").help(
        "Directory of mthinkingdata:metadata.N.json and mthinkingdata:filter.N.json, N being each project number.",
    ),
    key("timezone", Kind::Timezone, UTC_PLUS_8, Live, "\"+08:00\"")
        .help("Zone of #time and of the dates in file names, a fixed offset from UTC."),
    choice("value_codec", &["none", "snappy"], &[], Task)
        .help("Compression inside the values. What Kafka compresses itself needs no key."),
    key("max_record_bytes", size(KIB, 64 * MIB), number(MIB), Live, "\"1MiB\"").help("Larger values are parked."),
    key("max_line_bytes", size(KIB, 255 * MIB), number(MIB), Task, "\"1MiB\"")
        .help("Longer lines are parked. At most a quarter of ring_size less 64KiB."),
    choice("unknown_log_name", &["entry", "park", "drop"], &[], Live).help(
        "A log_name without an entry in the metadata file: \"entry\" takes the \"*\" entry (none: parked), \"park\" \
         parks it even so, \"drop\" drops it.",
    ),
    choice("bad_property", &["drop", "fail"], &[], Live).help(
        "A property whose name ThinkingData refuses: \"drop\" leaves it out and counts it, \"fail\" parks the record.",
    ),
    choice("long_string", &["keep", "truncate"], &[], Live)
        .help("Text of more than 2048 bytes: \"keep\" writes and counts it, \"truncate\" cuts it."),
    key("add_uuid", Kind::Flag, NO, Live, "false")
        .help("Adds a #uuid made from topic, partition and offset, the same at every replay."),
    choice("time_fallback", &["kafka", "now"], &[], Live)
        .help("#time where the record has no usable one: \"kafka\" takes the record's timestamp, \"now\" the clock."),
    choice("sink", &["file"], &["kafka"], Task).help("Where lines go."),
    later("sink_topic"),
    key("dir", Kind::Path, Mandatory, Task, "\"data/out/24\"")
        .help("Directory of the output files, of this task alone. It is made if it is missing."),
    key("file_name", TEXT, Nothing("made from rotate and lanes"), Task, "\"log.%Y-%m-%d_{seq}\"").help(
        "Name of the files: {seq} (mandatory, counts up), {lane} (mandatory with lanes above 1), {app_id}, {log_name}, \
         {event_name}, {topic}, {partition}, and the time of writing as %Y %m %d %H %M %S %j.",
    ),
    choice("rotate", &["day", "hour", "none"], &[], Live).help("Begin new files each day or hour, or never."),
    key("rotate_size", size_or_none(KIB, TIB), number(0), Live, "\"1GiB\"")
        .help("Begin a new file at this size. \"0\": at no size. A soft limit: a batch is not split."),
    key("min_free", size_or_none(KIB, 1024 * TIB), number(0), Live, "\"10GiB\"")
        .help("Keep this much of the disk free. \"0\": none. Below it the task waits."),
    key("lanes", integer("lanes", 1, 1024), number(1), Task, "1")
        .help("Sets of files that keep the records of one key in order in one place."),
    key("deliver_by", TEXT, Nothing("the partition chooses"), Task, "\"role_id\"")
        .once("deliverBy")
        .help("The field that chooses the lane, dotted below another. It has no effect while lanes = 1."),
    key("readers", integer("threads", 1, 64), number(2), Task, "2")
        .once("consumerNum")
        .help("Threads that read and transform. Each takes some of the partitions: more than partitions are idle."),
    key("writers", integer("threads", 1, 64), number(1), Task, "1")
        .help("Threads that write files. Each takes whole lanes: more than lanes are idle."),
    key("channel_capacity", integer("messages", 1, 65_536), number(1024), Task, "1024")
        .once("channelLength")
        .help("Messages that a writer's queue holds. They are small: lines stay in the ring."),
    key("ring_size", RING_SIZE, number(8 * MIB), Task, "\"8MiB\"")
        .help("Redo ring of one reader, in data_dir and in memory."),
    key("checkpoint_interval", duration(100, HOUR_MS), millis(10_000), Live, "\"10s\"")
        .help("Time between checkpoints: what a power loss can make a reader of the files see twice."),
    key("poll_timeout", duration(1, 10_000), millis(100), Live, "\"100ms\"")
        .once("block")
        .help("Longest wait for one batch."),
    key("rate_limit", integer("records/s", 0, BILLION), number(0), Live, "50000")
        .help("Records a second for the whole task. 0: no limit."),
    key("failures_max", integer("records", 1, BILLION), number(1_000_000), Live, "1_000_000")
        .help("Parked records that the failure queue holds before the task waits."),
];

/// `[collect.NAME]` and `[system]`.
pub static COLLECT: &[Key] = &[
    key("paths", Kind::Paths, NO_ITEMS, Live, "[\"/var/log/app/*.log\"]")
        .help("Files to follow, globs too: `*` stays in one directory, `**` goes below. They go to `topic`."),
    key("entries", Kind::PathOrNone, word(""), Live, "\"conf/collect.json\"").help(
        "A list file, in JSON with comments, beside `paths`: [{\"path\": …, \"topic\": …, \"key\": …}], or \
         {\"configpath\": {key: path}}. It is watched. \"\": none.",
    ),
    key("from_etcd", Kind::Flag, NO, Live, "false")
        .help("Also follow what the list under `collect_key` of [etcd] names. One task may do so."),
    key("topic", Kind::Topic, Nothing("each entry of the list names its own"), Live, "\"web_log\"")
        .help("Where lines go whose entry names no topic."),
    key("key", TEXT, Nothing("messages have no key"), Live, "\"front\"").help(
        "The key of messages whose entry names none. Not in [system], where this word is the old name of group_id.",
    ),
    key("cluster", Kind::Name, word("default"), Task, "\"default\"")
        .once("exchange")
        .help("Which [cluster.NAME] to write to."),
    key("roots", Kind::Paths, NO_ITEMS, Task, "[\"/srv/log\"]")
        .help("Directories that symbolic links may lead into, beside those that the entries name."),
    choice("start_from", &["end", "beginning"], &[], Task).help(
        "Where a file begins that stands there when its entry is first looked at. One that comes later is read from \
         its beginning.",
    ),
    choice("partitioner", &["file", "random", "key"], &[], Task)
        .help("What chooses the partition: \"file\" keeps the lines of one file in order, \"key\" those of one key."),
    choice("produce", &["auto", "librdkafka"], &[], Task).help(
        "The Kafka client: \"auto\" is logmill's own, which costs less, or librdkafka where the cluster asks for more \
         than that one can (TLS, SASL, `exactly_once`, properties of librdkafka's producer).",
    ),
    choice("compression", &["snappy", "none", "gzip", "lz4", "zstd"], &[], Task).help("How batches are compressed."),
    key("exactly_once", Kind::Flag, NO, Task, "false").help(
        "Lines and places go out in transactions: who reads committed records sees every line once, through any kill.",
    ),
    key("positions_topic", Kind::Topic, Nothing("mandatory with `exactly_once = true`"), Task, "\"logmill_positions\"")
        .help("The compacted topic that keeps the places then. Tasks may share it."),
    key("max_line_bytes", size(KIB, 255 * MIB), number(MIB), Task, "\"1MiB\"").help("Longer lines go out in pieces."),
    key("multiline_start", LONG_TEXT, Nothing("each line is a message"), Task, "'^\\d{4}-'")
        .help("A regular expression: a line that matches begins a message of several lines."),
    key("close_delay", duration(100, DAY_MS), millis(300_000), Task, "\"5m\"")
        .help("How long a rotated file that does not grow is kept open for whoever still writes to it."),
];

/// `[etcd]`.
pub static ETCD: &[Key] = &[
    key("endpoints", Kind::Endpoints, Mandatory, Live, "[\"127.0.0.1:2379\"]")
        .help("Servers of one etcd v3, asked in turn through its HTTP gateway."),
    key("collect_key", TEXT, Mandatory, Live, "\"/logmill/%s/collect\"").help(
        "The key that holds the list, in the form of a list file. %s is this host's address, that by which it is known \
         to etcd. It is watched; without the key nothing is followed.",
    ),
    key("user", TEXT_OR_NONE, word(""), Live, "\"logmill\"").help("\"\": no authentication."),
    key("password", TEXT_OR_NONE, word(""), Live, "\"${ETCD_PASSWORD}\"").help("Of the user."),
    key("tls_ca", Kind::PathOrNone, word(""), Live, "\"conf/etcd-ca.pem\"").help(
        "Certificate that the servers' are signed with. Given this or tls_cert, endpoints without a scheme are asked \
         through TLS.",
    ),
    key("tls_cert", Kind::PathOrNone, word(""), Live, "\"conf/etcd.pem\"").help("Our own certificate, with tls_key."),
    key("tls_key", Kind::PathOrNone, word(""), Live, "\"conf/etcd-key.pem\"").help("The key of tls_cert."),
];

/// The sections that hold keys, with the heading an operator writes.
pub static SECTIONS: [(&str, &[Key]); 7] = [
    ("[process]", PROCESS),
    ("[cluster.NAME]", CLUSTER),
    ("[system]", TASK),
    ("[deliver.NAME]", TASK),
    ("[system]", COLLECT),
    ("[collect.NAME]", COLLECT),
    ("[etcd]", ETCD),
];

/// The rows of a section's tables; of a name that stands in two of them, the first one's.
pub fn rows(tables: &[&'static [Key]]) -> Vec<&'static Key> {
    let mut rows: Vec<&'static Key> = Vec::new();
    for key in tables.iter().copied().flatten() {
        let is_key = |row: &&Key| row.name == key.name || row.old_name == Some(key.name);
        if !rows.iter().any(is_key) {
            rows.push(key);
        }
    }
    rows
}

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
