//! A task's status: its gauges, rings, slots and threads at one moment, in the words of the door.

use std::sync::atomic::Ordering;

use super::board::View;
use super::look::{Looks, Pace, Seen};
use super::wiring::{reader_name, writer_name};
use crate::ctl::protocol::{FILES_SHOWN_MAX, FileStatus, QueueStatus, TaskState, TaskStatus, ThreadStatus};
use crate::flow::span::Counts;
use crate::reader::JobProgress;
use crate::sys::thread;
use crate::sys::usage::ThreadTimes;

impl View {
    /// What rates are made of.
    pub fn seen(&self) -> Seen {
        Seen { consumed: self.total().consumed, lag: self.lag() }
    }

    /// Counts of the task's whole life.
    pub fn total(&self) -> Counts {
        let mut sum = Counts::default();
        self.readers.iter().for_each(|gauge| sum.add(gauge.counts()));
        sum
    }

    /// Records that are not taken yet, of the partitions that are read; `None` where that is not known of one of them,
    /// or of none at all.
    pub fn lag(&self) -> Option<u64> {
        let standings = self.standings();
        let known = !standings.is_empty() || self.scout.complete.load(Ordering::Relaxed);
        known.then(|| standings.iter().map(|standing| standing.lag()).sum()).flatten()
    }

    /// `threads` are those of the process; the task's are taken out of it.
    pub fn status(&self, looks: &Looks, threads: &mut Vec<ThreadTimes>) -> TaskStatus {
        let seen = self.seen();
        let Pace { rate, catch_up_s } = looks.pace(&self.name, seen);
        let threads = self.threads(threads);
        let is_blocked = threads.iter().any(|thread| thread.blocked);
        let newest_ms = self.readers.iter().map(|gauge| gauge.newest_ms.load(Ordering::Relaxed)).max();
        let (files, files_open) = self.files();
        let name = |topic: u16| self.topics.get(usize::from(topic)).map_or("?", String::as_str);
        let stopped = self.standings().into_iter().filter(|standing| standing.stopped);
        let JobProgress { running, goal, done, counts } = self.shared.job();
        TaskStatus {
            name: self.name.clone(),
            state: match self.shared.paused.load(Ordering::Relaxed) {
                true => TaskState::Paused,
                false if is_blocked => TaskState::Blocked,
                false => TaskState::Running,
            },
            counts: self.counts(),
            queue: QueueStatus { failures: self.shared.failures.load(Ordering::Relaxed), running, goal, done, counts },
            rate,
            lag: seen.lag,
            catch_up_s,
            client: self.shared.choice.client(),
            client_reason: self.shared.choice.reason().map(Into::into),
            newest_ms: newest_ms.filter(|ms| *ms > 0),
            restarts: looks.restarts(&self.name),
            last_error: self.scout.trouble().or_else(|| threads.iter().find_map(|t| t.last_error.clone())),
            threads,
            files,
            files_open,
            stopped: stopped.map(|s| format!("{}/{}", name(s.topic), s.partition)).collect(),
        }
    }

    fn threads(&self, all: &mut Vec<ThreadTimes>) -> Vec<ThreadStatus> {
        let mut status = |name: String, blocked: bool, fill: usize, last_error| {
            let name = thread::kept_name(&name);
            // Names may be alike once they are cut; threads stand in the order in which they were started.
            let found = all.iter().position(|times| times.name == name).map(|at| all.remove(at));
            let (core, cpu_ms) = found.map_or((None, 0), |times| (Some(times.core), times.cpu_ms));
            ThreadStatus { name, blocked, core, cpu_ms, fill: fill.min(100) as u8, last_error }
        };
        let mut threads = Vec::new();
        for (index, (gauge, ring)) in self.readers.iter().zip(&self.rings).enumerate() {
            let used = ring.head().saturating_sub(ring.tail()) as usize;
            let blocked = gauge.blocked.load(Ordering::Relaxed);
            let name = reader_name(index, &self.name);
            threads.push(status(name, blocked, used * 100 / ring.size(), gauge.last_error.get()));
        }
        for (index, (gauge, queue)) in self.writers.iter().zip(&self.queues).enumerate() {
            let fill = queue.len() * 100 / queue.capacity().unwrap_or(0).max(1);
            let blocked = gauge.blocked.load(Ordering::Relaxed);
            threads.push(status(writer_name(index, &self.name), blocked, fill, gauge.last_error.get()));
        }
        threads
    }

    fn files(&self) -> (Vec<FileStatus>, usize) {
        let (mut shown, mut open) = (Vec::new(), 0);
        for (index, slot) in self.slots.iter().enumerate() {
            let (files, number) = slot.open_files(FILES_SHOWN_MAX - shown.len());
            open += number;
            let thread = thread::kept_name(&writer_name(index, &self.name));
            shown.extend(files.into_iter().map(|(name, bytes)| FileStatus { thread: thread.clone(), name, bytes }));
        }
        (shown, open)
    }
}
