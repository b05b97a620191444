//! Configuration: a path comes in, what is meant goes out, or every problem at once.
//!
//! Two shapes: `written` is the text with its places, [`config`] the checked meaning; [`load`] is the one way from
//! the first to the second, for start, check and reload alike. [`schema`] is the table of all keys.

mod check;
mod collecting;
pub mod config;
mod effective;
mod environment;
mod expand;
mod explain;
mod kind;
mod look;
mod place;
mod reference;
pub mod schema;
mod show;
mod units;
mod value;
mod written;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use effective::Effective;
pub use explain::{Severity, explain, explain_as};
pub use reference::reference;
pub use show::show;
pub use units::{parse_duration, parse_start, parse_timezone};

use crate::flow::problem::Problem;
use crate::tail::Entry;
use crate::transform::Program;
use config::{Config, Process, Transform};
use place::Source;
use written::Written;

/// Bytes of one configuration file.
const FILE_MAX_BYTES: u64 = 1 << 20;

/// A configuration that may be started, with the compiled settings of its tasks.
pub struct Loaded {
    pub config: Config,
    /// By task name; a task with `transform = "none"` has none.
    pub programs: BTreeMap<String, Arc<Program>>,
    /// By task name: what each collect task follows by its keys and its list file.
    pub lists: BTreeMap<String, Vec<Entry>>,
    /// What is legal and yet hardly meant.
    pub warnings: Vec<Problem>,
    /// The files and directories that were read: what to watch for a change.
    pub sources: Vec<PathBuf>,
    /// What [`show()`] shows.
    written: Written,
}

/// Reads and checks a configuration: the file, over it the overlay `NAME.ENV.toml` beside it where `env` is given, over
/// both the `LOGMILL_…` variables of the process; and the settings and list files of its tasks. Relative paths in it
/// begin at the working directory of the process.
///
/// # Errors
/// Every problem of every file, in the order of their places. Where a file cannot be read or is no TOML, nothing more
/// is checked.
pub fn load(path: &Path, env: Option<&str>) -> Result<Loaded, Vec<Problem>> {
    let (mut problems, mut warnings) = (Vec::new(), Vec::new());
    let Some((written, files)) = layers(path, env, &mut problems, &mut warnings) else { return Err(problems) };
    let config = check::check(&written, &mut problems, &mut warnings);
    if config.deliver.is_empty() && config.collect.is_empty() && problems.is_empty() {
        let help = "write a section [deliver.NAME] or [collect.NAME]; the delivered conf/logmill.toml shows one";
        problems.push(Source::new(path, "").whole().problem("there is no task in this file", help));
    }
    let programs = load_programs(&config, &mut problems);
    let lists = collecting::load_lists(&written, &config, &mut problems);
    warnings.extend(programs.values().flat_map(|program| program.warnings.iter().cloned()));
    warnings.dedup();
    if problems.is_empty() {
        let sources = sources(files, &config);
        return Ok(Loaded { config, programs, lists, warnings, sources, written });
    }
    problems.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
    // Tasks may share settings files, whose problems then come once for each task.
    problems.dedup();
    Err(problems)
}

/// What `[process]` says, whatever is wrong with the tasks: enough to find a running program.
///
/// # Errors
/// A file cannot be read or is no TOML, or a value of that section is wrong.
pub fn process(path: &Path, env: Option<&str>) -> Result<Process, Vec<Problem>> {
    let (mut problems, mut warnings) = (Vec::new(), Vec::new());
    match layers(path, env, &mut problems, &mut warnings) {
        Some((written, _)) if written.process.is_sound() => {
            Ok(check::check(&written, &mut problems, &mut warnings).process)
        }
        _ => Err(problems),
    }
}

/// What is meant, without the settings and list files of the tasks.
///
/// # Errors
/// As [`load`].
pub fn load_config(path: &Path, env: Option<&str>) -> Result<Config, Vec<Problem>> {
    let (mut problems, mut warnings) = (Vec::new(), Vec::new());
    let config = layers(path, env, &mut problems, &mut warnings)
        .map(|(written, _)| check::check(&written, &mut problems, &mut warnings));
    config.filter(|_| problems.is_empty()).ok_or(problems)
}

/// All that was written, one layer over the other, and the files that were read. `None`: a file cannot be read or is no
/// TOML.
fn layers(
    path: &Path,
    env: Option<&str>,
    problems: &mut Vec<Problem>,
    warnings: &mut Vec<Problem>,
) -> Option<(Written, Vec<PathBuf>)> {
    let mut files = vec![path.to_path_buf()];
    if let Some(env) = env {
        files.push(overlay(path, env).map_err(|problem| problems.push(problem)).ok()?);
    }
    // Each of them, so that all problems are found.
    let parsed: Vec<_> = files.iter().map(|file| parse(file, problems, warnings)).collect();
    let mut written = parsed.into_iter().collect::<Option<Vec<_>>>()?.into_iter().reduce(|mut below, above| {
        below.lay_over(above);
        below
    })?;
    environment::lay_over(&mut written, problems, warnings);
    Some((written, files))
}

/// `conf/logmill.toml` and `local` give `conf/logmill.local.toml`, which has to be there.
fn overlay(path: &Path, env: &str) -> Result<PathBuf, Problem> {
    let whole = |file: &Path| Source::new(file, "").whole();
    if !value::is_name(env) {
        let help = format!("write 1 to {} letters, digits, _ and - behind --env", value::NAME_MAX);
        return Err(whole(path).problem(format!("{env:?} is no legal name of an environment"), help));
    }
    let file = path.with_extension(format!("{env}.toml"));
    match file.is_file() {
        true => Ok(file),
        false => Err(whole(&file).problem(
            format!("the overlay of --env {env} is not there"),
            "write that file, which holds the keys that differ, or leave --env out",
        )),
    }
}

/// `None`: the file cannot be read or is no TOML, and that was reported.
fn parse(file: &Path, problems: &mut Vec<Problem>, warnings: &mut Vec<Problem>) -> Option<Written> {
    let text = read_text(file).map_err(|problem| problems.push(problem)).ok()?;
    written::parse(&Source::new(file, &text), problems, warnings)
}

fn load_programs(config: &Config, problems: &mut Vec<Problem>) -> BTreeMap<String, Arc<Program>> {
    let mut programs = BTreeMap::new();
    for task in config.deliver.iter().filter(|task| task.transform == Transform::Te) {
        // A missing directory or list is a problem of the configuration and was reported there.
        if task.app_ids.is_empty() || !task.settings_dir.is_dir() {
            continue;
        }
        match Program::load(&task.settings_dir, &task.app_ids) {
            Ok(program) => _ = programs.insert(task.name.clone(), Arc::new(program)),
            Err(found) => problems.extend(found),
        }
    }
    programs
}

fn sources(files: Vec<PathBuf>, config: &Config) -> Vec<PathBuf> {
    let tasks = config.deliver.iter().filter(|task| task.transform == Transform::Te);
    let mut sources = files;
    sources.extend(tasks.map(|task| task.settings_dir.clone()));
    sources.extend(config.collect.iter().filter_map(|task| task.entries.clone()));
    sources.sort();
    sources.dedup();
    sources
}

/// The text of a file without its byte order mark.
fn read_text(path: &Path) -> Result<String, Problem> {
    let source = Source::new(path, "");
    let problem = |message: String, help: &str| source.whole().problem(message, help);
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(FILE_MAX_BYTES + 1).read_to_end(&mut bytes));
    if let Err(error) = read {
        return Err(problem(format!("cannot be read: {error}"), "name the configuration file with --config FILE"));
    }
    if bytes.len() as u64 > FILE_MAX_BYTES {
        return Err(problem("is larger than 1 MiB".into(), "is this the configuration file?"));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let text = String::from_utf8_lossy(&error.as_bytes()[..valid]);
        Source::new(path, &text).place(valid).problem("is no UTF-8 text from here on", "save the file as UTF-8")
    })?;
    Ok(match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_string(),
        None => text,
    })
}
