//! Collect tasks: what is wanted of each, and the foreman's thread that has it done. What is wanted and what runs are
//! compared again and again; the engine waits for none of them.
//!
//! ```text
//! engine --lists--> foreman --orders--> collector          foreman --Event::Collect--> engine
//! ```

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::collect_view::CollectView;
use super::lists::EtcdList;
use super::reload::restarts;
use super::summary::CollectSummary;
use super::{Engine, EngineError, Event};
use crate::conf::config::Collect;
use crate::ledger::store::Store;
use crate::sys::thread;
use crate::tail::collector::Collector;
use crate::tail::station::Outcome;
use crate::tail::{self, Entry, ExactlyOnce, Until};

/// How often a foreman looks how its collector is when there is nothing to do.
const LOOK: Duration = Duration::from_millis(100);
/// How often the files are counted, for whoever asks how the task is.
const COUNT: Duration = Duration::from_secs(5);

/// What a foreman tells.
pub enum Told {
    Started(Result<Arc<CollectView>, String>),
    Ended(Box<CollectSummary>),
}

/// All collect tasks, by name.
#[derive(Default)]
pub struct Collects {
    tasks: BTreeMap<String, Collecting>,
    etcd: Option<EtcdList>,
    /// What is wanted and what runs were not compared since one of them changed.
    is_new: bool,
    ended: Vec<CollectSummary>,
}

/// One task.
struct Collecting {
    /// `None`: it is to end for good.
    wanted: Option<Arc<Collect>>,
    /// What its keys and its list file name.
    own: Vec<Entry>,
    paused: Arc<AtomicBool>,
    /// Where it has ended by itself, it is to begin once more.
    again: bool,
    run: Run,
}

enum Run {
    /// To be started: at once, or when etcd was heard of.
    Waiting,
    Running(Foreman),
    /// It stops, beside the engine.
    Ending,
    /// It has ended by itself: all is sent, or another instance has taken it over.
    Over(Arc<Collect>),
}

/// A running task.
struct Foreman {
    collect: Arc<Collect>,
    /// It stops when this is dropped.
    lists: Sender<Vec<Entry>>,
    /// The list it has.
    told: Vec<Entry>,
    is_started: bool,
}

impl Collects {
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    pub fn is_starting(&self) -> bool {
        self.tasks.values().any(Collecting::is_starting)
    }

    /// Each has sent what there was.
    pub fn are_at_end(&self) -> bool {
        self.tasks.values().all(|task| matches!(task.run, Run::Over(_)))
    }

    pub fn take_ended(&mut self) -> Vec<CollectSummary> {
        std::mem::take(&mut self.ended)
    }

    /// What is wanted from now on.
    fn want(&mut self, wanted: &[Collect], lists: &BTreeMap<String, Vec<Entry>>) {
        self.is_new = true;
        self.tasks.values_mut().for_each(|task| (task.wanted, task.again) = (None, true));
        for collect in wanted {
            let new = || Collecting {
                wanted: None,
                own: Vec::new(),
                paused: Arc::default(),
                again: false,
                run: Run::Waiting,
            };
            let task = self.tasks.entry(collect.name.clone()).or_insert_with(new);
            task.wanted = Some(Arc::new(collect.clone()));
            task.own = lists.get(&collect.name).cloned().unwrap_or_default();
        }
    }

    /// The list in etcd, where this task takes it; `None`: nothing was heard of etcd yet.
    fn list_in_etcd(&self, collect: &Collect) -> Option<Vec<Entry>> {
        match &self.etcd {
            Some(etcd) if collect.from_etcd => etcd.list.clone(),
            _ => Some(Vec::new()),
        }
    }

    /// What a task is to be started with, where nothing stands in its way.
    fn to_start(&self, name: &str, list: Option<&Vec<Entry>>) -> Option<(Arc<Collect>, Vec<Entry>, Arc<AtomicBool>)> {
        let task = self.tasks.get(name).filter(|task| matches!(task.run, Run::Waiting))?;
        Some((task.wanted.clone()?, list?.clone(), task.paused.clone()))
    }

    /// All that a task is to follow.
    fn list(&self, name: &str) -> Option<Vec<Entry>> {
        let task = self.tasks.get(name)?;
        let known: HashSet<_> = task.own.iter().map(|entry| (&entry.path, &entry.topic)).collect();
        let mut more = self.list_in_etcd(task.wanted.as_ref()?)?;
        more.retain(|entry| !known.contains(&(&entry.path, &entry.topic)));
        Some(task.own.iter().cloned().chain(more).collect())
    }
}

impl Collecting {
    fn is_starting(&self) -> bool {
        match &self.run {
            Run::Waiting => self.wanted.is_some(),
            Run::Running(foreman) => !foreman.is_started,
            Run::Ending | Run::Over(_) => false,
        }
    }

    /// What runs is not what is wanted.
    fn is_stale(&self, collect: &Collect) -> bool {
        self.wanted.as_ref().is_none_or(|wanted| restarts(&collect.effective, &wanted.effective))
    }
}

impl Engine {
    /// Takes over what the configuration says of collect tasks and of etcd.
    pub(super) fn want_collects(&mut self) {
        if self.mode.queue_only {
            return;
        }
        let config = &self.loaded.config;
        self.collects.want(&config.collect, &self.loaded.lists);
        let taker = config.collect.iter().find(|task| task.from_etcd);
        let wanted = config.etcd.as_ref().zip(taker);
        let is_same = |list: &EtcdList| wanted.is_some_and(|(settings, taker)| list.is_for(settings, taker));
        if self.collects.etcd.as_ref().is_some_and(is_same) {
            return;
        }
        let old = self.collects.etcd.take();
        let trouble = self.board.etcd_trouble.clone();
        trouble.clear();
        let Some((settings, taker)) = wanted else { return };
        match EtcdList::start(settings, taker, old, trouble, self.sender.clone()) {
            Ok(list) => self.collects.etcd = Some(list),
            Err(error) => log::error!("the list in etcd is not watched: {error}"),
        }
    }

    /// Starts, stops and tells, so that what runs becomes what is wanted.
    ///
    /// # Errors
    /// The kernel has no room for a thread.
    pub(super) fn tend_collects(&mut self) -> io::Result<()> {
        if !std::mem::take(&mut self.collects.is_new) {
            return Ok(());
        }
        let names: Vec<String> = self.collects.tasks.keys().cloned().collect();
        for name in names {
            let list = self.collects.list(&name);
            if let Some((wanted, list, paused)) = self.collects.to_start(&name, list.as_ref()) {
                let foreman = self.send_foreman(wanted, list, paused)?;
                self.collects.tasks.entry(name).and_modify(|task| task.run = Run::Running(foreman));
                continue;
            }
            let Some(task) = self.collects.tasks.get_mut(&name) else { continue };
            let is_stale = match &task.run {
                Run::Running(Foreman { collect, .. }) => task.is_stale(collect),
                Run::Over(collect) => task.is_stale(collect) || task.again && !self.mode.exit_at_end,
                Run::Waiting | Run::Ending => false,
            };
            match (&mut task.run, list) {
                (Run::Running(_), _) if is_stale => {
                    self.board.take_down_collect(&name);
                    task.run = Run::Ending;
                }
                (Run::Running(foreman), Some(list)) if foreman.told != list => {
                    match foreman.lists.try_send(list.clone()) {
                        Ok(()) => foreman.told = list,
                        // It has not taken the list before.
                        Err(_) => self.collects.is_new = true,
                    }
                }
                (Run::Over(_), _) if is_stale => {
                    self.board.take_down_collect(&name);
                    task.run = Run::Waiting;
                }
                _ => {}
            }
        }
        self.collects.tasks.retain(|_, task| task.wanted.is_some() || !matches!(task.run, Run::Waiting));
        let reason = |task: &Collecting| match &task.run {
            Run::Waiting => "the list in etcd has not been heard of yet",
            _ => "it is being started",
        };
        let starting = self.collects.tasks.iter().filter(|(_, task)| task.is_starting());
        self.board.await_collects(starting.map(|(name, task)| (name.clone(), reason(task).into())).collect());
        Ok(())
    }

    fn send_foreman(&self, collect: Arc<Collect>, list: Vec<Entry>, paused: Arc<AtomicBool>) -> io::Result<Foreman> {
        let until = if self.mode.exit_at_end { Until::Sent } else { Until::Stopped };
        let settings = tail::Settings { paused, until, ..settings(&collect, list.clone()) };
        let view = {
            let (collect, paused) = (collect.clone(), settings.paused.clone());
            let trouble = collect.from_etcd.then(|| self.board.etcd_trouble.clone());
            move |collector| CollectView::new(collect, paused, trouble, collector)
        };
        let (lists, taken) = bounded(1);
        let (events, name) = (self.sender.clone(), collect.name.clone());
        let tell = move |told| drop(events.send(Event::Collect(name.clone(), told)));
        // Some of the time is for the way back.
        let (store, stop_timeout) = (self.ground.store.clone(), self.loaded.config.process.stop_timeout * 9 / 10);
        let work = move || foreman(settings, store, stop_timeout, &taken, view, tell);
        thread::spawn(&format!("c-{}", collect.name), None, work)?;
        Ok(Foreman { collect, lists, told: list, is_started: false })
    }

    pub(super) fn on_collect(&mut self, name: &str, told: Told) -> Result<(), EngineError> {
        self.collects.is_new = true;
        let Some(task) = self.collects.tasks.get_mut(name) else { return Ok(()) };
        match (told, &mut task.run) {
            (Told::Started(Ok(view)), Run::Running(foreman)) => {
                foreman.is_started = true;
                self.board.hang_collect(view);
            }
            (Told::Started(Ok(_)), _) => {}
            // What the process began with must start; what a reload brings does not stop the others.
            (Told::Started(Err(what)), Run::Running(_)) if self.board.generation() == 1 => {
                return Err(EngineError::Task { task: name.into(), what });
            }
            (Told::Started(Err(what)), Run::Running(_)) => {
                log::error!("task {name}: {what}; this task does not run, the next reload tries it again");
                self.loaded.config.collect.retain(|task| task.name != name);
                self.collects.tasks.remove(name);
            }
            (Told::Started(Err(_)), _) => task.run = Run::Waiting,
            (Told::Ended(summary), run) => {
                log::info!("{summary}");
                task.again = false;
                *run = match std::mem::replace(run, Run::Waiting) {
                    Run::Running(foreman) => Run::Over(foreman.collect),
                    _ => Run::Waiting,
                };
                if self.stopping.is_some() || self.mode.exit_at_end {
                    self.collects.ended.push(*summary);
                }
            }
        }
        Ok(())
    }

    /// No road goes on after this.
    pub(super) fn stop_collects(&mut self) {
        self.collects.etcd = None;
        self.collects.want(&[], &BTreeMap::new());
    }

    /// `None`: it is no collect task.
    pub(super) fn pause_collect(&mut self, name: &str, paused: bool) -> Option<()> {
        let task = self.collects.tasks.get(name).filter(|task| task.wanted.is_some())?;
        task.paused.store(paused, Ordering::Relaxed);
        Some(())
    }

    pub(super) fn on_etcd(&mut self, number: u64, list: Option<Vec<Entry>>) {
        if let Some(etcd) = self.collects.etcd.as_mut().filter(|etcd| etcd.number == number) {
            etcd.hear(list, self.mode.exit_at_end);
            self.collects.is_new = true;
        }
    }
}

/// What a station of this task is built from.
fn settings(collect: &Collect, entries: Vec<Entry>) -> tail::Settings {
    let exactly_once = |topic: &String| ExactlyOnce::on_this_host(&collect.name, topic);
    let settings = tail::Settings::new(&collect.name, collect.cluster.clone(), entries);
    tail::Settings {
        roots: collect.roots.clone(),
        start_from: collect.start_from,
        partitioner: collect.partitioner,
        client: collect.client,
        compression: collect.compression.clone(),
        max_line_bytes: collect.max_line_bytes,
        multiline_start: collect.multiline_start.clone(),
        close_delay: collect.close_delay,
        buffer_bytes: settings.buffer_bytes.max(2 * collect.max_line_bytes),
        exactly_once: collect.positions_topic.as_ref().map(exactly_once),
        ..settings
    }
}

/// Has the task done until it has ended, or nobody holds the other end of `lists`.
fn foreman(
    settings: tail::Settings,
    store: Arc<Store>,
    stop_timeout: Duration,
    lists: &Receiver<Vec<Entry>>,
    view: impl FnOnce(Collector) -> CollectView,
    tell: impl Fn(Told),
) {
    let (began, task) = (Instant::now(), settings.task.clone());
    let view = match Collector::start(settings, Some(store)) {
        Ok(collector) => Arc::new(view(collector)),
        Err(error) => return tell(Told::Started(Err(error.to_string()))),
    };
    tell(Told::Started(Ok(view.clone())));
    let mut counted: Option<Instant> = None;
    let outcome: Outcome = loop {
        match lists.recv_timeout(LOOK) {
            Ok(list) => match view.collector.entries(list) {
                Ok(()) => log::info!("{task}: the list has changed, files that it named before go on"),
                Err(faults) => log::error!("{task}: the new list is refused, the old one stays: {}", faults.join("; ")),
            },
            Err(RecvTimeoutError::Disconnected) => break view.collector.stop(stop_timeout),
            Err(RecvTimeoutError::Timeout) => {
                if let Some(outcome) = view.collector.wait(Duration::ZERO) {
                    break outcome;
                }
            }
        }
        if counted.is_none_or(|at| at.elapsed() >= COUNT) {
            view.count();
            counted = Some(Instant::now());
        }
    };
    tell(Told::Ended(Box::new(CollectSummary::new(&view, outcome, began.elapsed()))));
}
