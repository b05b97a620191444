//! The daemon's first process: starts the worker, starts it again when it dies, hands signals on, and ends with it.
//!
//! The worker says on its stdout that it is ready, or why it cannot be; what it says there at its end goes to the log.

use std::io::{self, BufRead, BufReader, PipeWriter, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::pid_file::PidFile;
use super::{STOP_MORE, Settings};
use crate::flow::backoff::Backoff;
use crate::sys::signal::{self, Signal};
use crate::sys::{process, thread};
use crate::watch::{self, Alert, Code};

/// The worker's word that its tasks run.
pub const READY: &str = "ready ";
/// The last word of a daemon that did all it had to.
pub const IN_ORDER: &str = "stopped in order";
/// What a worker is told about its supervisor.
const SUPERVISED: &str = "--supervised";
/// Events that may wait for the supervisor.
const EVENTS_MAX: usize = 64;
/// Bytes of a worker's words that are kept.
const WORDS_MAX: u64 = 64 << 10;
/// Deaths in a row after which a worker is given up: enough to park three deadly records, each after its third death.
const DEATHS_MAX: u32 = 10;
/// Deaths that follow each other closely are one alert.
const ALERT_EVERY: Duration = Duration::from_secs(60);
/// Longest wait for the last words of a worker that is dead.
const LAST_WORDS: Duration = Duration::from_secs(1);

enum Event {
    Signal(Signal),
    /// The worker is at work.
    Ready,
    /// All that the worker of this number said, but that it is ready.
    Words(u32, String),
    /// It has ended and can be asked for its status.
    Ended,
}

/// How one worker ended.
struct End {
    status: ExitStatus,
    words: String,
    /// At work; `None`: it never was ready.
    well: Option<Duration>,
}

struct Supervisor<'s> {
    settings: &'s Settings,
    /// Until the first worker is ready.
    front: Option<PipeWriter>,
    events: Receiver<Event>,
    sender: Sender<Event>,
    /// Since it was told to stop.
    stopping: Option<Instant>,
    /// When the last death was told as an alert.
    told: Option<Instant>,
}

/// Runs until the worker is to run no longer; the exit code.
pub fn run(settings: &Settings, pid_file: PidFile, front: PipeWriter) -> i32 {
    let (sender, events) = bounded(EVENTS_MAX);
    let mut supervisor = Supervisor { settings, front: Some(front), events, sender, stopping: None, told: None };
    let began = pid_file.sign().and_then(|()| supervisor.watch_signals());
    let result = began.map_err(|e| format!("error: cannot supervise: {e}")).and_then(|()| supervisor.lead());
    let (code, word, remove) = match &result {
        Ok(()) => (0, IN_ORDER, true),
        Err(words) => {
            log::error!("ends: {words}");
            // One that was never ready, or was told to stop, is no dead daemon.
            (1, words.as_str(), supervisor.front.is_some() || supervisor.stopping.is_some())
        }
    };
    pid_file.end(word, remove);
    if let Some(mut front) = supervisor.front.take() {
        let word = if code == 0 { "error: it was stopped before it was ready" } else { word };
        // Who started us may have gone.
        let _ = front.write_all(word.as_bytes());
    }
    code
}

/// Has this process, a worker, stop in order when its supervisor dies.
///
/// # Errors
/// It is dead already.
pub fn stop_with(supervisor: u32) -> Result<(), String> {
    if process::stop_with_parent(supervisor) {
        return Ok(());
    }
    Err(format!("error: {SUPERVISED} {supervisor}: that is not the process that started this one"))
}

impl Supervisor<'_> {
    fn watch_signals(&self) -> io::Result<()> {
        let (stream, events) = (signal::Stream::open()?, self.sender.clone());
        let body = move || stream.map(Event::Signal).try_for_each(|event| events.send(event)).unwrap_or(());
        thread::spawn("signals", None, body).map(drop)
    }

    /// From worker to worker.
    fn lead(&mut self) -> Result<(), String> {
        let mut deaths = Backoff::default();
        loop {
            let end = self.worker().map_err(|e| format!("error: cannot start a worker: {e}"))?;
            let words = end.words.trim();
            if end.status.success() {
                log::info!("the worker has ended in order\n{words}");
                return Ok(());
            }
            let how = if words.is_empty() { end.status.to_string() } else { format!("{}: {words}", end.status) };
            if self.stopping.is_some() {
                // Told before it listened: it had not begun.
                let unbegun = end.well.is_none() && end.status.signal() == Some(libc::SIGTERM);
                return if unbegun { Ok(()) } else { Err(how) };
            }
            // It refused to start, and says so itself.
            if self.front.is_some() && end.status.code().is_some() {
                return Err(words.into());
            }
            let pause = deaths.after(end.well.unwrap_or_default());
            if deaths.in_a_row >= DEATHS_MAX {
                let words = format!("given up: it died {DEATHS_MAX} times in a row, at last so: {how}");
                // The last word: it has to be told before the end.
                self.alert(&words).map(|teller| teller.join());
                return Err(words);
            }
            let nth = deaths.in_a_row;
            let words =
                format!("the worker died, {nth} of at most {DEATHS_MAX} times in a row: {how}; again in {pause:?}");
            log::error!("{words}");
            // One that ended by itself has said so itself.
            if end.status.code().is_none() && self.told.is_none_or(|at| at.elapsed() >= ALERT_EVERY) {
                self.told = Some(Instant::now());
                self.alert(&words);
            }
            if self.pause(pause) {
                return Ok(());
            }
        }
    }

    /// On a thread of its own: a command or a URL may take its time.
    fn alert(&self, words: &str) -> Option<JoinHandle<()>> {
        let (process, alert) = (self.settings.process.clone(), Alert::new(Code::S08_DIED, "", words));
        let tell = move || {
            if let Err(why) = watch::tell(&process, &alert) {
                log::warn!("an alert was not told: {why}; the alert: {}", alert.json());
            }
        };
        thread::spawn("alert", None, tell).inspect_err(|why| log::warn!("an alert was not told: {why}")).ok()
    }

    /// True when it was told to stop meanwhile.
    fn pause(&mut self, pause: Duration) -> bool {
        let until = Instant::now() + pause;
        while let Ok(event) = self.events.recv_deadline(until) {
            if matches!(event, Event::Signal(Signal::Stop)) {
                return true;
            }
        }
        false
    }

    /// The life of one worker.
    fn worker(&mut self) -> io::Result<End> {
        let mut child = self.spawn()?;
        let pid = child.id();
        log::info!("the worker is process {pid}");
        self.listen(&mut child)?;
        let (mut ready, mut words, mut ended, mut killed) = (None, None, None, false);
        while ended.is_none_or(|at: Instant| words.is_none() && at.elapsed() < LAST_WORDS) {
            let limit = if ended.is_some() || killed { LAST_WORDS } else { self.until_kill() };
            match self.events.recv_timeout(limit) {
                Ok(Event::Signal(signal)) => {
                    if signal == Signal::Stop {
                        self.stopping.get_or_insert_with(Instant::now);
                    }
                    if ended.is_none() {
                        process::tell(pid, signal)?;
                    }
                }
                Ok(Event::Ready) => {
                    ready = Some(Instant::now());
                    if let Some(mut front) = self.front.take() {
                        let _ = write!(front, "{READY}{}", std::process::id());
                    }
                }
                Ok(Event::Words(of, said)) if of == pid => words = Some(said),
                // Late words of the one before.
                Ok(Event::Words(..)) => {}
                Ok(Event::Ended) => ended = Some(Instant::now()),
                Err(_) if !killed && ended.is_none() && self.until_kill().is_zero() => {
                    log::error!("the worker does not stop; it is ended, and loses nothing");
                    child.kill()?;
                    killed = true;
                }
                Err(_) => {}
            }
        }
        let status = child.wait()?;
        let well = ready.zip(ended).map(|(ready, ended)| ended.saturating_duration_since(ready));
        Ok(End { status, words: words.unwrap_or_default(), well })
    }

    /// How long a worker that was told to stop may still take; where it was not told, for ever.
    fn until_kill(&self) -> Duration {
        let longest = self.settings.stop_timeout + STOP_MORE;
        self.stopping.map_or(Duration::from_secs(3600), |since| longest.saturating_sub(since.elapsed()))
    }

    fn spawn(&self) -> io::Result<Child> {
        // The running program, whatever has become of its file.
        let mut command = Command::new("/proc/self/exe");
        command.arg0("logmill").args(&self.settings.worker).arg(SUPERVISED).arg(std::process::id().to_string());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()
    }

    /// Threads that hear the worker and see it end.
    fn listen(&self, child: &mut Child) -> io::Result<()> {
        let (events, pid) = (self.sender.clone(), child.id());
        thread::spawn("worker end", None, move || {
            if process::await_end(pid).is_ok() {
                let _ = events.send(Event::Ended);
            }
        })?;
        let Some(stdout) = child.stdout.take() else { return Ok(()) };
        let events = self.sender.clone();
        thread::spawn("worker words", None, move || hear(pid, stdout, &events)).map(drop)
    }
}

/// To the end of the worker's stdout, also where it says more than is kept: it must never wait for us.
fn hear(pid: u32, stdout: ChildStdout, events: &Sender<Event>) {
    let (mut stdout, mut words) = (BufReader::new(stdout), Vec::new());
    let _ = (&mut stdout).take(WORDS_MAX).read_until(b'\n', &mut words);
    if words.starts_with(READY.as_bytes()) {
        let _ = events.send(Event::Ready);
        words.clear();
    }
    let _ = (&mut stdout).take(WORDS_MAX).read_to_end(&mut words);
    let _ = io::copy(&mut stdout, &mut io::sink());
    let _ = events.send(Event::Words(pid, String::from_utf8_lossy(&words).into_owned()));
}
