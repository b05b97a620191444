//! What can be typed behind `millctl`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use crate::conf::{parse_duration, parse_start};
use crate::ctl::protocol::{Filter, Target};
use crate::flow::clock;
use crate::flow::cluster::Start;

const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 refused or failed, 2 not typed as it should be, 3 logmill is not running, 4 no answer in time.
An integer is -1 where nobody can tell it.

Without --config and --socket the configuration is looked for in conf/logmill.toml, beside millctl in
../conf/logmill.toml, and in /etc/logmill/logmill.toml.";

/// Watches and controls a running logmill, and tells offsets and lag without one.
#[derive(Debug, Parser)]
#[command(name = "millctl", version, after_help = EXIT_CODES)]
pub struct Millctl {
    /// The configuration file of logmill: it names the socket, and what is looked at without a running logmill
    #[arg(long, value_name = "FILE", global = true, conflicts_with = "socket")]
    pub config: Option<PathBuf>,
    /// The environment whose overlay is laid over --config
    #[arg(long, value_name = "ENV", global = true, conflicts_with = "socket")]
    pub env: Option<String>,
    /// The socket of logmill; everything is then asked there
    #[arg(long, value_name = "SOCKET", global = true)]
    pub socket: Option<PathBuf>,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Shows where each partition begins and ends, the next offset to take, and the lag
    ///
    /// Works without a running logmill. Exit code 1 and "-" where no broker tells the ends within 5 seconds.
    #[command(alias = "offset_checker")]
    Offsets(Reading),
    /// Prints the sum of all partitions' lag, one integer
    ///
    /// Works without a running logmill.
    #[command(alias = "kafka_lag")]
    Lag(Reading),
    /// Counts, shows, retries and removes parked records
    #[command(subcommand)]
    Failures(Failures),
    /// The old name of failures count
    #[command(name = "failure_queue_count", hide = true)]
    FailureQueueCount(Reading),
    /// The old name of failures clear
    #[command(name = "clear_failure_queue", hide = true)]
    ClearFailureQueue,
    /// Shows tasks, threads and files: state, rate, lag, errors
    Status(Reading),
    /// Shows the same on the whole screen, once a second; q ends it
    Top,
    /// Shows samples of a task's records, value and line side by side, as they pass
    ///
    /// The task is not slowed: a sample that would have to wait is left out. Ctrl-C ends it.
    Tap(Tap),
    /// Lets a task read nothing more until it is resumed; its files are whole
    ///
    /// It keeps its threads and its checkpoints. It stays paused over a reload; a restart of the process resumes it. Of
    /// a collect task, one file alone may be meant; files stay open.
    Pause(Task),
    /// Lets a paused task, or file of it, go on
    Resume(Task),
    /// Lets a partition, or a collected file, go on at another place; what is skipped or comes again is your affair
    ///
    /// The task drains, the new place is made durable, and it begins anew there. A file goes on at once. Back means
    /// that lines come a second time, forward that some never come.
    #[command(after_help = "Examples:
  millctl seek game_24 mulog_clean_24/3 2026-01-31T00:00:00+08:00
  millctl seek web /var/log/web.log 0")]
    Seek(Seek),
    /// Reads configuration and settings anew and applies what has changed, or says what is wrong
    #[command(alias = "update")]
    Reload,
    /// Shows the files that are collected: where each stands, and why one is not followed
    ///
    /// Works without a running logmill.
    Files(Reading),
    /// Stops logmill in order; returns when the process is gone
    Stop,
    /// Reads a ledger that may be damaged; failures starts it for itself
    #[command(hide = true)]
    CheckLedger { dir: PathBuf },
    /// Prints the script that completes millctl's words in a shell
    Completions {
        #[arg(value_name = "SHELL")]
        shell: Shell,
    },
}

/// How something is shown.
#[derive(Debug, Clone, Args)]
pub struct Reading {
    /// As JSON, one line
    #[arg(long)]
    pub json: bool,
    /// Again and again, every so many seconds [default: 2]
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "2",
          value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub watch: Option<u64>,
}

#[derive(Debug, Subcommand)]
pub enum Failures {
    /// Prints how many records are parked, one integer
    Count(Reading),
    /// Lists parked records: reason, place, size, age
    List {
        #[command(flatten)]
        filter: Which,
        #[command(flatten)]
        reading: Reading,
    },
    /// Shows parked records with their values
    Show {
        #[command(flatten)]
        filter: Which,
        #[command(flatten)]
        reading: Reading,
    },
    /// Puts parked records through the transform again
    ///
    /// Works without a running logmill, as long as none is started.
    Retry(Which),
    /// Removes parked records; prints their number
    ///
    /// Works without a running logmill, as long as none is started.
    Clear(Which),
}

/// Which parked records are meant; without any of these all are.
#[derive(Debug, Clone, Default, Args)]
pub struct Which {
    /// Of this task
    #[arg(long, value_name = "TASK")]
    pub task: Option<String>,
    /// Parked for this reason, such as E05_JSON or E05; it may be given several times
    #[arg(long = "code", value_name = "CODE")]
    pub codes: Vec<String>,
    /// Of this topic
    #[arg(long, value_name = "TOPIC")]
    pub topic: Option<String>,
    /// Of this partition
    #[arg(long, value_name = "N")]
    pub partition: Option<i32>,
    /// Of this offset
    #[arg(long, value_name = "N")]
    pub offset: Option<i64>,
    /// Parked at least so long ago: 1h
    #[arg(long, value_name = "DURATION", value_parser = seconds)]
    pub older_than: Option<u64>,
    /// Parked at most so long ago: 10m
    #[arg(long, value_name = "DURATION", value_parser = seconds)]
    pub newer_than: Option<u64>,
}

#[derive(Debug, Args)]
pub struct Tap {
    #[arg(value_name = "TASK")]
    pub task: String,
    /// Only records whose value holds this text
    #[arg(value_name = "FILTER")]
    pub filter: Option<String>,
    /// As JSON, one sample a line
    #[arg(long)]
    pub json: bool,
    /// End after so many samples
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
}

#[derive(Debug, Args)]
pub struct Task {
    #[arg(value_name = "TASK")]
    pub task: String,
    /// A file that the task collects
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Seek {
    #[arg(value_name = "TASK")]
    pub task: String,
    #[arg(value_name = "TOPIC/PARTITION|FILE", value_parser = source)]
    pub source: Source,
    /// An offset, or a time such as 2026-01-31T00:00:00+08:00: the first record at or after it; of a file, a byte
    #[arg(value_name = "OFFSET|TIMESTAMP", value_parser = target)]
    pub to: Target,
}

/// What goes on elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    Partition(String, i32),
    File(PathBuf),
}

impl Which {
    /// The task that is meant, and which of its records are, as of now.
    pub fn filter(self) -> (Option<String>, Filter) {
        let Which { task, codes, topic, partition, offset, older_than, newer_than } = self;
        let ago = |s: u64| clock::now_ms().saturating_sub_unsigned(s.saturating_mul(1000));
        let (since_ms, before_ms) = (newer_than.map(ago), older_than.map(ago));
        (task, Filter { codes, topic, partition, offset, since_ms, before_ms })
    }
}

fn seconds(text: &str) -> Result<u64, String> {
    parse_duration(text).map(|duration| duration.as_secs())
}

/// No topic's name begins with a slash.
fn source(text: &str) -> Result<Source, String> {
    if text.starts_with('/') {
        return Ok(Source::File(text.into()));
    }
    let parts = text.rsplit_once('/').and_then(|(topic, number)| Some((topic, number.parse().ok()?)));
    let found = parts.filter(|(topic, number)| !topic.is_empty() && *number >= 0);
    let found = found.map(|(topic, number)| Source::Partition(topic.to_string(), number));
    found.ok_or("write it as topic/0, or a file's whole path".into())
}

fn target(text: &str) -> Result<Target, String> {
    match (text.parse(), parse_start(text)) {
        (Ok(offset), _) if offset >= 0 => Ok(Target::Offset(offset)),
        (Err(_), Ok(Start::Timestamp(ms))) => Ok(Target::Timestamp(ms)),
        _ => Err("write an offset, or a time with its zone, such as 2026-01-31T00:00:00+08:00".into()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(typed: &str) -> Result<Millctl, clap::Error> {
        Millctl::try_parse_from(["millctl"].into_iter().chain(typed.split_whitespace()))
    }

    #[test]
    fn definition_is_sound() {
        Millctl::command().debug_assert();
    }

    #[test]
    fn old_names_work() {
        for (old, new) in [("offset_checker", "offsets"), ("kafka_lag", "lag"), ("update", "reload")] {
            let name = |typed: &str| format!("{:?}", parse(typed).unwrap().command);
            assert_eq!(name(old), name(new));
        }
        assert!(matches!(parse("failure_queue_count").unwrap().command, Command::FailureQueueCount(_)));
        assert!(matches!(parse("clear_failure_queue").unwrap().command, Command::ClearFailureQueue));
    }

    #[test]
    fn options_stand_before_or_behind_the_command() {
        for typed in ["--socket s lag --watch --json", "lag --json --socket s --watch=2"] {
            let Millctl { socket, command: Command::Lag(Reading { json: true, watch: Some(2) }), .. } =
                parse(typed).unwrap()
            else {
                panic!("{typed}")
            };
            assert_eq!(socket, Some("s".into()));
        }
        assert!(parse("--socket s --config c lag").is_err());
    }

    #[test]
    fn seeks_go_to_offsets_and_times() {
        let seek = |typed: &str| match parse(&format!("seek game {typed}")) {
            Ok(Millctl { command: Command::Seek(Seek { source, to, .. }), .. }) => Some((source, to)),
            _ => None,
        };
        assert_eq!(seek("a/b/3 17"), Some((Source::Partition("a/b".into(), 3), Target::Offset(17))));
        assert_eq!(seek("/a/b 0"), Some((Source::File("/a/b".into()), Target::Offset(0))));
        assert_eq!(
            seek("t/0 2001-09-09T09:46:40+08:00"),
            Some((Source::Partition("t".into(), 0), Target::Timestamp(1_000_000_000_000)))
        );
        for refused in ["t 1", "t/x 1", "t/0 -1", "t/0 earliest", "t/0 yesterday"] {
            assert_eq!(seek(refused), None, "{refused}");
        }
    }

    #[test]
    fn filters_are_made_of_options() {
        let typed = "failures retry --task game --code E05 --code E06_DEPTH --topic t --older-than 1h --newer-than 2d";
        let Command::Failures(Failures::Retry(which)) = parse(typed).unwrap().command else { panic!() };
        let (task, filter) = which.filter();
        assert_eq!((task.as_deref(), filter.topic.as_deref()), (Some("game"), Some("t")));
        assert_eq!(filter.codes, ["E05", "E06_DEPTH"]);
        assert_eq!(filter.before_ms.unwrap() - filter.since_ms.unwrap(), 47 * 3_600_000);
    }
}
