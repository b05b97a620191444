//! A station by itself, for what is typed on the command line: a file's lines to a topic, once or for as long as it
//! grows.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::lease::Lease;
use super::partition::Partitioner;
use super::patterns::{Pattern, Sight};
use super::station::{Station, TailError};
use super::{Collector, Entry, Settings, StartFrom, Totals, Until};
use crate::flow::cluster::Cluster;
use crate::ledger::store::{Store, StoreError};
use crate::sys::signal::{self, Signal};
use crate::sys::{file, thread};

/// How often the bar moves.
const SHOW: Duration = Duration::from_millis(100);
/// Longest wait for the last reports.
const STOP: Duration = Duration::from_secs(30);

/// What to send where.
#[derive(Debug, Clone, Copy)]
pub struct Sending<'a> {
    /// A path or a glob.
    pub path: &'a str,
    pub topic: &'a str,
    pub key: Option<&'a str>,
    pub compression: &'a str,
}

/// What was sent and confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    pub files: usize,
    pub lines: u64,
    pub bytes: u64,
    pub time: Duration,
}

/// Why not everything was sent.
#[derive(Debug, thiserror::Error)]
pub enum AloneError {
    #[error("{0}: there is no such file")]
    NoFile(String),
    #[error("{0}")]
    NotFollowed(String),
    #[error(transparent)]
    Tail(#[from] TailError),
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
    #[error("cannot use {0}: {1}")]
    Dir(String, io::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{0}")]
    Broken(String),
    #[error("{0} messages were not confirmed")]
    Unconfirmed(usize),
}

/// Returns when the broker has confirmed every line.
///
/// # Errors
/// What was not sent.
pub fn send(cluster: Cluster, sending: &Sending<'_>, shows_bar: bool) -> Result<Sent, AloneError> {
    let began = Instant::now();
    let entry = Entry { path: sending.path.into(), topic: sending.topic.into(), key: sending.key.map(str::to_owned) };
    let mut sight = Sight::default();
    let pattern = Pattern::parse(sending.path).map_err(|e| TailError::Entries(vec![e]))?;
    pattern.look(&mut sight);
    if sight.files.is_empty() {
        return Err(AloneError::NoFile(sending.path.into()));
    }
    let mut settings = Settings::new("collect", cluster, vec![entry]);
    settings.until = Until::Sent;
    settings.start_from = StartFrom::Beginning;
    settings.compression = sending.compression.into();
    // Who names a link means what it leads to.
    settings.roots = vec!["/".into()];
    if sending.key.is_some() {
        settings.partitioner = Partitioner::Key;
    }
    let (totals, lease) = (Arc::<Totals>::default(), Arc::new(Lease::new()));
    let (station, _door) = Station::new(settings, None, &totals, &lease)?;
    let (sender, outcome) = crossbeam_channel::bounded(1);
    let body = move || drop(sender.send(station.run()));
    let thread = thread::spawn("collect", None, body).map_err(AloneError::Thread)?;
    let size = sight.files.iter().filter_map(|path| path.metadata().ok()).map(|meta| meta.len()).sum();
    let bar = bar(size, shows_bar);
    let outcome = loop {
        match outcome.recv_timeout(SHOW) {
            Ok(outcome) => break outcome,
            Err(crossbeam_channel::RecvTimeoutError::Timeout) => bar.set_position(read(&totals.bytes)),
            Err(crossbeam_channel::RecvTimeoutError::Disconnected) => break Default::default(),
        }
    };
    bar.finish_and_clear();
    // A panic has ended the process before.
    let _ = thread.join();
    if let Some((path, reason)) = outcome.refused.first() {
        return Err(AloneError::NotFollowed(format!("{}: {reason}", path.display())));
    }
    if outcome.unconfirmed > 0 {
        return Err(AloneError::Unconfirmed(outcome.unconfirmed));
    }
    let Totals { lines, bytes, .. } = &*totals;
    Ok(Sent { files: sight.files.len(), lines: read(lines), bytes: read(bytes), time: began.elapsed() })
}

/// Follows until SIGTERM or Ctrl-C; places are kept in `data_dir`, where the next run goes on.
///
/// # Errors
/// What stands in the way, or was not confirmed at the end.
pub fn follow(settings: Settings, data_dir: &Path) -> Result<Sent, AloneError> {
    let began = Instant::now();
    let at = |e| AloneError::Dir(data_dir.display().to_string(), e);
    file::make_dirs(data_dir, file::PRIVATE_DIR_MODE).map_err(at)?;
    let holder = format!("logmill, process {}", std::process::id());
    let _lock = file::Lock::take(&data_dir.join("lock"), &holder, file::PRIVATE_FILE_MODE).map_err(at)?;
    let store = Arc::new(Store::open(&data_dir.join("ledger"))?);
    let signals = signal::Stream::open().map_err(AloneError::Thread)?;
    let collector = Arc::new(Collector::start(settings, Some(store))?);
    let (told, totals) = (collector.clone(), collector.status().totals);
    let stop = move || {
        for _ in signals.filter(|signal| *signal == Signal::Stop) {
            told.stop(STOP);
        }
    };
    thread::spawn("signals", None, stop).map_err(AloneError::Thread)?;
    let outcome = loop {
        if let Some(outcome) = collector.wait(STOP) {
            break outcome;
        }
    };
    if let Some(reason) = outcome.broken {
        return Err(AloneError::Broken(reason));
    }
    if outcome.unconfirmed > 0 {
        return Err(AloneError::Unconfirmed(outcome.unconfirmed));
    }
    let files = read(&totals.files) as usize;
    Ok(Sent { files, lines: read(&totals.lines), bytes: read(&totals.bytes), time: began.elapsed() })
}

fn read(sum: &AtomicU64) -> u64 {
    sum.load(Ordering::Relaxed)
}

fn bar(size: u64, is_shown: bool) -> ProgressBar {
    let target = if is_shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(Some(size), target);
    match ProgressStyle::with_template("{bar:30} {bytes}/{total_bytes} confirmed  {bytes_per_sec}  {eta} left") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

impl fmt::Display for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Sent { files, lines, bytes, time } = *self;
        let rate = (lines as f64 / time.as_secs_f64().max(0.001)) as u64;
        let (plural, lines, bytes, rate) =
            (if files == 1 { "" } else { "s" }, HumanCount(lines), HumanBytes(bytes), HumanCount(rate));
        write!(f, "confirmed {lines} lines of {files} file{plural}, {bytes}, {rate} lines/s")
    }
}
