//! The words that pass the door: what may be asked, and the state of the program as both sides name it.
//!
//! ```text
//! {"command":"status"}                                  {"ok":{…}}
//! {"command":"pause","task":"game_24"}                  {"error":"there is no task game_24"}
//! {"RpcFuncName":"KafkaLag","Params":[]}                261
//! ```
//! The last one is the form of the service that this program replaces: an integer or a text and a newline come back,
//! -1 for an integer that nobody can tell, and the connection is closed.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::table;
use crate::flow::cluster::Client;
pub use crate::flow::cluster::Target;
pub use crate::flow::record::Sample;
use crate::flow::span::Counts;
pub use crate::ledger::failures::Filter;

/// What the running program is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// [`Status`].
    Status,
    /// A list of [`Offset`], of all tasks.
    Offsets,
    /// The sum of all tasks' lag.
    Lag,
    /// Records in the failure queues.
    FailuresCount,
    /// Removes parked records of one task or of all; [`Job`].
    FailuresClear {
        #[serde(default)]
        task: Option<String>,
        #[serde(default)]
        filter: Filter,
    },
    /// Parked records go through the transform again; [`Job`].
    FailuresRetry {
        #[serde(default)]
        task: Option<String>,
        #[serde(default)]
        filter: Filter,
    },
    Reload,
    Pause {
        task: String,
        /// Of a collect task: this file alone.
        #[serde(default)]
        file: Option<PathBuf>,
    },
    Resume {
        task: String,
        #[serde(default)]
        file: Option<PathBuf>,
    },
    Seek {
        task: String,
        topic: String,
        partition: i32,
        to: Target,
    },
    /// A collected file goes on at this byte.
    SeekFile {
        task: String,
        file: PathBuf,
        at: u64,
    },
    /// A list of [`FileRow`], of all collect tasks.
    Files,
    /// [`Tapped`]: what has passed since it was asked last. Nothing is collected while nobody asks.
    Tap {
        task: String,
        /// Of records whose value or line holds this text; without it of any.
        #[serde(default)]
        filter: Option<String>,
    },
    /// Ends the run in order; [`Stopping`] comes back before it has ended.
    Stop,
}

impl Request {
    /// True where the answer is at hand: nothing has to be waited for.
    pub fn is_quick(&self) -> bool {
        matches!(self, Request::Status | Request::Lag | Request::FailuresCount | Request::Tap { .. })
    }
}

/// What comes back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    Ok(Value),
    /// A sentence for the operator.
    Error(String),
}

impl Reply {
    pub fn ok(value: &impl Serialize) -> Reply {
        serde_json::to_value(value).map_or_else(|e| Reply::Error(e.to_string()), Reply::Ok)
    }
}

/// A request with the form in which its answer is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub request: Request,
    pub form: Form,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Json,
    /// The old one, for a function whose answer is an integer.
    Integer,
    /// The old one, for all others.
    Text,
}

/// The old form; members beside these are not looked at.
#[derive(Deserialize)]
struct Old {
    #[serde(rename = "RpcFuncName")]
    name: String,
}

impl Asked {
    /// # Errors
    /// What it is not, in the form that was used.
    pub fn parse(bytes: &[u8]) -> Result<Asked, (Form, String)> {
        if let Ok(Old { name }) = serde_json::from_slice(bytes) {
            let (request, form) = match name.as_str() {
                "KafkaLag" => (Request::Lag, Form::Integer),
                "FailureQueueCount" => (Request::FailuresCount, Form::Integer),
                "ClearFailureQueue" => {
                    (Request::FailuresClear { task: None, filter: Filter::default() }, Form::Integer)
                }
                "OffsetChecker" => (Request::Offsets, Form::Text),
                "Update" => (Request::Reload, Form::Text),
                "Stop" => (Request::Stop, Form::Text),
                other => return Err((Form::Text, format!("there is no function {other}"))),
            };
            return Ok(Asked { request, form });
        }
        let request = serde_json::from_slice(bytes).map_err(|e| (Form::Json, e.to_string()))?;
        Ok(Asked { request, form: Form::Json })
    }
}

impl Form {
    /// The reply as bytes, with its newline.
    pub fn write(self, reply: &Reply) -> Vec<u8> {
        let text = match (self, reply) {
            (Form::Json, reply) => serde_json::to_string(reply).unwrap_or_default(),
            (Form::Integer, Reply::Ok(Value::Number(number))) => number.to_string(),
            (Form::Integer, Reply::Ok(job)) => job["done"].as_str().unwrap_or("-1").into(),
            (Form::Integer, Reply::Error(_)) => "-1".into(),
            (Form::Text, Reply::Error(text)) => text.clone(),
            (Form::Text, Reply::Ok(value)) => old_text(value),
        };
        format!("{}\n", text.trim_end_matches('\n')).into_bytes()
    }
}

fn old_text(value: &Value) -> String {
    match (value, Vec::<Offset>::deserialize(value)) {
        (Value::String(text), _) => text.clone(),
        (_, Ok(rows)) => table::offsets(&rows),
        _ => value.to_string(),
    }
}

/// A partition's row in the table of offsets; `None` where nobody can tell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offset {
    pub task: String,
    pub topic: String,
    pub partition: i32,
    /// The first offset of the log.
    pub low: Option<i64>,
    /// The end of the log.
    pub high: Option<i64>,
    /// The offset to take next: the stored one, else where the task would begin.
    pub current: Option<i64>,
}

impl Offset {
    pub fn lag(&self) -> Option<i64> {
        Some(self.high?.saturating_sub(self.current?).max(0))
    }
}

/// The sum of all rows; `None` where one of them is not known.
pub fn lag(rows: &[Offset]) -> Option<i64> {
    rows.iter().map(Offset::lag).sum()
}

/// What has become of a retry or clear.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Job {
    /// It is over; a line for the operator, of a clear the number of records alone.
    Done(String),
    /// It goes on; [`QueueStatus`] tells how far it is.
    Running,
}

/// What is about to end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopping {
    pub pid: i32,
    /// Longest time it takes.
    pub stop_timeout_s: u64,
}

/// The program at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    pub version: String,
    pub pid: u32,
    /// Rises with every configuration that was accepted; 1 at start.
    pub generation: u64,
    /// Since the start.
    pub uptime_s: u64,
    /// Resident memory.
    pub rss_bytes: u64,
    pub tasks: Vec<TaskStatus>,
    /// Tasks of the other road.
    #[serde(default)]
    pub collect: Vec<CollectStatus>,
}

/// A task at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskStatus {
    pub name: String,
    pub state: TaskState,
    /// What fetches its records.
    pub client: Client,
    /// Why it is not the native client, where `auto` is asked for.
    #[serde(default)]
    pub client_reason: Option<String>,
    /// Of this run.
    pub counts: Counts,
    pub queue: QueueStatus,
    /// Records a second, over the last seconds.
    pub rate: f64,
    /// Records that are not taken yet; `None` before all partitions have been fetched from.
    pub lag: Option<u64>,
    /// Seconds until the lag is gone at the pace of the last seconds; `None` where it does not shrink.
    pub catch_up_s: Option<u64>,
    /// Kafka's timestamp of the newest record taken, milliseconds since the epoch; `None` before the first.
    pub newest_ms: Option<i64>,
    /// Of this task alone, since the program started.
    pub restarts: u64,
    pub last_error: Option<String>,
    pub threads: Vec<ThreadStatus>,
    /// Files that may still grow, at most [`FILES_SHOWN_MAX`] of them.
    pub files: Vec<FileStatus>,
    /// All of them.
    pub files_open: usize,
    /// Partitions that cannot be read on, as topic/partition.
    pub stopped: Vec<String>,
}

/// Files of a task that a [`Status`] names.
pub const FILES_SHOWN_MAX: usize = 100;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    Running,
    /// A writer waits for its disk, or a reader for room in its ring.
    Blocked,
    /// By an operator.
    Paused,
}

/// A collect task at one moment; sums are of this run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CollectStatus {
    pub name: String,
    pub state: CollectState,
    /// Lines that the brokers have confirmed.
    pub lines: u64,
    /// Bytes that they reach over, newlines with them.
    pub bytes: u64,
    /// Lines that were refused or not confirmed, and sent again.
    pub sent_again: u64,
    /// Lines a second, over the last seconds.
    pub rate: f64,
    /// Files that are followed.
    pub files: u64,
    /// Names that are not followed, by the last count.
    pub refused: u64,
    /// Bytes that are not confirmed yet, by the last count, some seconds ago.
    pub behind_bytes: u64,
    /// Seconds until nothing is left at the pace of the last seconds; `None` where it does not shrink.
    pub catch_up_s: Option<u64>,
    /// Of the thread that follows the files, since the program started.
    pub restarts: u64,
    /// Processor time of that thread.
    pub cpu_ms: u64,
    /// Why the list in etcd is not the one in force.
    pub list: Option<String>,
    /// Why it was restarted last, or is not running.
    pub last_error: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CollectState {
    Running,
    /// By an operator.
    Paused,
    /// It has failed, and goes on after a pause.
    Restarting,
    /// Its thread does not go round, and cannot be replaced now.
    Hung,
    /// Another instance of the task has taken over.
    Fenced,
    Ended,
}

/// A collected file at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRow {
    pub task: String,
    pub path: String,
    pub topic: String,
    /// Up to this byte every line is confirmed.
    pub position: u64,
    pub size: u64,
    pub behind: u64,
    /// Its filesystem and handle, in hexadecimal digits.
    pub identity: String,
    /// reading, idle, leaving, final, paused, stuck, refused; stored: nothing runs, and this is what is kept.
    pub state: String,
    /// Why it is stuck or refused.
    pub reason: String,
}

/// A failure queue at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct QueueStatus {
    /// Records in it.
    pub failures: u64,
    /// A retry or clear is under way; what follows is of this one, else of the last one.
    pub running: bool,
    /// Parked records that it has to come by.
    pub goal: u64,
    /// Those that it has come by.
    pub done: u64,
    /// What became of those that it was asked for; cleared ones are filtered.
    pub counts: Counts,
}

/// A thread at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ThreadStatus {
    /// As the kernel shows it.
    pub name: String,
    /// It waits: a reader for room in its ring, a writer for its disk.
    pub blocked: bool,
    /// The core it ran on last; `None` once it has ended.
    pub core: Option<u32>,
    /// Processor time since it started.
    pub cpu_ms: u64,
    /// Percent: how full its ring is, of a reader; its inbox, of a writer.
    pub fill: u8,
    pub last_error: Option<String>,
}

/// A file at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileStatus {
    /// The writer's thread.
    pub thread: String,
    /// Below the task's directory.
    pub name: String,
    pub bytes: u64,
}

/// Samples of what passes through a task, oldest first.
pub type Tapped = Vec<Sample>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_read_as_they_are_written() {
        let requests = [
            (Request::Status, r#"{"command":"status"}"#),
            (
                Request::Seek { task: "g".into(), topic: "t".into(), partition: 3, to: Target::Offset(7) },
                r#"{"command":"seek","task":"g","topic":"t","partition":3,"to":{"offset":7}}"#,
            ),
            (Request::Tap { task: "g".into(), filter: None }, r#"{"command":"tap","task":"g","filter":null}"#),
        ];
        for (request, text) in requests {
            assert_eq!(serde_json::to_string(&request).unwrap(), text);
            assert_eq!(Asked::parse(text.as_bytes()), Ok(Asked { request, form: Form::Json }));
        }
        let short = Asked::parse(br#"{"command":"failures_clear"}"#).unwrap();
        assert_eq!(short.request, Request::FailuresClear { task: None, filter: Filter::default() });
        for bad in
            ["{}", r#"{"command":"no"}"#, r#"{"command":"pause"}"#, r#"{"command":"failures_clear","filter":{"x":1}}"#]
        {
            assert!(matches!(Asked::parse(bad.as_bytes()), Err((Form::Json, _))), "{bad}");
        }
    }

    #[test]
    fn the_old_form_is_answered_in_the_old_form() {
        let form = |name: &str| {
            Asked::parse(format!(r#"{{"RpcFuncName":"{name}","Params":[]}}"#).as_bytes()).map(|asked| asked.form)
        };
        assert_eq!([form("KafkaLag"), form("OffsetChecker")], [Ok(Form::Integer), Ok(Form::Text)]);
        assert_eq!(form("None"), Err((Form::Text, "there is no function None".into())));
        assert_eq!(Form::Integer.write(&Reply::ok(&12)), b"12\n");
        assert_eq!(Form::Integer.write(&Reply::Error("no".into())), b"-1\n");
        assert_eq!(Form::Integer.write(&Reply::ok(&Job::Done("7".into()))), b"7\n");
        assert_eq!(Form::Integer.write(&Reply::ok(&Job::Running)), b"-1\n");
        assert_eq!(Form::Text.write(&Reply::ok(&"generation 2")), b"generation 2\n");
        assert_eq!(Form::Text.write(&Reply::Error("two\nlines".into())), b"two\nlines\n");
        assert_eq!(Form::Json.write(&Reply::ok(&1)), b"{\"ok\":1}\n");
        assert_eq!(Form::Json.write(&Reply::Error("no".into())), b"{\"error\":\"no\"}\n");
    }

    #[test]
    fn lag_is_known_where_all_of_it_is() {
        let row =
            |high, current| Offset { task: "t".into(), topic: "t".into(), partition: 0, low: None, high, current };
        assert_eq!(lag(&[row(Some(9), Some(2)), row(Some(1), Some(4))]), Some(7));
        assert_eq!(lag(&[row(Some(9), Some(2)), row(None, Some(4))]), None);
        assert_eq!(lag(&[]), Some(0));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_parsed_or_refused(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = Asked::parse(&bytes);
        }

        #[test]
        fn any_json_is_parsed_or_refused(
            name in r#""(command|RpcFuncName|task|to|filter)""#,
            value in r#"("[a-zA-Z_]{0,9}"|-?[0-9]{1,30}|\[\]|\{"offset":-?[0-9]{0,30}\}|null)"#,
            rest in r#"(,"(task|partition)":[0-9"]{0,3})?"#,
        ) {
            let text = format!("{{{name}:{value}{rest}}}");
            let _ = Asked::parse(text.as_bytes());
        }
    }
}
