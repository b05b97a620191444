//! Orders: what a running station is told, and what it is asked.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use super::cursor::{Cursor, Phase, Place};
use super::fleet::{Road, Wishes, entry_of, same_road};
use super::patterns::Pattern;
use super::produce::{ProduceError, Producer};
use super::station::Station;
use super::{Entry, FileStatus, Order, OrderError};

impl Station {
    pub(super) fn take_orders(&mut self) {
        self.bell.hush();
        while let Ok(order) = self.orders.try_recv() {
            // An answer that nobody waits for any more is no fault.
            match order {
                Order::Entries(entries, answer) => {
                    let _ = answer.send(self.change_entries(&entries));
                }
                Order::Files(answer) => {
                    let _ = answer.send(self.files());
                }
                Order::Pause(path, is_paused, answer) => {
                    let _ = answer.send(self.pause(path, is_paused));
                }
                Order::Seek(path, at, answer) => {
                    let _ = answer.send(self.seek(&path, at));
                }
                Order::Stop(most) => {
                    self.stopping.get_or_insert(Instant::now() + most);
                }
            }
        }
    }

    fn pause(&mut self, path: PathBuf, is_paused: bool) -> Result<(), OrderError> {
        let named = self.fleet.named(&path);
        for at in &named {
            self.fleet.get_mut(*at).into_iter().for_each(|followed| followed.cursor.set_paused(is_paused));
            self.look_again(*at);
        }
        let paused = &mut self.fleet.wishes.paused;
        if is_paused {
            paused.insert(path)
        } else {
            paused.remove(&path)
        };
        if named.is_empty() { Err(OrderError::NotFollowed) } else { Ok(()) }
    }

    fn seek(&mut self, path: &Path, to: u64) -> Result<(), OrderError> {
        let at = self.fleet.at_path(path).ok_or(OrderError::NotFollowed)?;
        let size = std::fs::metadata(path).map_or(0, |meta| meta.len());
        if to > size {
            return Err(OrderError::BehindEnd { size });
        }
        let place = Place { at: to, ..Place::default() };
        // Else an aborted transaction would bring the old one back.
        let before = self.exact.as_mut().and_then(|exact| exact.before.get_mut(&at));
        before.into_iter().for_each(|before| before.clone_from(&place));
        if let Some(followed) = self.fleet.get_mut(at) {
            followed.cursor.seek(place);
        }
        self.look_again(at);
        // Kept at once: it holds even if nothing is read from there.
        self.dirty.insert(at);
        self.keep_at = Instant::now();
        self.keep();
        Ok(())
    }

    /// Before it runs: what was ordered of its predecessor.
    pub(super) fn obey(&mut self, wishes: Wishes) {
        self.fleet.wishes = wishes;
    }

    /// Files of the old list that the new one means too go on without a pause; where they go elsewhere, what is in
    /// flight is delivered first.
    pub(super) fn change_entries(&mut self, entries: &[Entry]) -> Result<(), Vec<String>> {
        let roads = parse(entries)?;
        name_topics(&mut *self.producer, &roads).map_err(|e| vec![e.to_string()])?;
        self.roads = roads;
        for at in 0..self.fleet.files.len() {
            let Some(followed) = self.fleet.get_mut(at) else { continue };
            match entry_of(&self.roads, &followed.path) {
                Some(entry) => {
                    followed.is_changing |= !same_road(&followed.entry, entry);
                    followed.entry = entry.clone();
                    followed.cursor.named();
                }
                // One that was rotated away is read to its end all the same.
                None if followed.cursor.phase() == Phase::Live => followed.cursor.let_go(),
                None => {}
            }
            self.make_ready(at);
        }
        self.look_at = Instant::now();
        Ok(())
    }

    fn files(&self) -> Vec<FileStatus> {
        let followed = self.fleet.iter().map(|f| {
            let state = state(&f.cursor, f.at_end);
            // Nobody has looked at what waits: a size of before would tell that nothing is left.
            let waits = f.is_ready || state == "paused";
            let now = if waits { std::fs::metadata(&f.path).map_or(0, |meta| meta.len()) } else { 0 };
            FileStatus {
                path: f.path.clone(),
                topic: f.entry.topic.clone(),
                position: f.cursor.kept().at,
                size: f.cursor.size().max(now),
                identity: f.id.hex(),
                state,
                reason: String::new(),
            }
        });
        let refused = self.fleet.refused().map(|(path, reason)| FileStatus {
            path: path.clone(),
            topic: String::new(),
            position: 0,
            size: 0,
            identity: String::new(),
            state: "refused",
            reason: reason.clone(),
        });
        followed.chain(refused).collect()
    }
}

/// # Errors
/// All that is wrong with their paths.
pub fn parse(entries: &[Entry]) -> Result<Vec<Road>, Vec<String>> {
    let (mut roads, mut faults) = (Vec::new(), Vec::new());
    for entry in entries {
        match Pattern::parse(&entry.path) {
            Ok(pattern) => roads.push(Road { pattern, entry: Arc::new(entry.clone()) }),
            Err(fault) => faults.push(fault),
        }
    }
    if faults.is_empty() { Ok(roads) } else { Err(faults) }
}

/// A topic that the producer refuses is heard of before anything is sent.
///
/// # Errors
/// The producer's.
pub fn name_topics(producer: &mut dyn Producer, roads: &[Road]) -> Result<(), ProduceError> {
    roads.iter().try_for_each(|road| producer.topic(&road.entry.topic).map(drop))
}

fn state(cursor: &Cursor, at_end: bool) -> &'static str {
    match cursor.phase() {
        _ if cursor.is_paused() => "paused",
        _ if cursor.is_stuck() => "stuck",
        Phase::Live if at_end && cursor.is_quiet() => "idle",
        Phase::Live => "reading",
        Phase::Leaving { .. } => "leaving",
        Phase::Final | Phase::Dropped => "final",
    }
}
