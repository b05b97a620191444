//! What the model's world is made of: files, maps, the ledger's cut, and the dice.

use std::collections::{BTreeMap, VecDeque};

/// A third of a line: partition, offset, place in the line.
pub type Byte = (u8, u8, u8);
pub const STRANGE: Byte = (255, 0, 0);
pub const OVERWRITTEN: Byte = (254, 0, 0);

/// The task's one file counter is part of every name.
pub type Number = u32;

#[derive(Default)]
pub struct File {
    pub bytes: Vec<Byte>,
    /// Bytes that a power loss leaves; `None`: not even the name.
    pub synced: Option<usize>,
}

/// A row of a file table.
#[derive(Clone)]
pub struct Row {
    pub lane: usize,
    pub length: usize,
    pub created: bool,
    pub sealed: bool,
}

#[derive(Clone)]
pub struct Run {
    pub writer: usize,
    pub lane: usize,
    pub bytes: Vec<Byte>,
}

/// A published entry; `end` is its position and its name.
#[derive(Clone)]
pub struct Entry {
    pub end: u64,
    pub marks: Vec<(usize, usize)>,
    pub runs: Vec<Run>,
}

#[derive(Clone)]
pub struct Ring {
    pub tail: u64,
    pub entries: VecDeque<Entry>,
    /// The next offset of each partition that the ring owns.
    pub marks: BTreeMap<usize, usize>,
}

#[derive(Clone)]
pub struct FlightFile {
    pub number: Number,
    pub start: usize,
    pub added: usize,
}

#[derive(Clone)]
pub struct FlightRun {
    pub file: usize,
    pub ring: usize,
    pub end: u64,
    pub run: usize,
    /// Bytes at the run's begin that an earlier batch has appended.
    pub skip: usize,
}

#[derive(Clone, Default)]
pub struct Flight {
    pub files: Vec<FlightFile>,
    pub runs: Vec<FlightRun>,
    pub applied: BTreeMap<usize, u64>,
}

impl Flight {
    /// Applied in one ring: all its lines stand in the files, and their room may be taken already.
    pub fn is_done(&self, slot: &Slot) -> bool {
        self.applied.iter().any(|(ring, end)| slot.applied[*ring] >= *end)
    }
}

#[derive(Clone)]
pub struct Slot {
    pub table: BTreeMap<Number, Row>,
    pub flight: Option<Flight>,
    pub applied: Vec<u64>,
}

#[derive(Clone)]
pub struct Maps {
    pub rings: Vec<Ring>,
    pub slots: Vec<Slot>,
}

impl Maps {
    pub fn new(readers: usize, writers: usize, next: &[usize], rows: impl Iterator<Item = (Number, Row)>) -> Maps {
        let owned = |r: usize| next.iter().copied().enumerate().filter(move |(p, _)| p % readers == r).collect();
        let ring = |r| Ring { tail: 0, entries: VecDeque::new(), marks: owned(r) };
        let slot = Slot { table: BTreeMap::new(), flight: None, applied: vec![0; readers] };
        let mut maps = Maps { rings: (0..readers).map(ring).collect(), slots: vec![slot; writers] };
        for (number, row) in rows {
            maps.slots[row.lane % writers].table.insert(number, row);
        }
        maps
    }

    pub fn rows(&self) -> impl Iterator<Item = (Number, &Row)> {
        self.slots.iter().flat_map(|s| &s.table).map(|(n, row)| (*n, row))
    }

    /// The next offset of each partition, what is published and not folded included or not.
    pub fn next(&self, published: bool) -> Vec<usize> {
        let mut next: BTreeMap<usize, usize> = self.rings.iter().flat_map(|r| r.marks.clone()).collect();
        if published {
            let marks = self.rings.iter().flat_map(|r| &r.entries).flat_map(|e| &e.marks);
            marks.for_each(|(p, n)| *next.entry(*p).or_default() = next[p].max(*n));
        }
        next.into_values().collect()
    }
}

/// One consistent state of a task.
#[derive(Clone)]
pub struct Cut {
    pub next: Vec<usize>,
    pub files: BTreeMap<Number, Row>,
    /// The file counter.
    pub number: Number,
}

/// SplitMix64.
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % n as u64) as usize
    }

    pub fn within(&mut self, range: std::ops::Range<usize>) -> usize {
        range.start + self.below(range.len())
    }

    pub fn percent(&mut self, chance: usize) -> bool {
        self.below(100) < chance
    }
}
