//! The one owner of the program's state: tasks go through their phases here, driven by one stream of events.
//!
//! Threads do the work and report; nothing here waits for a disk, a broker or a thread, but for the start and the end.

mod board;
mod ground;
mod heal;
mod moving;
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
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::conf::Loaded;
use crate::conf::config::Deliver;
use crate::ledger::keeper::Kept;
use crate::ledger::store::{Store, StoreError};
use crate::reader;
use crate::reader::scout::Found;
use crate::sys::signal::{self, Signal};
use crate::sys::{file, notify, thread};
use crate::transform::Program;
pub use board::{Board, View};
use ground::Ground;
pub use ground::{Places, RestoreError, ours, owned};
pub use heal::check_ledger;
use progress::Progress;
pub use remote::{Answer, Order, Remote};
use restore::Restored;
pub use summary::{Summary, TaskSummary};
use task::Task;

/// Events that may wait for the engine.
const EVENTS_MAX: usize = 4096;
/// How often phases and progress are looked at when nothing happens.
const TICK: Duration = Duration::from_millis(50);
/// Longest wait, at the start, for files that must be brought to rest; what takes longer goes on beside the flow.
const RESTORE_WAIT: Duration = Duration::from_secs(2);
/// Longest wait, at the end, for a broker that does not answer.
const SCOUT_END_MAX: Duration = Duration::from_secs(1);
/// What a service manager is to wait beyond `stop_timeout`.
const STOP_MORE: Duration = Duration::from_secs(5);

/// What threads tell the engine. The number is the task's.
pub enum Event {
    Restored(usize, Box<Result<Restored, RestoreError>>),
    Reader(usize, usize, reader::Event),
    Scout(usize, Found),
    Keeper(usize, Kept),
    Signal(Signal),
    /// From a [`Remote`], with the way back.
    Order(Order, Sender<Answer>),
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
    /// For threads that start later.
    sender: Sender<Event>,
    store: Arc<Store>,
    cores: wiring::Cores,
    board: Arc<Board>,
    seats: Vec<Seat>,
    /// Since the stop began.
    stopping: Option<Instant>,
    _lock: file::Lock,
}

/// A task's place in the program.
struct Seat {
    deliver: Deliver,
    program: Arc<Program>,
    state: SeatState,
}

enum SeatState {
    /// Its files are brought to rest, which may have to wait for its disk. No other task waits for that.
    Restoring,
    Running(Box<Task>),
    /// It was told to stop before it ran.
    Ended,
}

impl Engine {
    /// Restores the tasks and starts their threads; a task whose disk makes it wait starts later.
    ///
    /// # Errors
    /// What stands in the way; the process is to end then.
    pub fn start(loaded: Loaded, mode: Mode) -> Result<Engine, EngineError> {
        let Loaded { config, mut programs, .. } = loaded;
        let data_dir = &config.process.data_dir;
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
        let store = Arc::new(heal::open_ledger(data_dir)?);
        let (sender, events) = bounded(EVENTS_MAX);
        watch_signals(sender.clone()).map_err(at("cannot watch signals for"))?;
        let boot_id = file::boot_id().map_err(at("cannot read the boot id for"))?;
        let ground = Arc::new(Ground { data_dir: data_dir.clone(), store: store.clone(), boot_id, holder });
        let board = Arc::new(Board::new());
        let mut seats = Vec::new();
        for (index, deliver) in config.deliver.into_iter().enumerate() {
            board.wait_for(&deliver.name);
            restore_beside(index, &deliver, ground.clone(), sender.clone()).map_err(at("cannot start in"))?;
            let program = programs.remove(&deliver.name).unwrap_or_default();
            seats.push(Seat { deliver, program, state: SeatState::Restoring });
        }
        let cores = wiring::Cores::new(&config.process.cores);
        let stop_timeout = config.process.stop_timeout;
        let mut engine =
            Engine { mode, stop_timeout, events, sender, store, cores, board, seats, stopping: None, _lock: lock };
        let deadline = Instant::now() + RESTORE_WAIT;
        while engine.seats.iter().any(Seat::is_restoring) && Instant::now() < deadline {
            if let Some(event) = engine.next_event() {
                engine.handle(event)?;
            }
        }
        let running = engine.tasks().count();
        log::info!("started: {running} task{}", if running == 1 { "" } else { "s" });
        Ok(engine)
    }

    /// For other threads, while this one runs.
    pub fn remote(&self) -> Remote {
        Remote::new(self.sender.clone(), self.board.clone())
    }

    /// Until a signal, the remote's stop, or the end of the backfill.
    ///
    /// # Errors
    /// A checkpoint that failed, a stop that took too long, a partition that could not be read to its end.
    pub fn run(mut self) -> Result<Summary, EngineError> {
        let began = Instant::now();
        let mut progress = Progress::new(self.mode.progress);
        let mut beat = notify::Beat::from_environment();
        while !self.seats.iter().all(Seat::is_done) {
            self.board.engine.begin();
            if let Some(event) = self.next_event() {
                self.handle(event)?;
            }
            let now = Instant::now();
            self.tasks_mut().try_for_each(|t| t.tick(now)).map_err(EngineError::Failed)?;
            progress.show(self.tasks());
            beat.tick(now);
            if self.mode.exit_at_end && self.seats.iter().all(Seat::is_at_end) {
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
        let running = self.seats.into_iter().filter_map(Seat::into_task);
        Ok(Summary { tasks: running.map(|task| task.finish(deadline)).collect(), elapsed: began.elapsed() })
    }

    fn tasks(&self) -> impl Iterator<Item = &Task> {
        self.seats.iter().filter_map(Seat::task)
    }

    fn tasks_mut(&mut self) -> impl Iterator<Item = &mut Task> {
        self.seats.iter_mut().filter_map(Seat::task_mut)
    }

    fn next_event(&self) -> Option<Event> {
        self.events.recv_timeout(TICK).ok()
    }

    fn handle(&mut self, event: Event) -> Result<(), EngineError> {
        let no_task = Ok(());
        let result = match event {
            Event::Restored(index, restored) => return self.on_restored(index, *restored),
            Event::Reader(task, reader, event) => {
                self.seats[task].task_mut().map_or(no_task, |t| t.on_reader(reader, event))
            }
            Event::Scout(task, found) => self.seats[task].task_mut().map_or(no_task, |t| t.on_scout(found)),
            Event::Keeper(task, kept) => self.seats[task].task_mut().map_or(no_task, |t| t.on_keeper(kept)),
            Event::Signal(Signal::Stop) => {
                log::info!("told to stop");
                self.stop();
                Ok(())
            }
            Event::Order(order, answer) => {
                let told = self.order(order);
                // Who asked may have gone.
                let _ = answer.try_send(told);
                Ok(())
            }
            Event::Signal(Signal::Reload) => {
                log::warn!("SIGHUP: reloading is not available in this version; restart to change the configuration");
                Ok(())
            }
        };
        result.map_err(EngineError::Failed)
    }

    fn order(&mut self, order: Order) -> Answer {
        match order {
            Order::Stop => {
                log::info!("told to stop");
                self.stop();
                Ok("stopping".into())
            }
        }
    }

    /// Its files are at rest: its threads may start.
    fn on_restored(&mut self, index: usize, restored: Result<Restored, RestoreError>) -> Result<(), EngineError> {
        let Seat { deliver, program, state } = &mut self.seats[index];
        let restored = restored.map_err(|source| EngineError::Restore { task: deliver.name.clone(), source })?;
        if self.stopping.is_some() {
            *state = SeatState::Ended;
            return Ok(());
        }
        let wires =
            wiring::Wires { index, events: self.sender.clone(), store: self.store.clone(), program: program.clone() };
        let task = wiring::start(deliver, restored, wires, self.mode, &mut self.cores)
            .map_err(|what| EngineError::Task { task: deliver.name.clone(), what })?;
        self.board.hang(task.view());
        *state = SeatState::Running(Box::new(task));
        Ok(())
    }

    fn stop(&mut self) {
        if self.stopping.is_none() {
            self.stopping = Some(Instant::now());
            notify::stopping(self.stop_timeout + STOP_MORE);
            self.tasks_mut().for_each(Task::stop);
        }
    }
}

impl Seat {
    fn task(&self) -> Option<&Task> {
        if let SeatState::Running(task) = &self.state { Some(task) } else { None }
    }

    fn task_mut(&mut self) -> Option<&mut Task> {
        if let SeatState::Running(task) = &mut self.state { Some(task) } else { None }
    }

    fn into_task(self) -> Option<Task> {
        if let SeatState::Running(task) = self.state { Some(*task) } else { None }
    }

    fn is_restoring(&self) -> bool {
        matches!(self.state, SeatState::Restoring)
    }

    fn is_done(&self) -> bool {
        self.task().map_or(!self.is_restoring(), Task::is_done)
    }

    fn is_at_end(&self) -> bool {
        self.task().is_some_and(Task::is_at_end)
    }
}

/// A thread that ends with the task's files at rest.
fn restore_beside(index: usize, deliver: &Deliver, ground: Arc<Ground>, events: Sender<Event>) -> io::Result<()> {
    let deliver = deliver.clone();
    let name = format!("o{index}-{}", deliver.name);
    let body = move || {
        let restored = restore::restore(&deliver, &ground);
        drop(events.send(Event::Restored(index, Box::new(restored))));
    };
    thread::spawn(&name, None, body).map(drop)
}

fn watch_signals(events: Sender<Event>) -> io::Result<()> {
    let stream = signal::Stream::open()?;
    thread::spawn("signals", None, move || {
        for signal in stream {
            if events.send(Event::Signal(signal)).is_err() {
                return;
            }
        }
    })
    .map(drop)
}
