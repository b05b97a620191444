//! The bytes of the ring map: header, partition table, entries. The only file that knows them.
//!
//! ```text
//! header    identity and checksum | work in hand | tallies | topics | partition table        HEADER_BYTES
//! data      entry | entry | ...                                                              ring_size, mapped twice
//! entry     head (8 words) | lines in chunks | tables: marks, tally words, runs              a multiple of 64 bytes
//! ```
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering, compiler_fence};

use super::guard;
use crate::flow::span::{Mark, checksum};
use crate::flow::tally::Tally;
use crate::sys::file;
use crate::sys::mmap::{Mirror, PAGE, Words};

/// Changes with every change of the layout of ring or slot. The words of [`Identity`] keep their places in all of them.
pub const VERSION: u64 = 2;
/// Readers and writers of one task: their numbers fit one word's bits.
pub const THREADS_MAX: usize = 64;
/// Partitions that one reader may own.
pub const PARTITIONS_MAX: usize = 4096;
/// Bytes of a ring: the least holds an entry and all its marks several times, the most keeps lengths in 32 bits.
pub const RING_BYTES: std::ops::RangeInclusive<usize> = 1 << 20..=1 << 30;
/// Topics of one task.
pub const TOPICS_MAX: usize = 64;
/// Bytes of a topic's name (Kafka allows 249).
pub const TOPIC_BYTES: usize = 256;

/// Of ring and slot: behind the identity.
const AT_FILE: usize = Identity::WORDS;
pub(super) const AT_TAIL: usize = 16;
const AT_HEAD: usize = 24;
const AT_WORK: usize = 32;
const AT_DEATHS: usize = 40;
const AT_SUSPECT: usize = 48;
pub(super) const AT_TALLY: usize = 64;
pub(super) const AT_TOPICS: usize = 128;
pub(super) const AT_TABLE: usize = AT_TOPICS + TOPICS_MAX * TOPIC_BYTES / 8;
const HEADER_WORDS: usize = AT_TABLE + PARTITIONS_MAX * Mark::WORDS;
/// Bytes of the ring file before its data.
pub const HEADER_BYTES: usize = (HEADER_WORDS * 8).next_multiple_of(PAGE);

/// Bytes of an entry's head; entries begin and end at multiples of it.
pub const ENTRY_ALIGN: usize = 64;
const ENTRY_MAGIC: u64 = 0x4c4d_454e;
const RUN_WORDS: usize = 3;

const _: () = assert!(AT_TALLY + Tally::WORDS <= AT_TOPICS);

/// What a map file is, checked before anything in it is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    pub magic: u64,
    /// Of the layout of all that follows.
    pub version: u64,
    /// Random; all maps of a task's state share it, and the ledger knows it.
    pub set_id: u64,
    pub boot_id: u128,
    pub index: usize,
    pub readers: usize,
    pub writers: usize,
    /// Bytes of each ring.
    pub ring_size: usize,
}

impl Identity {
    const WORDS: usize = 10;
    pub const RING: u64 = u64::from_le_bytes(*b"LMRING01");
    pub const SLOT: u64 = u64::from_le_bytes(*b"LMSLOT01");

    pub fn store(&self, map: &Words) {
        let mut words = [
            self.magic,
            self.version,
            self.set_id,
            (self.boot_id >> 64) as u64,
            self.boot_id as u64,
            self.index as u64,
            self.readers as u64,
            self.writers as u64,
            self.ring_size as u64,
            0,
        ];
        words[9] = checksum(&words[..9]);
        words.iter().enumerate().for_each(|(i, w)| map.at(i).store(*w, Ordering::Relaxed));
    }

    /// `None` where the header is not whole.
    pub fn load(map: &Words) -> Option<Identity> {
        let w: Vec<u64> = (0..Identity::WORDS).map(|i| map.at(i).load(Ordering::Relaxed)).collect();
        let whole = checksum(&w[..9]) == w[9];
        whole.then(|| Identity {
            magic: w[0],
            version: w[1],
            set_id: w[2],
            boot_id: u128::from(w[3]) << 64 | u128::from(w[4]),
            index: w[5] as usize,
            readers: w[6] as usize,
            writers: w[7] as usize,
            ring_size: w[8] as usize,
        })
    }
}

/// Notes in a map which file it is, so that a copy is known.
pub fn store_file(map: &Words, file: file::Identity) {
    map.at(AT_FILE).store(file.inode, Ordering::Relaxed);
    map.at(AT_FILE + 1).store(file.born_ns, Ordering::Relaxed);
}

/// The file that a map was made as.
pub fn load_file(map: &Words) -> file::Identity {
    let word = |i: usize| map.at(AT_FILE + i).load(Ordering::Relaxed);
    file::Identity { inode: word(0), born_ns: word(1) }
}

/// A store that others act upon: nothing moves over it, before or behind.
pub fn release(word: &AtomicU64, value: u64) {
    compiler_fence(Ordering::SeqCst);
    word.store(value, Ordering::Release);
    compiler_fence(Ordering::SeqCst);
}

/// The record a reader has in hand, and how often the process died over it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Work {
    pub topic: u16,
    pub partition: i32,
    pub offset: i64,
}

impl Work {
    fn words(&self) -> [u64; 2] {
        [1 << 63 | u64::from(self.topic) << 32 | u64::from(self.partition as u32), self.offset as u64]
    }

    fn from_words(w: [u64; 2]) -> Option<Work> {
        (w[0] >> 63 == 1).then_some(Work {
            topic: (w[0] >> 32) as u16,
            partition: w[0] as u32 as i32,
            offset: w[1] as i64,
        })
    }
}

/// One reader's ring, mapped. One thread writes it; the writers read published entries.
pub struct Ring {
    head: Words,
    data: Mirror,
}

impl Ring {
    /// # Errors
    /// The file is too short, or the kernel refuses.
    pub fn map(file: &File, ring_size: usize) -> io::Result<Ring> {
        Ok(Ring { head: Words::map(file, HEADER_WORDS)?, data: Mirror::map(file, HEADER_BYTES, ring_size)? })
    }

    /// For one who looks and stores nothing.
    ///
    /// # Errors
    /// As [`Ring::map`].
    pub fn map_to_read(file: &File, ring_size: usize) -> io::Result<Ring> {
        let head = Words::map_to_read(file, HEADER_WORDS)?;
        Ok(Ring { head, data: Mirror::map_to_read(file, HEADER_BYTES, ring_size)? })
    }

    pub fn header(&self) -> &Words {
        &self.head
    }

    pub fn size(&self) -> usize {
        self.data.len()
    }

    /// Everything below is applied, folded and free.
    pub fn tail(&self) -> u64 {
        guard::number(self.head.at(AT_TAIL).load(Ordering::Acquire))
    }

    pub fn set_tail(&self, pos: u64) {
        release(self.head.at(AT_TAIL), guard::sealed(pos));
    }

    /// Everything below is published.
    pub fn head(&self) -> u64 {
        guard::number(self.head.at(AT_HEAD).load(Ordering::Acquire))
    }

    pub fn is_empty(&self) -> bool {
        self.tail() == self.head()
    }

    /// True where nobody has changed the ends that the last process stored.
    pub fn is_whole(&self) -> bool {
        [AT_TAIL, AT_HEAD].iter().all(|at| guard::is_whole(self.head.at(*at).load(Ordering::Acquire)))
    }

    pub fn is_suspect(&self) -> bool {
        self.head.at(AT_SUSPECT).load(Ordering::Acquire) != 0
    }

    /// A sync of this task's files failed: nobody shall believe these maps again.
    pub fn set_suspect(&self) {
        release(self.head.at(AT_SUSPECT), u64::MAX);
    }

    pub fn begin_work(&self, work: Work) {
        let [place, offset] = work.words();
        self.head.at(AT_WORK + 1).store(offset, Ordering::Relaxed);
        release(self.head.at(AT_WORK), place);
    }

    pub fn end_work(&self) {
        release(self.head.at(AT_WORK), 0);
    }

    /// At start: counts a death over the record that was in hand, and tells of one that has killed before.
    pub fn count_death(&self) -> Option<(Work, u64)> {
        let pair = |at: usize| [at, at + 1].map(|i| self.head.at(i).load(Ordering::Relaxed));
        let work = Work::from_words(pair(AT_WORK))?;
        let again = Work::from_words(pair(AT_DEATHS)) == Some(work);
        let deaths = if again { self.head.at(AT_DEATHS + 2).load(Ordering::Relaxed) + 1 } else { 1 };
        let [place, offset] = work.words();
        // A kill in between may forget a death, but never blames another record or counts one death twice.
        self.end_work();
        release(self.head.at(AT_DEATHS), 0);
        self.head.at(AT_DEATHS + 1).store(offset, Ordering::Relaxed);
        self.head.at(AT_DEATHS + 2).store(deaths, Ordering::Relaxed);
        release(self.head.at(AT_DEATHS), place);
        Some((work, deaths))
    }

    pub fn tally(&self) -> Tally {
        Tally::from_words((0..Tally::WORDS).map(|i| self.head.at(AT_TALLY + i).load(Ordering::Relaxed)))
    }

    pub fn set_tally(&self, tally: &Tally) {
        tally.words().enumerate().for_each(|(i, w)| self.head.at(AT_TALLY + i).store(w, Ordering::Relaxed));
    }

    /// The topics that marks of this ring point to, in order.
    pub fn topics(&self) -> Vec<String> {
        let names = (0..TOPICS_MAX).map(|t| self.text(AT_TOPICS + t * TOPIC_BYTES / 8, TOPIC_BYTES));
        names.take_while(|name| !name.is_empty()).collect()
    }

    /// Adds to the list (a name keeps its index for ever).
    pub fn set_topics(&self, names: &[String]) {
        for (t, name) in names.iter().enumerate().take(TOPICS_MAX) {
            self.set_text(AT_TOPICS + t * TOPIC_BYTES / 8, TOPIC_BYTES, name);
        }
    }

    /// The partition table; `None` at the place of a mark whose checksum does not fit.
    pub fn marks(&self) -> Vec<Option<Mark>> {
        let words = |i: usize| std::array::from_fn(|w| self.head.at(i + w).load(Ordering::Acquire));
        let all = (0..PARTITIONS_MAX).map(|p| words(AT_TABLE + p * Mark::WORDS));
        all.take_while(|w| *w != [0; Mark::WORDS]).map(|w| Mark::from_words(&w)).collect()
    }

    /// True where a kill fell into the first store of this mark: its checksum, stored last, is missing.
    pub fn is_half_made(&self, row: usize) -> bool {
        self.head.at(AT_TABLE + (row + 1) * Mark::WORDS - 1).load(Ordering::Acquire) == 0
    }

    pub fn set_mark(&self, row: usize, mark: &Mark) {
        let at = AT_TABLE + row * Mark::WORDS;
        mark.words().iter().enumerate().for_each(|(i, w)| self.head.at(at + i).store(*w, Ordering::Release));
    }

    /// Room for an entry that is being built; nobody else looks above `head`.
    ///
    /// # Panics
    /// The stretch reaches into what is still owed.
    #[allow(clippy::mut_from_ref)]
    pub fn room(&self, pos: u64, len: usize) -> &mut [u8] {
        assert!(pos >= self.head() && pos + len as u64 <= self.tail() + self.size() as u64, "no room at {pos}");
        // SAFETY: writers read published entries only, which end at `head`; the one reader thread that owns the ring
        // calls this, and holds no other slice of the stretch.
        unsafe { self.data.bytes_mut(pos, len) }
    }

    /// Writes the head of the entry at `head` and publishes it: from here on its lines are owed.
    pub fn publish(&self, entry: &Tables) {
        let pos = self.head();
        let tables = self.room(pos + entry.at as u64, entry.bytes.len());
        tables.copy_from_slice(&entry.bytes);
        let len = (entry.at + entry.bytes.len()).next_multiple_of(ENTRY_ALIGN) as u64;
        let shape = [
            pos,
            len,
            (entry.at as u64) << 32 | entry.bytes.len() as u64,
            (entry.marks as u64) << 32 | entry.runs as u64,
        ];
        let crc = entry_checksum(&shape, &entry.bytes);
        let head = self.room(pos, ENTRY_ALIGN);
        for (i, word) in [ENTRY_MAGIC, crc].iter().chain(&shape).enumerate() {
            head[i * 8..i * 8 + 8].copy_from_slice(&word.to_le_bytes());
        }
        release(self.head.at(AT_HEAD), guard::sealed(pos + len));
    }

    /// The published entry at `pos`, checked.
    ///
    /// # Errors
    /// What does not fit.
    pub fn entry(&self, pos: u64) -> Result<Entry<'_>, String> {
        let end = self.head();
        let left = end.saturating_sub(pos);
        if pos < self.tail() || left < ENTRY_ALIGN as u64 || left > self.size() as u64 {
            return Err(format!("position {pos} is outside of {}..{end}", self.tail()));
        }
        let head = self.published(pos, ENTRY_ALIGN);
        let w: [u64; 6] = std::array::from_fn(|i| word(head, i * 8));
        let (at, bytes) = ((w[4] >> 32) as usize, (w[4] & 0xffff_ffff) as usize);
        let fits = w[0] == ENTRY_MAGIC && w[2] == pos && w[3] <= left && (at + bytes) as u64 <= w[3];
        if !fits || w[3] < ENTRY_ALIGN as u64 {
            return Err(format!("no entry begins at position {pos}"));
        }
        let tables = self.published(pos + at as u64, bytes);
        if entry_checksum(&w[2..6], tables) != w[1] {
            return Err(format!("the checksum of the entry at position {pos} does not fit"));
        }
        let (marks, runs) = ((w[5] >> 32) as usize, w[5] as u32 as usize);
        let entry = Entry { ring: self, pos, len: w[3], tables, marks, runs };
        if entry.fits(at) { Ok(entry) } else { Err(format!("the tables of the entry at position {pos} do not fit")) }
    }

    /// Bytes of published, not yet freed entries.
    pub fn published(&self, pos: u64, len: usize) -> &[u8] {
        // SAFETY: published bytes are not written again before `tail` passes them, and whoever reads them has not
        // marked them applied yet, which is what `tail` waits for.
        unsafe { self.data.bytes(pos, len) }
    }

    fn text(&self, at: usize, bytes: usize) -> String {
        let raw: Vec<u8> =
            (0..bytes / 8).flat_map(|i| self.head.at(at + i).load(Ordering::Relaxed).to_le_bytes()).collect();
        let end = raw.iter().position(|b| *b == 0).unwrap_or(bytes);
        String::from_utf8_lossy(&raw[..end]).into_owned()
    }

    fn set_text(&self, at: usize, bytes: usize, text: &str) {
        let mut raw = text.as_bytes().to_vec();
        raw.resize(bytes, 0);
        raw.chunks_exact(8).enumerate().for_each(|(i, c)| self.head.at(at + i).store(word(c, 0), Ordering::Relaxed));
    }
}

/// What follows an entry's lines, in the making. The buffer is kept from entry to entry.
#[derive(Default)]
pub struct Tables {
    /// Where the tables begin, in bytes from the entry's begin.
    at: usize,
    bytes: Vec<u8>,
    marks: usize,
    runs: usize,
}

impl Tables {
    /// Bytes that tables take without marks and runs, the gap before them included.
    pub const BYTES_WITHOUT_ROWS: usize = Tally::WORDS * 8 + ENTRY_ALIGN;
    /// Bytes that one mark takes.
    pub const BYTES_FOR_MARK: usize = Mark::WORDS * 8;

    /// Bytes that one run will take.
    pub const fn bytes_for_run(route_bytes: usize) -> usize {
        RUN_WORDS * 8 + route_bytes
    }

    pub fn begin(&mut self, at: usize, marks: impl Iterator<Item = Mark>, tally: &Tally) {
        *self = Tables { at, bytes: std::mem::take(&mut self.bytes), marks: 0, runs: 0 };
        self.bytes.clear();
        for mark in marks {
            mark.words().iter().for_each(|w| self.bytes.extend(w.to_le_bytes()));
            self.marks += 1;
        }
        tally.words().for_each(|w| self.bytes.extend(w.to_le_bytes()));
    }

    /// A run: `len` bytes of whole lines, `start` bytes from the entry's begin, that go to `route` by `writer`.
    pub fn run(&mut self, writer: usize, route: &[u8], start: usize, len: usize, lines: u32) {
        let shape = [(writer as u64) << 32 | route.len() as u64, (start as u64) << 32 | len as u64, u64::from(lines)];
        shape.iter().for_each(|w| self.bytes.extend(w.to_le_bytes()));
        self.bytes.extend(route);
        self.runs += 1;
    }
}

/// A published entry.
pub struct Entry<'a> {
    ring: &'a Ring,
    pub pos: u64,
    pub len: u64,
    tables: &'a [u8],
    marks: usize,
    runs: usize,
}

/// Whole lines of one route, in the ring.
#[derive(Debug, Clone, Copy)]
pub struct Run<'a> {
    pub writer: usize,
    pub route: &'a [u8],
    /// Ring position.
    pub pos: u64,
    /// Bytes.
    pub len: usize,
    pub lines: u32,
}

impl<'a> Entry<'a> {
    /// Marks and runs lie within the tables, and the runs' lines before `lines_end`.
    fn fits(&self, lines_end: usize) -> bool {
        let mut at = (self.marks * Mark::WORDS + Tally::WORDS) * 8;
        let runs_fit = (0..self.runs).all(|_| {
            let Some(shape) = self.tables.get(at..at + RUN_WORDS * 8) else { return false };
            let (writer, route_bytes) = (word(shape, 0) >> 32, word(shape, 0) as u32 as usize);
            at += Tables::bytes_for_run(route_bytes);
            let (start, len) = (word(shape, 8) >> 32, u64::from(word(shape, 8) as u32));
            writer < THREADS_MAX as u64 && start >= ENTRY_ALIGN as u64 && start + len <= lines_end as u64
        });
        runs_fit && at <= self.tables.len()
    }

    pub fn end(&self) -> u64 {
        self.pos + self.len
    }

    /// Each partition's mark after this entry.
    pub fn marks(&self) -> impl Iterator<Item = Option<Mark>> + '_ {
        (0..self.marks)
            .map(|m| Mark::from_words(&std::array::from_fn(|w| word(self.tables, (m * Mark::WORDS + w) * 8))))
    }

    /// The ring's tally after this entry.
    pub fn tally(&self) -> Tally {
        let at = self.marks * Mark::WORDS;
        Tally::from_words((0..Tally::WORDS).map(|i| word(self.tables, (at + i) * 8)))
    }

    pub fn runs(&self) -> impl Iterator<Item = Run<'a>> + use<'a> {
        let mut at = (self.marks * Mark::WORDS + Tally::WORDS) * 8;
        let (pos, tables) = (self.pos, self.tables);
        (0..self.runs).map(move |_| {
            let w: [u64; RUN_WORDS] = std::array::from_fn(|i| word(tables, at + i * 8));
            let route = &tables[at + RUN_WORDS * 8..][..w[0] as u32 as usize];
            at += Tables::bytes_for_run(route.len());
            let (start, len) = (w[1] >> 32, w[1] as u32 as usize);
            Run { writer: (w[0] >> 32) as usize, route, pos: pos + start, len, lines: w[2] as u32 }
        })
    }

    /// A bit for each writer that has a run here.
    pub fn writers(&self) -> u64 {
        self.runs().fold(0, |bits, run| bits | 1 << run.writer)
    }

    pub fn bytes(&self, run: &Run<'_>) -> &'a [u8] {
        self.ring.published(run.pos, run.len)
    }
}

fn word(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]))
}

fn entry_checksum(shape: &[u64], tables: &[u8]) -> u64 {
    let mut crc = crc32fast::Hasher::new();
    shape.iter().for_each(|w| crc.update(&w.to_le_bytes()));
    crc.update(tables);
    1 << 32 | u64::from(crc.finalize())
}
