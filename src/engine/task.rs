//! One deliver task as the engine sees it: its phase, its threads, and the way from one cut to the next.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError};

use super::board::{Gauge, View};
use super::identity;
use super::queue::Queue;
use super::restore::writer_live;
use super::summary::TaskSummary;
use super::wiring::{Threads, reader_live};
use crate::conf::config::Deliver;
use crate::flow::clock;
use crate::flow::span::{Counts, Mark};
use crate::ledger::cut::{Cut, Source};
use crate::ledger::keeper::Kept;
use crate::reader::scout::{self, Ask, Found, Place};
use crate::reader::{self, Control};
use crate::ring::set::MapSet;
use crate::sys::file;
use crate::transform::Program;
use crate::writer;

/// A pause that is not complete by then is withdrawn: a writer is blocked, and the flow goes on as far as it can.
const PAUSE_MAX: Duration = Duration::from_millis(200);
/// When a withdrawn pause is tried again.
const PAUSE_AGAIN: Duration = Duration::from_secs(1);

/// Where a task is on its way from cut to cut.
#[derive(Debug)]
enum Phase {
    Flowing,
    /// Readers publish what they hold and let their rings run empty.
    Pausing {
        since: Instant,
        rested: Vec<bool>,
        /// Batches that the writers had done at `since`.
        batches: u64,
    },
    /// A cut is on its way to the disk; the readers go on, unless it is the last.
    Keeping {
        last: bool,
    },
    /// The last cut is durable; threads are ending.
    Done,
}

/// A task with its threads.
pub struct Task {
    pub(super) name: String,
    /// The state that it goes on with: the same for a task of another name, another for the same with a new group.
    pub(super) state_id: u64,
    pub(super) dir: PathBuf,
    pub(super) topics: Vec<String>,
    pub(super) maps: Arc<MapSet>,
    pub(super) shared: Arc<reader::Shared>,
    pub(super) readers: Vec<ReaderEnd>,
    pub(super) writers: Vec<WriterEnd>,
    pub(super) keeper: Option<Sender<Box<Cut>>>,
    pub(super) scout: Option<Sender<Ask>>,
    /// Closed when the scout's thread has ended.
    pub(super) scout_end: Receiver<()>,
    /// Until they are started.
    pub(super) built: Threads,
    /// All but the scout's.
    pub(super) threads: Vec<JoinHandle<()>>,
    pub(super) checkpoint_interval: Duration,
    pub(super) last: Cut,
    pub(super) flow: Flow,
    pub(super) queue: Queue,
    pub(super) gauge: Arc<Gauge>,
    pub(super) scout_gauge: Arc<scout::Gauge>,
    pub(super) _lock: file::Lock,
}

/// A reader's channel and gauge.
pub struct ReaderEnd {
    pub control: Sender<Control>,
    pub gauge: Arc<reader::Gauge>,
    /// Partitions in its ring.
    pub partitions: usize,
    pub at_end: bool,
}

/// A writer's channel and gauge.
pub struct WriterEnd {
    pub inbox: Sender<writer::Message>,
    pub gauge: Arc<writer::Gauge>,
    /// The inbox's other end, to see how full it is.
    pub queue: Receiver<writer::Message>,
}

/// What changes from event to event.
pub struct Flow {
    phase: Phase,
    /// Numbers pauses, so that a late answer is not taken for a new one.
    round: u64,
    due: Instant,
    stopping: bool,
    /// Found, not yet in a cut.
    pending: Vec<Source>,
    /// In the cut under way.
    adding: Vec<Source>,
    /// Partitions whose bounds the scout could not be asked for yet.
    unbounded: Vec<(u16, i32)>,
    /// Where an `exit_at_end` run ends, until the readers know.
    ends: Option<Vec<Place>>,
    ends_sent: bool,
    pub began: Counts,
    pub goal: u64,
    pub broken: Vec<String>,
}

impl Flow {
    pub fn new(began: Counts, checkpoint_interval: Duration) -> Flow {
        Flow {
            phase: Phase::Flowing,
            round: 0,
            due: Instant::now() + checkpoint_interval,
            stopping: false,
            pending: Vec::new(),
            adding: Vec::new(),
            unbounded: Vec::new(),
            ends: None,
            ends_sent: false,
            began,
            goal: 0,
            broken: Vec::new(),
        }
    }
}

impl Task {
    /// Starts its threads, which tell the engine from now on.
    ///
    /// # Errors
    /// The kernel has no room for another thread.
    pub fn start(&mut self) -> Result<(), String> {
        self.threads = std::mem::take(&mut self.built).spawn()?;
        // Nobody joins the scout, the last one: it may be waiting for a broker.
        self.threads.pop();
        Ok(())
    }

    /// Takes over what may change while it runs.
    pub fn set_live(&mut self, deliver: &Deliver, program: &Arc<Program>) {
        self.checkpoint_interval = deliver.checkpoint_interval;
        self.flow.due = self.flow.due.min(Instant::now() + deliver.checkpoint_interval);
        self.shared.failures_max.store(deliver.failures_max, Ordering::Relaxed);
        let live = reader_live(deliver, program.clone());
        self.readers.iter().for_each(|reader| reader.gauge.live.put(Some(live.clone())));
        self.writers.iter().for_each(|writer| writer.gauge.live.put(Some(writer_live(deliver))));
    }

    /// Its readers take no further batch, or go on; checkpoints go on in either case.
    pub fn set_paused(&self, paused: bool) {
        self.shared.paused.store(paused, Ordering::Relaxed);
    }

    pub fn is_done(&self) -> bool {
        matches!(self.flow.phase, Phase::Done)
    }

    pub fn is_at_end(&self) -> bool {
        self.flow.ends_sent && self.readers.iter().all(|r| r.at_end) && self.queue.is_idle()
    }

    /// Counts of this run as far as they are known.
    pub fn counts(&self) -> Counts {
        let mut sum = Counts::default();
        self.readers.iter().for_each(|r| sum.add(r.gauge.counts()));
        sum.since(self.flow.began)
    }

    /// The index of a topic of which this partition has a place.
    pub fn known(&self, topic: &str, partition: i32) -> Option<u16> {
        let is_it = |s: &&Source| self.topics.get(usize::from(s.topic)).is_some_and(|t| t == topic);
        self.last.sources.iter().filter(is_it).find(|s| s.partition == partition).map(|s| s.topic)
    }

    /// # Errors
    /// The scout is behind, because it waits for a broker.
    pub fn ask(&self, ask: Ask) -> Result<(), TrySendError<Ask>> {
        self.scout.as_ref().map_or(Ok(()), |scout| scout.try_send(ask))
    }

    pub fn view(&self, deliver: &Deliver) -> Arc<View> {
        Arc::new(View {
            name: self.name.clone(),
            deliver: Arc::new(deliver.clone()),
            dir: self.dir.clone(),
            topics: self.topics.clone(),
            began: self.flow.began,
            readers: self.readers.iter().map(|r| r.gauge.clone()).collect(),
            writers: self.writers.iter().map(|w| w.gauge.clone()).collect(),
            scout: self.scout_gauge.clone(),
            task: self.gauge.clone(),
            shared: self.shared.clone(),
            rings: self.maps.rings.clone(),
            slots: self.maps.slots.clone(),
            queues: self.writers.iter().map(|w| w.queue.clone()).collect(),
        })
    }

    pub fn stop(&mut self) {
        self.flow.stopping = true;
        self.flow.due = Instant::now();
    }

    /// Moves on what time moves: a checkpoint is due, or a pause takes too long.
    pub fn tick(&mut self, now: Instant) -> Result<(), String> {
        match &self.flow.phase {
            Phase::Flowing if now >= self.flow.due || self.is_crowded() => {
                self.flow.round += 1;
                let (round, batches) = (self.flow.round, self.batches());
                self.flow.phase = Phase::Pausing { since: now, rested: vec![false; self.readers.len()], batches };
                self.tell_readers(|_| Control::Pause(round));
            }
            Phase::Pausing { since, batches, .. } if !self.flow.stopping && now - *since > PAUSE_MAX => {
                let done = self.batches();
                if done > *batches {
                    // Many files, or a slow disk, but the rings do run empty.
                    if let Phase::Pausing { since, batches, .. } = &mut self.flow.phase {
                        (*since, *batches) = (now, done);
                    }
                    return Ok(());
                }
                log::debug!("{}: a writer is blocked; the checkpoint is tried again", self.name);
                self.flow.phase = Phase::Flowing;
                self.flow.due = now + PAUSE_AGAIN;
                self.tell_readers(|_| Control::Resume);
            }
            _ => {}
        }
        if let Some(scout) = self.scout.as_ref().filter(|_| !self.flow.unbounded.is_empty()) {
            // A scout that is behind is asked again.
            if scout.try_send(Ask::Bounds(self.flow.unbounded.clone())).is_ok() {
                self.flow.unbounded.clear();
            }
        }
        self.send_ends();
        Ok(())
    }

    /// Batches that the writers have done.
    fn batches(&self) -> u64 {
        self.writers.iter().map(|w| w.gauge.batches.load(Ordering::Relaxed)).sum()
    }

    /// A writer's file table fills up, and a checkpoint would make room.
    fn is_crowded(&self) -> bool {
        let tried_lately = self.flow.due > Instant::now() && self.flow.due < Instant::now() + PAUSE_AGAIN;
        !tried_lately && self.writers.iter().any(|w| w.gauge.crowded.load(Ordering::Relaxed))
    }

    pub fn on_reader(&mut self, reader: usize, event: reader::Event) -> Result<(), String> {
        match event {
            reader::Event::Paused(round) if round == self.flow.round => {
                let Phase::Pausing { rested, .. } = &mut self.flow.phase else { return Ok(()) };
                rested[reader] = true;
                if rested.iter().all(|r| *r) { self.cut() } else { Ok(()) }
            }
            reader::Event::Paused(_) => Ok(()),
            reader::Event::AtEnd => {
                self.readers[reader].at_end = true;
                Ok(())
            }
            reader::Event::JobDone => {
                self.on_job_done();
                Ok(())
            }
            reader::Event::OutOfRange { topic, partition } => {
                // The next tick asks the scout.
                self.flow.unbounded.push((topic, partition));
                Ok(())
            }
            reader::Event::Broken { topic, partition, offset, reason } => {
                let topic = self.topics.get(usize::from(topic)).map_or("?", String::as_str);
                let broken = format!("{topic}/{partition} at offset {offset}: {reason}");
                self.gauge.broken.lock().unwrap_or_else(PoisonError::into_inner).push(broken.clone());
                self.flow.broken.push(broken);
                Ok(())
            }
        }
    }

    pub fn on_scout(&mut self, found: Found) -> Result<(), String> {
        match found {
            Found::Begins(places) => {
                for p in &places {
                    let topic = &self.topics[usize::from(p.topic)];
                    log::info!("{}: {topic}/{} begins at offset {}", self.name, p.partition, p.offset);
                }
                self.flow.pending.extend(places.iter().map(source));
                self.flow.due = Instant::now();
            }
            Found::Identity(found) => {
                let topics = identity::compare(&mut self.last, &found);
                self.tell_readers(|_| Control::Topics(topics.clone()));
            }
            Found::Bounds(bounds) => self.tell_readers(|_| Control::Bounds(bounds.clone())),
            Found::Ends(places) => self.flow.ends = Some(places),
            // The engine's.
            Found::Target(_) | Found::Complete => {}
        }
        Ok(())
    }

    pub fn on_keeper(&mut self, kept: Kept) -> Result<(), String> {
        self.gauge.keeping.end();
        let cut = match kept {
            Kept::Committed(cut) => *cut,
            Kept::Postponed(what) => {
                log::error!("{}: no checkpoint yet: {what}; it is tried again", self.name);
                self.flow.pending.append(&mut self.flow.adding);
                self.queue.postpone();
                self.tell_readers(|_| Control::Resume);
                self.flow.phase = Phase::Flowing;
                self.flow.due = Instant::now() + PAUSE_AGAIN;
                return Ok(());
            }
            Kept::Failed(what) => {
                return Err(format!(
                    "{}: no checkpoint after number {}: {what}; a failed sync is never tried again, so this process \
                     stops here, and the next start goes on from what is certain",
                    self.name, self.last.number
                ));
            }
        };
        log::debug!("{}: checkpoint {} is durable", self.name, cut.number);
        self.gauge.note_kept(cut.number);
        self.forget_sealed(&cut);
        self.assign_added();
        if let Some(job) = self.queue.commit() {
            self.begin_job(&job);
        }
        if let Some(scout) = &self.scout {
            let places = cut.partitions().map(|s| Place { topic: s.topic, partition: s.partition, offset: s.next });
            // A scout that is behind gets the next one.
            let _ = scout.try_send(Ask::Commit(places.collect()));
        }
        self.last = cut;
        if matches!(self.flow.phase, Phase::Keeping { last: true }) {
            if let Err(error) = self.maps.note_rest(self.last.number) {
                log::warn!("{}: cannot note that the maps are at rest: {error}", self.name);
            }
            self.flow.phase = Phase::Done;
            return Ok(());
        }
        self.flow.phase = Phase::Flowing;
        self.next_job();
        let at_once = !self.flow.pending.is_empty() || self.flow.stopping || self.queue.wants_cut();
        let wait = if at_once { Duration::ZERO } else { self.checkpoint_interval };
        self.flow.due = Instant::now() + wait;
        Ok(())
    }

    /// All readers rest and all rings are empty: this moment is the cut.
    fn cut(&mut self) -> Result<(), String> {
        self.flow.adding = std::mem::take(&mut self.flow.pending);
        let mut cut = Cut::take(&self.last, &self.maps, &self.flow.adding, clock::now_ms())
            .map_err(|what| format!("{}: no checkpoint: {what}", self.name))?;
        if self.queue.enter(&mut cut) {
            // Before any reader goes on: what is parked from now on stands in younger segments.
            self.writers.iter().for_each(|w| w.gauge.segments_from.store(cut.seq, Ordering::Relaxed));
        }
        self.flow.phase = Phase::Keeping { last: self.flow.stopping };
        if !self.flow.stopping {
            self.tell_readers(|_| Control::Resume);
        }
        let keeper = self.keeper.as_ref().ok_or("the keeper is gone")?;
        self.gauge.keeping.begin();
        keeper.try_send(Box::new(cut)).map_err(|_| format!("{}: the keeper does not take the cut", self.name))
    }

    /// Sealed files that the checkpoint holds leave the writers' tables.
    fn forget_sealed(&self, cut: &Cut) {
        for (index, writer) in self.writers.iter().enumerate() {
            let sealed = cut.files.iter().filter(|f| f.sealed && f.place.0 == index);
            let rows: Vec<(usize, u64)> = sealed.map(|f| (f.place.1, f.seq)).collect();
            writer.gauge.committed.put(rows);
        }
    }

    /// Partitions that no ring has yet: their beginning is durable already. Then what the last process did not end.
    pub(super) fn go_on(&mut self, sources: Vec<Source>) {
        self.flow.adding = sources;
        self.assign_added();
        if let Some(job) = self.last.job.clone() {
            self.begin_job(&job);
        }
    }

    pub(super) fn checkpoint_soon(&mut self) {
        self.flow.due = Instant::now();
    }

    /// Sources that the last cut does not hold yet.
    pub(super) fn awaited(&self) -> impl Iterator<Item = &Source> {
        self.flow.pending.iter().chain(&self.flow.adding)
    }

    /// The next cut is to hold it, and then a reader.
    pub(super) fn await_source(&mut self, source: Source) {
        self.flow.pending.push(source);
    }

    /// Partitions whose beginning is durable now go to the readers with the fewest.
    fn assign_added(&mut self) {
        let mut shares: Vec<Vec<Mark>> = vec![Vec::new(); self.readers.len()];
        for source in std::mem::take(&mut self.flow.adding) {
            let fewest = (0..self.readers.len()).min_by_key(|r| self.readers[*r].partitions).unwrap_or(0);
            self.readers[fewest].partitions += 1;
            shares[fewest].push(Mark::from(source));
        }
        self.tell_readers(|reader| Control::Assign(std::mem::take(&mut shares[reader])));
    }

    /// Once every partition has its reader, they hear where to end.
    fn send_ends(&mut self) {
        let assigned = self.flow.pending.is_empty() && self.flow.adding.is_empty();
        if let Some(ends) = self.flow.ends.take_if(|_| assigned) {
            let ends: Vec<_> = ends.iter().map(|p| (p.topic, p.partition, p.offset)).collect();
            self.flow.goal = ends.iter().map(|end| self.distance(*end)).sum();
            self.flow.ends_sent = true;
            self.tell_readers(|_| Control::EndAt(ends.clone()));
        }
    }

    fn distance(&self, (topic, partition, end): (u16, i32, i64)) -> u64 {
        let from = self.last.sources.iter().find(|s| (s.topic, s.partition) == (topic, partition));
        from.map_or(0, |s| (end - s.next).max(0) as u64)
    }

    pub(super) fn tell_readers(&self, mut control: impl FnMut(usize) -> Control) {
        for (index, reader) in self.readers.iter().enumerate() {
            match control(index) {
                Control::Assign(marks) if marks.is_empty() => {}
                control => {
                    if let Err(TrySendError::Full(_)) = reader.control.try_send(control) {
                        panic!("{}: reader {index} does not hear the engine any more", self.name);
                    }
                }
            }
        }
    }

    /// Ends the threads, first station first; all of them have nothing left to do. Only the scout may be waiting for a
    /// broker that is away: it has until `deadline`, for what it still does matters to lag tools alone.
    pub fn finish(mut self, deadline: Instant) -> TaskSummary {
        self.tell_readers(|_| Control::Stop);
        let counts = self.counts();
        let sum = |count: fn(&writer::Gauge) -> &AtomicU64| -> u64 {
            self.writers.iter().map(|w| count(&w.gauge).load(Ordering::Relaxed)).sum()
        };
        let lost = self.readers.iter().map(|r| r.gauge.lost_to_retention.load(Ordering::Relaxed)).sum();
        let (strangers, deleted_live) = (sum(|g| &g.strangers), sum(|g| &g.deleted_live));
        self.readers.clear();
        self.writers.clear();
        self.keeper = None;
        self.scout = None;
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
        if let Err(RecvTimeoutError::Timeout) = self.scout_end.recv_deadline(deadline) {
            log::warn!("{}: no broker answers: the group's offsets are committed after the next start", self.name);
        }
        TaskSummary {
            name: self.name,
            dir: self.dir,
            counts,
            total: self.last.counts(),
            tally: self.last.tally(),
            retried: self.last.retried(),
            cleared: self.last.cleared(),
            queued: self.last.queued(),
            broken: self.flow.broken,
            lost_to_retention: lost,
            strangers,
            deleted_live,
        }
    }
}

fn source(place: &Place) -> Source {
    Mark { topic: place.topic, partition: place.partition, next: place.offset, epoch: -1, ..Mark::default() }.into()
}
