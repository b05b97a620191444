//! What others may see of the running program: a view of each task, made of the gauges that its threads write. Looking
//! takes nothing from the road.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::wiring::{reader_name, writer_name};
use crate::ctl::protocol::{Status, TaskStatus, ThreadStatus};
use crate::flow::span::Counts;
use crate::reader::Standing;
use crate::{reader, writer};

/// One for the whole program; the engine hangs views up and takes them down.
pub struct Board {
    generation: AtomicU64,
    views: Mutex<Vec<Arc<View>>>,
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
}

impl Board {
    pub fn new() -> Board {
        Board { generation: AtomicU64::new(1), views: Mutex::default() }
    }

    pub fn hang(&self, view: Arc<View>) {
        self.lock().push(view);
    }

    pub fn take_down(&self, name: &str) {
        self.lock().retain(|view| view.name != name);
    }

    pub fn views(&self) -> Vec<Arc<View>> {
        self.lock().clone()
    }

    pub fn status(&self) -> Status {
        Status {
            version: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id(),
            generation: self.generation.load(Ordering::Relaxed),
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
        TaskStatus { name: self.name.clone(), counts: self.counts(), threads: readers.chain(writers).collect() }
    }
}
