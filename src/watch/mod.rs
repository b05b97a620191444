//! Watching: the log, alerts, and numbers for whoever asks. All of it looks at the road through gauges, on threads of
//! its own; nothing here can stop or slow a record.

mod alert;
mod http;
mod log;
mod log_file;
mod metrics;
mod report;
mod round;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use ::log::LevelFilter;
use crossbeam_channel::{Sender, bounded};

pub use alert::{Alert, Code, Level};
pub use log::{Log, Settings as LogSettings, log_to_stderr};
use log_file::LogFile;
use report::{Reporter, To};
use round::{Findings, Limits, Round};

use crate::conf::config::{LogRotate, Process};
use crate::engine::Remote;
use crate::sys::thread;

/// The log and the way of alerts; with [`Watch::look`] the watcher and the numbers too.
pub struct Watch {
    mouth: Mouth,
    server: Option<http::Server>,
    limits: Limits,
}

/// A running watcher.
pub struct Watcher {
    mouth: Mouth,
    /// The watcher ends when this is dropped.
    end: Sender<()>,
    thread: JoinHandle<()>,
}

/// Says what cannot wait for the watcher.
#[derive(Clone)]
struct Mouth {
    log: Log,
    to: Option<To>,
    reporter: Option<Reporter>,
    report_level: LevelFilter,
    /// The log is not what somebody in front of the terminal sees.
    to_file: bool,
}

impl Watch {
    /// From now on the log goes where it belongs, and a thread that dies says so there; as an alert, unless there is
    /// a supervisor, which does that.
    ///
    /// # Errors
    /// The log file or `metrics_listen` cannot be used.
    pub fn begin(process: &Process, supervised: bool) -> Result<Watch, String> {
        let to = process.report_to.as_deref().map(To::new);
        let server = process.metrics_listen.as_deref().map(http::Server::bind).transpose()?;
        let log = Log::begin(&LogSettings { log: process.log.clone(), stack_level: process.stack_level })?;
        let reporter =
            to.clone().map(Reporter::start).transpose().map_err(|e| format!("cannot start report_to: {e}"))?;
        let limits = Limits {
            lag: process.lag_alert,
            lag_grows_for: process.lag_alert_for,
            max_batch_time: process.max_batch_time,
            report_level: process.report_level,
        };
        let (report_level, to_file) = (process.report_level, process.log.file.is_some());
        let mouth = Mouth { log, to, reporter, report_level, to_file };
        log_panics(&mouth, supervised);
        Ok(Watch { mouth, server, limits })
    }

    /// Looks at a running engine from now on.
    ///
    /// # Errors
    /// The kernel has no room for a thread.
    pub fn look(self, remote: Remote) -> Result<Watcher, String> {
        let failed = |e| format!("cannot start the watcher: {e}");
        let (end, ended) = bounded(0);
        let findings = Arc::new(Findings::default());
        if let Some(server) = self.server {
            let sight = metrics::Sight {
                remote: remote.clone(),
                findings: findings.clone(),
                log: self.mouth.log.clone(),
                reporter: self.mouth.reporter.clone(),
            };
            server.serve(sight).map_err(failed)?;
        }
        let round = Round::new(remote, self.limits, self.mouth.log.clone(), self.mouth.reporter.clone(), findings);
        let thread = thread::spawn("watch", None, move || round.run(&ended)).map_err(failed)?;
        Ok(Watcher { mouth: self.mouth, end, thread })
    }

    /// Says why the process ends, and gives the words back.
    pub fn last_words(&self, code: Code, words: String) -> String {
        self.mouth.last_words(code, words)
    }
}

/// For a process that looks after this one and has no log of its own: says one thing, in the log and to whom it is
/// reported, and waits until that is done.
///
/// # Errors
/// Where it could not be said.
pub fn tell(process: &Process, alert: &Alert) -> Result<(), String> {
    let json = alert.json();
    let told = match process.report_to.as_deref().filter(|_| alert.code.passes(process.report_level)) {
        Some(to) => To::new(to).tell(&json),
        None => Ok(()),
    };
    let Some(path) = &process.log.file else {
        eprintln!("{json}");
        return told;
    };
    // The process that is looked after rotates.
    let logged =
        LogFile::open(path, LogRotate::Never, 1).and_then(|mut file| file.write(format!("{json}\n").as_bytes()));
    told.and(logged.map_err(|e| format!("cannot write {}: {e}", path.display())))
}

impl Watcher {
    /// Says why the process ends, and gives the words back.
    pub fn last_words(&self, code: Code, words: String) -> String {
        self.mouth.last_words(code, words)
    }

    /// The road has ended; afterwards all of the log is written.
    pub fn end(self) {
        drop(self.end);
        let _ = self.thread.join();
        ::log::logger().flush();
    }
}

impl Mouth {
    fn say(&self, alert: &Alert) {
        let json = alert.json();
        self.log.line(json.clone());
        if let Some(to) = self.to.as_ref().filter(|_| alert.code.passes(self.report_level))
            && let Err(why) = to.tell(&json)
        {
            ::log::warn!("an alert was not reported: {why}; the alert: {json}");
        }
        ::log::logger().flush();
    }

    fn last_words(&self, code: Code, words: String) -> String {
        if self.to_file {
            ::log::error!("{words}");
        }
        self.say(&Alert::new(code, "", words.trim_start_matches("error: ")));
        words
    }
}

/// A thread of this process dies.
static DYING: AtomicBool = AtomicBool::new(false);

/// A thread that dies takes the process with it; before that, the log gets its last words.
fn log_panics(mouth: &Mouth, supervised: bool) {
    let (report, mouth) = (std::panic::take_hook(), mouth.clone());
    std::panic::set_hook(Box::new(move |panic| {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("?").to_string();
        let words = format!("thread {name} dies: {panic}");
        if mouth.to_file {
            ::log::error!("{words}");
        }
        if thread::is_contained() {
            return report(panic);
        }
        // Others die of the same.
        if !supervised && !DYING.swap(true, Ordering::Relaxed) {
            let json = Alert::new(Code::S08_DIED, "", words).json();
            mouth.log.line(json.clone());
            if let Some(reporter) = mouth.reporter.as_ref().filter(|_| Code::S08_DIED.passes(mouth.report_level)) {
                reporter.offer(json);
                reporter.settle();
            }
        }
        ::log::logger().flush();
        report(panic);
    }));
}
