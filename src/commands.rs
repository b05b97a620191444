//! What each command of `logmill` does: typed arguments come in, a text for the operator goes out where it fails.

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use crate::conf::config::Config;
use crate::conf::{self, Loaded, Severity};
use crate::daemon::{self, Verb};
use crate::engine::{Engine, Mode};
use crate::flow::cluster::Cluster;
use crate::sys::notify;
use crate::tail::{Entry, alone};
use crate::watch::{self, Code, Watch};
use crate::{clerk, cli, demo, dry_run, reach, verify};

/// # Errors
/// What kept it from starting, or from ending in order; the supervisor, if there is one, hears of it too.
pub fn run(typed: &cli::Run) -> Result<(), String> {
    let result = run_supervised(typed);
    if let (Some(_), Err(text)) = (typed.supervised, &result) {
        // The supervisor may be gone, which is no failure of ours.
        let _ = writeln!(io::stdout(), "{text}");
    }
    result
}

fn run_supervised(typed: &cli::Run) -> Result<(), String> {
    typed.supervised.map_or(Ok(()), daemon::stop_with)?;
    let mode = Mode {
        exit_at_end: typed.exit_at_end,
        progress: typed.exit_at_end && io::stderr().is_terminal(),
        ..Mode::default()
    };
    let loaded = load(&typed.config, typed.env.as_deref())?;
    daemon::has_task(&loaded, typed.old.task.as_deref())?;
    let process = loaded.config.process.clone();
    let (config, env) = (typed.config.clone(), typed.env.clone());
    let again = Box::new(move || conf::load(&config, env.as_deref()));
    let watch = Watch::begin(&process, typed.supervised.is_some()).map_err(|e| format!("error: {e}"))?;
    let failed = |e: String| watch.last_words(Code::S01_NOT_READY, format!("error: {e}"));
    let engine = Engine::start(loaded, again, mode).map_err(|e| failed(e.to_string()))?;
    let door = clerk::open(&process, engine.remote()).map_err(|e| failed(e.to_string()))?;
    let watcher = watch.look(engine.remote()).map_err(|e| format!("error: {e}"))?;
    // What was said so far is written before anybody hears that it is ready.
    log::logger().flush();
    notify::ready();
    if typed.supervised.is_some() {
        let _ = writeln!(io::stdout(), "{}{}", daemon::READY, std::process::id());
    }
    let summary = engine.run().map_err(|e| watcher.last_words(Code::S08_DIED, format!("error: {e}")))?;
    drop(door);
    watcher.end();
    let _ = write!(io::stdout(), "{summary}");
    if typed.exit_at_end && !summary.is_whole() {
        return Err("error: not everything could be read to its end".into());
    }
    Ok(())
}

/// As a daemon; in the daemon itself it does not return.
pub fn daemon(verb: Verb, typed: cli::Daemon) -> ExitCode {
    let call = daemon::Call { verb, config: typed.config, env: typed.env, task: typed.old.task };
    daemon::answer(&call, load, watch::log_to_stderr)
}

fn load(config: &Path, env: Option<&str>) -> Result<Loaded, String> {
    let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let loaded = conf::load(config, env).map_err(|problems| {
        let count = if problems.len() == 1 { "1 problem".into() } else { format!("{} problems", problems.len()) };
        let explained = conf::explain_as(Severity::Error, &problems, colour);
        format!("{explained}error: {} is refused: {count}", config.display())
    })?;
    eprint!("{}", conf::explain_as(Severity::Warning, &loaded.warnings, colour));
    Ok(loaded)
}

/// # Errors
/// Every problem of the configuration, or what the brokers lack.
pub fn check(typed: &cli::Check) -> Result<(), String> {
    let loaded = load(&typed.config, typed.env.as_deref())?;
    let tasks = loaded.config.deliver.len() + loaded.config.collect.len();
    say(&format!("{} is good: {tasks} task{}\n", typed.config.display(), if tasks == 1 { "" } else { "s" }));
    match typed.online && !reach::ask(&loaded, &mut io::stdout()).map_err(|e| format!("error: {e}"))? {
        true => Err("error: not everything that the configuration names is there".into()),
        false => Ok(()),
    }
}

/// # Errors
/// The configuration's problems, or a task that there is none of.
pub fn show(typed: &cli::ConfigShow) -> Result<(), String> {
    let loaded = load(&typed.config, typed.env.as_deref())?;
    say(&conf::show(&loaded, typed.task.as_deref(), typed.json)?);
    Ok(())
}

/// To whoever still listens: a pager that was left is no failure.
fn say(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}

/// # Errors
/// The settings' problems, or a line that is no record.
pub fn transform(typed: &cli::Transform) -> Result<(), String> {
    let rules = match typed.rules().ok_or("name --settings or --task")? {
        cli::Rules::Task { config, env, task } => {
            dry_run::Rules::of_task(&load(&config, env.as_deref())?, &task).map_err(|e| e.to_string())
        }
        cli::Rules::Settings { dir, app_id, timezone_s } => {
            dry_run::Rules::of_settings(&dir, app_id, timezone_s).map_err(|problems| conf::explain(&problems))
        }
    }?;
    let format = match typed.format {
        cli::Format::Raw => dry_run::Format::Raw,
        cli::Format::Json => dry_run::Format::Json,
    };
    let (input, out, side) = (io::stdin().lock(), io::stdout().lock(), io::stderr().lock());
    dry_run::run(rules, format, input, out, side).map_err(|e| format!("error: {e}"))
}

/// # Errors
/// The files could not be compared, or are not what the topics say.
pub fn verify(typed: &cli::Verify) -> Result<(), String> {
    let report = verify::run(&load(&typed.config, typed.env.as_deref())?, &typed.task, typed.dir.as_deref());
    let report = report.map_err(|e| format!("error: {e}"))?;
    print!("{report}");
    if report.is_exact() { Ok(()) } else { Err("error: the files are not what the topics say".into()) }
}

/// # Errors
/// What was not sent, and why.
pub fn collect(typed: &cli::Collect) -> Result<(), String> {
    watch::log_to_stderr();
    let cluster = match (&typed.brokers, &typed.config) {
        (_, Some(config)) => {
            let Config { deliver, collect, .. } = load(config, None)?.config;
            let clusters = deliver.into_iter().map(|t| t.cluster).chain(collect.into_iter().map(|t| t.cluster));
            let named = clusters.into_iter().find(|cluster| cluster.name == typed.cluster);
            named.ok_or_else(|| format!("no task of {} uses [cluster.{}]", config.display(), typed.cluster))?
        }
        (brokers, None) => Cluster::of_brokers(brokers.as_deref().unwrap_or_default()),
    };
    let told = |e: alone::AloneError| format!("error: {e}");
    let sent = match (&typed.once, &typed.follow) {
        (Some(words), _) => {
            let [path, topic] = &words[..] else { return Err("--once takes a path and a topic".into()) };
            let sending = alone::Sending { path, topic, key: typed.key.as_deref(), compression: &typed.compression };
            alone::send(cluster, &sending, io::stderr().is_terminal()).map_err(told)?
        }
        (None, words) => {
            let data_dir = typed.data_dir.as_deref().ok_or("--follow needs --data-dir")?;
            let entries = words.chunks_exact(2).map(|w| Entry { path: w[0].clone(), topic: w[1].clone(), key: None });
            alone::follow(typed.settings(cluster, entries.collect()), data_dir).map_err(told)?
        }
    };
    println!("{sent}");
    Ok(())
}

/// # Errors
/// What it could not show.
pub fn demo(typed: cli::Demo) -> Result<(), String> {
    let program = std::env::args().next().unwrap_or_else(|| "logmill".into());
    let settings = demo::Settings { keep: typed.keep, dir: typed.dir, program };
    demo::run(&settings, &mut io::stdout().lock()).map_err(|e| format!("error: {e}"))
}

/// Prints the reference of all keys.
pub fn reference() {
    say(&conf::reference());
}

/// # Errors
/// The script cannot be written.
pub fn completions(typed: &cli::Completions) -> Result<(), String> {
    cli::pages::complete_logmill(typed.shell, &mut io::stdout().lock()).map_err(|e| format!("error: {e}"))
}

/// # Errors
/// The directory cannot be written into.
pub fn man(typed: &cli::Man) -> Result<(), String> {
    cli::pages::write_man(&typed.dir).map_err(|e| format!("error: {}: {e}", typed.dir.display()))
}
