//! The reader's side of a ring: lines are built in place, an entry at a time; space comes back as writers apply it.

use std::collections::HashMap;
use std::sync::Arc;

use super::layout::{ENTRY_ALIGN, PARTITIONS_MAX, Ring, Tables, Work};
use crate::flow::span::Mark;
use crate::flow::tally::Tally;

/// The lines and runs of an entry take at most this part of its ring; its marks come on top.
pub const ENTRY_PART: usize = 4;
/// Bytes at which an entry is worth publishing although the batch goes on.
const ENTRY_TARGET_BYTES: usize = 256 << 10;
/// Bytes that a route's chunk reserves at most when another route's line begins behind it; less where the last entry
/// had many chunks, so that reserves take no more than half of an entry.
const CHUNK_BYTES: usize = 8 << 10;
/// Routes with a reserving chunk in one entry; lines of further routes lie close, each a run of its own.
const HOT_ROUTES: usize = 64;
/// Room kept behind an entry's lines and runs for its marks.
const MARKS_BYTES: usize = PARTITIONS_MAX * Tables::BYTES_FOR_MARK;
/// Runs of one entry; the writers' slots hold several entries.
pub const RUNS_MAX: usize = 2048;
/// Runs that all rings of a task may owe together, so that after a kill each can have a file of its own.
pub const RUNS_OWED_MAX: usize = super::slot::FILES_MAX / 4;
/// Bytes of room below which a chunk is not tried again.
const WORTH_TRYING_BYTES: usize = 256;
/// Routes remembered; beyond, the memory is cleared at an entry's border.
const ROUTES_MAX: usize = 1 << 16;

/// The largest line that always fits a ring of `ring_size` bytes.
pub const fn line_bytes_max(ring_size: usize) -> usize {
    ring_size / ENTRY_PART - (64 << 10)
}

/// What became of an attempt to build a line.
#[derive(Debug, PartialEq, Eq)]
pub enum Attempt<E> {
    /// Bytes written.
    Done(usize),
    /// The room did not suffice.
    Full,
    /// The line cannot be built at all.
    Failed(E),
}

/// A route's number with its publisher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteId(u32);

struct Route {
    key: Box<[u8]>,
    writer: usize,
    /// Its open chunk in this entry.
    chunk: Option<usize>,
}

struct Chunk {
    route: RouteId,
    /// Bytes from the entry's begin.
    start: usize,
    len: usize,
    /// Where its room ends; the last chunk's goes on to the entry's end.
    end: usize,
    lines: u32,
}

/// A published entry that is not freed yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    pub pos: u64,
    pub end: u64,
    /// A bit for each writer that owes lines of it.
    pub writers: u64,
    pub runs: usize,
}

/// Owns one ring's writing end.
pub struct Publisher {
    ring: Arc<Ring>,
    /// A mark for each row of the ring's partition table, as of the entry in the making.
    marks: Vec<Mark>,
    row_of: HashMap<(u16, i32), usize>,
    tally: Tally,
    routes: Vec<Route>,
    route_ids: HashMap<Box<[u8]>, RouteId>,
    open: bool,
    chunks: Vec<Chunk>,
    touched: Vec<usize>,
    is_touched: Vec<bool>,
    /// Bytes that a chunk of this entry reserves.
    reserve: usize,
    /// Runs of the entries that are owed, and how many of them there may be.
    runs_owed: usize,
    runs_owed_max: usize,
    /// Bytes of the entry's tables so far, marks aside.
    table_bytes: usize,
    tables: Tables,
    owed: std::collections::VecDeque<Published>,
}

impl Publisher {
    /// Takes over an empty ring; `marks` is its partition table.
    pub fn new(ring: Arc<Ring>, marks: Vec<Mark>) -> Publisher {
        debug_assert!(ring.is_empty());
        let row_of = marks.iter().enumerate().map(|(row, m)| ((m.topic, m.partition), row)).collect();
        Publisher {
            tally: ring.tally(),
            ring,
            row_of,
            routes: Vec::new(),
            route_ids: HashMap::new(),
            open: false,
            chunks: Vec::new(),
            touched: Vec::new(),
            is_touched: vec![false; marks.len()],
            marks,
            reserve: CHUNK_BYTES,
            runs_owed: 0,
            runs_owed_max: usize::MAX,
            table_bytes: 0,
            tables: Tables::default(),
            owed: Default::default(),
        }
    }

    /// Publishes no more while so many runs are owed: each may need a file of its own, and a start after a kill has
    /// rows for so many only.
    pub fn set_runs_owed_max(&mut self, runs: usize) {
        self.runs_owed_max = runs.max(RUNS_MAX);
    }

    pub fn marks(&self) -> &[Mark] {
        &self.marks
    }

    /// The row of a partition, where this ring owns it.
    pub fn row(&self, topic: u16, partition: i32) -> Option<usize> {
        self.row_of.get(&(topic, partition)).copied()
    }

    /// Takes a partition into the table; `None` where the table is full.
    pub fn add(&mut self, mark: Mark) -> Option<usize> {
        let row = self.marks.len();
        if row == PARTITIONS_MAX {
            return None;
        }
        self.ring.set_mark(row, &mark);
        self.marks.push(mark);
        self.is_touched.push(false);
        self.row_of.insert((mark.topic, mark.partition), row);
        Some(row)
    }

    pub fn route(&mut self, key: &[u8], writer: usize) -> RouteId {
        if let Some(id) = self.route_ids.get(key) {
            return *id;
        }
        let id = RouteId(self.routes.len() as u32);
        self.routes.push(Route { key: key.into(), writer, chunk: None });
        self.route_ids.insert(key.into(), id);
        id
    }

    /// Begins an entry, if none is begun; false while the ring has no room for a whole one. Route numbers hold until
    /// the next call that begins one.
    pub fn begin(&mut self) -> bool {
        if self.open {
            return true;
        }
        let used = (self.ring.head() - self.ring.tail()) as usize;
        if self.ring.size() - used < self.limit() + MARKS_BYTES || self.runs_owed >= self.runs_owed_max {
            return false;
        }
        if self.routes.len() > ROUTES_MAX {
            self.routes.clear();
            self.route_ids.clear();
        }
        self.open = true;
        self.table_bytes = Tables::BYTES_WITHOUT_ROWS;
        true
    }

    /// The mark of a row, to be moved after each record. The entry will hold it.
    pub fn mark(&mut self, row: usize) -> &mut Mark {
        debug_assert!(self.open);
        if !self.is_touched[row] {
            self.is_touched[row] = true;
            self.touched.push(row);
        }
        &mut self.marks[row]
    }

    pub fn tally(&mut self) -> &mut Tally {
        &mut self.tally
    }

    pub fn begin_work(&self, work: Work) {
        self.ring.begin_work(work);
    }

    pub fn end_work(&self) {
        self.ring.end_work();
    }

    /// True where the entry should be published before it takes more.
    pub fn is_ripe(&self) -> bool {
        self.used() >= ENTRY_TARGET_BYTES.min(self.limit() / 2)
    }

    /// Builds one line of `route` in place. `Full` means: publish, begin again, try again; it never happens to the
    /// first line of an entry, if that is at most [`line_bytes_max`].
    pub fn line<E>(
        &mut self,
        route: RouteId,
        mut build: impl FnMut(&mut [u8], &mut Tally) -> Attempt<E>,
    ) -> Attempt<E> {
        debug_assert!(self.open);
        let last = self.chunks.len().wrapping_sub(1);
        if let Some(at) = self.routes[route.0 as usize].chunk {
            let chunk = &self.chunks[at];
            let from = chunk.start + chunk.len;
            let end = if at == last { self.end() } else { chunk.end };
            if at == last || end - from >= WORTH_TRYING_BYTES {
                match build(self.ring.room(self.ring.head() + from as u64, end - from), &mut self.tally) {
                    Attempt::Done(bytes) => {
                        self.chunks[at].len += bytes;
                        self.chunks[at].lines += 1;
                        return Attempt::Done(bytes);
                    }
                    Attempt::Full if at != last => {}
                    other => return other,
                }
            }
        }
        self.line_in_new_chunk(route, build)
    }

    fn line_in_new_chunk<E>(
        &mut self,
        route: RouteId,
        mut build: impl FnMut(&mut [u8], &mut Tally) -> Attempt<E>,
    ) -> Attempt<E> {
        let limit = self.end();
        let hot = self.chunks.len() < HOT_ROUTES;
        let start = self.chunks.last().map_or(ENTRY_ALIGN, |c| {
            let reserved = if hot { c.start + self.reserve } else { 0 };
            reserved.clamp(c.start + c.len, limit.max(c.start + c.len))
        });
        let run_bytes = Tables::bytes_for_run(self.routes[route.0 as usize].key.len());
        let end = limit.saturating_sub(run_bytes);
        if start >= end || self.chunks.len() == RUNS_MAX {
            return Attempt::Full;
        }
        let attempt = build(self.ring.room(self.ring.head() + start as u64, end - start), &mut self.tally);
        if let Attempt::Done(len) = attempt {
            if let Some(last) = self.chunks.last_mut() {
                last.end = start;
            }
            self.table_bytes += run_bytes;
            self.routes[route.0 as usize].chunk = Some(self.chunks.len());
            self.chunks.push(Chunk { route, start, len, end: start + len, lines: 1 });
        }
        attempt
    }

    /// Publishes the entry in the making, if anything moved. The caller wakes the writers named in it.
    pub fn publish(&mut self) -> Option<Published> {
        if !std::mem::take(&mut self.open) || self.touched.is_empty() {
            debug_assert!(self.chunks.is_empty(), "lines without the mark behind them");
            return None;
        }
        let marks = self.touched.iter().map(|row| self.marks[*row]);
        let at = self.chunks.last().map_or(ENTRY_ALIGN, |c| c.start + c.len).next_multiple_of(8);
        self.tables.begin(at, marks, &self.tally);
        let mut writers = 0;
        let runs = self.chunks.len();
        self.reserve = (ENTRY_TARGET_BYTES / 2 / runs.max(1)).min(CHUNK_BYTES);
        self.runs_owed += runs;
        for chunk in self.chunks.drain(..) {
            let route = &mut self.routes[chunk.route.0 as usize];
            route.chunk = None;
            writers |= 1 << route.writer;
            self.tables.run(route.writer, &route.key, chunk.start, chunk.len, chunk.lines);
        }
        self.touched.drain(..).for_each(|row| self.is_touched[row] = false);
        let pos = self.ring.head();
        self.ring.publish(&self.tables);
        let published = Published { pos, end: self.ring.head(), writers, runs };
        self.owed.push_back(published);
        Some(published)
    }

    /// Frees what all concerned writers have applied; true where nothing is owed any more.
    ///
    /// # Errors
    /// An entry of ours does not read back: memory or map is damaged.
    pub fn free(&mut self, applied: impl Fn(usize) -> u64) -> Result<bool, String> {
        while let Some(first) = self.owed.front() {
            let done = |writer: usize| first.writers >> writer & 1 == 0 || applied(writer) >= first.end;
            if !(0..u64::BITS as usize).all(done) {
                return Ok(false);
            }
            fold(&self.ring, first.pos, |mark| self.row_of.get(&(mark.topic, mark.partition)).copied())?;
            self.runs_owed -= first.runs;
            self.owed.pop_front();
        }
        Ok(true)
    }

    pub fn ring(&self) -> &Ring {
        &self.ring
    }

    fn limit(&self) -> usize {
        self.ring.size() / ENTRY_PART
    }

    /// Where lines must end, in bytes from the entry's begin. Marks do not move it: whatever partitions follow the last
    /// line, `begin` has kept room for all their marks.
    fn end(&self) -> usize {
        self.limit().saturating_sub(self.table_bytes)
    }

    fn used(&self) -> usize {
        let lines = self.chunks.last().map_or(0, |c| c.start + c.len);
        lines + self.table_bytes + self.touched.len() * Tables::BYTES_FOR_MARK
    }
}

/// Puts the entry's marks and tally into the ring's table and gives its space back. Sets, never adds, so that a fold
/// that a kill cut short is simply done again.
///
/// # Errors
/// The entry does not read back, or a mark has no row.
pub fn fold(ring: &Ring, pos: u64, row: impl Fn(&Mark) -> Option<usize>) -> Result<(), String> {
    let entry = ring.entry(pos)?;
    for mark in entry.marks() {
        let mark = mark.ok_or_else(|| format!("a mark of the entry at position {pos} is damaged"))?;
        let row = row(&mark).ok_or_else(|| format!("the entry at position {pos} has a partition without a row"))?;
        ring.set_mark(row, &mark);
    }
    ring.set_tally(&entry.tally());
    ring.set_tail(entry.end());
    Ok(())
}
