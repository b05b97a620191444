//! The watcher's round: once a second it looks at the board, says what is wrong, and notes how each task does.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use log::LevelFilter;

use super::alert::{Alarms, Alert, Code, Condition, Trend};
use super::log::Log;
use super::report::Reporter;
use crate::engine::{Board, CollectView, Remote, Seen, View};
use crate::flow::clock;
use crate::flow::gauge::Beat;
use crate::tail::State;

/// Between two rounds.
const ROUND: Duration = Duration::from_secs(1);
/// A start that has not come so far by then is not ready; troubles with brokers are told of after the same time.
const READY_MAX: Duration = Duration::from_secs(10);
/// The engine's loop comes round every few milliseconds, the watcher's once a second.
pub const STILL_MAX: Duration = Duration::from_secs(10);
/// How long a restart of a collect task is told of.
const RESTART_TOLD: Duration = Duration::from_secs(60);
/// Samples of each task that are kept: a quarter of an hour.
const SAMPLES: usize = 900;

/// From when on something is an alert.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Records; 0 = none.
    pub lag: u64,
    pub lag_grows_for: Duration,
    pub max_batch_time: Duration,
    pub report_level: LevelFilter,
}

/// How a task did in one second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// Seconds of the process.
    pub at_s: u64,
    /// Records a second.
    pub rate: u64,
    /// `None` where nobody knows.
    pub lag: Option<u64>,
    /// Seconds from the newest record's time to now, 0 where nothing is left to read.
    pub behind_s: f64,
}

/// What the watcher has found, for whoever asks.
#[derive(Default)]
pub struct Findings {
    conditions: Mutex<Vec<Condition>>,
    samples: Mutex<HashMap<String, VecDeque<Sample>>>,
    /// The watcher comes round.
    pub beat: Beat,
    pub alerts: AtomicU64,
}

impl Findings {
    pub fn conditions(&self) -> Vec<Condition> {
        lock(&self.conditions).clone()
    }

    /// Samples of each task that are younger than `after_s`, oldest first; tasks by name.
    pub fn samples(&self, after_s: u64) -> Vec<(String, Vec<Sample>)> {
        let young = |all: &VecDeque<Sample>| all.iter().filter(|s| s.at_s > after_s).copied().collect();
        let mut found: Vec<_> = lock(&self.samples).iter().map(|(name, all)| (name.clone(), young(all))).collect();
        found.sort_by(|a, b| a.0.cmp(&b.0));
        found
    }
}

fn lock<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The watcher.
pub struct Round {
    pub remote: Remote,
    pub limits: Limits,
    pub log: Log,
    pub reporter: Option<Reporter>,
    pub findings: Arc<Findings>,
    alarms: Alarms,
    trends: HashMap<String, Trend>,
    /// Since when a task's brokers do not answer.
    source_down: HashMap<String, Instant>,
    began: Instant,
    /// It was ready once.
    was_ready: bool,
    /// Records of each task, as they were counted last, and when.
    counted: HashMap<String, (u64, Instant)>,
    /// Restarts of each collect task, and when the last one was seen.
    restarted: HashMap<String, (u64, Option<Instant>)>,
}

impl Round {
    pub fn new(remote: Remote, limits: Limits, log: Log, reporter: Option<Reporter>, findings: Arc<Findings>) -> Round {
        Round {
            remote,
            limits,
            log,
            reporter,
            findings,
            alarms: Alarms::default(),
            trends: HashMap::new(),
            source_down: HashMap::new(),
            began: Instant::now(),
            was_ready: false,
            counted: HashMap::new(),
            restarted: HashMap::new(),
        }
    }

    /// Until the other end of `end` is dropped.
    pub fn run(mut self, end: &Receiver<()>) {
        while let Err(RecvTimeoutError::Timeout) = end.recv_timeout(ROUND) {
            self.findings.beat.begin();
            self.go(Instant::now());
        }
    }

    fn go(&mut self, now: Instant) {
        let remote = self.remote.clone();
        let board = remote.board();
        let views = board.views();
        let mut conditions = Vec::new();
        self.readiness(board, now, &mut conditions);
        for view in &views {
            let lag = lag(view);
            self.task(view, lag, now, &mut conditions);
            self.sample(view, lag, now);
        }
        let collects = board.collects();
        for view in &collects {
            self.collect(view, now, &mut conditions);
        }
        let collected = |name: &String| collects.iter().any(|view| view.name() == name);
        let runs = |name: &String| views.iter().any(|view| view.name == *name) || collected(name);
        self.restarted.retain(|name, _| collected(name));
        self.trends.retain(|name, _| runs(name));
        self.counted.retain(|name, _| runs(name));
        lock(&self.findings.samples).retain(|name, _| runs(name));
        for alert in self.alarms.see(now, &conditions) {
            self.say(&alert);
        }
        *lock(&self.findings.conditions) = conditions;
    }

    fn say(&self, alert: &Alert) {
        let json = alert.json();
        self.findings.alerts.fetch_add(1, Ordering::Relaxed);
        self.log.line(json.clone());
        if let Some(reporter) = self.reporter.as_ref().filter(|_| alert.code.passes(self.limits.report_level)) {
            reporter.offer(json);
        }
    }

    /// The start, and the engine itself.
    fn readiness(&mut self, board: &Board, now: Instant, conditions: &mut Vec<Condition>) {
        let not_ready = board.not_ready();
        self.was_ready |= not_ready.is_empty();
        if !self.was_ready && now - self.began >= READY_MAX {
            let say = |(task, reason): (String, String)| (task, Code::S01_NOT_READY, reason);
            conditions.extend(not_ready.into_iter().map(say));
        }
        if let Some(still) = board.engine.at_it_for().filter(|still| *still >= STILL_MAX) {
            let msg = format!("the engine has not come round for {} s", still.as_secs());
            conditions.push((String::new(), Code::S07_STALLED, msg));
        }
    }

    fn task(&mut self, view: &View, lag: Option<u64>, now: Instant, conditions: &mut Vec<Condition>) {
        let mut add = |code, msg| conditions.push((view.name.clone(), code, msg));
        let sink = view.writers.iter().find(|w| w.blocked.load(Ordering::Relaxed));
        let full = view.readers.iter().any(|r| r.failures_full.load(Ordering::Relaxed));
        if let Some(writer) = sink {
            let why = writer.last_error.get().unwrap_or_default();
            add(Code::S02_SINK_DOWN, format!("{} cannot be written: {why}; the task waits", view.dir.display()));
        }
        if full {
            let failures = view.shared.failures.load(Ordering::Relaxed);
            let msg = format!(
                "the failure queue is full with {failures} records; retry or clear some, or raise failures_max"
            );
            add(Code::S03_FAILURES_FULL, msg);
        }
        if let Some(slow) = slowest(view).filter(|slow| sink.is_none() && !full && *slow > self.limits.max_batch_time) {
            let (slow, most) = (slow.as_millis(), self.limits.max_batch_time.as_millis());
            add(Code::S04_SLOW_BATCH, format!("a batch has been under way for {slow} ms, max_batch_time is {most} ms"));
        }
        let keeping = view.task.keeping.at_it_for();
        if let Some(still) = keeping.filter(|still| *still > self.limits.max_batch_time) {
            let secs = still.as_secs();
            add(Code::S07_STALLED, format!("a checkpoint has been on its way to the disk for {secs} s"));
        }
        let broken = lock(&view.task.broken).clone();
        if !broken.is_empty() {
            add(Code::S09_PARTITION_STOPPED, format!("not read on: {}", broken.join("; ")));
        }
        if let Some(trouble) = view.scout.trouble() {
            let since = *self.source_down.entry(view.name.clone()).or_insert(now);
            if now - since >= READY_MAX {
                add(Code::S10_SOURCE_DOWN, trouble);
            }
        } else {
            self.source_down.remove(&view.name);
        }
        let Some(lag) = lag else { return };
        if self.limits.lag > 0 && lag > self.limits.lag {
            add(Code::S05_LAG, format!("{lag} records behind, lag_alert is {}", self.limits.lag));
        }
        let trend = self.trends.entry(view.name.clone()).or_default();
        if trend.see(now, lag, self.limits.lag_grows_for) {
            let secs = self.limits.lag_grows_for.as_secs();
            add(Code::S06_LAG_GROWS, format!("{lag} records behind, and more and more for {secs} s (lag_alert_for)"));
        }
    }

    fn collect(&mut self, view: &CollectView, now: Instant, conditions: &mut Vec<Condition>) {
        let (name, status) = (view.name().to_string(), view.collector.status());
        // For a minute after a restart, so that one that comes again and again is one alert.
        let known = self.restarted.entry(name.clone()).or_insert((status.restarts, None));
        if known.0 != status.restarts {
            *known = (status.restarts, Some(now));
        }
        let is_young = known.1.is_some_and(|at| now - at < RESTART_TOLD);
        let cause = status.cause.unwrap_or_default();
        let what = match status.state {
            State::Running if is_young => Some(format!("the files were followed anew, {} restarts", status.restarts)),
            State::Waiting | State::Hung | State::Fenced => Some(format!("files are not followed ({})", status.state)),
            State::Starting | State::Running | State::Ended => None,
        };
        conditions.extend(what.map(|what| (name.clone(), Code::S11_COLLECT_DOWN, format!("{what}: {cause}"))));
        conditions.extend(view.list_trouble().map(|why| (name.clone(), Code::S12_LIST_DOWN, why)));
        let Seen { consumed, .. } = view.seen();
        self.note(&name, consumed, None, 0.0, now);
    }

    fn sample(&mut self, view: &View, lag: Option<u64>, now: Instant) {
        let behind_s = if lag == Some(0) { 0.0 } else { newest_ms(view).map_or(0.0, age_s) };
        self.note(&view.name, view.counts().consumed, lag, behind_s, now);
    }

    fn note(&mut self, name: &str, consumed: u64, lag: Option<u64>, behind_s: f64, now: Instant) {
        let (before, at) = self.counted.insert(name.into(), (consumed, now)).unwrap_or((consumed, now));
        let seconds = (now - at).as_secs_f64().max(0.001);
        let rate = (consumed.saturating_sub(before) as f64 / seconds) as u64;
        let sample = Sample { at_s: clock::running_ms() / 1000, rate, lag, behind_s };
        let mut samples = lock(&self.findings.samples);
        let samples = samples.entry(name.into()).or_default();
        if samples.len() == SAMPLES {
            samples.pop_front();
        }
        samples.push_back(sample);
    }
}

/// Of all partitions whose lag is known; `None` where none is.
pub fn lag(view: &View) -> Option<u64> {
    view.standings().iter().filter_map(|standing| standing.lag()).reduce(u64::saturating_add)
}

/// The time of the newest record that a reader has handed over; `None` before the first one.
pub fn newest_ms(view: &View) -> Option<i64> {
    view.readers.iter().map(|r| r.newest_ms.load(Ordering::Relaxed)).max().filter(|ms| *ms > 0)
}

fn age_s(ms: i64) -> f64 {
    (clock::now_ms() - ms).max(0) as f64 / 1000.0
}

/// How long the slowest batch has been under way. A reader that waits for room in its ring is not the slow one.
fn slowest(view: &View) -> Option<Duration> {
    let readers = view.readers.iter().filter(|r| !r.blocked.load(Ordering::Relaxed)).map(|r| &r.beat);
    readers.chain(view.writers.iter().map(|w| &w.beat)).filter_map(Beat::at_it_for).max()
}
