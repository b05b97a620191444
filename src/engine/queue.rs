//! Retry and clear, as the engine leads them. A checkpoint that holds the job begins it, so that no crash forgets it;
//! the reader that has the queue's mark works on it; the next checkpoint ends it.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_channel::Sender;

use super::remote::Answer;
use super::task::Task;
use crate::flow::span::{Counts, Mark, QUEUE};
use crate::ledger::cut::Cut;
use crate::ledger::failures::Filter;
use crate::ledger::queue::Job;
use crate::reader::{Control, JobProgress};

/// What a task does with its failure queue.
#[derive(Default)]
pub struct Queue {
    state: State,
    /// Those that new settings may have mended come next.
    again: bool,
}

#[derive(Default)]
enum State {
    #[default]
    Idle,
    /// The next cut takes it up.
    Wanted(Job, Option<Arc<Asked>>),
    /// It is in a cut on its way to the disk.
    Beginning(Job, Option<Arc<Asked>>),
    /// A reader works on it.
    Running(Option<Arc<Asked>>),
    /// The reader is through: the next cut ends it.
    Through(Option<Arc<Asked>>),
    /// That cut is on its way to the disk.
    Ending(Counts, Option<Arc<Asked>>),
}

/// Who waits for the end of an order, which may be for many tasks. The last of them to let go of it answers.
pub struct Asked {
    answer: Sender<Answer>,
    clear: bool,
    sum: Mutex<Sum>,
}

#[derive(Default)]
struct Sum {
    counts: Counts,
    tasks: usize,
    ended: usize,
}

impl Asked {
    pub fn new(answer: Sender<Answer>, clear: bool) -> Asked {
        Asked { answer, clear, sum: Mutex::default() }
    }

    fn begin(&self) {
        self.sum.lock().unwrap_or_else(PoisonError::into_inner).tasks += 1;
    }

    fn end(&self, counts: Counts) {
        let mut sum = self.sum.lock().unwrap_or_else(PoisonError::into_inner);
        sum.counts.add(counts);
        sum.ended += 1;
    }

    fn told(&self) -> Answer {
        let sum = self.sum.lock().unwrap_or_else(PoisonError::into_inner);
        if sum.ended < sum.tasks {
            return Err("stopped before all was done; the rest goes on at the next start".into());
        }
        let Counts { consumed, written, filtered, parked } = sum.counts;
        Ok(match self.clear {
            true => consumed.to_string(),
            false => format!("{consumed} retried: {written} lines, {filtered} filtered, {parked} parked again"),
        })
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        // Who asked may have gone.
        let _ = self.answer.try_send(self.told());
    }
}

impl Queue {
    /// Of a task that starts: a job that the last process did not end goes on.
    pub fn restored(cut: &Cut) -> Queue {
        Queue { state: if cut.job.is_some() { State::Running(None) } else { State::Idle }, again: false }
    }

    pub fn is_idle(&self) -> bool {
        matches!(self.state, State::Idle) && !self.again
    }

    /// A cut would move it on.
    pub fn wants_cut(&self) -> bool {
        matches!(self.state, State::Wanted(..) | State::Through(_))
    }

    /// Enters into the cut what begins or ends with it. True where a job begins: no segment that it is about may grow
    /// from here on.
    pub fn enter(&mut self, cut: &mut Cut) -> bool {
        let counts = cut.queue().counts;
        match std::mem::take(&mut self.state) {
            State::Wanted(mut job, asked) => {
                (job.end, job.began) = (cut.seq, counts);
                cut.job = Some(job.clone());
                self.state = State::Beginning(job, asked);
                true
            }
            State::Through(asked) => {
                let done = cut.job.as_ref().map_or(Counts::default(), |job| counts.since(job.began));
                cut.cleared = cut.cleared();
                cut.job = None;
                self.state = State::Ending(done, asked);
                false
            }
            other => {
                self.state = other;
                false
            }
        }
    }

    /// The cut did not become durable: the next one has to hold the same.
    pub fn postpone(&mut self) {
        self.state = match std::mem::take(&mut self.state) {
            State::Beginning(job, asked) => State::Wanted(job, asked),
            State::Ending(_, asked) => State::Through(asked),
            other => other,
        };
    }

    /// The cut is durable; a job that is to be begun now.
    pub fn commit(&mut self) -> Option<Job> {
        match std::mem::take(&mut self.state) {
            State::Beginning(job, asked) => {
                self.state = State::Running(asked);
                Some(job)
            }
            State::Ending(counts, asked) => {
                asked.iter().for_each(|asked| asked.end(counts));
                None
            }
            other => {
                self.state = other;
                None
            }
        }
    }

    fn read_through(&mut self) {
        self.state = match std::mem::take(&mut self.state) {
            State::Running(asked) => State::Through(asked),
            other => other,
        };
    }
}

impl Task {
    /// # Errors
    /// A retry or clear is under way, or the task is paused.
    pub fn job_may_begin(&self) -> Result<(), String> {
        if self.shared.paused.load(Ordering::Relaxed) {
            return Err(format!("{} is paused; resume it first", self.name));
        }
        if matches!(self.queue.state, State::Idle) {
            return Ok(());
        }
        let JobProgress { done, goal, .. } = self.shared.job();
        Err(format!(
            "{}: a retry or clear is under way ({done} of {goal} parked records); try again when it is done",
            self.name
        ))
    }

    /// Takes up a retry or clear, where one may begin.
    pub fn order_job(&mut self, job: Job, asked: Option<Arc<Asked>>) {
        debug_assert!(matches!(self.queue.state, State::Idle));
        if !self.last.sources.iter().chain(self.awaited()).any(|s| s.topic == QUEUE) {
            self.await_source(Mark { topic: QUEUE, ..Mark::default() }.into());
        }
        asked.iter().for_each(|asked| asked.begin());
        self.queue.state = State::Wanted(job, asked);
        self.show_job();
        self.checkpoint_soon();
    }

    /// One new attempt for the parked records that other settings may mend; to be called once they are accepted.
    pub fn retry_after_reload(&mut self) {
        self.queue.again = true;
        self.next_job();
    }

    /// Takes up what waits for the end of the last job.
    pub(super) fn next_job(&mut self) {
        let is_idle = matches!(self.queue.state, State::Idle);
        self.shared.note_job(|job| job.running &= !is_idle);
        if !is_idle || !std::mem::take(&mut self.queue.again) {
            return;
        }
        let filter = Filter::after_reload();
        if self.shared.failures.load(Ordering::Relaxed) == 0 || !filter.may_match(&self.maps.tally()) {
            return;
        }
        self.order_job(Job::new(false, filter), None);
    }

    pub(super) fn begin_job(&self, job: &Job) {
        let Job { clear, end, .. } = job;
        let queued = self.shared.failures.load(Ordering::Relaxed);
        let what = if *clear { "clear" } else { "retry" };
        log::info!("{}: {what} begins: {queued} parked records, in segments before number {end}", self.name);
        self.show_job();
        self.tell_readers(|_| Control::Job(job.clone()));
    }

    fn show_job(&self) {
        let goal = self.shared.failures.load(Ordering::Relaxed);
        self.shared.note_job(|job| *job = JobProgress { running: true, goal, ..JobProgress::default() });
    }

    /// The reader has published all of it.
    pub(super) fn on_job_done(&mut self) {
        self.queue.read_through();
        self.checkpoint_soon();
    }
}
