//! The writer's steps: choose files, make the slot valid, append byte by byte, store lengths and applied, clear.

use std::collections::{BTreeSet, VecDeque};

use super::state::{Byte, Flight, FlightFile, FlightRun, Number, OVERWRITTEN, Row};
use super::{LINE, Mistake, World};

enum Deed {
    Idle,
    Choose,
    Note,
    /// Whether what stands in the file was compared already.
    Append(bool),
    /// So many bytes of whole lines stand in a file that is no longer ours alone.
    MoveOn(usize),
    /// So many rings are marked as applied.
    Apply(usize),
}

pub struct Writer {
    slot: usize,
    deed: Deed,
    /// Runs to take into the batch: ring, entry, run.
    left: VecDeque<(usize, u64, usize)>,
    flight: Flight,
    /// The file that is being appended to.
    at: usize,
    chosen: BTreeSet<Number>,
}

impl Writer {
    pub fn new(slot: usize) -> Writer {
        let (left, flight, chosen) = (VecDeque::new(), Flight::default(), BTreeSet::new());
        Writer { slot, deed: Deed::Idle, left, flight, at: 0, chosen }
    }

    /// After a kill: with the batch that is in the slot.
    pub fn resume(slot: usize, world: &mut World) -> Writer {
        let mut writer = Writer::new(slot);
        let now = &world.maps().slots[slot];
        if let Some(flight) = now.flight.clone() {
            let compare = !flight.is_done(now) || world.made(Mistake::AppliedFlightCompared);
            writer.deed = if compare { Deed::Append(false) } else { Deed::Apply(0) };
            writer.flight = flight;
        }
        writer
    }

    pub fn is_idle(&self) -> bool {
        matches!(self.deed, Deed::Idle)
    }

    pub fn step(&mut self, world: &mut World) {
        match self.deed {
            Deed::Idle => self.gather(world),
            Deed::Choose => self.choose(world),
            Deed::Note => {
                world.maps().slots[self.slot].flight = Some(self.flight.clone());
                self.deed = Deed::Append(false);
            }
            Deed::Append(compared) => self.append(world, compared),
            Deed::MoveOn(whole) => self.move_on(world, whole),
            Deed::Apply(rings) => self.apply(world, rings),
        }
    }

    fn gather(&mut self, world: &mut World) {
        let inbox = &mut world.inboxes[self.slot];
        let most = inbox.len().min(world.dice.within(1..4));
        let taken: Vec<_> = inbox.drain(..most).collect();
        for (ring, end) in taken {
            let runs = world.entry(ring, end).map_or(&[][..], |e| &e.runs);
            let ours = runs.iter().enumerate().filter(|(_, r)| r.writer == self.slot);
            self.left.extend(ours.map(|(run, _)| (ring, end, run)));
            self.flight.applied.insert(ring, end);
            self.deed = Deed::Choose;
        }
    }

    fn choose(&mut self, world: &mut World) {
        let Some((ring, end, run)) = self.left.front().copied() else {
            self.flight.runs.sort_by_key(|r| r.file);
            let hasty = world.made(Mistake::AppendBeforeSlotIsValid);
            self.deed = if hasty { Deed::Append(false) } else { Deed::Note };
            return;
        };
        let Some((lane, added)) = world.entry(ring, end).map(|e| (e.runs[run].lane, e.runs[run].bytes.len())) else {
            self.left.pop_front();
            return;
        };
        let Some(number) = self.file_for(world, lane) else { return };
        let files = &mut self.flight.files;
        let file = files.iter().position(|f| f.number == number).unwrap_or_else(|| {
            let start = world.maps().slots[self.slot].table[&number].length;
            files.push(FlightFile { number, start, added: 0 });
            files.len() - 1
        });
        files[file].added += added;
        self.flight.runs.push(FlightRun { file, ring, end, run, skip: 0 });
        self.left.pop_front();
    }

    /// The file that a lane writes now; `None` where a store towards it was made.
    fn file_for(&mut self, world: &mut World, lane: usize) -> Option<Number> {
        let rotate = world.dice.percent(10);
        let table = &mut world.maps.as_mut()?.slots[self.slot].table;
        let Some((number, row)) = table.iter_mut().find(|(_, row)| row.lane == lane && !row.sealed) else {
            world.numbers += 1;
            table.insert(world.numbers, Row { lane, length: 0, created: false, sealed: false });
            return None;
        };
        let length = world.files.get(number).map(|f| f.bytes.len());
        if !row.created && length.is_none() {
            world.files.entry(*number).or_default();
        } else if !row.created {
            row.created = true;
        } else if self.chosen.contains(number) {
            return Some(*number);
        } else if rotate || length != Some(row.length) {
            row.sealed = true;
        } else {
            self.chosen.insert(*number);
            return Some(*number);
        }
        None
    }

    fn append(&mut self, world: &mut World, compared: bool) {
        let Some(FlightFile { number, start, added }) = self.flight.files.get(self.at).cloned() else {
            if world.made(Mistake::AppendBeforeSlotIsValid) {
                world.maps().slots[self.slot].flight = Some(self.flight.clone());
            }
            self.deed = Deed::Apply(0);
            return;
        };
        let bytes = self.bytes(world, self.at);
        if !compared {
            self.compare(world, number, start, &bytes);
            return;
        }
        let file = world.files.entry(number).or_default();
        let have = file.bytes.len() - start;
        if have < added {
            file.bytes.push(bytes[have]);
            return;
        }
        world.busy.remove(&number);
        if let Some(row) = world.maps().slots[self.slot].table.get_mut(&number) {
            row.length = start + added;
        }
        self.at += 1;
        self.deed = Deed::Append(false);
    }

    fn compare(&mut self, world: &mut World, number: Number, start: usize, bytes: &[Byte]) {
        let trusting = world.made(Mistake::FileNotCompared);
        let found = world.files.get(&number).and_then(|f| f.bytes.get(start..));
        let same = found.map_or(0, |f| f.iter().zip(bytes).take_while(|(a, b)| a == b).count());
        if found.is_some_and(|f| f.len() == same || trusting) {
            world.busy.insert(number);
            self.deed = Deed::Append(true);
        } else {
            self.deed = Deed::MoveOn(same - same % LINE);
        }
    }

    /// What a file of the batch is owed, as the rings have it now.
    fn bytes(&self, world: &World, file: usize) -> Vec<Byte> {
        let runs = self.flight.runs.iter().filter(|r| r.file == file);
        let parts = runs.map(|r| world.entry(r.ring, r.end).map(|e| &e.runs[r.run].bytes[r.skip..]));
        let whole: Option<Vec<&[Byte]>> = parts.collect();
        whole.map_or_else(|| vec![OVERWRITTEN; self.flight.files[file].added], |parts| parts.concat())
    }

    /// The rest of the file's lines go to a new one; one store replaces the batch in the slot.
    fn move_on(&mut self, world: &mut World, whole: usize) {
        let old = self.flight.files[self.at].clone();
        let Some(row) = world.maps().slots[self.slot].table.get_mut(&old.number) else { return };
        if row.length != old.start + whole {
            row.length = old.start + whole;
            return;
        }
        if !row.sealed {
            row.sealed = true;
            return;
        }
        let lane = row.lane;
        let Some(number) = self.file_for(world, lane) else { return };
        let slot = &mut world.maps.as_mut().expect("maps").slots[self.slot];
        if world.mistake == Some(Mistake::FlightClearedBetween) && slot.flight.is_some() {
            slot.flight = None;
            return;
        }
        let mut next = Flight { applied: self.flight.applied.clone(), ..Flight::default() };
        next.files = self.flight.files.split_off(self.at);
        next.files[0] = FlightFile { number, start: slot.table[&number].length, added: old.added - whole };
        let mut skip = whole;
        for run in self.flight.runs.iter().filter(|r| r.file >= self.at) {
            let mut run = FlightRun { file: run.file - self.at, ..run.clone() };
            if run.file == 0 {
                let len = world.entry(run.ring, run.end).map_or(0, |e| e.runs[run.run].bytes.len() - run.skip);
                let cut = skip.min(len);
                skip -= cut;
                run.skip += cut;
            }
            next.runs.push(run);
        }
        world.maps().slots[self.slot].flight = Some(next.clone());
        (self.flight, self.at, self.deed) = (next, 0, Deed::Append(false));
    }

    fn apply(&mut self, world: &mut World, rings: usize) {
        let slot = &mut world.maps().slots[self.slot];
        match self.flight.applied.iter().nth(rings) {
            Some((ring, end)) => {
                slot.applied[*ring] = *end;
                self.deed = Deed::Apply(rings + 1);
            }
            None => {
                slot.flight = None;
                *self = Writer { left: std::mem::take(&mut self.left), ..Writer::new(self.slot) };
            }
        }
    }
}
