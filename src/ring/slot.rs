//! A writer's slot: its file table, how far it has applied each ring, and the batch it has in flight.
//!
//! ```text
//! identity | file number, its limit, newest checkpoint (writer 0's count) | applied per ring | in flight | file table
//! ```

use std::fs::File;
use std::io;
use std::sync::atomic::Ordering;

use super::guard;
use super::layout::{THREADS_MAX, release};
use super::publish::RUNS_MAX;
use crate::flow::name::NAME_MAX_BYTES;
use crate::flow::span::checksum;
use crate::sys::file::Identity;
use crate::sys::mmap::Words;

/// Runs of one batch, and so its files: one whole entry always fits.
pub const BATCH_RUNS_MAX: usize = RUNS_MAX;
/// Files that a table holds.
pub const FILES_MAX: usize = 65_536;

const AT_SEQ: usize = 16;
const AT_SEQ_LIMIT: usize = 17;
const AT_COMMITTED: usize = 18;
/// Rows from here on were never used.
const AT_ROWS: usize = 19;
const AT_APPLIED: usize = 32;
pub(super) const AT_FLIGHT: usize = AT_APPLIED + THREADS_MAX;
/// Two places for a batch: one is filled while the other is valid.
const AT_PLACES: usize = AT_FLIGHT + 8;
const PLACE_COUNTS: usize = 4;
const FLIGHT_FILE_WORDS: usize = 3;
const FLIGHT_RUN_WORDS: usize = 2;
const PLACE_RUNS: usize = PLACE_COUNTS + BATCH_RUNS_MAX * FLIGHT_FILE_WORDS;
const PLACE_APPLIED: usize = PLACE_RUNS + BATCH_RUNS_MAX * FLIGHT_RUN_WORDS;
const PLACE_WORDS: usize = PLACE_APPLIED + THREADS_MAX;
pub(super) const AT_TABLE: usize = (AT_PLACES + 2 * PLACE_WORDS).next_multiple_of(ROW_WORDS);
const ROW_WORDS: usize = 64;
const ROW_NAME: usize = 8;
const WORDS: usize = AT_TABLE + FILES_MAX * ROW_WORDS;
/// Bytes of a slot's file.
pub const SLOT_BYTES: usize = WORDS * 8;

const _: () = assert!(NAME_MAX_BYTES <= (ROW_WORDS - ROW_NAME) * 8);

/// Where a file stands in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// Its name is taken; it may not exist yet.
    Planned = 1,
    /// It exists and may grow.
    Created = 2,
    /// It will not grow any more.
    Sealed = 3,
}

/// Which directory a name is below, and what its bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    /// Lines, below the task's `dir`.
    Lines = 1,
    /// A segment of the failure queue.
    Failures = 2,
}

/// One row of the file table, but for its length and state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub kind: Kind,
    /// Below the directory of its kind.
    pub name: String,
    /// The task's file number in its name.
    pub seq: u64,
    /// Hash of its route, so that a start goes on in it.
    pub route_hash: u64,
    /// The day or hour it belongs to.
    pub period: i64,
}

/// A file of a batch: where the append begins and how much it adds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlightFile {
    pub row: usize,
    pub start: u64,
    pub added: u64,
}

/// A run of a batch: bytes of a ring that go to the batch's file number `file`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlightRun {
    pub file: usize,
    pub ring: usize,
    pub pos: u64,
    pub len: usize,
}

/// What a writer is about to append. `runs` are in order of their file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flight {
    pub files: Vec<FlightFile>,
    pub runs: Vec<FlightRun>,
    /// (ring, position up to which it is applied after this).
    pub applied: Vec<(usize, u64)>,
}

/// One writer's slot, mapped. One thread writes it; readers look at `applied`, the cut at the table.
pub struct Slot {
    map: Words,
}

impl Slot {
    /// # Errors
    /// The file is too short, or the kernel refuses.
    pub fn map(file: &File) -> io::Result<Slot> {
        Ok(Slot { map: Words::map(file, WORDS)? })
    }

    pub fn header(&self) -> &Words {
        &self.map
    }

    fn get(&self, at: usize) -> u64 {
        self.map.at(at).load(Ordering::Acquire)
    }

    fn set(&self, at: usize, value: u64) {
        self.map.at(at).store(value, Ordering::Release);
    }

    fn number(&self, at: usize) -> u64 {
        guard::number(self.get(at))
    }

    fn set_number(&self, at: usize, number: u64) {
        self.set(at, guard::sealed(number));
    }

    /// True where nobody has changed the numbers that the last process stored.
    pub fn is_whole(&self) -> bool {
        let heads = (AT_SEQ..=AT_ROWS).chain(AT_APPLIED..AT_APPLIED + THREADS_MAX);
        let lengths = (0..self.rows_used()).map(|row| AT_TABLE + row * ROW_WORDS + 1);
        self.rows_used() <= FILES_MAX && heads.chain(lengths).all(|at| guard::is_whole(self.get(at)))
    }

    /// The next file number (of writer 0's slot, for the whole task).
    pub fn seq(&self) -> u64 {
        self.number(AT_SEQ)
    }

    /// Numbers below it may be taken; it rises with checkpoints.
    pub fn seq_limit(&self) -> u64 {
        self.number(AT_SEQ_LIMIT)
    }

    pub fn set_seq(&self, seq: u64, limit: u64) {
        self.set_number(AT_SEQ, seq);
        self.set_number(AT_SEQ_LIMIT, limit);
    }

    pub fn set_seq_limit(&self, limit: u64) {
        self.set_number(AT_SEQ_LIMIT, limit);
    }

    /// The newest checkpoint that these maps have seen committed.
    pub fn committed(&self) -> u64 {
        self.number(AT_COMMITTED)
    }

    pub fn set_committed(&self, number: u64) {
        self.set_number(AT_COMMITTED, number);
    }

    /// A file number that nobody had before; `None` until the next checkpoint raises the limit.
    pub fn take_seq(&self) -> Option<u64> {
        let step = |word| {
            let seq = guard::number(word);
            (seq < self.seq_limit()).then(|| guard::sealed(seq + 1))
        };
        self.map.at(AT_SEQ).fetch_update(Ordering::AcqRel, Ordering::Acquire, step).ok().map(guard::number)
    }

    /// The ring position up to which this writer has appended all its runs.
    pub fn applied(&self, ring: usize) -> u64 {
        self.number(AT_APPLIED + ring)
    }

    pub fn set_applied(&self, ring: usize, pos: u64) {
        release(self.map.at(AT_APPLIED + ring), guard::sealed(pos));
    }

    /// Fills the free place and makes it valid with one store, in place of what was valid before. From here the batch
    /// is finished, by this process or the next.
    pub fn set_flight(&self, flight: &Flight) {
        if cfg!(feature = "inexact") {
            return;
        }
        debug_assert!(flight.runs.len() <= BATCH_RUNS_MAX && flight.files.len() <= BATCH_RUNS_MAX);
        let place = 1 - self.place();
        let base = AT_PLACES + place * PLACE_WORDS;
        let counts = [flight.files.len() as u64, flight.runs.len() as u64, flight.applied.len() as u64];
        counts.iter().enumerate().for_each(|(i, n)| self.set(base + i, *n));
        for (i, file) in flight.files.iter().enumerate() {
            let words = [file.row as u64, file.start, file.added];
            let at = base + PLACE_COUNTS + i * FLIGHT_FILE_WORDS;
            words.iter().enumerate().for_each(|(w, v)| self.set(at + w, *v));
        }
        for (i, run) in flight.runs.iter().enumerate() {
            let at = base + PLACE_RUNS + i * FLIGHT_RUN_WORDS;
            self.set(at, (run.ring as u64) << 48 | (run.file as u64) << 32 | run.len as u64);
            self.set(at + 1, run.pos);
        }
        for (i, (ring, pos)) in flight.applied.iter().enumerate() {
            self.set(base + PLACE_APPLIED + i, (*ring as u64) << 56 | pos);
        }
        let valid = (place as u64) << 63 | self.flight_checksum(base, counts);
        release(self.map.at(AT_FLIGHT), valid);
    }

    pub fn clear_flight(&self) {
        release(self.map.at(AT_FLIGHT), 0);
    }

    /// The batch that was in flight, if one was.
    ///
    /// # Errors
    /// It is not whole.
    pub fn flight(&self) -> Result<Option<Flight>, String> {
        let valid = self.get(AT_FLIGHT);
        if valid == 0 {
            return Ok(None);
        }
        let base = AT_PLACES + self.place() * PLACE_WORDS;
        let counts: [u64; 3] = std::array::from_fn(|i| self.get(base + i));
        let limits = [BATCH_RUNS_MAX, BATCH_RUNS_MAX, THREADS_MAX];
        let bounded = counts.iter().zip(limits).all(|(n, limit)| *n <= limit as u64);
        if !bounded || self.flight_checksum(base, counts) != valid & (u64::MAX >> 1) {
            return Err("the checksum of the batch in flight does not fit".into());
        }
        let [files, runs, applied] = counts.map(|n| n as usize);
        let file = |i: usize| {
            let at = base + PLACE_COUNTS + i * FLIGHT_FILE_WORDS;
            FlightFile { row: self.get(at) as usize, start: self.get(at + 1), added: self.get(at + 2) }
        };
        let run = |i: usize| {
            let at = base + PLACE_RUNS + i * FLIGHT_RUN_WORDS;
            let place = self.get(at);
            FlightRun {
                file: (place >> 32 & 0xffff) as usize,
                ring: (place >> 48) as usize,
                pos: self.get(at + 1),
                len: place as u32 as usize,
            }
        };
        let mark = |i: usize| {
            let word = self.get(base + PLACE_APPLIED + i);
            ((word >> 56) as usize, word & ((1 << 56) - 1))
        };
        Ok(Some(Flight {
            files: (0..files).map(file).collect(),
            runs: (0..runs).map(run).collect(),
            applied: (0..applied).map(mark).collect(),
        }))
    }

    /// The place that is valid, or was last.
    fn place(&self) -> usize {
        (self.get(AT_FLIGHT) >> 63) as usize
    }

    fn flight_checksum(&self, base: usize, counts: [u64; 3]) -> u64 {
        let [files, runs, applied] = counts.map(|n| n as usize);
        let parts = [
            (base, 3),
            (base + PLACE_COUNTS, files * FLIGHT_FILE_WORDS),
            (base + PLACE_RUNS, runs * FLIGHT_RUN_WORDS),
            (base + PLACE_APPLIED, applied),
        ];
        let words: Vec<u64> = parts.iter().flat_map(|(at, n)| (*at..at + n).map(|i| self.get(i))).collect();
        checksum(&words)
    }

    fn rows_used(&self) -> usize {
        self.number(AT_ROWS) as usize
    }

    /// Enters a file in a free row, as planned and of length 0.
    pub fn set_row(&self, at: usize, row: &Row) {
        if at >= self.rows_used() {
            self.set_number(AT_ROWS, at as u64 + 1);
        }
        let base = AT_TABLE + at * ROW_WORDS;
        let mut name = row.name.as_bytes().to_vec();
        name.resize((ROW_WORDS - ROW_NAME) * 8, 0);
        for (i, chunk) in name.chunks_exact(8).enumerate() {
            self.set(base + ROW_NAME + i, u64::from_le_bytes(std::array::from_fn(|b| chunk[b])));
        }
        // Length and identity of whoever had the row before.
        (1..4).for_each(|i| self.set(base + i, 0));
        self.set(base + 4, row.seq);
        self.set(base + 5, row.route_hash);
        self.set(base + 6, row.period as u64);
        self.set(base + 7, self.row_checksum(base, row.kind, row.name.len()));
        self.set_state(at, row, State::Planned);
    }

    pub fn set_state(&self, at: usize, row: &Row, state: State) {
        // The state stands twice: a flipped byte of it is seen.
        let states = u64::from(!(state as u8)) << 16 | state as u64;
        let word = (row.name.len() as u64) << 32 | states | (row.kind as u64) << 8;
        release(self.map.at(AT_TABLE + at * ROW_WORDS), word);
    }

    /// Bytes after the last append of ours.
    pub fn length(&self, at: usize) -> u64 {
        self.number(AT_TABLE + at * ROW_WORDS + 1)
    }

    pub fn set_length(&self, at: usize, length: u64) {
        self.set_number(AT_TABLE + at * ROW_WORDS + 1, length);
    }

    pub fn set_identity(&self, at: usize, identity: Identity) {
        self.set(AT_TABLE + at * ROW_WORDS + 2, identity.inode);
        self.set(AT_TABLE + at * ROW_WORDS + 3, identity.born_ns);
    }

    pub fn identity(&self, at: usize) -> Identity {
        let base = AT_TABLE + at * ROW_WORDS;
        Identity { inode: self.get(base + 2), born_ns: self.get(base + 3) }
    }

    pub fn clear_row(&self, at: usize) {
        release(self.map.at(AT_TABLE + at * ROW_WORDS), 0);
    }

    pub fn is_free(&self, at: usize) -> bool {
        self.get(AT_TABLE + at * ROW_WORDS) == 0
    }

    /// The file at a row; `None` where the row is free.
    ///
    /// # Errors
    /// The row is damaged.
    pub fn row(&self, at: usize) -> Result<Option<(Row, State)>, String> {
        let base = AT_TABLE + at * ROW_WORDS;
        let head = self.get(base);
        if head == 0 {
            return Ok(None);
        }
        let damaged = || format!("row {at} of the file table is damaged");
        if head >> 16 & 0xffff != !head & 0xff {
            return Err(damaged());
        }
        let state = match head & 0xff {
            1 => State::Planned,
            2 => State::Created,
            3 => State::Sealed,
            _ => return Err(damaged()),
        };
        let kind = match head >> 8 & 0xff {
            1 => Kind::Lines,
            2 => Kind::Failures,
            _ => return Err(damaged()),
        };
        let len = (head >> 32) as usize;
        if len > NAME_MAX_BYTES || self.get(base + 7) != self.row_checksum(base, kind, len) {
            return Err(damaged());
        }
        let mut name: Vec<u8> = (ROW_NAME..ROW_WORDS).flat_map(|i| self.get(base + i).to_le_bytes()).collect();
        name.truncate(len);
        let name = String::from_utf8(name).map_err(|_| damaged())?;
        let (seq, route_hash, period) = (self.get(base + 4), self.get(base + 5), self.get(base + 6) as i64);
        Ok(Some((Row { kind, name, seq, route_hash, period }, state)))
    }

    /// The files of lines that may grow, as others see them while a writer works: the names and lengths of the first
    /// `most`, and the number of all. A row that is being written is left out.
    pub fn open_files(&self, most: usize) -> (Vec<(String, u64)>, usize) {
        let is_open = |at: &usize| {
            let head = self.get(AT_TABLE + at * ROW_WORDS);
            head & 0xff == State::Created as u64 && head >> 8 & 0xff == Kind::Lines as u64
        };
        let open: Vec<usize> = (0..self.rows_used().min(FILES_MAX)).filter(is_open).collect();
        let rows = open.iter().take(most).filter_map(|at| Some((self.row(*at).ok()??.0.name, self.length(*at))));
        (rows.collect(), open.len())
    }

    fn row_checksum(&self, base: usize, kind: Kind, name_len: usize) -> u64 {
        let mut words = vec![kind as u64, name_len as u64];
        words.extend((4..7).chain(ROW_NAME..ROW_WORDS).map(|i| self.get(base + i)));
        checksum(&words)
    }

    /// All files of the table with their rows.
    ///
    /// # Errors
    /// A row is damaged.
    pub fn rows(&self) -> Result<Vec<(usize, Row, State)>, String> {
        (0..self.rows_used())
            .filter_map(|at| self.row(at).map(|r| r.map(|(row, state)| (at, row, state))).transpose())
            .collect()
    }
}
