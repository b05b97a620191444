//! The one owner of the program's state: tasks go through their phases here, driven by one stream of events.
//!
//! Threads do the work and report; nothing here waits for a disk, a broker or a thread, but for the start and the end.

mod board;
mod collect;
mod collect_view;
mod ground;
mod heal;
mod identity;
mod lists;
mod look;
mod moving;
mod offline;
mod orders;
mod power_loss;
mod progress;
mod queue;
mod reload;
mod remote;
mod restore;
mod seat;
mod seek;
mod status;
mod strict;
mod summary;
mod task;
mod watch;
mod wiring;

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::conf::Loaded;
use crate::conf::config::Deliver;
use crate::flow::span::Counts;
use crate::ledger::keeper::Kept;
use crate::ledger::store::StoreError;
use crate::reader;
use crate::reader::scout;
use crate::sys::signal::{self, Signal};
use crate::sys::{file, notify, thread};
use crate::tail::Entry;
pub use board::{Board, View};
use collect::{Collects, Told};
pub use collect_view::CollectView;
use ground::Ground;
pub use ground::{Places, RestoreError, ours, owned};
pub use heal::check_ledger;
pub use look::Seen;
pub use offline::order_offline;
use progress::Progress;
pub use remote::{Answer, Order, Remote};
use seat::{Id, Seat, Seats, Seek, State};
use seek::Place;
use summary::plural;
pub use summary::{CollectSummary, Summary, TaskSummary};
use task::Task;
pub use watch::Load;

/// Events that may wait for the engine.
const EVENTS_MAX: usize = 4096;
/// How often phases and progress are looked at when nothing happens.
const TICK: Duration = Duration::from_millis(50);
/// Longest wait, at the start, for files that must be brought to rest; what takes longer goes on beside the flow.
const RESTORE_WAIT: Duration = Duration::from_secs(2);
/// Longest wait, at a task's end, for a broker that does not answer.
const SCOUT_END_MAX: Duration = Duration::from_secs(1);
/// What a service manager is to wait beyond `stop_timeout`.
const STOP_MORE: Duration = Duration::from_secs(5);

/// What threads tell the engine, those of tasks with the number of their seat.
pub enum Event {
    /// Its files are at rest and its threads built.
    Built(Id, Box<Result<Task, EngineError>>),
    Reader(Id, usize, reader::Event),
    Scout(Id, scout::Found),
    Keeper(Id, Kept),
    /// Its threads have ended.
    Ended(Id, Box<TaskSummary>),
    Signal(Signal),
    /// From a [`Remote`], with the way back.
    Order(Order, Sender<Answer>),
    /// From a collect task, with its name.
    Collect(String, Told),
    /// The list in etcd, with the number of its watch; `None`: there is none to be had.
    Etcd(u64, Option<Vec<Entry>>),
    /// The configuration as it is now.
    Reload(Box<watch::Found>),
}

/// How to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mode {
    /// Stop once every partition has reached the end it had at start.
    pub exit_at_end: bool,
    /// Show a progress bar on stderr.
    pub progress: bool,
    /// Read nothing from Kafka: only orders for the failure queues are carried out.
    pub queue_only: bool,
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
    /// The configuration in force.
    loaded: Loaded,
    events: Receiver<Event>,
    /// For threads that start later.
    sender: Sender<Event>,
    /// To the thread that reads the configuration again.
    reload: Sender<watch::Ask>,
    ground: Arc<Ground>,
    cores: wiring::Cores,
    board: Arc<Board>,
    seats: Seats,
    collects: Collects,
    /// Where each state's counters stood when this run took it up.
    began: HashMap<u64, Counts>,
    /// Since the stop began.
    stopping: Option<Instant>,
    /// Of the tasks that ended with the program.
    ended: Vec<(Id, TaskSummary)>,
    _lock: file::Lock,
}

impl Engine {
    /// Restores the tasks and starts their threads; a task whose disk makes it wait starts later. `load` reads the
    /// configuration once more.
    ///
    /// # Errors
    /// What stands in the way; the process is to end then.
    pub fn start(loaded: Loaded, load: Load, mode: Mode) -> Result<Engine, EngineError> {
        let data_dir = &loaded.config.process.data_dir;
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
        let reload = watch::start(load, &loaded.sources, sender.clone());
        let mut engine = Engine {
            mode,
            events,
            sender,
            reload: reload.map_err(at("cannot watch the configuration for"))?,
            ground: Arc::new(Ground { data_dir: data_dir.clone(), store, boot_id, holder }),
            cores: wiring::Cores::new(&loaded.config.process.cores),
            board: Arc::new(Board::new()),
            seats: Seats::default(),
            collects: Collects::default(),
            began: HashMap::new(),
            stopping: None,
            ended: Vec::new(),
            loaded,
            _lock: lock,
        };
        let tasks: Vec<Deliver> = engine.loaded.config.deliver.clone();
        tasks.into_iter().for_each(|task| engine.seat(task));
        engine.want_collects();
        engine.build_free()?;
        let deadline = Instant::now() + RESTORE_WAIT;
        while engine.is_starting() && Instant::now() < deadline {
            if let Some(event) = engine.next_event() {
                engine.handle(event)?;
            }
        }
        let tasks = engine.seats.tasks().count() + engine.board.collects().len();
        log::info!("started: {}", plural(tasks, "task"));
        Ok(engine)
    }

    fn is_starting(&self) -> bool {
        self.seats.iter().any(Seat::is_starting) || self.collects.is_starting()
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
        let started = Instant::now();
        let mut progress = Progress::new(self.mode.progress);
        let mut beat = notify::Beat::from_environment();
        while !(self.stopping.is_some() && self.seats.is_empty() && self.collects.is_empty()) {
            self.board.engine.begin();
            self.board.look();
            if let Some(event) = self.next_event() {
                self.handle(event)?;
            }
            let now = Instant::now();
            self.seats.tasks_mut().try_for_each(|t| t.tick(now)).map_err(EngineError::Failed)?;
            self.end_drained();
            self.build_free()?;
            if self.stopping.is_none() {
                progress.show(self.seats.tasks());
            }
            beat.tick(now);
            if self.mode.exit_at_end && self.seats.iter().all(Seat::is_at_end) && self.collects.are_at_end() {
                self.stop();
            }
            let stop_timeout = self.loaded.config.process.stop_timeout;
            if self.stopping.is_some_and(|since| since.elapsed() > stop_timeout) {
                return Err(EngineError::Failed(format!(
                    "the stop took longer than stop_timeout ({stop_timeout:?}): no last checkpoint; nothing is lost, \
                     the next start goes on from the rings"
                )));
            }
        }
        progress.clear();
        self.ended.sort_by_key(|(id, _)| *id);
        Ok(Summary {
            tasks: self.ended.into_iter().map(|(_, task)| task).collect(),
            collects: self.collects.take_ended(),
            elapsed: started.elapsed(),
        })
    }

    fn next_event(&self) -> Option<Event> {
        self.events.recv_timeout(TICK).ok()
    }

    fn handle(&mut self, event: Event) -> Result<(), EngineError> {
        let no_task = Ok(());
        let result = match event {
            Event::Built(id, built) => return self.on_built(id, *built),
            Event::Reader(id, reader, event) => {
                self.seats.task_mut(id).map_or(no_task, |task| task.on_reader(reader, event))
            }
            // Before the scout has told what they are, no topic is read.
            Event::Scout(..) if self.mode.queue_only => no_task,
            Event::Scout(id, scout::Found::Target(found)) => {
                self.on_target(id, found);
                no_task
            }
            Event::Scout(id, found) => self.seats.task_mut(id).map_or(no_task, |task| task.on_scout(found)),
            Event::Keeper(id, kept) => self.seats.task_mut(id).map_or(no_task, |task| task.on_keeper(kept)),
            Event::Ended(id, summary) => {
                self.on_ended(id, *summary);
                no_task
            }
            Event::Collect(name, told) => return self.on_collect(&name, told),
            Event::Etcd(number, list) => {
                self.on_etcd(number, list);
                no_task
            }
            Event::Signal(Signal::Stop) => {
                log::info!("told to stop");
                self.stop();
                no_task
            }
            Event::Signal(Signal::Reload) => {
                self.ask_reload(None);
                no_task
            }
            Event::Order(order, answer) => {
                self.order(order, answer);
                no_task
            }
            Event::Reload(found) => {
                self.on_reload(*found);
                no_task
            }
        };
        result.map_err(EngineError::Failed)
    }

    /// Wants a task, with the settings that are in force for it.
    fn seat(&mut self, deliver: Deliver) {
        let program = self.loaded.programs.get(&deliver.name).cloned().unwrap_or_default();
        self.seats.add(deliver, program);
    }

    /// Builds what nothing stands in the way of any more.
    fn build_free(&mut self) -> Result<(), EngineError> {
        let path = self.ground.data_dir.display().to_string();
        let failed = |source| EngineError::Io { what: "cannot start in", path: path.clone(), source };
        for id in self.seats.take_free() {
            self.build(id).map_err(failed)?;
        }
        self.tend_collects().map_err(failed)?;
        let starting = self.seats.iter().filter(|seat| seat.is_starting());
        self.board.await_views(starting.map(|seat| seat.deliver.name.clone()).collect());
        Ok(())
    }

    /// On a thread that ends with the task's files at rest and its threads built.
    fn build(&mut self, id: Id) -> io::Result<()> {
        let threads = |deliver: &Deliver| deliver.writers + deliver.readers;
        let all = self.seats.iter().map(|seat| threads(&seat.deliver)).sum();
        let Some(seat) = self.seats.get_mut(id) else { return Ok(()) };
        let deliver = seat.deliver.clone();
        let place = if let Some(Seek::Found(place, _)) = &seat.seek { Some(place.clone()) } else { None };
        let wires = wiring::Wires {
            seat: id,
            events: self.sender.clone(),
            store: self.ground.store.clone(),
            program: seat.program.clone(),
            cores: self.cores.take(threads(&deliver), all),
        };
        let (ground, events, mode) = (self.ground.clone(), self.sender.clone(), self.mode);
        thread::spawn(&format!("o-{}", deliver.name), None, move || {
            let task = || deliver.name.clone();
            let restored = restore::restore(&deliver, &ground, place.as_ref())
                .map_err(|source| EngineError::Restore { task: task(), source });
            let built = restored.and_then(|restored| {
                wiring::build(&deliver, restored, wires, mode).map_err(|what| EngineError::Task { task: task(), what })
            });
            drop(events.send(Event::Built(id, Box::new(built))));
        })
        .map(drop)
    }

    /// Its threads may start.
    fn on_built(&mut self, id: Id, built: Result<Task, EngineError>) -> Result<(), EngineError> {
        let Some(seat) = self.seats.get_mut(id) else { return Ok(()) };
        if built.is_ok()
            && let Some(Seek::Found(Place { topic, partition, offset }, answer)) = seat.seek.take()
        {
            // Who asked may have gone.
            let _ = answer.try_send(Ok(format!("{topic}/{partition} goes on at offset {offset}")));
        }
        if matches!(seat.state, State::Doomed) {
            self.seats.remove(id);
            return Ok(());
        }
        let started = built.and_then(|mut task| {
            // The configuration may have changed meanwhile.
            task.set_live(&seat.deliver, &seat.program);
            task.set_paused(seat.paused);
            task.flow.began = *self.began.entry(task.state_id).or_insert(task.flow.began);
            task.start().map_err(|what| EngineError::Task { task: seat.deliver.name.clone(), what })?;
            if std::mem::take(&mut seat.retry) {
                task.retry_after_reload();
            }
            Ok(task)
        });
        match started {
            Ok(mut task) => {
                if self.board.generation() > 1 {
                    task.retry_after_reload();
                }
                self.board.hang(task.view(&seat.deliver));
                seat.state = State::Running(Box::new(task));
            }
            // What the process began with must start; what a reload brings does not stop the others.
            Err(error) if self.board.generation() == 1 => return Err(error),
            Err(error) => {
                log::error!("{error}; this task does not run, the next reload tries it again");
                let name = seat.deliver.name.clone();
                self.loaded.config.deliver.retain(|task| task.name != name);
                self.seats.remove(id);
            }
        }
        Ok(())
    }

    /// Ends the threads of tasks that have drained, on a thread that joins them.
    fn end_drained(&mut self) {
        for (id, task) in self.seats.take_drained() {
            self.board.take_down(&task.name);
            let events = self.sender.clone();
            let end = move || {
                let summary = task.finish(Instant::now() + SCOUT_END_MAX);
                drop(events.send(Event::Ended(id, Box::new(summary))));
            };
            if let Err(error) = thread::spawn(&format!("e{id}"), None, end) {
                panic!("cannot start a thread: {error}");
            }
        }
    }

    fn on_ended(&mut self, id: Id, summary: TaskSummary) {
        self.seats.remove(id);
        match self.stopping {
            Some(_) => self.ended.push((id, summary)),
            None => log::info!("{} has drained and ended, {} records in all", summary.name, summary.total.consumed),
        }
    }

    fn stop(&mut self) {
        if self.stopping.is_none() {
            self.stopping = Some(Instant::now());
            notify::stopping(self.loaded.config.process.stop_timeout + STOP_MORE);
            self.seats.ids().into_iter().for_each(|id| self.seats.leave(id));
            self.stop_collects();
        }
    }
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
