//! The rules of ring, slots, files and checkpoint as a model of small steps: every store is one, a kill may fall
//! between any two, and the machine may lose its power or a filesystem.
//!
//! In: a seed and, at will, one [`Mistake`]. Out: the first [`Fault`] that a reader of the files would see. Each run is
//! a small world of some partitions whose lines are three bytes long, so that appends tear. Routing is random on
//! purpose. After some boots the world is left in peace until everything is delivered; then the files are judged.
//! Not modelled: pages of one map from different times, several lines of one record, full disks, limits, seek, retry.

mod checkpoint;
mod reader;
pub mod state;
mod writer;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

use checkpoint::Checkpoint;
use reader::Reader;
use state::{Byte, Cut, Dice, Entry, File, FlightFile, Maps, Number, OVERWRITTEN, STRANGE};
use writer::Writer;

/// Bytes of a line.
const LINE: usize = 3;

/// A rule left out. The model must see each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mistake {
    AppendBeforeSlotIsValid,
    FreeBeforeApplied,
    WakeBeforePublish,
    CutWithoutPause,
    CommitWithoutSync,
    YoungerFilesKept,
    MapsBelieved,
    NumberOfCommit,
    /// A batch whose room in a ring is taken again is compared with that ring.
    AppliedFlightCompared,
    /// Such a batch excuses files that are short.
    AppliedFlightTolerated,
    /// What a stranger wrote is taken for our own bytes.
    FileNotCompared,
    /// The second batch is made valid by two stores, not one.
    FlightClearedBetween,
}

/// What must never be seen in the files.
#[derive(Debug, PartialEq, Eq)]
enum Fault {
    Lost,
    Doubled,
    Torn,
    OutOfOrder,
    DoubledForTailer,
    Shrunk,
    Stuck,
}

/// What happens to the world beside kills.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Weather {
    Fair,
    /// The machine, or a filesystem, loses what was not synced.
    PowerLoss,
    /// Somebody appends to our files or removes them.
    Strangers,
}

/// The process is gone.
struct Killed;

struct World {
    dice: Dice,
    mistake: Option<Mistake>,
    weather: Weather,
    lanes: usize,
    partitions: usize,
    /// Records of each partition.
    records: usize,
    files: BTreeMap<Number, File>,
    ledger: Option<Cut>,
    maps: Option<Maps>,
    /// File numbers given out; a power loss does not turn it back (the ledger reserves them).
    numbers: Number,
    /// What the kernel may have written back of the present maps.
    snapshots: Vec<Maps>,
    remounted: bool,
    /// Lines that somebody removed.
    removed: HashSet<(u8, u8)>,
    /// Files between their check and the end of their append.
    busy: BTreeSet<Number>,
    inboxes: Vec<VecDeque<(usize, u64)>>,
    /// What messages point to that run ahead of their entry.
    unpublished: HashMap<(usize, u64), Entry>,
    paused: bool,
    steps_left: usize,
    tailed: BTreeMap<Number, usize>,
    seen: HashMap<Byte, usize>,
    shrunk: bool,
}

impl World {
    fn new(seed: u64, weather: Weather, mistake: Option<Mistake>) -> World {
        let mut dice = Dice(seed);
        World {
            lanes: [1, 2, 4][dice.below(3)],
            partitions: dice.within(1..5),
            records: dice.within(5..30),
            dice,
            mistake,
            weather,
            files: BTreeMap::new(),
            ledger: None,
            maps: None,
            numbers: 0,
            snapshots: Vec::new(),
            remounted: false,
            removed: HashSet::new(),
            busy: BTreeSet::new(),
            inboxes: Vec::new(),
            unpublished: HashMap::new(),
            paused: false,
            steps_left: 0,
            tailed: BTreeMap::new(),
            seen: HashMap::new(),
            shrunk: false,
        }
    }

    fn made(&self, mistake: Mistake) -> bool {
        self.mistake == Some(mistake)
    }

    fn maps(&mut self) -> &mut Maps {
        self.maps.as_mut().expect("a running process has maps")
    }

    /// An entry, while its room is not taken by another.
    fn entry(&self, ring: usize, end: u64) -> Option<&Entry> {
        let published = self.maps.as_ref().and_then(|m| m.rings[ring].entries.iter().find(|e| e.end == end));
        published.or_else(|| self.unpublished.get(&(ring, end)))
    }

    /// Every tenth record or so is filtered.
    fn is_kept(partition: usize, offset: usize) -> bool {
        !(partition * 31 + offset * 17).is_multiple_of(10)
    }

    fn run(mut self) -> Option<Fault> {
        for boot in 0.. {
            let last = boot > self.dice.within(3..8);
            self.steps_left = if last { 200_000 } else { self.dice.within(1..150) };
            let lived = self.recover().and_then(|()| self.live(last));
            match (last, lived) {
                (true, Ok(())) => break,
                (true, Err(Killed)) => return Some(Fault::Stuck),
                (false, _) => self.downtime(),
            }
        }
        self.tail();
        self.judge()
    }

    /// A step is over: the others may look, and the process may die.
    fn step(&mut self) -> Result<(), Killed> {
        if self.dice.percent(30) {
            self.tail();
        }
        self.steps_left -= 1;
        if self.steps_left == 0 { Err(Killed) } else { Ok(()) }
    }

    fn live(&mut self, to_the_end: bool) -> Result<(), Killed> {
        let maps = self.maps();
        let (rings, slots) = (maps.rings.len(), maps.slots.len());
        let mut readers: Vec<Reader> = (0..rings).map(|r| Reader::new(r, self.maps())).collect();
        let mut writers: Vec<Writer> = (0..slots).map(Writer::new).collect();
        let mut checkpoint = Checkpoint::new(&mut self.dice);
        self.inboxes = vec![VecDeque::new(); slots];
        self.paused = false;
        while !(to_the_end && self.is_done()) {
            match self.dice.below(rings + slots + 1) {
                r if r < rings => readers[r].step(self),
                w if w < rings + slots => writers[w - rings].step(self),
                _ => checkpoint.step(self, readers.iter().all(Reader::is_quiet)),
            }
            if self.weather == Weather::PowerLoss && self.dice.percent(2) {
                let now = self.maps().clone();
                self.snapshots.push(now);
            }
            if self.weather == Weather::Strangers && self.dice.below(400) == 0 {
                self.intrude();
            }
            self.step()?;
        }
        Ok(())
    }

    fn is_done(&mut self) -> bool {
        let records = self.records;
        let maps = self.maps();
        maps.rings.iter().all(|r| r.entries.is_empty() && r.marks.values().all(|n| *n == records))
            && maps.slots.iter().all(|s| s.flight.is_none())
    }

    /// A start: what the last process owed is done by the same writers, alone.
    fn recover(&mut self) -> Result<(), Killed> {
        self.busy.clear();
        self.unpublished.clear();
        if std::mem::take(&mut self.remounted) && !self.maps.as_ref().is_some_and(|m| self.is_believable(m)) {
            self.maps = None;
        }
        if self.maps.is_none() {
            return self.cut_back();
        }
        let (rings, slots) = (self.maps().rings.len(), self.maps().slots.len());
        for slot in 0..slots {
            let mut writer = Writer::resume(slot, self);
            while !writer.is_idle() {
                writer.step(self);
                self.step()?;
            }
        }
        self.inboxes = vec![VecDeque::new(); slots];
        for ring in 0..rings {
            let now = &self.maps().rings[ring];
            let owed: Vec<Entry> = now.entries.iter().filter(|e| e.end > now.tail).cloned().collect();
            for (entry, slot) in owed.iter().flat_map(|e| (0..slots).map(move |s| (e, s))) {
                if !entry.runs.iter().any(|r| r.writer == slot) || self.maps().slots[slot].applied[ring] >= entry.end {
                    continue;
                }
                self.inboxes[slot].push_back((ring, entry.end));
                let mut writer = Writer::new(slot);
                while !(writer.is_idle() && self.inboxes[slot].is_empty()) {
                    writer.step(self);
                    self.step()?;
                }
            }
            self.paused = true;
            let mut reader = Reader::new(ring, self.maps());
            while !reader.is_quiet() {
                reader.step(self);
                self.step()?;
            }
        }
        if self.dice.percent(50) {
            self.switch();
            self.step()?;
        }
        Ok(())
    }

    /// Another layout: filled from the old one, switched by one store.
    fn switch(&mut self) {
        let (readers, writers) = (self.dice.within(1..3), self.dice.within(1..4));
        let old = self.maps();
        let new = Maps::new(readers, writers, &old.next(false), old.rows().map(|(n, row)| (n, row.clone())));
        self.adopt(new);
    }

    fn adopt(&mut self, maps: Maps) {
        self.snapshots = vec![maps.clone()];
        self.maps = Some(maps);
    }

    /// Without maps the files go back to the last checkpoint; younger ones are set aside.
    fn cut_back(&mut self) -> Result<(), Killed> {
        let first = Cut { next: vec![0; self.partitions], files: BTreeMap::new(), number: 0 };
        let cut = self.ledger.get_or_insert(first).clone();
        self.step()?;
        for number in self.files.keys().copied().collect::<Vec<_>>() {
            if let Some(row) = cut.files.get(&number) {
                let file = self.files.entry(number).or_default();
                file.bytes.truncate(row.length);
                file.synced = file.synced.map(|n| n.min(row.length));
            } else if number > cut.number && !self.made(Mistake::YoungerFilesKept) {
                self.files.remove(&number);
            }
            self.step()?;
        }
        let (readers, writers) = (self.dice.within(1..3), self.dice.within(1..4));
        let rows = cut.files.into_iter().filter(|(_, row)| !row.sealed);
        let maps = Maps::new(readers, writers, &cut.next, rows);
        self.adopt(maps);
        self.step()
    }

    /// The check of maps whose mount is not the one they were made on.
    fn is_believable(&self, maps: &Maps) -> bool {
        let length = |number: Number| self.files.get(&number).map_or(0, |f| f.bytes.len());
        if self.made(Mistake::MapsBelieved) {
            return maps.rows().all(|(number, row)| length(number) >= row.length);
        }
        let tolerant = self.made(Mistake::AppliedFlightTolerated);
        let owed = maps.slots.iter().filter_map(|s| s.flight.as_ref().filter(|f| tolerant || !f.is_done(s)));
        let flights: Vec<&FlightFile> = owed.flat_map(|f| &f.files).collect();
        let lengths_fit = maps.rows().all(|(number, row)| {
            let flight = flights.iter().find(|f| f.number == number);
            flight.map_or(row.length..=row.length, |f| f.start..=f.start + f.added).contains(&length(number))
        });
        let Some(cut) = &self.ledger else { return false };
        let table: BTreeSet<Number> = maps.rows().map(|(number, _)| number).collect();
        let none_missing = cut.files.iter().all(|(number, row)| row.sealed || table.contains(number));
        let none_younger = self.files.keys().all(|n| *n <= cut.number || table.contains(n));
        let none_behind = maps.next(true).iter().zip(&cut.next).all(|(ours, cut)| ours >= cut);
        lengths_fit && none_missing && none_younger && none_behind
    }

    fn downtime(&mut self) {
        self.busy.clear();
        match self.weather {
            Weather::Strangers if self.dice.percent(30) => self.intrude(),
            Weather::PowerLoss if self.dice.percent(40) => self.lose_power(),
            _ => {}
        }
    }

    /// Files fall back to some state not older than their last sync; maps are gone, stale or still there.
    fn lose_power(&mut self) {
        for number in self.files.keys().copied().collect::<Vec<_>>() {
            let file = self.files.entry(number).or_default();
            if file.synced.is_none() && self.dice.percent(50) {
                self.files.remove(&number);
                continue;
            }
            let kept = self.dice.within(file.synced.unwrap_or(0)..file.bytes.len() + 1);
            file.bytes.truncate(kept);
            file.synced = Some(kept);
        }
        self.remounted = true;
        match self.dice.below(3) {
            0 => self.maps = None,
            1 if !self.snapshots.is_empty() => {
                // What the present maps held later is gone for good.
                let stale = self.dice.below(self.snapshots.len());
                let stale = self.snapshots.swap_remove(stale);
                self.adopt(stale);
            }
            _ => {}
        }
    }

    /// Somebody appends to one of our files, or removes it, while nobody appends to it.
    fn intrude(&mut self) {
        let idle: Vec<Number> = self.files.keys().copied().filter(|n| !self.busy.contains(n)).collect();
        if idle.is_empty() {
            return;
        }
        let number = idle[self.dice.below(idle.len())];
        if self.dice.percent(60) {
            self.files.entry(number).or_default().bytes.push(STRANGE);
        } else if let Some(file) = self.files.remove(&number) {
            self.tailed.remove(&number);
            self.removed.extend(file.bytes.iter().map(|b| (b.0, b.1)));
        }
    }

    /// A tailer reads forward and never goes back.
    fn tail(&mut self) {
        for (number, file) in &self.files {
            let at = self.tailed.entry(*number).or_default();
            self.shrunk |= file.bytes.len() < *at;
            *at = (*at).min(file.bytes.len());
            file.bytes[*at..].iter().for_each(|b| *self.seen.entry(*b).or_default() += 1);
            *at = file.bytes.len();
        }
    }

    fn judge(&self) -> Option<Fault> {
        let mut lines: HashMap<(u8, u8), usize> = HashMap::new();
        for file in self.files.values() {
            let mut last: BTreeMap<u8, u8> = BTreeMap::new();
            let mut rest = &file.bytes[..];
            while let Some((p, o, _)) = rest.first().copied() {
                if rest.starts_with(&[(p, o, 0), (p, o, 1), (p, o, 2)]) {
                    if last.insert(p, o).is_some_and(|before| before >= o) {
                        return Some(if lines.contains_key(&(p, o)) { Fault::Doubled } else { Fault::OutOfOrder });
                    }
                    *lines.entry((p, o)).or_default() += 1;
                    rest = &rest[LINE..];
                } else if self.weather == Weather::Strangers && file.bytes.contains(&STRANGE) && p != OVERWRITTEN.0 {
                    rest = &rest[1..];
                } else {
                    return Some(Fault::Torn);
                }
            }
        }
        let all = (0..self.partitions).flat_map(|p| (0..self.records).map(move |o| (p, o)));
        let mut owed = all.filter(|(p, o)| World::is_kept(*p, *o)).map(|(p, o)| (p as u8, o as u8));
        if lines.values().any(|n| *n > 1) {
            return Some(Fault::Doubled);
        }
        if owed.any(|line| !lines.contains_key(&line) && !self.removed.contains(&line)) {
            return Some(Fault::Lost);
        }
        if self.weather != Weather::PowerLoss && self.shrunk {
            return Some(Fault::Shrunk);
        }
        (self.weather == Weather::Fair && self.seen.values().any(|n| *n > 1)).then_some(Fault::DoubledForTailer)
    }
}

/// Runs of the model, or what the environment asks for.
fn runs(usual: u64) -> u64 {
    std::env::var("LOGMILL_MODEL_RUNS").ok().and_then(|n| n.parse().ok()).unwrap_or(usual)
}

fn weather(seed: u64) -> Weather {
    [Weather::Fair, Weather::PowerLoss, Weather::Strangers][(seed % 3) as usize]
}

#[test]
fn as_specified_nothing_is_lost_doubled_torn_or_cut() {
    for seed in 0..runs(6_000) {
        assert_eq!(World::new(seed, weather(seed), None).run(), None, "seed {seed}, {:?}", weather(seed));
    }
}

/// Every mistake shows in some run.
macro_rules! caught {
    ($($test:ident: $mistake:ident in $weather:ident,)+) => {
        $(#[test]
        fn $test() {
            let run = |seed| World::new(seed, Weather::$weather, Some(Mistake::$mistake)).run();
            let found = (0..20_000).find_map(|seed| run(seed).map(|fault| (seed, fault)));
            assert!(found.is_some(), "{:?} goes unseen", Mistake::$mistake);
            println!("{:?}: {found:?}", Mistake::$mistake);
        })+
    };
}

caught! {
    an_append_before_the_slot_is_valid_is_caught: AppendBeforeSlotIsValid in Fair,
    room_freed_before_it_is_applied_is_caught: FreeBeforeApplied in Fair,
    a_message_before_the_publishing_is_caught: WakeBeforePublish in Fair,
    an_applied_batch_taken_for_owed_is_caught: AppliedFlightCompared in Fair,
    an_applied_batch_excusing_short_files_is_caught: AppliedFlightTolerated in PowerLoss,
    a_cut_without_pause_is_caught: CutWithoutPause in PowerLoss,
    a_commit_without_sync_is_caught: CommitWithoutSync in PowerLoss,
    younger_files_not_set_aside_are_caught: YoungerFilesKept in PowerLoss,
    maps_believed_without_the_check_are_caught: MapsBelieved in PowerLoss,
    the_file_number_of_the_commit_is_caught: NumberOfCommit in PowerLoss,
    a_stranger_taken_for_us_is_caught: FileNotCompared in Strangers,
    a_batch_replaced_by_two_stores_is_caught: FlightClearedBetween in Strangers,
}
