//! The one owner of the program's state: tasks go through their phases here, driven by one stream of events.
//!
//! Threads do the work and report; nothing here waits for a disk, a broker or a thread, but for the start and the end.

mod ground;
mod power_loss;
mod progress;
mod remote;
mod restore;
mod strict;
mod summary;
mod task;
mod wiring;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::conf::Loaded;
use crate::ledger::keeper::Kept;
use crate::ledger::store::{Store, StoreError};
use crate::reader;
use crate::reader::scout::Found;
use crate::sys::signal::{self, Signal};
use crate::sys::{file, thread};
use ground::Ground;
pub use ground::RestoreError;
use progress::Progress;
pub use remote::Remote;
pub use summary::{Summary, TaskSummary};
use task::Task;

/// Events that may wait for the engine.
const EVENTS_MAX: usize = 4096;
/// How often phases and progress are looked at when nothing happens.
const TICK: Duration = Duration::from_millis(50);
/// Longest wait, at the end, for a broker that does not answer.
const SCOUT_END_MAX: Duration = Duration::from_secs(1);

/// What threads tell the engine. The number is the task's.
pub enum Event {
    Reader(usize, usize, reader::Event),
    Scout(usize, Found),
    Keeper(usize, Kept),
    Signal(Signal),
}

/// How to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mode {
    /// Stop once every partition has reached the end it had at start.
    pub exit_at_end: bool,
    /// Show a progress bar on stderr.
    pub progress: bool,
}

/// Why the program could not run, or ended badly.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error("{what} {path}: {source}")]
    Io { what: &'static str, path: String, source: io::Error },
    #[error("the data directory {path} is in use by {holder}; stop that one first, or set another data_dir")]
    InUse { path: String, holder: String },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("task {task}: {source}")]
    Restore { task: String, source: RestoreError },
    #[error("task {task}: {what}")]
    Task { task: String, what: String },
    #[error("{0}")]
    Failed(String),
}

/// The running program.
pub struct Engine {
    mode: Mode,
    stop_timeout: Duration,
    events: Receiver<Event>,
    /// Kept for those who want to tell the engine something later.
    sender: Sender<Event>,
    tasks: Vec<Task>,
    /// Since the stop began.
    stopping: Option<Instant>,
    _lock: file::Lock,
}

impl Engine {
    /// Restores every task and starts its threads.
    ///
    /// # Errors
    /// What stands in the way; nothing runs then.
    pub fn start(loaded: &Loaded, mode: Mode) -> Result<Engine, EngineError> {
        let process = &loaded.config.process;
        let data_dir = &process.data_dir;
        let at = |what| {
            let path = data_dir.display().to_string();
            move |source| EngineError::Io { what, path: path.clone(), source }
        };
        file::make_dirs(data_dir, file::PRIVATE_DIR_MODE).map_err(at("cannot make the data directory"))?;
        let holder = format!("logmill, process {}", std::process::id());
        let lock =
            file::Lock::take(&data_dir.join("lock"), &holder, file::PRIVATE_FILE_MODE).map_err(|e| match e.kind() {
                io::ErrorKind::WouldBlock => {
                    EngineError::InUse { path: data_dir.display().to_string(), holder: e.to_string() }
                }
                _ => at("cannot lock")(e),
            })?;
        let store = Arc::new(Store::open(&data_dir.join("ledger"))?);
        let boot_id = file::boot_id().map_err(at("cannot read the boot id for"))?;
        let (sender, events) = bounded(EVENTS_MAX);
        let started = Arc::new(AtomicBool::new(false));
        watch_signals(sender.clone(), started.clone()).map_err(at("cannot watch signals for"))?;
        let ground = Ground { data_dir, store: &store, boot_id, holder: &holder };
        let mut cores = wiring::Cores::new(&process.cores);
        let mut tasks = Vec::new();
        for (index, deliver) in loaded.config.deliver.iter().enumerate() {
            let in_task = |source| EngineError::Restore { task: deliver.name.clone(), source };
            let restored = restore::restore(deliver, &ground).map_err(in_task)?;
            let program = loaded.programs.get(&deliver.name).cloned().unwrap_or_default();
            let wires = wiring::Wires { index, events: sender.clone(), store: store.clone(), program };
            let task = wiring::start(deliver, restored, wires, mode, &mut cores)
                .map_err(|what| EngineError::Task { task: deliver.name.clone(), what })?;
            tasks.push(task);
        }
        started.store(true, Ordering::Release);
        log::info!("started: {} task{}", tasks.len(), if tasks.len() == 1 { "" } else { "s" });
        let stop_timeout = process.stop_timeout;
        Ok(Engine { mode, stop_timeout, events, sender, tasks, stopping: None, _lock: lock })
    }

    /// For other threads, while this one runs.
    pub fn remote(&self) -> Remote {
        Remote::new(self.sender.clone(), &self.tasks)
    }

    /// Until a signal, the remote's stop, or the end of the backfill.
    ///
    /// # Errors
    /// A checkpoint that failed, a stop that took too long, a partition that could not be read to its end.
    pub fn run(mut self) -> Result<Summary, EngineError> {
        let began = Instant::now();
        let mut progress = Progress::new(self.mode.progress);
        while self.tasks.iter().any(|t| !t.is_done()) {
            if let Some(event) = self.next_event() {
                self.handle(event)?;
            }
            let now = Instant::now();
            self.tasks.iter_mut().try_for_each(|t| t.tick(now)).map_err(EngineError::Failed)?;
            progress.show(&self.tasks);
            if self.mode.exit_at_end && self.tasks.iter().all(Task::is_at_end) {
                self.stop();
            }
            if self.stopping.is_some_and(|since| since.elapsed() > self.stop_timeout) {
                return Err(EngineError::Failed(format!(
                    "the stop took longer than stop_timeout ({:?}): no last checkpoint; nothing is lost, \
                     the next start goes on from the rings",
                    self.stop_timeout
                )));
            }
        }
        progress.clear();
        let deadline = Instant::now() + SCOUT_END_MAX;
        let tasks = self.tasks.into_iter().map(|task| task.finish(deadline)).collect();
        Ok(Summary { tasks, elapsed: began.elapsed() })
    }

    fn next_event(&self) -> Option<Event> {
        self.events.recv_timeout(TICK).ok()
    }

    fn handle(&mut self, event: Event) -> Result<(), EngineError> {
        let result = match event {
            Event::Reader(task, reader, event) => self.tasks[task].on_reader(reader, event),
            Event::Scout(task, found) => self.tasks[task].on_scout(found),
            Event::Keeper(task, kept) => self.tasks[task].on_keeper(kept),
            Event::Signal(Signal::Stop) => {
                log::info!("told to stop");
                self.stop();
                Ok(())
            }
            Event::Signal(Signal::Reload) => {
                log::warn!("SIGHUP: reloading is not available in this version; restart to change the configuration");
                Ok(())
            }
        };
        result.map_err(EngineError::Failed)
    }

    fn stop(&mut self) {
        if self.stopping.is_none() {
            self.stopping = Some(Instant::now());
            self.tasks.iter_mut().for_each(Task::stop);
        }
    }
}

/// A start may have to wait, for a disk that is full: nobody takes events then, and a stop ends the process as it is.
fn watch_signals(events: Sender<Event>, started: Arc<AtomicBool>) -> io::Result<()> {
    let stream = signal::Stream::open()?;
    thread::spawn("signals", None, move || {
        for signal in stream {
            if signal == Signal::Stop && !started.load(Ordering::Acquire) {
                log::warn!("told to stop before the start was complete; the next start does it again, nothing is lost");
                std::process::exit(1);
            }
            if events.send(Event::Signal(signal)).is_err() {
                return;
            }
        }
    })
    .map(drop)
}
