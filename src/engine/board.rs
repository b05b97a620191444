//! What others may see of the running program: a view of each task, made of the gauges that its threads write. Looking
//! takes nothing from the road.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam_channel::Receiver;

use super::task;
use super::wiring::{reader_name, writer_name};
use crate::ctl::protocol::{QueueStatus, Status, TaskStatus, ThreadStatus};
use crate::flow::gauge::Beat;
use crate::flow::span::Counts;
use crate::reader::{JobProgress, Standing, scout};
use crate::ring::layout::Ring;
use crate::{reader, writer};

/// One for the whole program; the engine hangs views up and takes them down.
pub struct Board {
    generation: AtomicU64,
    views: Mutex<Vec<Arc<View>>>,
    /// Tasks that are to run, and whose files are being brought to rest.
    awaited: Mutex<Vec<String>>,
    /// The engine's loop: begun anew each time it comes round.
    pub engine: Beat,
}

/// A running task as others see it.
pub struct View {
    pub name: String,
    pub dir: PathBuf,
    pub topics: Vec<String>,
    /// What its counters stood at when it was started.
    pub began: Counts,
    pub readers: Vec<Arc<reader::Gauge>>,
    pub writers: Vec<Arc<writer::Gauge>>,
    pub scout: Arc<scout::Gauge>,
    pub task: Arc<task::Gauge>,
    /// The failure queue, and what is done with it.
    pub shared: Arc<reader::Shared>,
    /// One for each reader.
    pub rings: Vec<Arc<Ring>>,
    /// One for each writer; nobody takes anything from here.
    pub queues: Vec<Receiver<writer::Message>>,
}

impl Board {
    pub fn new() -> Board {
        Board {
            generation: AtomicU64::new(1),
            views: Mutex::default(),
            awaited: Mutex::default(),
            engine: Beat::default(),
        }
    }

    /// Views of these tasks will be hung up once their files are at rest.
    pub fn await_views(&self, names: Vec<String>) {
        *self.lock_awaited() = names;
    }

    pub fn hang(&self, view: Arc<View>) {
        self.lock_awaited().retain(|name| *name != view.name);
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
        found
    }

    fn lock_awaited(&self) -> MutexGuard<'_, Vec<String>> {
        self.awaited.lock().unwrap_or_else(PoisonError::into_inner)
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

    pub fn status(&self) -> Status {
        Status {
            version: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id(),
            generation: self.generation(),
            tasks: self.views().iter().map(|view| view.status()).collect(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<View>>> {
        self.views.lock().unwrap_or_else(PoisonError::into_inner)
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

    fn status(&self) -> TaskStatus {
        let thread = |name, blocked: &std::sync::atomic::AtomicBool, last_error| ThreadStatus {
            name,
            blocked: blocked.load(Ordering::Relaxed),
            last_error,
        };
        let readers = self.readers.iter().enumerate();
        let writers = self.writers.iter().enumerate();
        let readers = readers.map(|(i, g)| thread(reader_name(i, &self.name), &g.blocked, g.last_error.get()));
        let writers = writers.map(|(i, g)| thread(writer_name(i, &self.name), &g.blocked, g.last_error.get()));
        let JobProgress { running, goal, done, counts } = self.shared.job();
        TaskStatus {
            name: self.name.clone(),
            paused: self.shared.paused.load(Ordering::Relaxed),
            counts: self.counts(),
            queue: QueueStatus { failures: self.shared.failures.load(Ordering::Relaxed), running, goal, done, counts },
            threads: readers.chain(writers).collect(),
        }
    }
}
