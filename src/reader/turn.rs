//! The reader's loop, and what it does with one record.

mod queue;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::again::{self, Again};
use super::outlet::{Outlet, Stopped};
use super::source::Source;
use super::work::{Tools, Value, Worked};
use super::{Bounds, Control, Event, Gauge, Settings, Shared, Standing, Topic, Wires};
use crate::flow::clock;
use crate::flow::record::{From, Item, Record};
use crate::flow::span::{Mark, QUEUE};
use crate::ring::layout::Work;
use crate::ring::publish::{Publisher, RUNS_OWED_MAX};
use crate::ring::recover;
use crate::ring::set::MapSet;

/// Longest wait of a reader that is not to read now; then it looks again.
const REST: Duration = Duration::from_millis(50);
/// Wait for live traffic while parked records are read again.
const AGAIN_WAIT: Duration = Duration::from_millis(1);
/// How often a reader says where it stands.
const STAND: Duration = Duration::from_secs(1);

/// A reader with all it needs, built before its thread starts.
pub struct Reader {
    source: Source,
    desk: Desk,
    /// When `rate_limit` allows the next batch.
    due: Instant,
    /// When it says where it stands.
    stand_at: Instant,
    /// Nothing is assigned, by order.
    paused: bool,
}

/// What a record passes over, and the partitions it comes from.
struct Desk {
    outlet: Outlet,
    tools: Tools,
    settings: Settings,
    partitions: Vec<Partition>,
    /// What the topics are, by index.
    topics: Vec<Topic>,
    /// It knows where its partitions end.
    ends_known: bool,
    /// The partition of the last record: its key and row.
    last: (u16, i32, usize),
    now_ms: i64,
    /// Parked records that are read again.
    again: Option<Again>,
    /// The assignment has changed while a batch was worked on.
    reassign: bool,
}

/// A row of the ring's partition table, as its reader sees it.
#[derive(Debug, Clone, Copy, Default)]
struct Partition {
    /// Where this run ends, if it does.
    end: Option<i64>,
    state: State,
}

/// Whether a partition is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    Live,
    /// The log does not hold its place; the scout asks what it holds.
    OutOfRange,
    /// It cannot be read on, or is not to be read, or is the failure queue.
    Idle,
}

impl Reader {
    /// Its ring is empty.
    ///
    /// # Errors
    /// The consumer cannot be opened, or the ring's partition table is damaged.
    pub fn new(
        settings: Settings,
        maps: &Arc<MapSet>,
        wires: Wires,
        (gauge, shared): (Arc<Gauge>, Arc<Shared>),
    ) -> Result<Reader, String> {
        let source = open(&settings, &shared)?;
        let marks = recover::fold_all(&maps.rings[settings.index])?;
        gauge.follow(&marks);
        let state = |m: &Mark| {
            if settings.dormant.contains(&m.topic) || !m.is_of_kafka() { State::Idle } else { State::Live }
        };
        let partitions = marks.iter().map(|m| Partition { end: None, state: state(m) }).collect();
        let mut publisher = Publisher::new(maps.rings[settings.index].clone(), marks);
        publisher.set_runs_owed_max(RUNS_OWED_MAX / maps.shape.readers);
        let tools = Tools::new(&settings);
        let outlet = Outlet::new(settings.clone(), publisher, maps.clone(), wires, gauge, shared);
        let desk = Desk {
            settings,
            outlet,
            tools,
            partitions,
            topics: Vec::new(),
            ends_known: false,
            last: (u16::MAX, -1, 0),
            now_ms: clock::now_ms(),
            again: None,
            reassign: false,
        };
        Ok(Reader { source, desk, due: Instant::now(), stand_at: Instant::now(), paused: false })
    }

    /// Until told to stop.
    pub fn run(mut self) {
        while self.turn().is_ok() {}
        let Settings { task, index, .. } = &self.desk.settings;
        log::debug!("{task}: reader {index} has finished");
    }

    /// wait -> take a batch -> work -> account.
    fn turn(&mut self) -> Result<(), Stopped> {
        while let Some(control) = self.desk.outlet.control()? {
            self.desk.reassign |= self.desk.obey(control)?;
        }
        if self.source.client() != self.desk.outlet.shared.choice.client() {
            self.change_client();
        }
        if std::mem::take(&mut self.desk.reassign) {
            self.assign();
        }
        self.take_live();
        self.desk.outlet.free();
        if self.paused || self.desk.partitions.is_empty() {
            return self.desk.outlet.wait(REST);
        }
        if let Some(left) = self.due.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            return self.desk.outlet.wait(left.min(REST));
        }
        self.desk.now_ms = clock::now_ms();
        let again = self.desk.again.as_ref().is_some_and(Again::is_ready);
        let wait = if again { AGAIN_WAIT } else { self.desk.settings.live.poll_timeout };
        let mut batch = self.source.next_batch(wait);
        let taken = batch.records();
        self.desk.outlet.tap.look();
        if taken > 0 {
            self.desk.outlet.gauge.beat.begin();
            self.desk.outlet.gauge.batch_records.observe(taken as u64, 1);
        }
        while let Some(item) = batch.next_item() {
            self.desk.item(item)?;
        }
        drop(batch);
        let again = self.desk.take_again(again::share(taken, self.desk.settings.live.rate_limit))?;
        self.desk.outlet.publish()?;
        self.desk.outlet.gauge.beat.end();
        self.stand();
        self.slow_down(taken + again);
        Ok(())
    }

    /// Once a second: where it stands, for whoever looks at the gauge.
    fn stand(&mut self) {
        let now = Instant::now();
        if now < self.stand_at {
            return;
        }
        self.stand_at = now + STAND;
        let rows = self.desk.outlet.publisher.marks().iter().zip(&self.desk.partitions);
        let dormant = &self.desk.settings.dormant;
        let wanted = rows.filter(|(mark, _)| mark.is_of_kafka() && !dormant.contains(&mark.topic));
        let standing = |(mark, row): (&Mark, &Partition)| Standing {
            topic: mark.topic,
            partition: mark.partition,
            next: mark.next,
            high: self.source.high(mark.topic, mark.partition),
            stopped: row.state == State::Idle,
        };
        self.desk.outlet.gauge.set_standings(wanted.map(standing).collect());
    }

    /// Between two batches: what the operator has changed.
    fn take_live(&mut self) {
        if self.desk.take_live() {
            // By another rate_limit the next batch may be due earlier.
            self.due = Instant::now();
        }
        let paused = self.desk.outlet.shared.paused.load(Ordering::Relaxed);
        if std::mem::replace(&mut self.paused, paused) != paused {
            self.assign();
        }
    }

    /// `rate_limit`: when the next batch is due. What was not taken in quiet times is not made up for later.
    fn slow_down(&mut self, taken: usize) {
        let rate_limit = self.desk.settings.live.rate_limit;
        if rate_limit > 0 {
            self.due = self.due.max(Instant::now()) + Duration::from_secs_f64(taken as f64 / rate_limit as f64);
        }
    }

    /// The marks tell where the new one begins.
    fn change_client(&mut self) {
        match open(&self.desk.settings, &self.desk.outlet.shared) {
            Ok(source) => self.source = source,
            Err(e) => panic!("{}: reader {}: {e}", self.desk.settings.task, self.desk.settings.index),
        }
        self.desk.reassign = true;
    }

    /// All partitions of the table, from their marks. What was fetched before is dropped with the old assignment;
    /// should any of it come all the same, its offset is below the mark.
    fn assign(&mut self) {
        let marks = self.desk.outlet.publisher.marks();
        let is_live =
            |m: &Mark, p: &Partition| !self.paused && p.state == State::Live && self.desk.topic_is_same(m.topic);
        let live = marks.iter().zip(&self.desk.partitions).filter(|(m, p)| is_live(m, p));
        let places: Vec<From<'_>> = live
            .map(|(m, _)| From {
                topic: self.desk.settings.topics.get(usize::from(m.topic)).map_or("", String::as_str),
                partition: m.partition,
                offset: m.next,
                epoch: m.epoch,
            })
            .collect();
        if let Err(e) = self.source.assign(&places) {
            panic!("{}: reader {}: {e}", self.desk.settings.task, self.desk.settings.index);
        }
    }
}

fn open(settings: &Settings, shared: &Shared) -> Result<Source, String> {
    Source::open(shared.choice.client(), &settings.cluster, &settings.group_id, &settings.topics)
}

impl Desk {
    /// True where there is something new; it counts from the next record on.
    fn take_live(&mut self) -> bool {
        let Some(live) = self.outlet.gauge.live.take() else { return false };
        self.tools.set(&live);
        self.settings.live = live;
        true
    }

    /// True where the assignment has changed.
    fn obey(&mut self, control: Control) -> Result<bool, Stopped> {
        match control {
            Control::EndAt(ends) => {
                self.ends_known = true;
                for (topic, partition, end) in ends {
                    if let Some(row) = self.outlet.publisher.row(topic, partition) {
                        self.partitions[row].end = Some(end);
                    }
                }
                self.tell_end();
            }
            Control::Assign(marks) => {
                for mark in marks {
                    if self.outlet.publisher.row(mark.topic, mark.partition).is_some() {
                        continue;
                    }
                    match self.outlet.publisher.add(mark) {
                        Some(_) if mark.is_of_kafka() => self.partitions.push(Partition::default()),
                        Some(_) => self.partitions.push(Partition { end: None, state: State::Idle }),
                        None => self.leave(&mark),
                    }
                }
                self.leave_others();
                return Ok(true);
            }
            Control::Topics(topics) => {
                self.topics = topics;
                self.leave_others();
                return Ok(true);
            }
            Control::Bounds(all) => {
                let mut found = false;
                for bounds in all {
                    found |= self.find_place(bounds)?;
                }
                return Ok(found);
            }
            Control::Job(job) => {
                if let Some(row) = self.outlet.publisher.row(QUEUE, 0) {
                    self.again = Some(Again::new(&self.settings, job, row, &self.outlet.publisher.marks()[row]));
                }
            }
            Control::Pause(_) | Control::Resume | Control::Stop => {}
        }
        Ok(false)
    }

    fn item(&mut self, item: Item<'_>) -> Result<(), Stopped> {
        match item {
            Item::Record(topic, record) => self.record(topic, &record),
            Item::End { topic, partition, offset, epoch } => {
                let Some(row) = self.row(topic, partition) else { return Ok(()) };
                if self.partitions[row].state == State::Live { self.pass(row, offset, epoch) } else { Ok(()) }
            }
            Item::OutOfRange { topic, partition, reason } => {
                if let Some(row) = self.row(topic, partition)
                    && self.partitions[row].state == State::Live
                {
                    self.partitions[row].state = State::OutOfRange;
                    self.outlet.gauge.last_error.set(reason);
                    self.outlet.report(Event::OutOfRange { topic, partition });
                }
                Ok(())
            }
            Item::Broken { topic, partition, reason, .. } => {
                if let Some(row) = self.row(topic, partition) {
                    self.give_up(row, reason);
                }
                Ok(())
            }
            Item::Unfit { topic, partition, reason, .. } => {
                let Some(row) = self.row(topic, partition) else { return Ok(()) };
                let why = format!("{}/{partition}: {reason}", self.name(topic));
                if !self.outlet.shared.choice.leave_native(&self.settings.task, why) {
                    self.give_up(row, format!("{reason}; fetch = \"auto\" takes librdkafka then"));
                }
                Ok(())
            }
            Item::Trouble(reason) => {
                self.outlet.gauge.last_error.set(reason);
                Ok(())
            }
        }
    }

    fn record(&mut self, topic: u16, record: &Record<'_>) -> Result<(), Stopped> {
        while self.work_on(topic, record)? == Worked::QueueFull {
            self.wait_for_queue()?;
        }
        Ok(())
    }

    fn work_on(&mut self, topic: u16, record: &Record<'_>) -> Result<Worked, Stopped> {
        let Some(row) = self.row(topic, record.partition) else { return Ok(Worked::Done) };
        let mark = self.outlet.publisher.marks()[row];
        let Partition { end, state } = self.partitions[row];
        if state != State::Live || record.offset < mark.next {
            return Ok(Worked::Done);
        }
        if end.is_some_and(|end| record.offset >= end) {
            self.pass(row, record.offset, record.leader_epoch)?;
            return Ok(Worked::Done);
        }
        let skip = if record.offset == mark.next { mark.k } else { 0 };
        let work = Work { topic, partition: record.partition, offset: record.offset };
        let value = Value { record, row, work, at: record.offset, skip, now_ms: self.now_ms, parked: None };
        if self.tools.value(&mut self.outlet, &value)? == Worked::QueueFull {
            return Ok(Worked::QueueFull);
        }
        self.outlet.room()?;
        let mark = self.outlet.publisher.mark(row);
        (mark.next, mark.k, mark.epoch) = (record.offset + 1, 0, record.leader_epoch);
        self.outlet.note_birth(record.timestamp_ms);
        self.note_end(row);
        if self.outlet.publisher.is_ripe() {
            self.outlet.publish()?;
        }
        Ok(Worked::Done)
    }

    /// All that there is before `offset` was given. What lies behind the end of this run was not looked at: it is left
    /// to the next one.
    fn pass(&mut self, row: usize, offset: i64, epoch: i32) -> Result<(), Stopped> {
        let end = self.partitions[row].end.unwrap_or(i64::MAX);
        let next = offset.min(end);
        if next > self.outlet.publisher.marks()[row].next {
            self.outlet.room()?;
            let mark = self.outlet.publisher.mark(row);
            (mark.next, mark.k) = (next, 0);
            if offset <= end {
                mark.epoch = epoch;
            }
            self.note_end(row);
        }
        Ok(())
    }

    fn name(&self, topic: u16) -> &str {
        self.settings.topics.get(usize::from(topic)).map_or("?", String::as_str)
    }

    fn topic_is_same(&self, topic: u16) -> bool {
        self.topics.get(usize::from(topic)) == Some(&Topic::Same)
    }

    /// The offsets that are stored mean nothing in a topic that was made anew, or in another cluster.
    fn leave_others(&mut self) {
        for row in 0..self.partitions.len() {
            let topic = usize::from(self.outlet.publisher.marks()[row].topic);
            if let Some(Topic::Other(reason)) = self.topics.get(topic) {
                self.give_up(row, reason.clone());
            }
        }
    }

    /// The log does not hold the place of a partition. Where retention has removed what was not read yet, that is
    /// named, counted, and left behind; a log that ends before the place is not the one that was read. True where the
    /// partition is to be fetched again.
    fn find_place(&mut self, Bounds { topic, partition, low, high }: Bounds) -> Result<bool, Stopped> {
        let Some(row) = self.row(topic, partition).filter(|row| self.partitions[*row].state == State::OutOfRange)
        else {
            return Ok(false);
        };
        let next = self.outlet.publisher.marks()[row].next;
        if next > high {
            let reason = format!(
                "its log ends at {high} now: it was cut, or the topic was made anew; to read what it holds, \
                 take a new group_id with start set"
            );
            self.give_up(row, reason);
            return Ok(false);
        }
        if next < low {
            let name = self.name(topic);
            let text = format!(
                "{name}/{partition}: offsets {next} to {} are lost, {} in all: the broker's retention removed them \
                 before they were read; it goes on at {low}",
                low - 1,
                low - next
            );
            log::error!("{}: {text}", self.settings.task);
            self.outlet.gauge.last_error.set(text);
            self.outlet.gauge.lost_to_retention.fetch_add((low - next) as u64, Ordering::Relaxed);
            self.outlet.room()?;
            let mark = self.outlet.publisher.mark(row);
            (mark.next, mark.k, mark.epoch) = (low, 0, -1);
            self.note_end(row);
        }
        self.partitions[row].state = State::Live;
        Ok(true)
    }

    /// The partition stops here, loudly.
    fn give_up(&mut self, row: usize, reason: String) {
        if std::mem::replace(&mut self.partitions[row].state, State::Idle) == State::Idle {
            return;
        }
        let Mark { topic, partition, next: offset, .. } = self.outlet.publisher.marks()[row];
        let name = self.name(topic);
        let text = format!(
            "{name}/{partition} cannot be read on from offset {offset}: {reason}; \
             this partition stops here, the others go on"
        );
        log::error!("{}: {text}", self.settings.task);
        self.outlet.gauge.last_error.set(text);
        self.outlet.report(Event::Broken { topic, partition, offset, reason });
        self.tell_end();
    }

    /// The ring's partition table is full.
    fn leave(&self, mark: &Mark) {
        let name = self.name(mark.topic);
        let reason = format!("this reader has {} partitions, more do not fit; raise readers", self.partitions.len());
        log::error!("{}: {name}/{} is not read: {reason}", self.settings.task, mark.partition);
        let Mark { topic, partition, next: offset, .. } = *mark;
        self.outlet.report(Event::Broken { topic, partition, offset, reason });
    }

    /// The row of a partition; records come in stretches of one.
    fn row(&mut self, topic: u16, partition: i32) -> Option<usize> {
        if (self.last.0, self.last.1) != (topic, partition) {
            self.last = (topic, partition, self.outlet.publisher.row(topic, partition)?);
        }
        Some(self.last.2)
    }

    fn note_end(&mut self, row: usize) {
        if self.partitions[row].end.is_some_and(|end| self.outlet.publisher.marks()[row].next >= end) {
            self.tell_end();
        }
    }

    /// Says so once every partition that has an end has come to it.
    fn tell_end(&mut self) {
        let marks = self.outlet.publisher.marks();
        let there = |(p, m): (&Partition, &Mark)| p.state == State::Idle || p.end.is_none_or(|end| m.next >= end);
        if self.ends_known && self.partitions.iter().zip(marks).all(there) {
            self.outlet.report(Event::AtEnd);
        }
    }
}
