//! Kafka's own protocol, as far as a producer needs it: idempotent, all replicas confirm, in order for each partition.
//!
//! All on the caller's thread. Lines are copied into the batch of their partition; a batch that is full or has waited
//! is compressed and goes out, one of each partition with each request, one request at a time to each broker. While
//! that is on its way the next batches fill. A batch keeps its number until it is confirmed, so a broker that has it
//! already says so: what is sent again after a broken connection or to another leader stands in the log once.

mod batch;
mod drive;
mod message;
mod pack;
mod part;

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use super::{Lines, MESSAGES_MAX, PIECE_HEADER, ProduceError, Producer, Refused, Report, Settings, Transactions};
use crate::flow::clock;
use crate::protocol;
use crate::protocol::guide::Guide;
use crate::protocol::message::Id;
use crate::sys::socket::Wait;
use crate::tail::cursor::Mark;
use crate::tail::lease::Lease;
use batch::{Line, Span};
use drive::Road;
use pack::Packer;
use part::{Part, Topic, pile_of};

/// What became of a span, to be reported.
type Done = (Span, Option<(i32, String)>);

/// A producer of one task.
pub struct Native {
    settings: protocol::Settings,
    lease: Arc<Lease>,
    batch_bytes: usize,
    buffer_bytes: usize,
    topics: Vec<Topic>,
    by_name: HashMap<String, usize>,
    parts: Vec<Part>,
    roads: Vec<Road>,
    guide: Guide,
    id: Option<Id>,
    packer: Packer,
    room: Vec<u8>,
    /// Numbers of chunks: those that were used and are free, and the first that was not.
    free: Vec<u32>,
    unused: u32,
    /// Lines that are not reported, and bytes of their records.
    held: usize,
    held_bytes: usize,
    done: VecDeque<Done>,
    answer: Vec<u8>,
    correlation: i32,
    fatal: Option<String>,
    is_unfit: bool,
    trouble: Option<(i32, String)>,
}

impl Native {
    /// Nothing is connected before there are lines.
    ///
    /// # Errors
    /// A setting of the cluster is not known here, or the compression is none.
    pub fn open(settings: &Settings, lease: &Arc<Lease>) -> Result<Native, ProduceError> {
        let packer = Packer::of(&settings.compression);
        let packer = packer.ok_or_else(|| ProduceError::Compression(settings.compression.clone()))?;
        let how = protocol::Settings::of(&settings.cluster)?;
        if lease.is_revoked() {
            return Err(ProduceError::Succeeded);
        }
        Ok(Native {
            guide: Guide::new(&how, message::NEEDED, true),
            settings: how,
            lease: lease.clone(),
            batch_bytes: settings.batch_bytes,
            buffer_bytes: settings.buffer_bytes,
            topics: Vec::new(),
            by_name: HashMap::new(),
            parts: Vec::new(),
            roads: Vec::new(),
            id: None,
            packer,
            room: Vec::new(),
            free: Vec::new(),
            unused: 0,
            held: 0,
            held_bytes: 0,
            done: VecDeque::new(),
            answer: Vec::new(),
            correlation: 0,
            fatal: None,
            is_unfit: false,
            trouble: None,
        })
    }

    /// Puts the lines into the batches of their pile; true where one is full.
    fn fill(&mut self, topic: usize, lines: &Lines<'_>, chunk: u32) -> bool {
        let Native { topics, parts, packer, room, batch_bytes, held_bytes, .. } = self;
        let pile = pile_of(&mut topics[topic], parts, lines.hash);
        let (now, now_ms) = (Instant::now(), clock::now_ms());
        let number = lines.piece.map(|piece| piece.to_string());
        let header = number.as_ref().map(|number| (PIECE_HEADER.to_bytes(), number.as_bytes()));
        let place = |start: u32| lines.head + start as usize;
        let first = place(lines.lines.first().map_or(0, |line| line.0));
        let last = lines.lines.len() - 1;
        let (mut from, mut count, mut is_full) = (first, 0, false);
        let mut before = pile.open_bytes();
        for (at, (start, length)) in lines.lines.iter().enumerate() {
            let (start, length) = (place(*start), *length as usize);
            let line = Line { key: lines.key, value: &room[start..start + length], header };
            if pile.is_full(&line, *batch_bytes) {
                if count > 0 {
                    let to = place(lines.lines[at - 1].0) + lines.lines[at - 1].1 as usize + lines.gap;
                    pile.mark(span(chunk, count, from - first..to - first, &room[..to.min(lines.used)], false));
                }
                *held_bytes += pile.open_bytes() - before;
                pile.seal(packer);
                (from, count, before, is_full) = (start, 0, 0, true);
            }
            pile.add(&line, now_ms, now);
            count += 1;
            if at == last {
                let to = start + length + lines.gap;
                pile.mark(span(chunk, count, from - first..to - first, &room[..to.min(lines.used)], true));
            }
        }
        *held_bytes += pile.open_bytes() - before;
        is_full
    }
}

/// `until`: the room up to where these lines end.
fn span(chunk: u32, count: u64, place: Range<usize>, until: &[u8], is_last: bool) -> Span {
    let mark = Mark::of(until);
    Span { chunk, count, from: place.start as u64, to: place.end as u64, mark, is_last }
}

impl Transactions for Native {}

impl Producer for Native {
    fn topic(&mut self, name: &str) -> Result<usize, ProduceError> {
        if let Some(known) = self.by_name.get(name) {
            return Ok(*known);
        }
        let topic = Topic { name: name.into(), parts: 0..0, early: Vec::new(), unknown_since: None };
        self.topics.push(topic);
        self.by_name.insert(name.into(), self.topics.len() - 1);
        Ok(self.topics.len() - 1)
    }

    fn messages_left(&self) -> usize {
        MESSAGES_MAX
    }

    fn in_flight(&self) -> usize {
        self.held
    }

    fn room(&mut self, bytes: usize) -> Option<&mut [u8]> {
        if self.held > 0 && self.held_bytes + bytes > self.buffer_bytes {
            return None;
        }
        if self.room.len() < bytes {
            self.room.resize(bytes, 0);
        }
        Some(&mut self.room[..bytes])
    }

    fn send(&mut self, topic: usize, lines: &Lines<'_>) -> Result<u32, Refused> {
        if self.lease.is_revoked() {
            return Err(Refused { chunk: None, reason: ProduceError::Succeeded.to_string() });
        }
        let chunk = self.free.pop().unwrap_or(self.unused);
        self.unused = self.unused.max(chunk + 1);
        self.held += lines.lines.len();
        if self.fill(topic, lines, chunk) {
            self.drive();
        }
        Ok(chunk)
    }

    fn reports(&mut self, each: &mut dyn FnMut(&Report)) {
        self.drive();
        for (span, error) in self.done.drain(..) {
            let Span { chunk, count, from, to, mark, is_last } = span;
            self.held -= count as usize;
            if is_last {
                self.free.push(chunk);
            }
            each(&Report { chunk, count, from, to, mark, error, is_last });
        }
    }

    fn fatal(&self) -> Option<&str> {
        self.fatal.as_deref()
    }

    fn is_unfit(&self) -> bool {
        self.is_unfit
    }

    fn take_trouble(&mut self) -> Option<(i32, String)> {
        self.trouble.take()
    }

    fn await_on(&self, wait: &mut Wait) -> Option<Instant> {
        let roads = self.roads.iter().filter(|road| self.is_used(road)).filter_map(|road| {
            if !road.link.is_free() {
                return road.link.await_on(wait);
            }
            let has_id = |part: &Part| part.id.or(self.id).is_some();
            let parts = self.parts.iter().filter(|part| part.node == Some(road.node) && has_id(part));
            parts.filter_map(Part::due).min().map(|due| due.max(road.not_before))
        });
        let due = roads.min();
        due.into_iter().chain(self.guide.await_on(wait)).min()
    }
}
