//! The reader's steps: free what is applied, build an entry, publish it, wake its writers.

use std::collections::VecDeque;

use super::state::{Entry, Maps, Run};
use super::{LINE, Mistake, World};

enum Deed {
    Read,
    /// So many stores of the oldest entry's fold are done.
    Fold(usize),
    /// Writers to be woken for the entry, and whether it is published.
    Wake(VecDeque<usize>, Option<Entry>, u64),
}

pub struct Reader {
    ring: usize,
    /// The next offset of each partition.
    next: Vec<(usize, usize)>,
    end: u64,
    deed: Deed,
    quiet: bool,
}

impl Reader {
    pub fn new(ring: usize, maps: &Maps) -> Reader {
        let now = &maps.rings[ring];
        let end = now.entries.back().map_or(0, |e| e.end).max(now.tail);
        Reader { ring, next: now.marks.clone().into_iter().collect(), end, deed: Deed::Read, quiet: false }
    }

    /// It rests in a pause and owes nothing.
    pub fn is_quiet(&self) -> bool {
        self.quiet
    }

    pub fn step(&mut self, world: &mut World) {
        match std::mem::replace(&mut self.deed, Deed::Read) {
            Deed::Fold(stores) => self.fold(world, stores),
            Deed::Wake(writers, entry, end) => self.wake(world, writers, entry, end),
            Deed::Read if self.may_free(world) => self.deed = Deed::Fold(0),
            Deed::Read if world.paused => self.quiet = world.maps().rings[self.ring].entries.is_empty(),
            Deed::Read => {
                self.quiet = false;
                self.read(world);
            }
        }
    }

    fn may_free(&self, world: &mut World) -> bool {
        let early = world.made(Mistake::FreeBeforeApplied);
        let maps = world.maps();
        let first = maps.rings[self.ring].entries.front();
        first.is_some_and(|e| early || e.runs.iter().all(|r| maps.slots[r.writer].applied[self.ring] >= e.end))
    }

    fn fold(&mut self, world: &mut World, stores: usize) {
        let ring = &mut world.maps().rings[self.ring];
        let Some(first) = ring.entries.front() else { return };
        match first.marks.get(stores) {
            Some((partition, next)) => {
                ring.marks.insert(*partition, *next);
            }
            None if ring.tail < first.end => ring.tail = first.end,
            // From here on the room may be written again.
            None => {
                ring.entries.pop_front();
                return;
            }
        }
        self.deed = Deed::Fold(stores + 1);
    }

    fn read(&mut self, world: &mut World) {
        let records = world.records;
        let full = world.maps().rings[self.ring].entries.len() > 3;
        let writers = world.maps().slots.len();
        let mut entry = Entry { end: self.end + 1, marks: Vec::new(), runs: Vec::new() };
        for (partition, next) in self.next.iter_mut().filter(|(_, next)| *next < records && !full) {
            if world.dice.percent(40) {
                continue;
            }
            for offset in *next..records.min(*next + world.dice.within(1..4)) {
                *next = offset + 1;
                if World::is_kept(*partition, offset) {
                    let lane = world.dice.below(world.lanes);
                    let line = (0..LINE as u8).map(|place| (*partition as u8, offset as u8, place));
                    match entry.runs.iter_mut().find(|r| r.lane == lane) {
                        Some(run) => run.bytes.extend(line),
                        None => entry.runs.push(Run { writer: lane % writers, lane, bytes: line.collect() }),
                    }
                }
            }
            entry.marks.push((*partition, *next));
        }
        if !entry.marks.is_empty() {
            self.end = entry.end;
            let mut woken: Vec<usize> = entry.runs.iter().map(|r| r.writer).collect();
            woken.sort_unstable();
            woken.dedup();
            let end = entry.end;
            let mut entry = Some(entry);
            if !world.made(Mistake::WakeBeforePublish) {
                world.maps().rings[self.ring].entries.extend(entry.take());
            }
            self.deed = Deed::Wake(woken.into(), entry, end);
        }
    }

    fn wake(&mut self, world: &mut World, mut writers: VecDeque<usize>, entry: Option<Entry>, end: u64) {
        match writers.pop_front() {
            Some(writer) => {
                let content = entry.clone();
                world.inboxes[writer].push_back((self.ring, end));
                world.unpublished.extend(content.map(|e| ((self.ring, end), e)));
                self.deed = Deed::Wake(writers, entry, end);
            }
            None => world.maps().rings[self.ring].entries.extend(entry),
        }
    }
}
