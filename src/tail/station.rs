//! The thread of a task: its state, its loop, and the end of both.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, bounded};

use super::cursor::Phase;
use super::exact::Exact;
use super::fleet::{Fleet, Followed, Road};
use super::lease::Lease;
use super::lines::Rules;
use super::orders::{name_topics, parse};
use super::positions::{Owed, Positions, Remembered};
use super::produce::{self, ProduceError, Producer, Report};
use super::{Door, Order, Settings, Totals, Until};
use crate::flow::backoff::Backoff;
use crate::flow::cluster::{Client, Wish};
use crate::ledger::store::{Store, StoreError};
use crate::sys::dirs::Dirs;
use crate::sys::follow::Bell;
use crate::sys::socket::Wait;

/// Orders that may wait.
const ORDERS_MAX: usize = 64;
/// Longest sleep; the beat is never older while all is well.
const BEAT: Duration = Duration::from_secs(1);
/// How often changed places are given to the ledger: a kill repeats what was confirmed since. Least and most.
const KEEP: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(500)];
/// For each changed place in between, so that places of many files are no load.
const KEEP_EACH: Duration = Duration::from_micros(50);
/// Kafka's number for "the broker takes no message of this size".
const MSG_SIZE_TOO_LARGE: i32 = 10;
/// The least that lines and batches are cut down to when a broker refuses larger ones.
const MESSAGE_LEAST: usize = 1 << 10;

/// Why a task cannot start.
#[derive(Debug, thiserror::Error)]
pub enum TailError {
    #[error("{}", .0.join("; "))]
    Entries(Vec<String>),
    #[error("multiline_start: {0}")]
    Multiline(String),
    #[error(transparent)]
    Produce(#[from] ProduceError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("no descriptor is left: {0}")]
    Bell(std::io::Error),
    #[error("no thread is left: {0}")]
    Thread(std::io::Error),
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// Messages that were with the producer and not reported at the end.
    pub unconfirmed: usize,
    /// Names that were not followed, with the reason.
    pub refused: Vec<(PathBuf, String)>,
    /// Why it ended before it was told.
    pub broken: Option<String>,
    /// Another instance has taken over: to start again would fence that one off.
    pub is_fenced: bool,
}

/// One task's files, and the way from them to its topics.
pub struct Station {
    pub(super) settings: Settings,
    pub(super) rules: Rules,
    pub(super) roads: Vec<Road>,
    pub(super) fleet: Fleet,
    /// `None`: there is no inotify, files are polled.
    pub(super) dirs: Option<Dirs>,
    pub(super) producer: Box<dyn Producer>,
    produce: produce::Settings,
    pub(super) bell: Arc<Bell>,
    waited: Wait,
    positions: Option<Positions>,
    pub(super) orders: Receiver<Order>,
    pub(super) totals: Arc<Totals>,
    pub(super) lease: Arc<Lease>,
    /// Files that have something to do.
    pub(super) ready: VecDeque<usize>,
    pub(super) alarms: BinaryHeap<Reverse<(Instant, usize)>>,
    /// The file of each chunk in flight.
    pub(super) chunk_files: Vec<usize>,
    /// Files whose place is to be kept.
    pub(super) dirty: HashSet<usize>,
    pub(super) owed: Owed,
    /// Patterns that were looked at before.
    pub(super) begun: HashSet<String>,
    /// All memory is in flight: no reading until reports come.
    pub(super) is_full: bool,
    /// No broker has answered since the last line was confirmed.
    is_away: bool,
    pub(super) look_at: Instant,
    pub(super) listen_at: Instant,
    pub(super) keep_at: Instant,
    pub(super) lines: Vec<(u32, u32)>,
    backoff: Backoff,
    /// The producer is at its end: when the next one is opened.
    pub(super) renew_at: Option<Instant>,
    /// Until when the last reports are waited for.
    pub(super) stopping: Option<Instant>,
    /// Exactly once, where that is asked for.
    pub(super) exact: Option<Exact>,
    pub(super) broken: Option<String>,
    pub(super) is_fenced: bool,
    said: String,
}

impl Station {
    /// `store`: where places are kept; without it every run begins anew.
    ///
    /// # Errors
    /// What stands in the way.
    pub fn new(
        settings: Settings,
        store: Option<Arc<Store>>,
        totals: &Arc<Totals>,
        lease: &Arc<Lease>,
    ) -> Result<(Station, Door), TailError> {
        let roads = parse(&settings.entries).map_err(TailError::Entries)?;
        let multiline_start = settings.multiline_start.as_deref();
        let rules = Rules::new(settings.max_line_bytes, multiline_start).map_err(TailError::Multiline)?;
        let bell = Arc::new(Bell::new().map_err(TailError::Bell)?);
        let produce = produce::Settings {
            cluster: settings.cluster.clone(),
            client: produce::fitting(&settings),
            compression: settings.compression.clone(),
            buffer_bytes: settings.buffer_bytes,
            read_bytes: settings.max_line_bytes.max(super::reading::READ_LEAST) + super::reading::READ_MORE,
            batch_bytes: produce::BATCH_BYTES,
            transactional_id: settings.exactly_once.as_ref().map(|exact| exact.transactional_id.clone()),
        };
        let producer = produce::open(&produce, &bell, lease)?;
        let (positions, remembered) = match store.filter(|_| settings.exactly_once.is_none()) {
            Some(store) => Positions::open(store, &settings.task, lease.clone()).map(|(p, r)| (Some(p), r))?,
            None => (None, Remembered::default()),
        };
        let begun = remembered.begun.iter().cloned().collect();
        let fleet = Fleet::new(&settings.task, remembered);
        let (sender, orders) = bounded(ORDERS_MAX);
        let door = Door { orders: sender, bell: bell.clone(), lease: lease.clone() };
        let now = Instant::now();
        let mut station = Station {
            rules,
            roads,
            fleet,
            dirs: None,
            producer,
            produce,
            bell,
            waited: Wait::default(),
            positions,
            orders,
            totals: totals.clone(),
            lease: lease.clone(),
            ready: VecDeque::new(),
            alarms: BinaryHeap::new(),
            chunk_files: Vec::new(),
            dirty: HashSet::new(),
            owed: Owed::default(),
            begun,
            is_full: false,
            is_away: false,
            look_at: now,
            listen_at: now,
            keep_at: now,
            lines: Vec::new(),
            backoff: Backoff::default(),
            renew_at: None,
            stopping: None,
            exact: settings.exactly_once.clone().map(Exact::new),
            broken: None,
            is_fenced: false,
            said: String::new(),
            settings,
        };
        name_topics(&mut *station.producer, &station.roads)?;
        Ok((station, door))
    }

    /// Until it is told to stop, or all is sent where that is asked for.
    pub fn run(mut self) -> Outcome {
        self.open_dirs();
        if !self.begin_exact() {
            return self.close();
        }
        self.look();
        while !self.is_over() {
            self.wait();
            self.take_orders();
            self.take_changes();
            self.take_reports();
            self.renew_producer_in_time();
            self.ring_alarms();
            self.read();
            self.settle_transaction();
            self.keep();
            self.lease.beat();
        }
        self.close()
    }

    fn is_over(&self) -> bool {
        let is_settled = self.exact.as_ref().is_none_or(|exact| exact.phase == super::exact::Phase::Idle);
        match self.stopping {
            _ if self.broken.is_some() || self.lease.is_revoked() => true,
            Some(_) if self.renew_at.is_some() => true,
            Some(deadline) => self.producer.in_flight() == 0 && is_settled || Instant::now() >= deadline,
            None => is_settled && self.settings.until == Until::Sent && self.fleet.is_empty(),
        }
    }

    pub(super) fn may_read(&self) -> bool {
        !self.is_full
            && !self.settings.paused.load(std::sync::atomic::Ordering::Relaxed)
            && self.stopping.is_none()
            && self.renew_at.is_none()
            && self.exact.as_ref().is_none_or(Exact::may_read)
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.is_some()
    }

    fn wait(&mut self) {
        if !self.ready.is_empty() && self.may_read() {
            return;
        }
        let now = Instant::now();
        let mut until = (now + BEAT).min(self.look_at);
        if let Some(at) = self.renew_at {
            until = until.min(at);
        }
        if !self.dirty.is_empty() {
            until = until.min(self.keep_at);
        }
        if let Some(at) = self.exact.as_ref().and_then(Exact::closes_at) {
            until = until.min(at);
        }
        if let Some(Reverse((at, _))) = self.alarms.peek() {
            until = until.min(*at);
        }
        self.waited.clear();
        self.waited.add(&self.bell.fd(), true, false);
        match self.dirs.as_ref().map(Dirs::fd) {
            Some(fd) if self.listen_at <= now => drop(self.waited.add(&fd, true, false)),
            _ => until = until.min(self.listen_at.max(now)),
        }
        if let Some(at) = self.producer.await_on(&mut self.waited) {
            until = until.min(at);
        }
        // An early end is one that the loop can bear.
        let _ = self.waited.wait(until.saturating_duration_since(now));
    }

    fn take_reports(&mut self) {
        let (too_large, refused) = self.absorb_reports();
        // What comes back to a producer that is at its end was sent before this was known.
        if self.renew_at.is_some() {
            return;
        }
        if too_large {
            self.produce.batch_bytes = (self.produce.batch_bytes / 2).max(MESSAGE_LEAST);
            self.rules.max_line_bytes = self.rules.max_line_bytes.min(self.produce.batch_bytes);
            // The next attempt is another one.
            self.backoff = Backoff::default();
        }
        if !refused.is_empty() {
            let smaller = format!("; from now on batches have at most {} bytes", self.produce.batch_bytes);
            let more = if too_large { smaller.as_str() } else { "" };
            self.say(format!("lines were refused and are sent again: {refused}{more}"));
        }
        if self.producer.is_unfit() && self.settings.client == Wish::Auto {
            log::warn!("{}: librdkafka sends the lines from now on", self.settings.task);
            self.produce.client = Client::Librdkafka;
        }
        let fatal = self.producer.fatal().map(str::to_owned).or_else(|| too_large.then_some(refused));
        if let Some(reason) = fatal {
            self.start_over(reason);
        }
    }

    /// What became of lines goes to their files; whether messages were too large, and why lines were refused.
    pub(super) fn absorb_reports(&mut self) -> (bool, String) {
        let now = Instant::now();
        let (mut too_large, mut refused, mut answers) = (false, String::new(), false);
        let Station { producer, fleet, chunk_files, dirty, ready, totals, is_full, .. } = self;
        producer.reports(&mut |report| {
            *is_full = false;
            answers |= report.error.is_none();
            let at = chunk_files[report.chunk as usize];
            let Some(followed) = fleet.get_mut(at) else { return };
            take_report(followed, report, totals, now);
            if let Some((code, reason)) = &report.error {
                too_large |= *code == MSG_SIZE_TOO_LARGE;
                refused.clone_from(reason);
            }
            dirty.insert(at);
            let waits = followed.cursor.is_stuck() || followed.is_changing || followed.cursor.phase() != Phase::Live;
            if waits && followed.cursor.is_quiet() && !followed.is_ready {
                followed.is_ready = true;
                ready.push_back(at);
            }
        });
        self.take_trouble(answers);
        if let Some(exact) = &mut self.exact {
            exact.has_failed |= !refused.is_empty() || self.producer.take_put_failure();
        }
        (too_large, refused)
    }

    /// That brokers are away is said when it begins and when it is over, however often the producer tells.
    fn take_trouble(&mut self, answers: bool) {
        let trouble = self.producer.take_trouble();
        let is_away = matches!(trouble, Some((produce::ALL_BROKERS_DOWN, _))) || self.is_away && !answers;
        let (task, brokers) = (&self.settings.task, &self.settings.cluster.brokers);
        match (self.is_away, is_away) {
            (false, true) => log::warn!("{task}: no broker answers ({brokers}): lines wait until one does"),
            (true, false) => log::info!("{task}: brokers answer again"),
            _ => {}
        }
        self.is_away = is_away;
        if let Some((_, reason)) = trouble.filter(|(code, _)| *code != produce::ALL_BROKERS_DOWN) {
            self.say(format!("reading goes on when the buffer empties: {reason}"));
        }
    }

    /// Says it once, until something else is to be said.
    pub(super) fn say(&mut self, words: String) {
        if self.said != words {
            log::warn!("{}: {words}", self.settings.task);
            self.said = words;
        }
    }

    /// A new producer; everything goes on from its last confirmed line.
    pub(super) fn renew_producer(&mut self, why: &str) {
        let now = Instant::now();
        let at = *self.renew_at.insert(self.backoff.next(now));
        log::error!("{}: the producer starts anew after {:?}: {why}", self.settings.task, at - now);
    }

    fn renew_producer_in_time(&mut self) {
        if self.renew_at.is_none_or(|at| Instant::now() < at) {
            return;
        }
        match produce::open(&self.produce, &self.bell, &self.lease) {
            Ok(producer) => self.producer = producer,
            Err(e) => return self.renew_producer(&e.to_string()),
        }
        self.renew_at = None;
        if let Err(e) = name_topics(&mut *self.producer, &self.roads) {
            log::error!("{}: {e}", self.settings.task);
        }
        self.is_full = false;
        self.begin_exact();
        for at in 0..self.fleet.files.len() {
            if let Some(followed) = self.fleet.get_mut(at) {
                followed.cursor.forget_flight();
                self.look_again(at);
            }
        }
    }

    fn ring_alarms(&mut self) {
        let now = Instant::now();
        while self.alarms.peek().is_some_and(|Reverse((at, _))| *at <= now) {
            if let Some(Reverse((_, at))) = self.alarms.pop() {
                self.look_again(at);
            }
        }
    }

    /// There may be more to read.
    pub(super) fn look_again(&mut self, at: usize) {
        if let Some(followed) = self.fleet.get_mut(at) {
            followed.at_end = false;
            self.make_ready(at);
        }
    }

    pub(super) fn make_ready(&mut self, at: usize) {
        if let Some(followed) = self.fleet.get_mut(at)
            && !followed.is_ready
        {
            followed.is_ready = true;
            self.ready.push_back(at);
        }
    }

    pub(super) fn keep(&mut self) {
        let now = Instant::now();
        if now < self.keep_at || self.exact.is_some() {
            return;
        }
        self.owe();
        self.keep_at = now + (KEEP_EACH * self.owed.changed.len() as u32).clamp(KEEP[0], KEEP[1]);
        match &self.positions {
            Some(positions) if !self.owed.is_empty() && positions.offer(&self.owed) => self.owed = Owed::default(),
            Some(_) => {}
            None => self.owed = Owed::default(),
        }
    }

    pub(super) fn owe(&mut self) {
        for at in self.dirty.drain() {
            if let Some(followed) = self.fleet.get_mut(at) {
                let position = followed.position();
                self.owed.changed.insert(position.id.clone(), position);
            }
        }
    }

    fn close(mut self) -> Outcome {
        self.owe();
        if let Some(positions) = self.positions.take() {
            positions.close(&self.owed);
        }
        let refused = self.fleet.refused().map(|(path, reason)| (path.clone(), reason.clone())).collect();
        Outcome { unconfirmed: self.producer.in_flight(), refused, broken: self.broken, is_fenced: self.is_fenced }
    }
}

fn take_report(followed: &mut Followed, report: &Report, totals: &Totals, now: Instant) {
    let before = followed.cursor.kept().at;
    if report.error.is_some() {
        let retry = followed.backoff.next(now);
        followed.cursor.failed(report.chunk, retry, report.is_last);
        return Totals::add(&totals.failed, report.count);
    }
    let Report { chunk, count, from, to, mark, is_last, .. } = report;
    followed.cursor.delivered(*chunk, *count, *from, *to, *mark, *is_last);
    Totals::add(&totals.lines, *count);
    Totals::add(&totals.bytes, followed.cursor.kept().at.saturating_sub(before));
}
