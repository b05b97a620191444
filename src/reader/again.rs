//! The failure queue read again: parked records as one more source, behind live traffic.
//!
//! Each of them ends in the entry that moves the queue's mark over it: as a line, as filtered or cleared, or back in
//! the queue's present segment. What the order did not ask for goes back as it is.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::Settings;
use super::outlet::{Outlet, Stopped};
use super::work::{Tools, Value};
use crate::flow::clock;
use crate::flow::record::Record;
use crate::flow::span::{Counts, Mark, QUEUE};
use crate::ledger::failures::Failure;
use crate::ledger::queue::{self, Job, Walk};
use crate::ring::layout::Work;

/// Wait between two tries while the disk refuses.
const DISK_WAIT: Duration = Duration::from_secs(1);

/// Parked records taken at a time where there is no live traffic, and their part of it where there is.
pub const MOST: usize = 1024;
const PART: usize = 8;
/// Part of a second's records that are taken at once under a rate limit.
const MOMENT: usize = 64;

/// Parked records to take behind so many live ones; `rate_limit` is in records a second, 0 = none.
pub fn share(live: usize, rate_limit: u64) -> usize {
    let most = if rate_limit == 0 { MOST } else { MOST.min(1 + rate_limit as usize / MOMENT) };
    if live == 0 { most } else { (live / PART).clamp(1, most) }
}

/// A job on its way through the queue.
pub struct Again {
    task: String,
    dir: PathBuf,
    job: Job,
    /// The queue's in the ring's table.
    row: usize,
    walk: Walk,
    /// The disk refused; it is tried again then.
    not_before: Instant,
    done: bool,
}

/// A parked record's line, its place, and the next one's.
struct Entry<'a> {
    at: i64,
    next: i64,
    line: &'a [u8],
}

impl Again {
    /// Begins where the queue's mark stands.
    pub fn new(settings: &Settings, job: Job, row: usize, mark: &Mark) -> Again {
        let (task, dir) = (settings.task.clone(), settings.failures_dir.clone());
        let walk = Walk::new(&dir, mark.next, job.end);
        Again { task, dir, job, row, walk, not_before: Instant::now(), done: false }
    }

    pub fn is_done(&self) -> bool {
        self.done
    }

    /// False while it waits for the disk.
    pub fn is_ready(&self) -> bool {
        self.not_before <= Instant::now()
    }

    /// Takes at most so many parked records; returns how many.
    pub fn take(&mut self, outlet: &mut Outlet, tools: &mut Tools, most: usize) -> Result<usize, Stopped> {
        if !self.is_ready() {
            return Ok(0);
        }
        let taken = self.take_some(outlet, tools, most)?;
        let counts = outlet.publisher.marks()[self.row].counts.since(self.job.began);
        outlet.shared.note_job(|job| (job.done, job.counts) = (job.done + taken as u64, counts));
        Ok(taken)
    }

    fn take_some(&mut self, outlet: &mut Outlet, tools: &mut Tools, most: usize) -> Result<usize, Stopped> {
        for taken in 0..most {
            let found = match self.walk.step() {
                Ok(Some(found)) => found,
                Ok(None) => {
                    self.done = true;
                    outlet.room()?;
                    let mark = outlet.publisher.mark(self.row);
                    (mark.next, mark.k) = (mark.next.max(queue::place(self.job.end, 0)), 0);
                    return Ok(taken);
                }
                Err(error) => {
                    let text = format!("cannot read the failure queue in {}: {error}", self.dir.display());
                    log::error!("{}: {text}; it is tried again", self.task);
                    outlet.gauge.last_error.set(text);
                    self.not_before = Instant::now() + DISK_WAIT;
                    return Ok(taken);
                }
            };
            let entry = Entry { at: found.at, next: found.next, line: found.line };
            match Failure::parse(found.line) {
                Ok(failure) => take_one(&self.job, self.row, outlet, tools, &entry, &failure)?,
                Err(what) => {
                    let kept = keep_damaged(found.path);
                    log::error!("{}: {} has what is no parked record: {what}; {kept}", self.task, found.path.display());
                }
            }
            outlet.room()?;
            let mark = outlet.publisher.mark(self.row);
            (mark.next, mark.k) = (entry.next, 0);
            if outlet.publisher.is_ripe() {
                outlet.publish()?;
            }
        }
        Ok(most)
    }
}

/// One parked record to its end; afterwards the entry is open that is to move the mark over it.
fn take_one(
    job: &Job,
    row: usize,
    outlet: &mut Outlet,
    tools: &mut Tools,
    entry: &Entry<'_>,
    failure: &Failure,
) -> Result<(), Stopped> {
    let mark = outlet.publisher.marks()[row];
    let begun = if mark.next == entry.at { mark.k } else { 0 };
    if begun == 0 && !job.filter.matches(failure) {
        return put_back(outlet, tools, entry, failure);
    }
    if job.clear {
        outlet.room()?;
        outlet.publisher.mark(row).counts.add(Counts { consumed: 1, filtered: 1, ..Counts::default() });
        outlet.shared.take_out();
        return Ok(());
    }
    let record = Record {
        topic: &failure.topic,
        partition: failure.partition,
        offset: failure.offset,
        timestamp_ms: failure.timestamp_ms,
        leader_epoch: -1,
        value: (failure.bytes >= 0).then_some(&failure.payload),
    };
    let value = Value {
        record: &record,
        row,
        work: Work { topic: QUEUE, partition: 0, offset: entry.at },
        at: entry.at,
        skip: begun.max(failure.k),
        now_ms: clock::now_ms(),
        parked: Some(failure),
    };
    tools.parked(outlet, &value, failure)?;
    let mark = outlet.publisher.marks()[row];
    if (mark.next, mark.k > 0) != (entry.at, true) {
        // The value does not hold the record any more: another value_codec.
        return put_back(outlet, tools, entry, failure);
    }
    outlet.shared.take_out();
    Ok(())
}

/// As it is, but for a payload that does not fit a smaller ring.
fn put_back(outlet: &mut Outlet, tools: &Tools, entry: &Entry<'_>, failure: &Failure) -> Result<(), Stopped> {
    if entry.line.len() <= outlet.line_bytes_max() {
        return tools.to_queue(outlet, entry.line);
    }
    let line = outlet.failure_line(Failure { payload: Vec::new(), ..failure.clone() }, Some(&failure.payload));
    tools.to_queue(outlet, &line)
}

/// The segment under another name, which outlives it.
fn keep_damaged(path: &Path) -> String {
    let mut kept = path.as_os_str().to_owned();
    kept.push(".damaged");
    match std::fs::hard_link(path, &kept) {
        Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => format!("it cannot be kept: {e}"),
        _ => format!("all of it is kept as {}", kept.display()),
    }
}
