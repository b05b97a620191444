//! The program as a daemon: a front process that starts, stops and asks, a supervisor that lives beside the worker and
//! starts it again when it dies, and the worker, which is `logmill run`.
//!
//! One rule says who lives: the lock on the pid file below `data_dir`, held by the supervisor. The working directory
//! stays what it was, so that relative paths mean the same to all three.

mod pid_file;
mod supervisor;

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::conf::config::{Config, Process};
use crate::conf::{self, Loaded};
use crate::sys::file;
use crate::sys::process::{self, Side};
use crate::sys::signal::Signal;
use pid_file::{Found, Look, PidFile};
pub use supervisor::{READY, stop_with};

/// Below `data_dir`: what supervisor and worker say on stderr.
const LOG: &str = "daemon.log";
/// Bytes after which a start begins a new one; the old one is kept beside it.
const LOG_MAX: u64 = 1 << 20;
/// How often the front looks whether the daemon is gone.
const LOOK: Duration = Duration::from_millis(10);
/// Longest time beyond `stop_timeout` until a worker that was told to stop is ended, and a little more until the
/// supervisor is gone.
const STOP_MORE: Duration = Duration::from_secs(5);
const GONE_MORE: Duration = Duration::from_secs(10);

/// What the front is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    Start,
    Stop,
    Restart,
    Reload,
    Status,
}

/// What was typed.
#[derive(Debug, Clone)]
pub struct Call {
    pub verb: Verb,
    pub config: PathBuf,
    pub env: Option<String>,
    /// In the old forms, one of the tasks.
    pub task: Option<String>,
}

/// Which daemon, and how its worker is started.
struct Settings {
    data_dir: PathBuf,
    stop_timeout: Duration,
    /// Where alerts go.
    process: Process,
    /// What follows `logmill` for the worker; its supervisor is added.
    worker: Vec<OsString>,
}

/// What `status` tells, with LSB's exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Running = 0,
    /// It died, and its pid file is there.
    Dead = 1,
    Stopped = 3,
    Unknown = 4,
}

/// A line for the operator, or why not.
type Told = Result<String, String>;

/// Does what was typed, and says what became of it; in the daemon itself it does not return. `load` reads and checks a
/// configuration for a start.
pub fn answer(
    call: &Call,
    load: impl Fn(&Path, Option<&str>) -> Result<Loaded, String>,
    log_to_stderr: impl FnOnce(),
) -> ExitCode {
    let load = || {
        let loaded = load(&call.config, call.env.as_deref())?;
        has_task(&loaded, call.task.as_deref())?;
        Ok(Settings::new(call, loaded.config.process))
    };
    let find = || {
        let process = conf::process(&call.config, call.env.as_deref()).map_err(|problems| conf::explain(&problems))?;
        Ok(Settings::new(call, process))
    };
    let told = match call.verb {
        Verb::Start => load().and_then(|settings| match status(&settings.data_dir) {
            // Each task of the old service was started by itself.
            (State::Running, words) if call.task.is_some() => Ok(words),
            _ => start(&settings, log_to_stderr),
        }),
        Verb::Restart => load().and_then(|settings| {
            stop(&settings)?;
            start(&settings, log_to_stderr)
        }),
        Verb::Stop => find().and_then(|settings| stop(&settings)),
        Verb::Reload => find().and_then(|settings| reload(&settings)),
        Verb::Status => {
            let (state, words) = match find() {
                Ok(settings) => status(&settings.data_dir),
                Err(problems) => (State::Unknown, problems),
            };
            println!("{words}");
            return ExitCode::from(state as u8);
        }
    };
    match told {
        Ok(words) => {
            println!("{words}");
            ExitCode::SUCCESS
        }
        Err(words) => {
            eprintln!("{words}");
            ExitCode::FAILURE
        }
    }
}

/// The task that an old form names has to be one of the configuration's; all of them run in one process.
///
/// # Errors
/// It is not.
pub fn has_task(loaded: &Loaded, task: Option<&str>) -> Result<(), String> {
    let tasks: Vec<&str> = {
        let Config { deliver, collect, .. } = &loaded.config;
        deliver.iter().map(|task| task.name.as_str()).chain(collect.iter().map(|task| task.name.as_str())).collect()
    };
    match task {
        Some(task) if !tasks.contains(&task) => {
            Err(format!("error: there is no task {task:?} in the configuration; its tasks are {}", tasks.join(", ")))
        }
        _ => Ok(()),
    }
}

impl Settings {
    fn new(call: &Call, process: Process) -> Settings {
        let mut worker: Vec<OsString> = vec!["run".into(), "--config".into(), call.config.clone().into()];
        worker.extend(call.env.iter().flat_map(|env| ["--env".into(), env.into()]));
        Settings { data_dir: process.data_dir.clone(), stop_timeout: process.stop_timeout, process, worker }
    }
}

/// Starts the daemon and waits until it is ready. In the daemon it does not return.
fn start(settings: &Settings, log_to_stderr: impl FnOnce()) -> Told {
    let data_dir = &settings.data_dir;
    let at = |what: &str, path: &Path| {
        let place = format!("{what} {}", path.display());
        move |e: io::Error| format!("error: {place}: {e}")
    };
    file::make_dirs(data_dir, file::PRIVATE_DIR_MODE).map_err(at("cannot make the data directory", data_dir))?;
    let pid_file = PidFile::take(data_dir).map_err(|e| match e.kind() {
        io::ErrorKind::WouldBlock => format!("error: logmill runs already: process {}", first_line(&e.to_string())),
        _ => at("cannot lock the pid file", &data_dir.join(pid_file::NAME))(e),
    })?;
    let path = data_dir.join(LOG);
    let log = open_log(&path).map_err(at("cannot write", &path))?;
    match process::detach(&log).map_err(|e| format!("error: cannot start a process: {e}"))? {
        Side::Daemon(front) => {
            log_to_stderr();
            std::process::exit(supervisor::run(settings, pid_file, front))
        }
        Side::Front(mut daemon) => {
            let mut words = String::new();
            daemon.read_to_string(&mut words).map_err(|e| format!("error: nothing can be heard of it: {e}"))?;
            match words.strip_prefix(READY) {
                Some(pid) => Ok(format!("logmill is started: process {}", pid.trim())),
                None if words.trim().is_empty() => {
                    Err(format!("error: it died before it was ready; {} may say why", path.display()))
                }
                None => Err(words.trim_end().into()),
            }
        }
    }
}

/// Stops the daemon and waits until it is gone.
fn stop(settings: &Settings) -> Told {
    let Some((mut look, pid)) = running(settings)? else {
        return match find(settings)? {
            None => Ok("logmill is not running".into()),
            Some(_) => {
                // Taken, so that no daemon can begin with it in this moment.
                let stale = PidFile::take(&settings.data_dir).map_err(|e| format!("error: the pid file: {e}"))?;
                stale.end("", true);
                Ok("logmill is not running; the pid file of one that died is removed".into())
            }
        };
    };
    process::tell(pid, Signal::Stop).map_err(|e| format!("error: cannot stop process {pid}: {e}"))?;
    let (began, longest) = (Instant::now(), settings.stop_timeout + STOP_MORE + GONE_MORE);
    loop {
        let found = look.find().map_err(unreadable)?;
        match (found.is_held, found.last_word.as_str()) {
            (false, supervisor::IN_ORDER) => return Ok("logmill is stopped".into()),
            (false, "") => return Err(format!("error: process {pid} was killed before it had stopped in order")),
            (false, word) => return Err(format!("error: logmill has ended, not in order: {word}")),
            (true, _) if began.elapsed() > longest => {
                return Err(format!(
                    "error: process {pid} has not ended within {longest:?}; \
                     kill -9 ends it too, and loses nothing: the next start goes on from the rings"
                ));
            }
            (true, _) => std::thread::sleep(LOOK),
        }
    }
}

/// Has the daemon read its configuration again.
fn reload(settings: &Settings) -> Told {
    let Some((_, pid)) = running(settings)? else { return Err("error: logmill is not running".into()) };
    process::tell(pid, Signal::Reload).map_err(|e| format!("error: cannot reach process {pid}: {e}"))?;
    Ok("logmill reads its configuration again; the log says what became of it".into())
}

/// Whether the daemon lives.
fn status(data_dir: &Path) -> (State, String) {
    let found = match Look::open(data_dir).and_then(|look| look.map(|mut look| look.find()).transpose()) {
        Ok(found) => found,
        Err(e) => return (State::Unknown, format!("cannot tell: {}: {e}", data_dir.display())),
    };
    match found {
        Some(Found { is_held: true, pid, .. }) => {
            let number = pid.map_or("?".into(), |pid| pid.to_string());
            (State::Running, format!("logmill is running: process {number}"))
        }
        Some(Found { last_word, .. }) if !last_word.is_empty() => {
            (State::Dead, format!("logmill is dead: {last_word}"))
        }
        Some(_) => (State::Dead, "logmill is dead: it was killed, and left its pid file".into()),
        None => match foreground(data_dir) {
            Some(holder) => (State::Running, format!("logmill is running in the foreground: {holder}")),
            None => (State::Stopped, "logmill is not running".into()),
        },
    }
}

/// The living daemon with its number.
fn running(settings: &Settings) -> Result<Option<(Look, u32)>, String> {
    let look = Look::open(&settings.data_dir).map_err(unreadable)?;
    let is_without_pid_file = look.is_none();
    if let Some(mut look) = look
        && let Found { is_held: true, pid, .. } = look.find().map_err(unreadable)?
    {
        let pid = pid.ok_or("error: the pid file is held by a process that is just starting; try again")?;
        return Ok(Some((look, pid)));
    }
    // Where there is a pid file, it is a worker that ends after its supervisor was killed.
    match foreground(&settings.data_dir).filter(|_| is_without_pid_file) {
        Some(holder) => Err(format!(
            "error: {holder}, is no daemon: it was started with `logmill run`; end it there, \
             by its service manager or with Ctrl-C"
        )),
        None => Ok(None),
    }
}

fn find(settings: &Settings) -> Result<Option<Found>, String> {
    let look = Look::open(&settings.data_dir).map_err(unreadable)?;
    look.map(|mut look| look.find().map_err(unreadable)).transpose()
}

/// Who works on the data directory, if not a daemon.
fn foreground(data_dir: &Path) -> Option<String> {
    let path = data_dir.join("lock");
    let file = File::open(&path).ok()?;
    let is_locked = file::is_locked(&file).ok()?;
    is_locked.then(|| std::fs::read_to_string(&path).unwrap_or_default().trim().to_string())
}

fn unreadable(error: io::Error) -> String {
    format!("error: cannot read the pid file: {error}")
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

fn open_log(path: &Path) -> io::Result<File> {
    if std::fs::metadata(path).is_ok_and(|found| found.len() > LOG_MAX) {
        std::fs::rename(path, path.with_extension("log.old"))?;
    }
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(file::FILE_MODE).custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC);
    options.open(path)
}
