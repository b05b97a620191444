//! Reports: alerts on their way to a person, through a command or a URL. Nobody waits for that way.

use std::io::{self, Write};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::sys::{process, thread};

/// Reports that may wait.
const WAITING_MAX: usize = 64;
/// Reports in a minute; more would not be read.
const PER_MINUTE: usize = 30;
const MINUTE: Duration = Duration::from_secs(60);
/// Longest time for one report.
const ONE: Duration = Duration::from_secs(10);
/// Longest wait of a process that dies.
const SETTLE: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(20);

/// Whom to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum To {
    /// For the shell; reads the JSON object from its stdin.
    Command(String),
    /// Gets the JSON object by POST.
    Url(String),
}

impl To {
    pub fn new(text: &str) -> To {
        let is_url = text.starts_with("http://") || text.starts_with("https://");
        if is_url { To::Url(text.into()) } else { To::Command(text.into()) }
    }

    /// Tells, and waits until that is done.
    ///
    /// # Errors
    /// Why nobody was told.
    pub fn tell(&self, json: &str) -> Result<(), String> {
        match self {
            To::Command(command) => run(command, json).map_err(|e| e.to_string()),
            To::Url(url) => post(url, json),
        }
    }
}

/// The way to the thread that tells.
#[derive(Clone)]
pub struct Reporter {
    queue: Sender<String>,
    lost: Arc<AtomicU64>,
    /// Offered, neither told nor lost yet.
    waiting: Arc<AtomicU64>,
}

impl Reporter {
    /// # Errors
    /// The kernel has no room for a thread.
    pub fn start(to: To) -> io::Result<Reporter> {
        let (queue, waiting) = bounded(WAITING_MAX);
        let lost = Arc::new(AtomicU64::new(0));
        let reporter = Reporter { queue, lost, waiting: Arc::default() };
        let own = reporter.clone();
        thread::spawn("report", None, move || own.tell_all(&to, &waiting))?;
        Ok(reporter)
    }

    /// Never waits: what has no room is counted.
    pub fn offer(&self, json: String) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        if self.queue.try_send(json).is_err() {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits a little while for what is still to be told.
    pub fn settle(&self) {
        let began = Instant::now();
        while self.waiting.load(Ordering::Relaxed) > 0 && began.elapsed() < SETTLE {
            std::thread::sleep(LOOK);
        }
    }

    /// Reports that nobody got.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    fn tell_all(&self, to: &To, waiting: &Receiver<String>) {
        let mut told: Vec<Instant> = Vec::new();
        for json in waiting {
            told.retain(|at| at.elapsed() < MINUTE);
            let result = if told.len() < PER_MINUTE {
                told.push(Instant::now());
                to.tell(&json)
            } else {
                Err("too many in one minute".into())
            };
            if let Err(why) = result {
                let all = self.lost.fetch_add(1, Ordering::Relaxed) + 1;
                log::warn!("an alert was not reported: {why}; {all} since the start; the alert: {json}");
            }
            self.waiting.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

fn run(command: &str, json: &str) -> io::Result<()> {
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(command).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = process::spawn_group(&mut shell)?;
    if let Some(mut stdin) = child.stdin.take() {
        // Small enough for a pipe; who does not read it need not.
        let _ = writeln!(stdin, "{json}");
    }
    end_of(&mut child)
}

fn end_of(child: &mut Child) -> io::Result<()> {
    let began = Instant::now();
    while began.elapsed() < ONE {
        if let Some(status) = child.try_wait()? {
            return if status.success() {
                Ok(())
            } else {
                Err(io::Error::other(format!("report_to ended with {status}")))
            };
        }
        std::thread::sleep(LOOK);
    }
    process::kill_group(child);
    child.wait()?;
    Err(io::Error::other(format!("report_to took longer than {ONE:?}")))
}

fn post(url: &str, json: &str) -> Result<(), String> {
    let config = ureq::Agent::config_builder().timeout_global(Some(ONE)).build();
    let request = ureq::Agent::new_with_config(config).post(url).header("content-type", "application/json");
    request.send(json).map(drop).map_err(|e| e.to_string())
}
