//! The scout: one thread per task that asks Kafka what is not on the hot road, so that no reader ever waits for it.
//!
//! Looks for topics and partitions again and again, resolves where a new partition begins, tells where partitions end,
//! and commits checkpointed offsets to the group, so that every lag tool sees them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};

use super::Bounds;
use super::kafka::{Catalog, FetchError, From, Identity};
use crate::flow::cluster::{Cluster, Start, Target};

/// How often topics are looked at while one of them is missing or no broker answers.
const LOOK_SOON: Duration = Duration::from_millis(500);
/// How often otherwise: a new partition is picked up within this time.
const LOOK: Duration = Duration::from_secs(3);

/// What a scout is built from.
#[derive(Debug, Clone)]
pub struct Settings {
    pub task: String,
    pub cluster: Cluster,
    pub group_id: String,
    /// Places name a topic by its index here.
    pub topics: Vec<String>,
    /// Those that are looked for.
    pub wanted: Vec<String>,
    /// Those that no state knows yet: their partitions begin where `start` says. What appears later is read from its
    /// beginning.
    pub new: Vec<u16>,
    pub start: Start,
    /// Ids of cluster or topics are stored.
    pub ids_known: bool,
    /// True: `end_offset` is asked for with every new partition.
    pub want_ends: bool,
}

/// A partition's offset, by index of the topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub topic: u16,
    pub partition: i32,
    pub offset: i64,
}

/// To a scout.
#[derive(Debug, Clone)]
pub enum Ask {
    /// These partitions have a stored place: they are not resolved.
    Known(Vec<(u16, i32)>),
    /// Where do the logs of these (topic, partition) begin and end? Asked until a broker answers.
    Bounds(Vec<(u16, i32)>),
    /// Which offset of a (topic, partition) is meant? Asked once.
    Target(u16, i32, Target),
    /// Commit to the group. Newer asks overtake older ones.
    Commit(Vec<Place>),
}

/// From a scout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// What the cluster and its topics are; told when it has changed.
    Identity(Identity),
    /// New partitions, each with the place where it begins.
    Begins(Vec<Place>),
    /// The answer to [`Ask::Bounds`].
    Bounds(Vec<Bounds>),
    /// The answer to [`Ask::Target`], or why there is none.
    Target(Result<Place, String>),
    /// The ends of all partitions at this moment.
    Ends(Vec<Place>),
    /// All topics exist and every partition of them has been told.
    Complete,
}

/// What others may see of a scout.
#[derive(Debug, Default)]
pub struct Gauge {
    /// All topics were there once, and every partition of them was told.
    pub complete: AtomicBool,
    trouble: Mutex<Option<String>>,
    ends: Mutex<HashMap<(u16, i32), i64>>,
}

impl Gauge {
    /// What is wrong with brokers or topics at the moment.
    pub fn trouble(&self) -> Option<String> {
        lock(&self.trouble).clone()
    }

    /// The ends of the partitions' logs, as they were a few seconds ago: known too where a reader takes nothing.
    pub fn ends(&self) -> HashMap<(u16, i32), i64> {
        lock(&self.ends).clone()
    }
}

fn lock<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One task's scout.
pub struct Scout {
    settings: Settings,
    gauge: Arc<Gauge>,
    catalog: Catalog,
    known: Vec<(u16, i32)>,
    /// Partitions of them that their topic has no more.
    vanished: Vec<(u16, i32)>,
    identity: Option<Identity>,
    /// The brokers tell no ids.
    no_ids: bool,
    /// Partitions whose bounds somebody waits for.
    unbounded: Vec<(u16, i32)>,
    complete: bool,
    /// What is wrong at the moment, said once.
    trouble: Option<String>,
    /// It is that no broker answers.
    away: bool,
    /// The newest commit to the group has failed, which was said when it began.
    commit_fails: bool,
}

impl Scout {
    /// # Errors
    /// librdkafka refuses a setting.
    pub fn new(settings: Settings, gauge: Arc<Gauge>) -> Result<Scout, FetchError> {
        let catalog = Catalog::open(&settings.cluster, &settings.group_id)?;
        Ok(Scout {
            settings,
            gauge,
            catalog,
            known: Vec::new(),
            vanished: Vec::new(),
            identity: None,
            no_ids: false,
            unbounded: Vec::new(),
            complete: false,
            trouble: None,
            away: false,
            commit_fails: false,
        })
    }

    /// Until the engine drops its sender.
    pub fn run(mut self, asks: &Receiver<Ask>, report: impl Fn(Found)) {
        let mut look_at = Instant::now();
        loop {
            match asks.recv_deadline(look_at) {
                Ok(ask) => {
                    self.answer(ask, asks, &report);
                    if !self.unbounded.is_empty() {
                        look_at = Instant::now();
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    let bounds = self.tell_bounds(&report);
                    let result = self.look(&report).and_then(|missing| bounds.map(|()| missing));
                    let settled = self.complete && result.is_ok();
                    self.say(result);
                    look_at = Instant::now() + if settled { LOOK } else { LOOK_SOON };
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn answer(&mut self, ask: Ask, asks: &Receiver<Ask>, report: &impl Fn(Found)) {
        let mut newest = None;
        for ask in std::iter::once(ask).chain(asks.try_iter()) {
            match ask {
                Ask::Known(partitions) => self.known.extend(partitions),
                Ask::Bounds(partitions) => self.unbounded.extend(partitions),
                Ask::Target(topic, partition, target) => {
                    report(Found::Target(self.target(topic, partition, target)));
                }
                Ask::Commit(places) => newest = Some(places),
            }
        }
        if let Some(places) = newest.filter(|places| !places.is_empty()) {
            let places: Vec<From<'_>> = places.iter().map(|p| self.named(p)).collect();
            let result = self.catalog.commit(&places);
            let failed_before = std::mem::replace(&mut self.commit_fails, result.is_err());
            if let Some(e) = result.err().filter(|_| !failed_before) {
                log::warn!("{}: {e}; the offsets are safe here, only lag tools see older ones", self.settings.task);
            }
        }
    }

    fn target(&self, topic: u16, partition: i32, target: Target) -> Result<Place, String> {
        let name = self.settings.topics.get(usize::from(topic)).map_or("", String::as_str);
        let place = [(name, partition)];
        let offset = match target {
            Target::Timestamp(ms) => self.catalog.resolve(&place, Start::Timestamp(ms)).map(|offsets| offsets[0]),
            Target::Offset(offset) => match self.catalog.bounds(&place).map(|bounds| bounds[0]) {
                Ok((low, high)) if !(low..=high).contains(&offset) => {
                    return Err(format!("{name}/{partition} holds offsets {low} to {high}, not {offset}"));
                }
                other => other.map(|_| offset),
            },
        };
        offset.map(|offset| Place { topic, partition, offset }).map_err(|e| e.to_string())
    }

    /// Brokers that tell no ids, as librdkafka's mock, do not answer the question, or refuse it; where none was told
    /// before, that is believed, once there is an answer to another one.
    fn identity(&mut self) -> Result<Identity, FetchError> {
        if self.no_ids {
            return Ok(Identity::without_ids(&self.settings.topics));
        }
        // The first question brings the connection up: asked on none, ids come a second later.
        self.catalog.partitions(self.settings.wanted.first().map_or("", String::as_str))?;
        let result = self.catalog.identity(&self.settings.topics);
        let told_before = self.settings.ids_known || self.identity.is_some();
        match result {
            Err(_) if !told_before => {
                self.no_ids = true;
                Ok(Identity::without_ids(&self.settings.topics))
            }
            other => other,
        }
    }

    fn tell_bounds(&mut self, report: &impl Fn(Found)) -> Result<(), FetchError> {
        let mut found = Vec::new();
        let mut failed = Ok(());
        // One by one: one without a leader must not hold up the others.
        while let Some((topic, partition)) = self.unbounded.pop() {
            let place = [(self.settings.topics[usize::from(topic)].as_str(), partition)];
            match self.catalog.bounds(&place).map(|bounds| bounds[0]) {
                Ok((low, high)) => found.push(Bounds { topic, partition, low, high }),
                Err(error) => {
                    // The others have their turn first.
                    self.unbounded.insert(0, (topic, partition));
                    failed = Err(error);
                    break;
                }
            }
        }
        if !found.is_empty() {
            report(Found::Bounds(found));
        }
        failed
    }

    fn look(&mut self, report: &impl Fn(Found)) -> Result<Vec<String>, FetchError> {
        let identity = self.identity()?;
        if self.identity.as_ref() != Some(&identity) {
            report(Found::Identity(identity.clone()));
            self.identity = Some(identity);
        }
        let (mut begins, mut missing) = (Vec::new(), Vec::new());
        self.vanished.clear();
        let topics = self.settings.topics.iter().enumerate();
        for (topic, name) in topics.filter(|(_, name)| self.settings.wanted.contains(name)) {
            let partitions = self.catalog.partitions(name)?;
            let partitions: Vec<_> = partitions.iter().map(|p| (topic as u16, p.id)).collect();
            if partitions.is_empty() {
                missing.push(name.clone());
            } else {
                let mine = self.known.iter().filter(|p| usize::from(p.0) == topic && !partitions.contains(p));
                self.vanished.extend(mine);
            }
            // All of a topic or none: one without a leader would not begin where `start` says.
            let unknown: Vec<_> = partitions.into_iter().filter(|p| !self.known.contains(p)).collect();
            let is_new = self.settings.new.contains(&(topic as u16));
            let start = if is_new { self.settings.start } else { Start::Earliest };
            let offsets = self.catalog.resolve(&self.names(&unknown), start)?;
            begins.extend(places(&unknown, offsets));
        }
        self.settings.new.clear();
        self.known.extend(begins.iter().map(|p| (p.topic, p.partition)));
        if !begins.is_empty() {
            report(Found::Begins(begins));
        }
        if missing.is_empty() && !self.complete {
            if self.settings.want_ends {
                report(Found::Ends(places(&self.wanted(), self.ends()?).collect()));
            }
            self.complete = true;
            self.gauge.complete.store(true, Ordering::Relaxed);
            report(Found::Complete);
        }
        if let Ok(ends) = self.ends() {
            *lock(&self.gauge.ends) = self.wanted().into_iter().zip(ends).collect();
        }
        Ok(missing)
    }

    /// The partitions that the task reads.
    fn wanted(&self) -> Vec<(u16, i32)> {
        let wanted = |p: &&(u16, i32)| self.settings.wanted.contains(&self.settings.topics[usize::from(p.0)]);
        self.known.iter().filter(|p| wanted(p) && !self.vanished.contains(p)).copied().collect()
    }

    fn ends(&self) -> Result<Vec<i64>, FetchError> {
        self.catalog.ends(&self.names(&self.wanted()))
    }

    fn names(&self, partitions: &[(u16, i32)]) -> Vec<(&str, i32)> {
        partitions.iter().map(|p| (self.settings.topics[usize::from(p.0)].as_str(), p.1)).collect()
    }

    fn named(&self, place: &Place) -> From<'_> {
        From {
            topic: &self.settings.topics[usize::from(place.topic)],
            partition: place.partition,
            offset: place.offset,
            epoch: -1,
        }
    }

    /// Each trouble is said when it begins and when it is over; which of the questions gets no answer is no new one.
    fn say(&mut self, result: Result<Vec<String>, FetchError>) {
        let task = &self.settings.task;
        let was_away = std::mem::replace(&mut self.away, result.is_err());
        let now = match result {
            Ok(missing) if !missing.is_empty() => {
                Some(format!("waiting for topic {}: it does not exist yet", missing.join(", ")))
            }
            Ok(_) if self.vanished.is_empty() => None,
            Ok(_) => {
                let name = |(t, p): &(u16, i32)| format!("{}/{p}", self.settings.topics[usize::from(*t)]);
                let names: Vec<String> = self.vanished.iter().map(name).collect();
                Some(format!("partitions that were read before are not there any more: {}", names.join(", ")))
            }
            Err(e) => Some(format!("{e} (brokers {}); still trying", self.settings.cluster.brokers)),
        };
        match (&self.trouble, &now) {
            (_, Some(text)) if self.trouble != now && !(was_away && self.away) => log::warn!("{task}: {text}"),
            (Some(_), None) => log::info!("{task}: all topics are there"),
            _ => {}
        }
        lock(&self.gauge.trouble).clone_from(&now);
        self.trouble = now;
    }
}

fn places(partitions: &[(u16, i32)], offsets: Vec<i64>) -> impl Iterator<Item = Place> {
    let place =
        |((topic, partition), offset): (&(u16, i32), i64)| Place { topic: *topic, partition: *partition, offset };
    partitions.iter().zip(offsets).map(place)
}
