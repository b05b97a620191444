//! What others may see of the running program: a view of each task, made of the gauges that its threads write. Looking
//! takes nothing from the road.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam_channel::Receiver;

use super::collect_view::CollectView;
use super::look::Looks;
use crate::conf::config::Deliver;
use crate::ctl::protocol::Status;
use crate::flow::clock;
use crate::flow::gauge::Beat;
use crate::flow::problem::LastError;
use crate::flow::span::Counts;
use crate::reader::{Standing, scout};
use crate::ring::layout::Ring;
use crate::ring::slot::Slot;
use crate::sys::usage;
use crate::{reader, writer};

/// One for the whole program; the engine hangs views up and takes them down.
pub struct Board {
    generation: AtomicU64,
    views: Mutex<Vec<Arc<View>>>,
    /// Tasks that are to run, and whose files are being brought to rest.
    awaited: Mutex<Vec<String>>,
    collects: Mutex<Vec<Arc<CollectView>>>,
    /// Collect tasks that are to run and do not yet, with the reason.
    awaited_collects: Mutex<Vec<(String, String)>>,
    /// Why the list in etcd is not the one in force.
    pub etcd_trouble: Arc<LastError>,
    /// The engine's loop: begun anew each time it comes round.
    pub engine: Beat,
    looks: Mutex<Looks>,
}

/// A running task as others see it.
pub struct View {
    pub name: String,
    /// What it was started with.
    pub deliver: Arc<Deliver>,
    pub dir: PathBuf,
    pub topics: Vec<String>,
    /// What its counters stood at when it was started.
    pub began: Counts,
    pub readers: Vec<Arc<reader::Gauge>>,
    pub writers: Vec<Arc<writer::Gauge>>,
    pub scout: Arc<scout::Gauge>,
    pub task: Arc<Gauge>,
    /// The failure queue, and what is done with it.
    pub shared: Arc<reader::Shared>,
    /// One for each reader.
    pub rings: Vec<Arc<Ring>>,
    /// One for each writer.
    pub slots: Vec<Arc<Slot>>,
    /// One for each writer; nobody takes anything from here.
    pub queues: Vec<Receiver<writer::Message>>,
}

/// What a task shows of itself beside what its threads show.
#[derive(Debug, Default)]
pub struct Gauge {
    /// Of the newest durable checkpoint.
    pub checkpoint: AtomicU64,
    /// When that was; the process's milliseconds.
    pub kept_ms: AtomicU64,
    /// A cut is being made durable.
    pub keeping: Beat,
    /// Partitions that are not read on, and why.
    pub broken: Mutex<Vec<String>>,
}

impl Board {
    pub(super) fn new() -> Board {
        Board {
            generation: AtomicU64::new(1),
            views: Mutex::default(),
            awaited: Mutex::default(),
            collects: Mutex::default(),
            awaited_collects: Mutex::default(),
            etcd_trouble: Arc::default(),
            engine: Beat::default(),
            looks: Mutex::default(),
        }
    }

    /// Views of these tasks will be hung up once their files are at rest.
    pub fn await_views(&self, names: Vec<String>) {
        *self.lock_awaited() = names;
    }

    pub fn hang(&self, view: Arc<View>) {
        self.lock_awaited().retain(|name| *name != view.name);
        self.looks().hung(&view.name);
        self.lock().push(view);
    }

    /// Tasks that are not ready, each with the reason.
    pub fn not_ready(&self) -> Vec<(String, String)> {
        let at_rest = "its files are being brought to rest, which waits for their disk".to_string();
        let mut found: Vec<_> = self.lock_awaited().iter().map(|name| (name.clone(), at_rest.clone())).collect();
        for view in self.views().iter().filter(|view| !view.scout.complete.load(Ordering::Relaxed)) {
            let reason = view.scout.trouble().unwrap_or_else(|| "no broker has answered yet".into());
            found.push((view.name.clone(), reason));
        }
        found.extend(lock(&self.awaited_collects).clone());
        found
    }

    fn lock_awaited(&self) -> MutexGuard<'_, Vec<String>> {
        lock(&self.awaited)
    }

    pub fn await_collects(&self, tasks: Vec<(String, String)>) {
        *lock(&self.awaited_collects) = tasks;
    }

    pub fn hang_collect(&self, view: Arc<CollectView>) {
        self.looks().hung(view.name());
        let mut collects = lock(&self.collects);
        collects.push(view);
        collects.sort_by(|a, b| a.name().cmp(b.name()));
    }

    pub fn take_down_collect(&self, name: &str) {
        lock(&self.collects).retain(|view| view.name() != name);
    }

    /// The collect tasks that run.
    pub fn collects(&self) -> Vec<Arc<CollectView>> {
        lock(&self.collects).clone()
    }

    pub fn take_down(&self, name: &str) {
        self.lock().retain(|view| view.name != name);
    }

    /// Rises with every configuration that was accepted; 1 at start.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Relaxed)
    }

    pub fn set_generation(&self, generation: u64) {
        self.generation.store(generation, Ordering::Relaxed);
    }

    pub fn views(&self) -> Vec<Arc<View>> {
        self.lock().clone()
    }

    /// Looks at the tasks' counters, once a second at most: rates are made of what was seen.
    pub fn look(&self) {
        let mut looks = self.looks();
        if looks.is_due() {
            let collects = self.collects();
            let seen = collects.iter().map(|view| (view.name().to_string(), view.seen()));
            looks.note(self.views().iter().map(|view| (view.name.clone(), view.seen())).chain(seen).collect());
        }
    }

    pub fn status(&self) -> Status {
        let mut threads = usage::threads();
        let views = self.views();
        let looks = self.looks();
        Status {
            version: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id(),
            generation: self.generation(),
            uptime_s: clock::running_ms() / 1000,
            rss_bytes: usage::resident_bytes(),
            tasks: views.iter().map(|view| view.status(&looks, &mut threads)).collect(),
            collect: self.collects().iter().map(|view| view.status(&looks, &mut threads)).collect(),
        }
    }

    fn looks(&self) -> MutexGuard<'_, Looks> {
        lock(&self.looks)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<View>>> {
        lock(&self.views)
    }
}

fn lock<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Gauge {
    pub fn note_kept(&self, number: u64) {
        self.checkpoint.store(number, Ordering::Relaxed);
        self.kept_ms.store(clock::running_ms(), Ordering::Relaxed);
    }
}

impl View {
    /// Counts of this run: what is counted is in the redo rings, and will be in the files whatever happens.
    pub fn counts(&self) -> Counts {
        let mut sum = Counts::default();
        self.readers.iter().for_each(|gauge| sum.add(gauge.counts()));
        sum.since(self.began)
    }

    /// Where the task stands in each of its partitions, by topic and partition.
    pub fn standings(&self) -> Vec<Standing> {
        let mut all: Vec<Standing> = self.readers.iter().flat_map(|gauge| gauge.standings()).collect();
        let ends = self.scout.ends();
        for standing in &mut all {
            standing.high = standing.high.max(ends.get(&(standing.topic, standing.partition)).copied());
        }
        all.sort_unstable_by_key(|s| (s.topic, s.partition));
        all
    }
}
