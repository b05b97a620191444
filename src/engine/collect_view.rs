//! A collect task as others see it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::look::{Looks, Pace, Seen};
use crate::conf::config::Collect;
use crate::ctl::protocol::{CollectState, CollectStatus, FileRow};
use crate::flow::problem::LastError;
use crate::sys::thread;
use crate::sys::usage::ThreadTimes;
use crate::tail::collector::{Collector, State, Status};
use crate::tail::{FileStatus, OrderError, Totals};

/// A running collect task.
pub struct CollectView {
    pub collect: Arc<Collect>,
    pub collector: Collector,
    pub paused: Arc<AtomicBool>,
    /// Why the list in etcd is not the one in force, where it takes one.
    etcd_trouble: Option<Arc<LastError>>,
    /// Of the files, as they were counted last.
    pub behind: AtomicU64,
    pub refused: AtomicU64,
}

impl CollectView {
    pub fn new(
        collect: Arc<Collect>,
        paused: Arc<AtomicBool>,
        etcd_trouble: Option<Arc<LastError>>,
        collector: Collector,
    ) -> CollectView {
        let (behind, refused) = Default::default();
        CollectView { collect, collector, paused, etcd_trouble, behind, refused }
    }

    pub fn name(&self) -> &str {
        &self.collect.name
    }

    /// Why the list in etcd is not the one in force.
    pub fn list_trouble(&self) -> Option<String> {
        self.etcd_trouble.as_ref()?.get()
    }

    /// Every file, asked of the station.
    ///
    /// # Errors
    /// It does not answer.
    pub fn files(&self) -> Result<Vec<FileRow>, OrderError> {
        let row = |file: FileStatus| FileRow {
            task: self.name().into(),
            path: file.path.display().to_string(),
            topic: file.topic,
            position: file.position,
            size: file.size,
            behind: file.size.saturating_sub(file.position),
            identity: file.identity,
            state: file.state.into(),
            reason: file.reason,
        };
        Ok(self.collector.files()?.into_iter().map(row).collect())
    }

    /// Notes how far behind the files are; where nobody answers, the last count stays.
    pub fn count(&self) {
        let Ok(files) = self.collector.files() else { return };
        let behind = files.iter().map(|file| file.size.saturating_sub(file.position)).sum();
        self.behind.store(behind, Ordering::Relaxed);
        let refused = files.iter().filter(|file| file.state == "refused").count();
        self.refused.store(refused as u64, Ordering::Relaxed);
    }

    /// What rates are made of: lines, and bytes that are not confirmed yet.
    pub fn seen(&self) -> Seen {
        let lines = self.collector.status().totals.lines.load(Ordering::Relaxed);
        Seen { consumed: lines, lag: Some(self.behind.load(Ordering::Relaxed)) }
    }

    /// `threads` are those of the process; the task's is taken out of it.
    pub fn status(&self, looks: &Looks, threads: &mut Vec<ThreadTimes>) -> CollectStatus {
        let Status { state, cause, restarts, totals, .. } = self.collector.status();
        let Totals { lines, bytes, failed, files, .. } = &*totals;
        let read = |sum: &AtomicU64| sum.load(Ordering::Relaxed);
        let Pace { rate, catch_up_s } = looks.pace(self.name(), self.seen());
        let thread = thread::kept_name(&format!("tail-{}", self.name()));
        let times = threads.iter().position(|times| times.name == thread).map(|at| threads.remove(at));
        CollectStatus {
            name: self.name().into(),
            state: match state {
                State::Running if self.paused.load(Ordering::Relaxed) => CollectState::Paused,
                State::Running => CollectState::Running,
                State::Starting | State::Waiting => CollectState::Restarting,
                State::Hung => CollectState::Hung,
                State::Fenced => CollectState::Fenced,
                State::Ended => CollectState::Ended,
            },
            lines: read(lines),
            bytes: read(bytes),
            sent_again: read(failed),
            rate,
            files: read(files),
            refused: read(&self.refused),
            behind_bytes: read(&self.behind),
            catch_up_s,
            restarts,
            cpu_ms: times.map_or(0, |times| times.cpu_ms),
            list: self.list_trouble(),
            last_error: cause,
        }
    }
}
