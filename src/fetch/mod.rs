//! Kafka's own protocol, as far as a reader needs it: give me the next batch of records of my partitions.
//!
//! One connection for each broker that leads some of the partitions, all on the caller's thread. While an answer is
//! worked on, the next one is on its way already; record batches are walked where they came to lie.

pub mod hand;
pub mod message;

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use crate::flow::record::{From, Item, Record};
use crate::protocol::Settings;
use crate::protocol::batch::Head;
use crate::protocol::guide::{Answer, Guide};
use crate::protocol::link::{self, Link, Trouble};
use crate::protocol::message::{TopicMap, error_text, passes, throttle};
use crate::protocol::settings::Limits;
use crate::sys::socket::Wait;
use hand::{Hand, Place, Step, Stretch};
use message::{Part, Told, Wanted};

/// Records of one batch.
const BATCH_RECORDS: usize = 1024;
/// A buffer that an unusual answer has made larger than this is given back.
const BUFFER_KEPT: usize = 16 << 20;
/// Smallest limit of an answer, however many brokers share the reader's bytes.
const ANSWER_MIN: i32 = 256 << 10;

/// A partition that is fetched.
struct Slot {
    topic: u16,
    partition: i32,
    /// The offset to fetch next, and the epoch of what stands before it.
    next: i64,
    epoch: i32,
    /// An epoch that the log seems not to know; -1: none.
    doubted: i32,
    /// Who leads it; `None` where the guide is to find out.
    node: Option<i32>,
    leader_epoch: i32,
    /// No committed record stands at or behind it, as the newest answer told.
    stable: Option<i64>,
    is_read: bool,
    /// Bytes to ask for: more than usual where a batch did not come as a whole.
    max_bytes: i32,
    /// The end that was told last.
    told: i64,
    /// The newest answer had something of it.
    has_brought: bool,
}

/// A connection to a broker that leads some of the partitions.
struct Line {
    node: i32,
    link: Link,
    /// The assignment for which the answer is that is awaited.
    asked_for: u64,
    /// Its slots; those that brought something last stand behind the others.
    order: Vec<usize>,
    /// The broker's quota lets nothing be asked before.
    not_before: Instant,
}

/// A client with its partitions.
pub struct Fetch {
    settings: Settings,
    topics: Vec<String>,
    slots: Vec<Slot>,
    by_place: HashMap<(u16, i32), usize>,
    /// Counts assignments: what was asked for an older one is dropped.
    assignment: u64,
    lines: Vec<Line>,
    /// The line that has its turn first.
    turn: usize,
    guide: Guide,
    hand: Hand,
    /// Records in it that are still to come, at most.
    records: u64,
    said: VecDeque<Item<'static>>,
    correlation: i32,
    parts: Vec<Part>,
    wait: Wait,
}

impl Fetch {
    /// `topics`: a record names its topic by the index here. Nothing is connected before the first batch is wanted.
    pub fn new(settings: Settings, topics: &[String]) -> Fetch {
        Fetch {
            guide: Guide::new(&settings, message::NEEDED, false),
            settings,
            topics: topics.to_vec(),
            slots: Vec::new(),
            by_place: HashMap::new(),
            assignment: 0,
            lines: Vec::new(),
            turn: 0,
            hand: Hand::default(),
            records: 0,
            said: VecDeque::new(),
            correlation: 0,
            parts: Vec::new(),
            wait: Wait::default(),
        }
    }

    /// From now on exactly these partitions, from exactly these places.
    pub fn assign(&mut self, places: &[From<'_>]) {
        let known = std::mem::take(&mut self.by_place);
        let old = std::mem::take(&mut self.slots);
        self.assignment += 1;
        for place in places {
            let Some(topic) = self.topics.iter().position(|topic| topic == place.topic) else { continue };
            let key = (topic as u16, place.partition);
            let before = known.get(&key).map(|at| &old[*at]);
            self.by_place.insert(key, self.slots.len());
            self.slots.push(Slot {
                topic: key.0,
                partition: place.partition,
                next: place.offset,
                epoch: place.epoch,
                doubted: -1,
                node: before.and_then(|slot| slot.node),
                leader_epoch: before.map_or(-1, |slot| slot.leader_epoch),
                stable: before.and_then(|slot| slot.stable),
                is_read: true,
                max_bytes: self.settings.part_bytes,
                told: -1,
                has_brought: false,
            });
        }
        self.hand.take(Vec::new());
        self.said.clear();
        self.records = 0;
        self.line_up();
    }

    /// The end of a partition's log as the newest answer told it.
    pub fn high(&self, topic: u16, partition: i32) -> Option<i64> {
        self.by_place.get(&(topic, partition)).and_then(|slot| self.slots[*slot].stable)
    }

    /// Waits at most `wait` for the first record, and takes what else is there already.
    pub fn next_batch(&mut self, wait: Duration) -> Batch<'_> {
        let until = Instant::now() + wait;
        while self.hand.is_empty() && self.said.is_empty() {
            self.drive();
            let now = Instant::now();
            if !self.hand.is_empty() || !self.said.is_empty() || now >= until {
                break;
            }
            self.sleep(until - now);
        }
        Batch { fetch: self, left: BATCH_RECORDS }
    }

    /// Until a broker says something, or something is due.
    fn sleep(&mut self, longest: Duration) {
        self.wait.clear();
        let now = Instant::now();
        let lines = self.lines.iter().filter_map(|line| {
            let quiet = line.link.is_free().then_some(line.not_before).filter(|due| *due > now);
            quiet.or(line.link.await_on(&mut self.wait))
        });
        let due = lines.min();
        let due = due.into_iter().chain(self.guide.await_on(&mut self.wait)).min();
        let time = due.map_or(longest, |due| due.saturating_duration_since(now).min(longest));
        // A millisecond at least: poll counts in them.
        if let Err(e) = self.wait.wait(time.max(Duration::from_millis(1))) {
            self.said.push_back(Item::Trouble(format!("cannot wait for brokers: {e}")));
        }
    }

    /// Does what can be done without waiting, until an answer is in hand.
    fn drive(&mut self) {
        let now = Instant::now();
        self.ask_the_way(now);
        self.turn = self.turn.wrapping_add(1);
        for at in 0..self.lines.len() {
            let at = (self.turn + at) % self.lines.len();
            match self.lines[at].link.step(now) {
                Ok(false) => {}
                Ok(true) => self.take(at, now),
                Err(trouble) => self.lose(at, trouble),
            }
            self.ask(at, now);
            if !self.hand.is_empty() {
                return;
            }
        }
    }

    /// Leaders that nobody knows are asked for.
    fn ask_the_way(&mut self, now: Instant) {
        if self.slots.iter().any(|slot| slot.is_read && slot.node.is_none()) {
            self.guide.want_map();
        }
        match self.guide.step(now, self.topics.iter().map(String::as_str)) {
            Ok(Some(Answer::Map(topics))) => {
                topics.iter().for_each(|topic| self.follow(topic));
                self.line_up();
            }
            Ok(_) => {}
            Err((address, trouble)) => self.note(&address, trouble),
        }
    }

    /// Takes over who leads the topic's partitions; nobody is followed back to an epoch that is over.
    fn follow(&mut self, told: &TopicMap) {
        let Some(topic) = self.topics.iter().position(|name| *name == told.name) else { return };
        for (partition, leader) in (0..).zip(&told.leaders) {
            let (Some(leader), Some(at)) = (leader, self.by_place.get(&(topic as u16, partition))) else { continue };
            let slot = &mut self.slots[*at];
            if leader.epoch >= slot.leader_epoch || slot.node.is_none() {
                (slot.node, slot.leader_epoch) = (Some(leader.node), leader.epoch);
            }
        }
    }

    /// A connection for each broker that leads a partition.
    fn line_up(&mut self) {
        for slot in &mut self.slots {
            slot.node = slot.node.filter(|node| self.guide.address_of(*node).is_some());
        }
        let leads = |node: i32| self.slots.iter().any(|slot| slot.is_read && slot.node == Some(node));
        let is_there = |line: &Line| self.guide.address_of(line.node) == Some(line.link.address());
        self.lines.retain(|line| leads(line.node) && is_there(line));
        for node in self.slots.iter().filter(|slot| slot.is_read).filter_map(|slot| slot.node) {
            if self.lines.iter().all(|line| line.node != node)
                && let Some(address) = self.guide.address_of(node)
            {
                let (link, not_before) = (self.guide.link(address), Instant::now());
                self.lines.push(Line { node, link, asked_for: 0, order: Vec::new(), not_before });
            }
        }
        for line in &mut self.lines {
            line.order = (0..self.slots.len()).filter(|slot| self.slots[*slot].node == Some(line.node)).collect();
        }
    }

    /// Asks for more, unless an answer is on its way.
    fn ask(&mut self, at: usize, now: Instant) {
        let most = self.settings.limits.max_bytes;
        let max_bytes = (most / self.lines.len() as i32).max(ANSWER_MIN.min(most));
        let line = &mut self.lines[at];
        if !line.link.is_free() || now < line.not_before {
            return;
        }
        let slots = line.order.iter().map(|slot| &self.slots[*slot]);
        let wanted: Vec<Wanted<'_>> = slots
            .filter(|slot| slot.is_read && slot.node == Some(line.node))
            .map(|slot| Wanted {
                topic: &self.topics[usize::from(slot.topic)],
                partition: slot.partition,
                leader_epoch: slot.leader_epoch,
                offset: slot.next,
                epoch: slot.epoch,
                max_bytes: slot.max_bytes,
            })
            .collect();
        if wanted.is_empty() {
            return;
        }
        self.correlation = self.correlation.wrapping_add(1);
        let limits = Limits { max_bytes, ..self.settings.limits };
        let request = message::ask_fetch(&self.settings.client_id, self.correlation, limits, &wanted);
        line.link.send(request, self.correlation, now);
        line.asked_for = self.assignment;
    }

    /// Takes the answer of a line in hand.
    fn take(&mut self, at: usize, now: Instant) {
        if self.hand.buffer.len() > BUFFER_KEPT {
            self.hand.buffer = Vec::new();
        }
        let line = &mut self.lines[at];
        let length = line.link.take(&mut self.hand.buffer);
        if line.asked_for != self.assignment {
            return;
        }
        let mut parts = std::mem::take(&mut self.parts);
        let told = message::read_fetch(&self.hand.buffer[..length], &mut parts).map_err(|e| e.to_string());
        let result = told.and_then(|told| self.sort(at, told, &parts, now));
        self.parts = parts;
        if let Err(reason) = result {
            self.lines[at].link.fail(now);
            self.lose(at, Trouble::Broken(reason));
        }
    }

    /// Takes what the answer has of each partition.
    fn sort(&mut self, at: usize, told: Told, parts: &[Part], now: Instant) -> Result<(), String> {
        self.lines[at].not_before = now + throttle(told.throttle_ms);
        let node = self.lines[at].node;
        if told.error != 0 {
            return Err(error_text(told.error));
        }
        // What was taken before a part that cannot be is in hand all the same: its offsets are not asked for again.
        let mut stretches = Vec::new();
        let result = parts.iter().try_for_each(|part| {
            stretches.extend(self.part(node, part)?);
            Ok(())
        });
        self.hand.take(stretches);
        let (line, slots) = (&mut self.lines[at], &mut self.slots);
        line.order.sort_by_key(|slot| slots[*slot].has_brought);
        line.order.iter().for_each(|slot| slots[*slot].has_brought = false);
        if slots.iter().all(|slot| slot.node.is_some()) {
            self.guide.relax();
        }
        result
    }

    /// What the answer says of one partition; what is to be walked, if anything is.
    fn part(&mut self, node: i32, part: &Part) -> Result<Option<Stretch>, String> {
        let name = &self.hand.buffer[part.topic.clone()];
        let topic = self.topics.iter().position(|topic| topic.as_bytes() == name);
        let found = topic.and_then(|topic| self.by_place.get(&(topic as u16, part.partition)));
        let Some(at) = found.copied() else { return Err("it tells of a partition that nobody asked for".into()) };
        let slot = &mut self.slots[at];
        if slot.node != Some(node) {
            // Somebody else leads it by now, and was or will be asked.
            return Ok(None);
        }
        let (topic, partition, from) = (slot.topic, slot.partition, slot.next);
        if !slot.is_read {
            return Ok(None);
        }
        if part.error != 0 || part.diverging.is_some() || slot.doubted >= 0 {
            self.said.extend(slot.refuse(part));
            return Ok(None);
        }
        slot.stable = Some(part.stable);
        let bytes = &self.hand.buffer[part.records.clone()];
        let (next, epoch, records) = hand::behind(bytes, from, slot.epoch);
        (slot.next, slot.epoch, slot.has_brought) = (next, epoch, next > from);
        if next > from {
            slot.max_bytes = self.settings.part_bytes;
        } else if !bytes.is_empty() && matches!(Head::read(bytes), Ok(first) if first.is_some() || !slot.ask_for_more())
        {
            slot.is_read = false;
            let reason = format!("the broker answers with {} bytes that do not hold it", bytes.len());
            self.said.push_back(Item::Broken { topic, partition, offset: from, reason });
            return Ok(None);
        }
        self.records += records;
        let has_end = next >= part.stable && std::mem::replace(&mut slot.told, next) != next;
        let Part { stable, aborted, records, .. } = part.clone();
        Ok((!bytes.is_empty() || has_end).then_some(Stretch { slot: at, from, stable, aborted, records }))
    }

    /// A connection is lost; its partitions may have another leader by now.
    fn lose(&mut self, at: usize, trouble: Trouble) {
        self.guide.want_map();
        let address = self.lines[at].link.address().to_string();
        self.note(&address, trouble);
    }

    fn note(&mut self, address: &str, trouble: Trouble) {
        match trouble {
            Trouble::Broken(reason) => self.said.push_back(Item::Trouble(format!("broker {address}: {reason}"))),
            Trouble::Unfit(reason) => {
                for slot in self.slots.iter_mut().filter(|slot| slot.is_read) {
                    slot.is_read = false;
                    let (topic, partition, offset) = (slot.topic, slot.partition, slot.next);
                    let reason = format!("broker {address}: {reason}");
                    self.said.push_back(Item::Unfit { topic, partition, offset, reason });
                }
            }
        }
    }
}

impl Slot {
    /// A partition of which the broker tells that it has nothing to give, or not what is wanted.
    fn refuse(&mut self, part: &Part) -> Option<Item<'static>> {
        let (topic, partition, offset) = (self.topic, self.partition, self.next);
        let reason = error_text(part.error);
        if passes(part.error) {
            self.node = None;
            return Some(Item::Trouble(reason));
        }
        if part.error == message::OUT_OF_RANGE && self.epoch >= 0 {
            // Said of an epoch that the log does not know as well: asked without one, it tells which it is.
            (self.doubted, self.epoch) = (self.epoch, -1);
            return None;
        }
        self.is_read = false;
        let cut = |what: String, epoch: i32| {
            let reason = format!(
                "its log was cut, or the topic was made anew: {what}, and what was read before {offset} is of epoch \
                 {epoch}; to read what it holds, take a new group_id with start set"
            );
            Some(Item::Broken { topic, partition, offset, reason })
        };
        match (part.error, part.diverging) {
            (0, Some((epoch, end))) => cut(format!("its epoch {epoch} ends at offset {end}"), self.epoch),
            (0, None) => cut("it does not know that epoch any more".into(), self.doubted),
            (message::OUT_OF_RANGE, _) => Some(Item::OutOfRange { topic, partition, reason }),
            _ => Some(Item::Broken { topic, partition, offset, reason }),
        }
    }

    /// The first batch does not come as a whole. False where it never will.
    fn ask_for_more(&mut self) -> bool {
        let more = self.max_bytes.saturating_mul(2);
        self.max_bytes = more;
        (more as usize) <= link::ANSWER_MAX
    }
}

/// Records that are in hand.
pub struct Batch<'a> {
    fetch: &'a mut Fetch,
    left: usize,
}

impl Batch<'_> {
    /// Records, at most.
    pub fn records(&self) -> usize {
        self.fetch.records.min(self.left as u64) as usize
    }

    /// The next item, until the next call.
    pub fn next_item(&mut self) -> Option<Item<'_>> {
        let fetch = &mut *self.fetch;
        if let Some(item) = fetch.said.pop_front() {
            return Some(item);
        }
        if self.left == 0 {
            return None;
        }
        match fetch.hand.step() {
            Step::Done => {
                fetch.records = 0;
                None
            }
            Step::End { slot, offset } => {
                let Slot { topic, partition, epoch, .. } = fetch.slots[slot];
                Some(Item::End { topic, partition, offset, epoch })
            }
            Step::Broken { slot, offset, reason } => {
                let slot = &mut fetch.slots[slot];
                slot.is_read = false;
                Some(Item::Broken { topic: slot.topic, partition: slot.partition, offset, reason })
            }
            Step::Record(place) => {
                self.left -= 1;
                fetch.records = fetch.records.saturating_sub(1);
                let Slot { topic, partition, .. } = fetch.slots[place.slot];
                let bytes = fetch.hand.bytes(&place);
                let Place { offset, timestamp_ms, leader_epoch, value, .. } = place;
                let value = value.map(|range| &bytes[range]);
                let name = &fetch.topics[usize::from(topic)];
                Some(Item::Record(topic, Record { topic: name, partition, offset, timestamp_ms, leader_epoch, value }))
            }
        }
    }
}
