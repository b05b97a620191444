//! What can be typed: the command line of `logmill` as typed arguments, and in [`millctl`] that of the control tool.
//! Nothing is done here.

pub mod collect;
pub mod millctl;
pub mod pages;

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{ArgGroup, Args, CommandFactory, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::conf::parse_timezone;
pub use collect::Collect;

const DEFAULT_CONFIG: &str = "conf/logmill.toml";

const TRANSFORM_HELP: &str = r#"raw:
  Each line is a record's value, of topic "stdin", partition 0, its line number as offset, without a timestamp.
  Values that are compressed themselves (value_codec) need json.

json:
  in   {"topic":"t","partition":0,"offset":7,"timestamp":1608184360123,"value":"<base64>"}
       "value" is null for a record without one; all else may be left out and is then as in raw, and other members
       are not looked at. Blank lines are skipped; any other line ends the run.
  out  {"result":"written","line":"..."}
       {"result":"filtered"}
       {"result":"parked","code":"E05_JSON","detail":"..."}
       with "counters":{"prop_null":1} where there are any. A compressed value that holds several records gives an
       object for each, from the second on with its number in the value, "k":1.

Examples:
  logmill transform --settings conf/settings --app-id 24 < records.txt
  logmill transform --config conf/logmill.toml --task game_24 --format json < records.jsonl"#;

const VERIFY_HELP: &str = "\
Limits:
  Settings and options must be those the lines were written with: a line that would be another today counts as lost, and
  the old one as of no record. So does a #time that came from the clock (time_fallback = \"now\").
  Records that retention has taken are not compared. Files that somebody took away count as lost.
  With start = \"latest\" nothing tells where delivery began: set start to that time for this.
  Order is compared for each partition within each file; above 4,194,304 lines the topic is read several times, and
  order only within each reading's share of the lines.

Examples:
  logmill verify --config conf/logmill.toml --task game_24
  logmill verify /backup/24 --config conf/logmill.toml --task game_24";

/// Moves log records both ways between Kafka and files, every line exactly once.
#[derive(Debug, Parser)]
#[command(name = "logmill", version, after_help = "Try it without any set-up: logmill demo")]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Runs all tasks in the foreground; logs go to stderr
    ///
    /// SIGTERM or Ctrl-C stops it in order: what was read is written, synced and remembered, and the next run goes on
    /// from there.
    #[command(after_help = "Example: logmill run --config conf/logmill.toml")]
    Run(Run),
    /// Starts it as a daemon, and waits until all tasks run
    ///
    /// A supervisor stays beside it and starts it again when it dies, after 100 ms at first, then later and later, and
    /// gives up after 10 deaths in a row. What both say on stderr goes to daemon.log in data_dir, and so does the log
    /// unless log_file is set. Exit code 1: it could not start, and says why, or it runs already.
    #[command(after_help = "Example: logmill start --config conf/logmill.toml")]
    Start(Daemon),
    /// Stops the daemon in order, and waits until it is gone
    ///
    /// Exit code 0: all that was read is written and remembered, or it was not running; 1: it had to be cut short,
    /// which loses nothing.
    Stop(Daemon),
    /// Stops the daemon, where it runs, and starts it again
    ///
    /// A configuration with problems is refused before anything is stopped.
    Restart(Daemon),
    /// Has the daemon read its configuration again, as SIGHUP does
    Reload(Daemon),
    /// Says whether it runs
    ///
    /// Exit codes as LSB has them: 0 it runs; 1 it is dead, and its pid file is there; 3 it is not running; 4 unknown.
    Status(Daemon),
    /// Shows the whole road on an embedded broker, from records to files, without any set-up
    ///
    /// A producer makes 200,000 records, the engine delivers them into files of a fresh directory, and every one is
    /// checked. It takes some seconds, at most 20. The directory stays: its configuration, settings and records are a
    /// good place to go on from.
    #[command(after_help = "Example: logmill demo --keep --dir /tmp/logmill-demo")]
    Demo(Demo),
    /// Transforms records from stdin to stdout, one a line, without Kafka: a dry run of the settings
    ///
    /// Results come as the input comes. Exit code 0: the input was read to its end, whatever became of the records;
    /// 1: settings, task or a line of JSON are not what they should be.
    #[command(after_help = TRANSFORM_HELP)]
    Transform(Transform),
    /// Checks the configuration and the settings it names, and prints every problem with its place
    ///
    /// It checks exactly what `run` checks. Exit code 0: `run` would start with it; 1: there are problems.
    #[command(after_help = "Example: logmill check --config conf/logmill.toml --online")]
    Check(Check),
    /// Shows the configuration as logmill understands it
    #[command(subcommand)]
    Config(Config),
    /// Compares a task's files with its topics: lines lost, doubled, out of order, or of no record
    ///
    /// The topics are read again, from `start` up to the last checkpoint, and every record is transformed again; the
    /// lines that must come out are compared with the files, up to the lengths in that checkpoint. The program must not
    /// be running on this data_dir. Exit code 0: every line is there exactly once; 1: something is wrong.
    #[command(after_help = VERIFY_HELP)]
    Verify(Verify),
    /// Sends the lines of a file to a topic: once, or for as long as it grows
    ///
    /// Every line is a message. --once reads to the end (a last line without newline is a line too), waits until the
    /// broker has confirmed all, and leaves. --follow goes on until SIGTERM or Ctrl-C, through rotation, and the next
    /// run goes on from there. Exit code 0: every line that was read is confirmed; 1: it is not.
    #[command(after_help = collect::HELP)]
    Collect(Collect),
    /// Prints the script that completes logmill's words in a shell
    ///
    /// That of millctl comes from millctl completions.
    #[command(after_help = "Example: logmill completions bash > /etc/bash_completion.d/logmill")]
    Completions(Completions),
    /// Writes the manual pages of logmill and millctl into a directory
    #[command(after_help = "Example: logmill man /usr/local/share/man/man1")]
    Man(Man),
    /// Reads a ledger that may be damaged; `run` starts it for itself
    #[command(hide = true)]
    CheckLedger(CheckLedger),
}

#[derive(Debug, Args)]
pub struct Run {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    pub config: PathBuf,
    /// Lays the file's overlay for this environment over it: conf/logmill.ENV.toml over conf/logmill.toml
    #[arg(long, value_name = "ENV")]
    pub env: Option<String>,
    /// Stop once everything is delivered that stood in the topics at the start
    #[arg(long)]
    pub exit_at_end: bool,
    /// The process that started this one as its worker.
    #[arg(long, hide = true, value_name = "PID")]
    pub supervised: Option<u32>,
    #[command(flatten)]
    pub old: Old,
}

/// Which daemon.
#[derive(Debug, Clone, Args)]
pub struct Daemon {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    pub config: PathBuf,
    /// Lays the file's overlay for this environment over it: conf/logmill.ENV.toml over conf/logmill.toml
    #[arg(long, value_name = "ENV")]
    pub env: Option<String>,
    #[command(flatten)]
    pub old: Old,
}

/// What scripts say that were written for the service this one replaces.
#[derive(Debug, Clone, Args)]
pub struct Old {
    /// One of the tasks; all tasks of the configuration run in one process.
    #[arg(long, hide = true, value_name = "TASK")]
    pub task: Option<String>,
}

#[derive(Debug, Args)]
pub struct Demo {
    /// Go on until Ctrl-C, with 1000 records a second
    #[arg(long)]
    pub keep: bool,
    /// Where to work: a new or empty directory [default: a new one below the system's temporary directory]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("rules").required(true).args(["settings", "task"])))]
pub struct Transform {
    /// A directory with mthinkingdata:metadata.N.json and mthinkingdata:filter.N.json
    #[arg(long, value_name = "DIR", requires = "app_id")]
    pub settings: Option<PathBuf>,
    /// The project number, N in the names of the settings files
    #[arg(long, value_name = "N", requires = "settings")]
    pub app_id: Option<u64>,
    /// The zone of #time, a fixed offset from UTC
    #[arg(long, value_name = "±HH:MM", default_value = "+08:00", value_parser = parse_timezone,
          allow_hyphen_values = true, conflicts_with = "task")]
    pub timezone: i32,
    /// Take settings and options from a task of a configuration file instead
    #[arg(long, value_name = "TASK", conflicts_with_all = ["settings", "app_id"])]
    pub task: Option<String>,
    /// The configuration file of --task
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG, requires = "task",
          conflicts_with_all = ["settings", "app_id"])]
    pub config: PathBuf,
    /// Lays the file's overlay for this environment over it: conf/logmill.ENV.toml over conf/logmill.toml
    #[arg(long, value_name = "ENV", requires = "task")]
    pub env: Option<String>,
    /// How records come in, and what is printed for each
    #[arg(long, value_enum, default_value_t = Format::Raw)]
    pub format: Format,
}

/// The formats of `transform`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A value a line in; lines out. What became no line, and all counters at the end, go to stderr
    Raw,
    /// A record a line in, with its place in Kafka; one object for each out, in the same order
    Json,
}

#[derive(Debug, Args)]
pub struct Check {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    pub config: PathBuf,
    /// Lays the file's overlay for this environment over it: conf/logmill.ENV.toml over conf/logmill.toml
    #[arg(long, value_name = "ENV")]
    pub env: Option<String>,
    /// Asks the brokers too: does each cluster answer, is each topic there?
    #[arg(long)]
    pub online: bool,
}

#[derive(Debug, Subcommand)]
pub enum Config {
    /// Prints the value that holds for every key, with its unit and where it comes from
    ///
    /// The file, the overlay, variables and defaults are laid over one another as `run` does it. What is printed is a
    /// configuration again; what came through ${NAME} and properties that are secret are not shown. Exit code 1: the
    /// configuration has problems, which are printed instead.
    #[command(after_help = "Example: logmill config show --task game_24")]
    Show(ConfigShow),
    /// Prints the reference of all keys, as Markdown
    Reference,
}

#[derive(Debug, Args)]
pub struct ConfigShow {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    pub config: PathBuf,
    /// Lays the file's overlay for this environment over it: conf/logmill.ENV.toml over conf/logmill.toml
    #[arg(long, value_name = "ENV")]
    pub env: Option<String>,
    /// Only what holds for this task
    #[arg(long, value_name = "TASK")]
    pub task: Option<String>,
    /// One JSON object: numbers in their units, durations in milliseconds, sizes in bytes
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Completions {
    #[arg(value_name = "SHELL")]
    pub shell: Shell,
}

#[derive(Debug, Args)]
pub struct Man {
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
}

#[derive(Debug, Args)]
pub struct CheckLedger {
    pub dir: PathBuf,
}

#[derive(Debug, Args)]
pub struct Verify {
    /// Where the task's files are, if not in its own directory
    #[arg(value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    pub config: PathBuf,
    /// Lays the file's overlay for this environment over it: conf/logmill.ENV.toml over conf/logmill.toml
    #[arg(long, value_name = "ENV")]
    pub env: Option<String>,
    /// The task of the configuration file
    #[arg(long, value_name = "TASK")]
    pub task: String,
}

impl Cli {
    /// What was typed; the process ends with exit code 2 where it is wrong.
    pub fn typed() -> Cli {
        match modern(std::env::args_os().collect()) {
            Ok(words) => Cli::parse_from(words),
            Err(usage) => Cli::command().error(ErrorKind::WrongNumberOfValues, usage).exit(),
        }
    }
}

/// The old forms in the words of today: `start_not_daemon [ENV TASK]`, `--start|--restart|--update|--stop ENV TASK`.
fn modern(typed: Vec<OsString>) -> Result<Vec<OsString>, String> {
    let old = typed.get(1).and_then(|word| word.to_str()).unwrap_or_default();
    let command = match old {
        "start_not_daemon" => "run",
        "--start" => "start",
        "--restart" => "restart",
        "--update" => "reload",
        "--stop" => "stop",
        _ => return Ok(typed),
    };
    let words = |rest: &[&OsStr]| [&typed[0], OsStr::new(command)].iter().chain(rest).map(OsString::from).collect();
    match &typed[2..] {
        [] if command == "run" => Ok(words(&[])),
        [env, task] => Ok(words(&[OsStr::new("--env"), env, OsStr::new("--task"), task])),
        _ => Err(format!("{old} takes two words, ENV and TASK; today's form is: logmill {command} --env ENV")),
    }
}

/// Where the rules of a dry run come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rules {
    Settings { dir: PathBuf, app_id: u64, timezone_s: i32 },
    Task { config: PathBuf, env: Option<String>, task: String },
}

impl Transform {
    /// `None` cannot come from [`Cli`], which demands one of the two.
    pub fn rules(&self) -> Option<Rules> {
        if let Some(task) = &self.task {
            return Some(Rules::Task { config: self.config.clone(), env: self.env.clone(), task: task.clone() });
        }
        let (dir, app_id) = (self.settings.clone()?, self.app_id?);
        Some(Rules::Settings { dir, app_id, timezone_s: self.timezone })
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn rules(typed: &str) -> Result<Rules, String> {
        let words = ["logmill", "transform"].into_iter().chain(typed.split_whitespace());
        match Cli::try_parse_from(words).map_err(|e| e.to_string())?.command {
            Command::Transform(transform) => Ok(transform.rules().expect("one of the two is demanded")),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn run_has_a_default_file() {
        let Command::Run(run) = Cli::parse_from(["logmill", "run", "--exit-at-end"]).command else { panic!() };
        assert_eq!((run.config, run.exit_at_end), (PathBuf::from("conf/logmill.toml"), true));
    }

    #[test]
    fn transform_takes_settings_or_a_task() {
        let dir = PathBuf::from("s");
        assert_eq!(
            rules("--settings s --app-id 24 --timezone -05:30"),
            Ok(Rules::Settings { dir: dir.clone(), app_id: 24, timezone_s: -19_800 })
        );
        assert_eq!(rules("--settings s --app-id 24"), Ok(Rules::Settings { dir, app_id: 24, timezone_s: 28_800 }));
        let task = Rules::Task { config: "c.toml".into(), env: None, task: "game_24".into() };
        assert_eq!(rules("--config c.toml --task game_24"), Ok(task));
        for refused in [
            "",
            "--settings s",
            "--app-id 24",
            "--config c.toml",
            "--settings s --app-id 24 --task t",
            "--settings s --app-id 24 --config c.toml",
            "--task t --timezone +08:00",
            "--settings s --app-id x",
        ] {
            assert!(rules(refused).is_err(), "{refused}");
        }
        assert!(rules("--settings s --app-id 24 --timezone 8").is_err_and(|e| e.contains("+08:00")));
    }
}
