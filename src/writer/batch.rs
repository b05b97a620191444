//! Entries become appends: choose the files, note the batch in the slot, append, mark applied.
//!
//! [`Writer::finish`] is the one way a batch ends, at full speed and after a kill alike: it looks at what stands in the
//! file behind the append's begin, and goes on from there.

use std::io;

use super::files::Place;
use super::{Gauge, Writer};
use crate::ring::layout::Entry;
use crate::ring::recover;
use crate::ring::slot::{Flight, FlightFile, FlightRun};

/// What was done for the files of a killed process.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Recovered {
    pub files: usize,
    pub bytes: u64,
}

impl Writer {
    /// Appends all lines of this writer in the entries at these (ring, position), oldest first.
    pub(super) fn apply(&mut self, entries: &[(usize, u64)]) {
        let mut left = entries;
        while !left.is_empty() {
            let taken = self.apply_some(left);
            left = &left[taken..];
        }
    }

    /// Applies as many entries as one batch holds, at least one.
    fn apply_some(&mut self, entries: &[(usize, u64)]) -> usize {
        self.files.begin_batch();
        let mut flight = Flight::default();
        let mut taken = 0;
        let rings = self.rings.clone();
        for (ring, pos) in entries {
            let entry = match rings[*ring].entry(*pos) {
                Ok(entry) => entry,
                Err(what) => panic!("{}: ring {ring}: {what}", self.settings.task),
            };
            let runs = entry.runs().filter(|run| run.writer == self.settings.index).count();
            if taken > 0 && flight.runs.len() + runs > crate::ring::slot::BATCH_RUNS_MAX {
                break;
            }
            self.add(&mut flight, *ring, &entry);
            taken += 1;
        }
        flight.runs.sort_by_key(|run| run.file);
        if !flight.files.is_empty() {
            self.slot.set_flight(&flight);
        }
        self.finish(flight);
        taken
    }

    /// Takes an entry's runs into the batch; the files exist afterwards.
    fn add(&mut self, flight: &mut Flight, ring: usize, entry: &Entry<'_>) {
        let index = self.settings.index;
        for run in entry.runs().filter(|run| run.writer == index) {
            let row = self.until_it_works(|writer| writer.files.row_for(run.route));
            let file = flight.files.iter().rposition(|f| f.row == row).unwrap_or_else(|| {
                flight.files.push(FlightFile { row, start: self.slot.length(row), added: 0 });
                flight.files.len() - 1
            });
            flight.files[file].added += run.len as u64;
            flight.runs.push(FlightRun { file, ring, pos: run.pos, len: run.len });
        }
        match flight.applied.iter_mut().find(|(r, _)| *r == ring) {
            Some((_, end)) => *end = entry.end(),
            None => flight.applied.push((ring, entry.end())),
        }
    }

    /// Ends the batch that is noted in the slot, whatever of it stands in the files already.
    fn finish(&mut self, mut flight: Flight) -> Recovered {
        let mut done = Recovered::default();
        let mut at = 0;
        while at < flight.files.len() {
            let row = flight.files[at].row;
            match self.append(&flight, at) {
                Place::Complete { appended, length } => {
                    self.slot.set_length(row, length);
                    done.files += 1;
                    done.bytes += appended;
                    at += 1;
                }
                Place::Broken { whole } => {
                    flight = self.move_on(flight, at, whole);
                    at = 0;
                }
            }
        }
        for (ring, pos) in &flight.applied {
            self.slot.set_applied(*ring, *pos);
        }
        self.slot.clear_flight();
        Gauge::count(&self.gauge.batches, 1);
        Gauge::count(&self.gauge.bytes, done.bytes);
        self.gauge.batch_bytes.observe(done.bytes, 1);
        done
    }

    fn append(&mut self, flight: &Flight, at: usize) -> Place {
        let rings = self.rings.clone();
        let runs = flight.runs.iter().filter(|run| run.file == at);
        let parts: Vec<&[u8]> = runs.map(|run| rings[run.ring].published(run.pos, run.len)).collect();
        let FlightFile { row, start, added } = flight.files[at];
        self.until_it_works(|writer| writer.files.append(row, start, added, &parts))
    }

    /// File number `at` cannot take the rest of its lines: a new file gets what is behind the `whole` bytes of whole
    /// lines. Files that are complete leave the batch. One store swaps the old batch for the new one.
    fn move_on(&mut self, flight: Flight, at: usize, whole: u64) -> Flight {
        let old = flight.files[at];
        self.slot.set_length(old.row, old.start + whole);
        let route = self.route_of(&flight, at);
        let row = self.until_it_works(|writer| writer.files.row_for(&route));
        let mut next = Flight { applied: flight.applied, ..Flight::default() };
        for (file, was) in flight.files.iter().enumerate().skip(at) {
            let mut skip = if file == at { whole } else { 0 };
            let moved = FlightFile { row, start: 0, added: was.added - skip };
            next.files.push(if file == at { moved } else { *was });
            for run in flight.runs.iter().filter(|run| run.file == file) {
                let cut = skip.min(run.len as u64);
                skip -= cut;
                if run.len as u64 > cut {
                    let (pos, len) = (run.pos + cut, run.len - cut as usize);
                    next.runs.push(FlightRun { file: file - at, pos, len, ..*run });
                }
            }
        }
        self.slot.set_flight(&next);
        next
    }

    /// The ring still knows the route of a batch's file.
    fn route_of(&self, flight: &Flight, at: usize) -> Vec<u8> {
        let first = flight.runs.iter().find(|run| run.file == at);
        let route = first.and_then(|lines| {
            let entries = recover::entries(&self.rings[lines.ring]).ok()?;
            let mut runs = entries.iter().flat_map(Entry::runs);
            runs.find(|run| (run.pos..run.pos + run.len as u64).contains(&lines.pos)).map(|run| run.route.to_vec())
        });
        route.unwrap_or_else(|| panic!("{}: the batch in flight has lines that the ring has not", self.settings.task))
    }

    /// Repeats a deed until the disk lets it: nothing is dropped, and the batch in the slot stays valid meanwhile.
    fn until_it_works<T>(&mut self, mut deed: impl FnMut(&mut Writer) -> io::Result<T>) -> T {
        loop {
            match deed(self) {
                Ok(value) => {
                    self.files.unblock();
                    return value;
                }
                Err(error) => self.files.block(&error),
            }
        }
    }

    /// After a kill: ends the batch in flight, then appends every published entry that this writer has not applied.
    ///
    /// # Errors
    /// Slot or ring are damaged.
    pub fn recover(&mut self) -> Result<Recovered, String> {
        let mut done = Recovered::default();
        if let Some(flight) = recover::owed_flight(&self.slot)? {
            self.check(&flight)?;
            done = self.finish(flight);
        }
        let rings = self.rings.clone();
        for (index, ring) in rings.iter().enumerate() {
            let applied = self.slot.applied(index);
            for entry in recover::entries(ring)? {
                if entry.end() > applied && entry.writers() >> self.settings.index & 1 == 1 {
                    let before = self.gauge.bytes.load(std::sync::atomic::Ordering::Relaxed);
                    self.apply(&[(index, entry.pos)]);
                    done.bytes += self.gauge.bytes.load(std::sync::atomic::Ordering::Relaxed) - before;
                    done.files += 1;
                }
            }
        }
        Ok(done)
    }

    fn check(&self, flight: &Flight) -> Result<(), String> {
        let rows = flight.files.iter().all(|f| self.slot.row(f.row).is_ok_and(|row| row.is_some()));
        let runs = flight.runs.iter().all(|run| {
            let owed = self.rings.get(run.ring).map(|ring| ring.tail()..ring.head());
            run.file < flight.files.len()
                && owed.is_some_and(|o| o.start <= run.pos && run.pos + run.len as u64 <= o.end)
        });
        if rows && runs { Ok(()) } else { Err("the batch in flight points outside of the maps".into()) }
    }
}
