//! What can be typed: the command line of `logmill` as typed arguments. Nothing is done here.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};

use crate::conf::parse_timezone;

const DEFAULT_CONFIG: &str = "conf/logmill.toml";

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
    /// Shows the whole road on an embedded broker, from records to files, without any set-up
    #[command(after_help = "Example: logmill demo --keep --dir /tmp/logmill-demo")]
    Demo(Demo),
    /// Transforms records from stdin to stdout, one a line, without Kafka: a dry run of the settings
    #[command(after_help = "Examples:\n  \
        logmill transform --settings conf/settings --app-id 24 < records.txt\n  \
        logmill transform --task game_24 --format json < records.txt")]
    Transform(Transform),
    /// Checks the configuration and the settings it names, and prints every problem with its place
    ///
    /// It checks exactly what `run` checks. Exit code 0: `run` would start with it; 1: there are problems.
    #[command(after_help = "Example: logmill check --config conf/logmill.toml")]
    Check(Check),
}

#[derive(Debug, Args)]
pub struct Run {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    pub config: PathBuf,
    /// Stop once everything is delivered that stood in the topics at the start
    #[arg(long)]
    pub exit_at_end: bool,
}

#[derive(Debug, Args)]
pub struct Demo {
    /// Leave the files there afterwards
    #[arg(long)]
    pub keep: bool,
    /// Where to work [default: a new directory below the system's temporary one]
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
    /// What is printed for each record
    #[arg(long, value_enum, default_value_t = Format::Raw)]
    pub format: Format,
}

/// How `transform` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// The line as it would stand in the file; what became no line goes to stderr
    Raw,
    /// One JSON object for each record: the line or the reason, and the remarks
    Json,
}

#[derive(Debug, Args)]
pub struct Check {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    pub config: PathBuf,
}

/// Where the rules of a dry run come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rules {
    Settings { dir: PathBuf, app_id: u64, timezone_s: i32 },
    Task { config: PathBuf, task: String },
}

impl Transform {
    /// `None` cannot come from [`Cli`], which demands one of the two.
    pub fn rules(&self) -> Option<Rules> {
        if let Some(task) = &self.task {
            return Some(Rules::Task { config: self.config.clone(), task: task.clone() });
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
        let task = Rules::Task { config: "c.toml".into(), task: "game_24".into() };
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
