//! A writer's file table in memory: what is in each row, which rows are free, which files were not used for longest.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;

use crate::ring::slot::{Row, State};

/// One file.
pub struct Entry {
    pub row: Row,
    pub state: State,
    pub file: Option<File>,
    /// The batch that used it last.
    used: u64,
}

impl Entry {
    pub fn used(&self) -> u64 {
        self.used
    }
}

/// Rows by number. Every question is answered without looking at all of them.
#[derive(Default)]
pub struct Table {
    entries: Vec<Option<Entry>>,
    /// Rows below `entries.len()` without an entry.
    free: BTreeSet<usize>,
    /// The unsealed file of each route.
    by_route: HashMap<u64, usize>,
    /// Unsealed files, and files that are open, by their last use.
    unsealed: BTreeSet<(u64, usize)>,
    open: BTreeSet<(u64, usize)>,
}

impl Table {
    pub fn new(rows: Vec<(usize, Row, State)>) -> Table {
        let mut table = Table::default();
        for (at, row, state) in rows {
            table.insert(at, row, state, 0);
        }
        table
    }

    pub fn get(&self, at: usize) -> Option<&Entry> {
        self.entries.get(at)?.as_ref()
    }

    /// The unsealed file of a route.
    pub fn of_route(&self, hash: u64) -> Option<usize> {
        self.by_route.get(&hash).copied()
    }

    /// The periods of all files.
    pub fn periods(&self) -> impl Iterator<Item = i64> + '_ {
        self.entries.iter().flatten().map(|entry| entry.row.period)
    }

    pub fn unsealed(&self) -> Vec<usize> {
        self.unsealed.iter().map(|(_, at)| *at).collect()
    }

    pub fn unsealed_count(&self) -> usize {
        self.unsealed.len()
    }

    pub fn open_count(&self) -> usize {
        self.open.len()
    }

    /// Rows that hold a file.
    pub fn count(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    /// The unsealed file that was not used for longest.
    pub fn oldest_unsealed(&self) -> Option<usize> {
        self.unsealed.first().map(|(_, at)| *at)
    }

    /// The open file that was not used for longest.
    pub fn oldest_open(&self) -> Option<usize> {
        self.open.first().map(|(_, at)| *at)
    }

    /// The first row without a file.
    pub fn free_row(&self) -> usize {
        self.free.first().copied().unwrap_or(self.entries.len())
    }

    /// Puts a file into a free row.
    pub fn insert(&mut self, at: usize, row: Row, state: State, used: u64) {
        while self.entries.len() <= at {
            self.free.insert(self.entries.len());
            self.entries.push(None);
        }
        self.free.remove(&at);
        if state != State::Sealed {
            self.by_route.insert(row.route_hash, at);
            self.unsealed.insert((used, at));
        }
        self.entries[at] = Some(Entry { row, state, file: None, used });
    }

    pub fn remove(&mut self, at: usize) {
        self.seal(at);
        if self.entries.get_mut(at).is_some_and(|e| e.take().is_some()) {
            self.free.insert(at);
        }
    }

    /// A batch uses it.
    pub fn touch(&mut self, at: usize, batch: u64) {
        let Some(entry) = self.entries.get_mut(at).and_then(Option::as_mut) else { return };
        let (old, new) = ((entry.used, at), (batch, at));
        entry.used = batch;
        if self.unsealed.remove(&old) {
            self.unsealed.insert(new);
        }
        if self.open.remove(&old) {
            self.open.insert(new);
        }
    }

    pub fn set_created(&mut self, at: usize) {
        if let Some(entry) = self.entries.get_mut(at).and_then(Option::as_mut) {
            entry.state = State::Created;
        }
    }

    /// It takes no more lines; its route is free for another one.
    pub fn seal(&mut self, at: usize) {
        self.close(at);
        let Some(entry) = self.entries.get_mut(at).and_then(Option::as_mut) else { return };
        entry.state = State::Sealed;
        self.unsealed.remove(&(entry.used, at));
        if self.by_route.get(&entry.row.route_hash) == Some(&at) {
            self.by_route.remove(&entry.row.route_hash);
        }
    }

    pub fn set_open(&mut self, at: usize, file: File) {
        let Some(entry) = self.entries.get_mut(at).and_then(Option::as_mut) else { return };
        entry.file = Some(file);
        self.open.insert((entry.used, at));
    }

    pub fn close(&mut self, at: usize) {
        let Some(entry) = self.entries.get_mut(at).and_then(Option::as_mut) else { return };
        if entry.file.take().is_some() {
            self.open.remove(&(entry.used, at));
        }
    }
}
