//! What a run ends with, as numbers and as text.

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::collect_view::CollectView;
use crate::flow::span::Counts;
use crate::flow::tally::Tally;
use crate::tail::station::Outcome;

/// The numbers a finished run ends with.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    pub tasks: Vec<TaskSummary>,
    pub collects: Vec<CollectSummary>,
    pub elapsed: Duration,
}

/// A finished task's numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskSummary {
    pub name: String,
    pub dir: PathBuf,
    /// Of this run.
    pub counts: Counts,
    /// Of the task's whole life.
    pub total: Counts,
    /// Of the task's whole life.
    pub tally: Tally,
    /// Parked records that were tried again, in the task's whole life.
    pub retried: Counts,
    /// Parked records that were cleared, in the task's whole life.
    pub cleared: u64,
    /// Records in the failure queue.
    pub queued: u64,
    /// Partitions that could not be read on.
    pub broken: Vec<String>,
    /// Offsets that the broker's retention removed before they were read in this run.
    pub lost_to_retention: u64,
    /// Files in which somebody else wrote during this run.
    pub strangers: u64,
    /// Files that somebody removed or cut during this run, while they were being written.
    pub deleted_live: u64,
}

/// A finished collect task's numbers, of this run.
#[derive(Debug, Clone, PartialEq)]
pub struct CollectSummary {
    pub name: String,
    pub lines: u64,
    pub bytes: u64,
    pub time: Duration,
    pub outcome: Outcome,
}

impl CollectSummary {
    pub fn new(view: &CollectView, outcome: Outcome, time: Duration) -> CollectSummary {
        let totals = view.collector.status().totals;
        let (lines, bytes) = (totals.lines.load(Ordering::Relaxed), totals.bytes.load(Ordering::Relaxed));
        CollectSummary { name: view.name().into(), lines, bytes, time, outcome }
    }

    fn is_whole(&self) -> bool {
        let Outcome { unconfirmed, refused, broken, .. } = &self.outcome;
        *unconfirmed == 0 && refused.is_empty() && broken.is_none()
    }
}

impl Summary {
    /// True where no partition and no line was left behind.
    pub fn is_whole(&self) -> bool {
        self.tasks.iter().all(|t| t.broken.is_empty()) && self.collects.iter().all(CollectSummary::is_whole)
    }
}

impl fmt::Display for CollectSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let CollectSummary { name, lines, bytes, time, outcome } = self;
        let seconds = time.as_secs_f64();
        let rate = *lines as f64 / seconds.max(0.001);
        write!(f, "{name}: sent {lines} lines, {bytes} bytes in {seconds:.1} s ({rate:.0} lines/s)")?;
        match outcome.unconfirmed {
            0 => write!(f, ", all confirmed")?,
            messages => write!(f, ", {messages} messages not confirmed: they are sent again at the next start")?,
        }
        for (path, why) in &outcome.refused {
            write!(f, "\n{name}: not followed: {}: {why}", path.display())?;
        }
        outcome.broken.iter().try_for_each(|why| write!(f, "\n{name}: ended before its time: {why}"))
    }
}

/// "1 task", "2 tasks".
pub fn plural(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.elapsed.as_secs_f64();
        for task in &self.tasks {
            let Counts { consumed, written, filtered, parked } = task.counts;
            writeln!(
                f,
                "{}: consumed {consumed} = written {written} + filtered {filtered} + parked {parked} \
                 in {seconds:.1} s ({:.0} records/s), files in {}",
                task.name,
                consumed as f64 / seconds.max(0.001),
                task.dir.display()
            )?;
            let total = task.total;
            if total != task.counts {
                writeln!(
                    f,
                    "{}: since its first start consumed {} = written {} + filtered {} + parked {}",
                    task.name, total.consumed, total.written, total.filtered, total.parked
                )?;
            }
            let Counts { consumed, written, filtered, parked } = task.retried;
            if consumed + task.cleared > 0 {
                writeln!(
                    f,
                    "{}: failure queue: retried {consumed} = written {written} + filtered {filtered} + parked again \
                     {parked}, cleared {}, holds {}",
                    task.name, task.cleared, task.queued
                )?;
            }
            let named: Vec<String> = task.tally.named().map(|(name, n)| format!("{name} {n}")).collect();
            if !named.is_empty() {
                writeln!(f, "{}: {}", task.name, named.join(", "))?;
            }
            if task.strangers + task.deleted_live > 0 {
                let (strangers, deleted) = (task.strangers, task.deleted_live);
                writeln!(f, "{}: files written by strangers {strangers}, removed or cut {deleted}", task.name)?;
            }
            if task.lost_to_retention > 0 {
                writeln!(f, "{}: lost to retention {}", task.name, task.lost_to_retention)?;
            }
            for broken in &task.broken {
                writeln!(f, "{}: not read to its end: {broken}", task.name)?;
            }
        }
        for collect in &self.collects {
            writeln!(f, "{collect}")?;
        }
        Ok(())
    }
}
