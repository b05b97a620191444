//! Exactly once: lines and places go out in transactions. A reader of committed records sees every line once, through
//! any kill; a second instance of the same task fences the first one off.
//!
//! idle -> open: lines go out -> closing: no more reading, all reports come in -> the places are put -> commit.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::ExactlyOnce;
use super::cursor::Place;
use super::positions::{Owed, Remembered};
use super::produce::Undone;
use super::recall::recall;
use super::station::Station;
use crate::sys::follow;

/// How long a transaction takes lines.
const OPEN: Duration = Duration::from_millis(500);
/// Longest wait in one call; orders wait so long too.
const STEP: Duration = Duration::from_secs(1);
/// A transaction that is open for so long may have been aborted by its broker (transaction.timeout.ms).
const EXPIRED: Duration = Duration::from_secs(55);

/// Where the transaction stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Phase {
    #[default]
    Idle,
    Open,
    Closing,
    Putting,
}

/// The transactions of a task.
#[derive(Debug, Default)]
pub struct Exact {
    pub settings: ExactlyOnce,
    pub phase: Phase,
    pub since: Option<Instant>,
    /// Something in it was not delivered.
    pub has_failed: bool,
    /// The place before it of every file that has lines in it.
    pub before: HashMap<usize, Place>,
    /// Places that were put into it and are not committed.
    put: Owed,
    /// The number of the topic of places.
    topic: usize,
}

impl Exact {
    pub fn new(settings: ExactlyOnce) -> Exact {
        Exact { settings, ..Exact::default() }
    }

    pub fn may_read(&self) -> bool {
        matches!(self.phase, Phase::Idle | Phase::Open)
    }

    /// When the open transaction is to be closed.
    pub fn closes_at(&self) -> Option<Instant> {
        self.since.filter(|_| self.phase == Phase::Open).map(|since| since + OPEN)
    }
}

impl Station {
    /// Takes the transactional id over and reads the places back. False where it was told to stop meanwhile.
    pub(super) fn begin_exact(&mut self) -> bool {
        let Some(topic) = self.exact.as_ref().map(|exact| exact.settings.positions_topic.clone()) else { return true };
        let cluster = self.settings.cluster.clone();
        let mut is_ours = false;
        loop {
            if !self.goes_on() {
                return false;
            }
            let taken = if is_ours { Ok(()) } else { self.producer.init_transactions(STEP) };
            is_ours = taken.is_ok();
            let ready = match taken {
                Ok(()) => recall(&cluster, &topic, &mut || self.goes_on()).map_err(|e| e.to_string()),
                Err(Undone::Fatal(reason)) => {
                    self.broken = Some(reason);
                    return false;
                }
                Err(Undone::Again(reason) | Undone::Abort(reason)) => Err(reason),
            };
            match ready {
                Ok(values) => {
                    let text = |(key, value): (Vec<u8>, Vec<u8>)| (String::from_utf8_lossy(&key).into_owned(), value);
                    let (remembered, old) = Remembered::of(&self.settings.task, values.into_iter().map(text));
                    self.begun.extend(remembered.begun.iter().cloned());
                    self.fleet.remember(remembered);
                    self.owed.forgotten.extend(old);
                    return self.name_positions();
                }
                Err(reason) => self.say(format!("waits for its places in Kafka: {reason}")),
            }
            follow::wait(&[self.bell.fd()], STEP);
        }
    }

    /// Between two steps of what takes long; false where it is told to end.
    fn goes_on(&mut self) -> bool {
        self.lease.beat();
        self.take_orders();
        !self.is_stopping() && !self.lease.is_revoked()
    }

    fn name_positions(&mut self) -> bool {
        let Some(exact) = &mut self.exact else { return true };
        match self.producer.topic(&exact.settings.positions_topic) {
            Ok(topic) => exact.topic = topic,
            Err(e) => self.broken = Some(e.to_string()),
        }
        self.broken.is_none()
    }

    /// Opens a transaction where none is, for lines of this file; false where that cannot be.
    pub(super) fn enter_transaction(&mut self, at: usize) -> bool {
        let Some(exact) = &mut self.exact else { return true };
        if exact.phase == Phase::Idle {
            match self.producer.begin_transaction() {
                Ok(()) => (exact.phase, exact.since) = (Phase::Open, Some(Instant::now())),
                Err(undone) => {
                    self.go_back(undone);
                    return false;
                }
            }
        }
        if let (Some(exact), Some(followed)) = (&mut self.exact, self.fleet.get_mut(at)) {
            exact.before.entry(at).or_insert_with(|| followed.cursor.kept().clone());
        }
        true
    }

    /// The next step of the transaction, where there is one to do.
    pub(super) fn settle_transaction(&mut self) {
        if self.renew_at.is_some() {
            return;
        }
        let Some(exact) = &mut self.exact else { return };
        let age = exact.since.map_or(Duration::ZERO, |since| since.elapsed());
        let is_reported = self.producer.in_flight() == 0;
        match exact.phase {
            Phase::Open if age >= OPEN || self.is_full || self.stopping.is_some() => exact.phase = Phase::Closing,
            Phase::Closing if is_reported && exact.has_failed => {
                self.go_back(Undone::Abort("lines were not delivered".into()));
            }
            Phase::Closing if is_reported => self.put_places(),
            Phase::Putting if is_reported && exact.has_failed => {
                self.go_back(Undone::Abort("places were not delivered".into()));
            }
            Phase::Putting if is_reported => match self.producer.commit_transaction(STEP) {
                Ok(()) => self.committed(),
                Err(Undone::Again(reason)) => self.say(format!("a commit takes its time: {reason}")),
                Err(undone) => self.go_back(undone),
            },
            // Places alone, of files that came and went.
            Phase::Idle if !self.owed.is_empty() || !self.dirty.is_empty() => match self.producer.begin_transaction() {
                Ok(()) => (exact.phase, exact.since) = (Phase::Closing, Some(Instant::now())),
                Err(undone) => self.go_back(undone),
            },
            _ => {}
        }
    }

    fn put_places(&mut self) {
        self.owe();
        let Some(exact) = &mut self.exact else { return };
        exact.phase = Phase::Putting;
        // What comes from now on is of the next one.
        exact.put = std::mem::take(&mut self.owed);
        for (key, value) in exact.put.changes(&self.settings.task) {
            if let Err(reason) = self.producer.put(exact.topic, key.as_bytes(), value.as_deref()) {
                return self.go_back(Undone::Abort(reason));
            }
        }
    }

    fn committed(&mut self) {
        let Some(exact) = &mut self.exact else { return };
        exact.put = Owed::default();
        (exact.phase, exact.since) = (Phase::Idle, None);
        let files: Vec<usize> = exact.before.drain().map(|(at, _)| at).collect();
        // Those that are read to their ends may be forgotten now.
        files.into_iter().for_each(|at| self.make_ready(at));
    }

    /// This producer is of no use any more.
    pub(super) fn start_over(&mut self, reason: String) {
        if self.exact.is_some() { self.go_back(Undone::Fatal(reason)) } else { self.renew_producer(&reason) }
    }

    /// Nothing of the transaction counts: every file goes on from its place before it.
    fn go_back(&mut self, undone: Undone) {
        let Some(exact) = &mut self.exact else { return };
        let age = exact.since.map_or(Duration::ZERO, |since| since.elapsed());
        (exact.phase, exact.since) = (Phase::Idle, None);
        let put = std::mem::take(&mut exact.put);
        for (id, position) in put.changed {
            self.owed.changed.entry(id).or_insert(position);
        }
        self.owed.begun.extend(put.begun);
        self.owed.forgotten.extend(put.forgotten);
        for (at, place) in std::mem::take(&mut exact.before) {
            if let Some(followed) = self.fleet.get_mut(at) {
                // Its place in this transaction would be ahead of its lines in the next one.
                self.owed.changed.remove(&followed.id);
                self.dirty.insert(at);
                followed.cursor.seek(place);
                self.look_again(at);
            }
        }
        let (reason, is_over) = match undone {
            Undone::Again(reason) | Undone::Abort(reason) => (reason, self.abort()),
            Undone::Fatal(reason) => (reason, false),
        };
        self.exact.iter_mut().for_each(|exact| exact.has_failed = false);
        if is_over {
            return self.say(format!("a transaction was aborted, its lines are sent again: {reason}"));
        }
        if self.producer.is_fenced() && age < EXPIRED {
            let id = self.exact.as_ref().map_or("", |exact| &exact.settings.transactional_id);
            self.broken = Some(format!("another instance has taken the transactional id {id} over: {reason}"));
            self.is_fenced = true;
        } else {
            self.renew_producer(&reason);
        }
    }

    /// False where this producer cannot do it.
    fn abort(&mut self) -> bool {
        loop {
            match self.producer.abort_transaction(STEP) {
                Ok(()) => return true,
                // Messages that are purged are reported first.
                Err(Undone::Again(_))
                    if self.goes_on() || self.stopping.is_some_and(|until| Instant::now() < until) =>
                {
                    self.absorb_reports();
                }
                Err(_) => return false,
            }
        }
    }
}
