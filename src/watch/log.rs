//! The log: what the program says, as lines on stderr or in a file.
//!
//! Whoever logs only puts a line into a bounded queue; a thread of its own writes. A disk or terminal that is slow,
//! full or gone costs lines, which are counted and said, and never the road's time.

use std::backtrace::Backtrace;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use log::{LevelFilter, Metadata, Record};

use super::log_file::LogFile;
use crate::conf::config;
use crate::flow::clock;
use crate::sys::thread;

/// Lines that may wait to be written.
const LINES_MAX: usize = 4096;
/// Bytes that are written in one go.
const WRITE_BYTES: usize = 64 << 10;
const TOO_SLOW: &str = "they came faster than they could be written";
/// Longest wait for the queue to run empty, at the end of the process.
const FLUSH: Duration = Duration::from_secs(1);

/// How the log is kept.
#[derive(Debug, Clone)]
pub struct Settings {
    pub log: config::Log,
    /// Messages of this level and above get a stack.
    pub stack_level: LevelFilter,
}

/// The way into the log. Clones share the queue.
#[derive(Clone)]
pub struct Log {
    queue: Sender<Message>,
    /// Lines that nobody will read.
    lost: Arc<AtomicU64>,
    filter: Arc<env_logger::Logger>,
    stack_level: LevelFilter,
}

enum Message {
    Line(String),
    /// The frames get their names where that takes nobody's time.
    WithStack(String, Box<Backtrace>),
    /// Answered when all before it is written.
    Flush(Sender<()>),
}

impl Log {
    /// Takes over what the `log` macros say. `RUST_LOG` goes before the level of the settings.
    ///
    /// # Errors
    /// The log file cannot be opened; there is a log already.
    pub fn begin(settings: &Settings) -> Result<Log, String> {
        let env = env_logger::Env::default().default_filter_or(settings.log.level.as_str());
        let filter = Arc::new(env_logger::Builder::from_env(env).build());
        let out = match &settings.log.file {
            None => Out::Stderr,
            Some(path) => {
                let file = LogFile::open(path, settings.log.rotate, settings.log.keep);
                Out::File(file.map_err(|e| format!("cannot open the log file {} (log_file): {e}", path.display()))?)
            }
        };
        let (queue, messages) = bounded(LINES_MAX);
        let lost = Arc::new(AtomicU64::new(0));
        let log = Log { queue, lost: lost.clone(), filter, stack_level: settings.stack_level };
        let scribe = Scribe { out, lost, said: 0, why: TOO_SLOW.into(), text: Vec::new(), lines: 0 };
        thread::spawn("log", None, move || scribe.run(&messages)).map_err(|e| format!("cannot start the log: {e}"))?;
        log::set_boxed_logger(Box::new(log.clone())).map_err(|e| e.to_string())?;
        log::set_max_level(log.filter.filter());
        Ok(log)
    }

    /// Puts a line into the log as it stands, whatever the level.
    pub fn line(&self, line: String) {
        self.put(Message::Line(line));
    }

    /// Lines that were lost since the start.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    fn put(&self, message: Message) {
        if self.queue.try_send(message).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl log::Log for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.filter.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if !self.filter.matches(record) {
            return;
        }
        let line = format_line(clock::now_ms(), record.level(), record.target(), &record.args().to_string());
        self.put(if record.level() <= self.stack_level {
            Message::WithStack(line, Box::new(Backtrace::force_capture()))
        } else {
            Message::Line(line)
        });
    }

    fn flush(&self) {
        let (done, all_done) = bounded(1);
        if self.queue.send_timeout(Message::Flush(done), FLUSH).is_ok() {
            let _ = all_done.recv_timeout(FLUSH);
        }
    }
}

/// For a process that has no settings: `RUST_LOG` alone, straight to stderr.
pub fn log_to_stderr() {
    let env = env_logger::Env::default().default_filter_or("info");
    // There may be a log already.
    let _ = env_logger::Builder::from_env(env).format_timestamp_millis().try_init();
}

/// Further lines of one message are set in, so that no message can look like another.
fn format_line(now_ms: i64, level: log::Level, target: &str, text: &str) -> String {
    format!("[{} {level:<5} {target}] {}", clock::utc(now_ms), text.replace('\n', "\n    "))
}

enum Out {
    Stderr,
    File(LogFile),
}

/// The thread that writes.
struct Scribe {
    out: Out,
    lost: Arc<AtomicU64>,
    /// Lost lines that the log tells of.
    said: u64,
    /// Why they were lost.
    why: String,
    text: Vec<u8>,
    lines: u64,
}

impl Scribe {
    /// wait -> take what is there -> write it in one go.
    fn run(mut self, messages: &Receiver<Message>) {
        while let Ok(first) = messages.recv() {
            let mut next = Some(first);
            while let Some(message) = next {
                if let Some(done) = self.take(message) {
                    self.write();
                    let _ = done.try_send(());
                }
                next = if self.text.len() < WRITE_BYTES { messages.try_recv().ok() } else { None };
            }
            self.write();
        }
    }

    fn take(&mut self, message: Message) -> Option<Sender<()>> {
        let mut line = match message {
            Message::Flush(done) => return Some(done),
            Message::Line(line) => line,
            Message::WithStack(mut line, stack) => {
                for frame in stack.to_string().lines() {
                    let _ = write!(line, "\n    {frame}");
                }
                line
            }
        };
        line.push('\n');
        self.text.extend_from_slice(line.as_bytes());
        self.lines += 1;
        None
    }

    fn write(&mut self) {
        let lost = self.lost.load(Ordering::Relaxed);
        if lost > self.said {
            let text = format!("{} lines of the log were lost before this one: {}", lost - self.said, self.why);
            let line = format_line(clock::now_ms(), log::Level::Warn, module_path!(), &text);
            self.text.splice(0..0, line.bytes().chain([b'\n']));
        }
        if self.text.is_empty() {
            return;
        }
        match self.out.write(&self.text) {
            Ok(()) => {
                self.said = lost;
                self.why = TOO_SLOW.into();
            }
            Err(e) => {
                self.lost.fetch_add(self.lines, Ordering::Relaxed);
                self.why = e.to_string();
            }
        }
        self.text.clear();
        self.lines = 0;
    }
}

impl Out {
    fn write(&mut self, text: &[u8]) -> io::Result<()> {
        match self {
            Out::Stderr => io::stderr().write_all(text),
            Out::File(file) => file.write(text),
        }
    }
}
