//! The program `logmill`: arguments, one match, an exit code. 0 done, 1 refused or failed, 2 usage.

use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use logmill::cli::{Cli, Command};
use logmill::conf::{self, Loaded};
use logmill::engine::{Engine, Mode};
use logmill::sys::{file, thread};

fn main() -> ExitCode {
    thread::abort_on_panic();
    file::set_umask();
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("info"))
        .format_timestamp_millis()
        .init();
    let result = match Cli::parse().command {
        Command::Run(run) => self::run(&run.config, run.exit_at_end),
        Command::Check(check) => self::check(&check.config),
        Command::Transform(_) | Command::Demo(_) => Err("not yet".into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            eprintln!("{text}");
            // At once: what threads still do is theirs to finish at the next start.
            std::process::exit(1);
        }
    }
}

fn load(config: &Path) -> Result<Loaded, String> {
    let loaded = conf::load(config).map_err(|problems| conf::explain(&problems))?;
    if !loaded.warnings.is_empty() {
        eprintln!("{}", conf::explain(&loaded.warnings));
    }
    Ok(loaded)
}

fn run(config: &Path, exit_at_end: bool) -> Result<(), String> {
    let mode = Mode { exit_at_end, progress: exit_at_end && std::io::stderr().is_terminal() };
    let engine = Engine::start(&load(config)?, mode).map_err(|e| format!("error: {e}"))?;
    let summary = engine.run().map_err(|e| format!("error: {e}"))?;
    print!("{summary}");
    if summary.is_whole() { Ok(()) } else { Err("error: not all partitions could be read to their end".into()) }
}

fn check(config: &Path) -> Result<(), String> {
    let tasks = load(config)?.config.deliver.len();
    println!("{} is good: {tasks} task{}", config.display(), if tasks == 1 { "" } else { "s" });
    Ok(())
}
