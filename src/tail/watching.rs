//! Watching: what directories tell, and the look at everything that needs nobody to tell.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::cursor::Phase;
use super::fleet::{Met, Road, entry_of, real_roots};
use super::patterns::Sight;
use super::station::Station;
use super::{Entry, StartFrom, Until};
use crate::sys::dirs::{Change, Dirs};

/// Changes are taken at most so often, so that many writes to one file cost one look.
const PACE: Duration = Duration::from_millis(5);
/// How soon after a directory came or went everything is looked at.
const LOOK_SOON: Duration = Duration::from_millis(50);
/// How often files are looked at where inotify does not help.
const POLL: Duration = Duration::from_secs(1);
/// A file that did not grow for so long is closed.
const CLOSE_IDLE: Duration = Duration::from_secs(60);
/// Looks at directories that change while they are looked at.
const LOOKS_MAX: usize = 5;

impl Station {
    pub(super) fn open_dirs(&mut self) {
        match Dirs::new() {
            Ok(dirs) => self.dirs = Some(dirs),
            Err(e) => self.say(format!("no inotify ({e}): files are looked at every {POLL:?}")),
        }
    }

    /// What inotify tells since the last time.
    pub(super) fn take_changes(&mut self) {
        let now = Instant::now();
        if now >= self.look_at {
            self.look();
        }
        if now < self.listen_at {
            return;
        }
        let Some(dirs) = &mut self.dirs else { return };
        let mut changes = Vec::new();
        dirs.changes(|change| changes.push(change));
        if changes.is_empty() {
            return;
        }
        self.listen_at = now + PACE;
        for change in changes {
            match change {
                Change::Written(path) => match self.fleet.at_path_or_link(&path) {
                    Some(at) => self.written(at),
                    None => self.met(&path, now),
                },
                Change::Named(path) => {
                    self.met(&path, now);
                    let link = self.fleet.links.get(&path).cloned();
                    link.into_iter().for_each(|link| self.met(&link, now));
                }
                Change::Tree => self.look_at = self.look_at.min(now + LOOK_SOON),
                Change::Lost => {
                    log::warn!("{}: inotify lost events: everything is looked at", self.settings.task);
                    self.look_at = now;
                }
            }
        }
    }

    fn written(&mut self, at: usize) {
        self.fleet.get_mut(at).into_iter().for_each(|followed| followed.cursor.touched());
        self.look_again(at);
    }

    /// A name was given or taken.
    fn met(&mut self, path: &Path, now: Instant) {
        let Some(entry) = entry_of(&self.roads, path) else {
            if path.is_dir() {
                // A link to a directory leads elsewhere.
                self.look_at = self.look_at.min(now + LOOK_SOON);
            }
            return self.fleet.meet_stranger(path);
        };
        if let Met::Came(at) = self.meet(path, &entry.clone(), StartFrom::Beginning, now) {
            // At once: should it be rotated away while nobody looks, it is known.
            self.dirty.insert(at);
            self.keep_at = now;
            self.look_again(at);
            if path.is_symlink() {
                // Where it leads has to be watched.
                self.look_at = self.look_at.min(now + LOOK_SOON);
            }
        }
    }

    /// A file that loses the name to another one, or to nothing, is read to its end first.
    fn meet(&mut self, path: &Path, entry: &Arc<Entry>, from: StartFrom, now: Instant) -> Met {
        let old = self.fleet.at_path(path);
        let met = self.fleet.meet(path, entry, from, now);
        let lost = old.filter(|at| met != Met::Known(*at));
        lost.into_iter().for_each(|at| self.look_again(at));
        met
    }

    /// Looks at everything: names that came and went, sizes.
    pub(super) fn look(&mut self) {
        let now = Instant::now();
        self.fleet.roots = real_roots(&self.roads, &self.settings.roots);
        let sight = self.look_at_dirs();
        let mut seen: HashSet<&PathBuf> = HashSet::new();
        let (mut came, mut grown) = (Vec::new(), Vec::new());
        let found = self.found_while_down(&sight, now);
        for path in &sight.files {
            // Of half a million files the look takes its time, and does not hang.
            self.lease.beat();
            let Some(entry) = entry_of(&self.roads, path) else { continue };
            if !seen.insert(path) {
                continue;
            }
            let is_new = !self.begun.contains(&entry.path);
            let from = if is_new { self.settings.start_from } else { StartFrom::Beginning };
            match self.meet(path, &entry.clone(), from, now) {
                Met::Came(at) => came.push(at),
                Met::Known(at) => grown.push(at),
                Met::Nothing => {}
            }
        }
        let lost: Vec<PathBuf> = self.fleet.paths().into_iter().filter(|path| !seen.contains(path)).collect();
        for path in lost {
            if let Some(at) = self.fleet.lose_name(&path, now) {
                self.look_again(at);
            }
        }
        found.into_iter().for_each(|at| self.look_again(at));
        grown.into_iter().for_each(|at| self.look_at_size(at));
        for at in came {
            self.dirty.insert(at);
            self.look_again(at);
        }
        self.owed.changed.extend(self.fleet.take_lost().into_iter().map(|p| (p.id.clone(), p)));
        self.owed.forgotten.extend(self.fleet.expire());
        for Road { entry, .. } in &self.roads {
            if self.begun.insert(entry.path.clone()) {
                self.owed.begun.push(entry.path.clone());
            }
        }
        if self.settings.until == Until::Sent {
            self.finish_all();
        }
        self.close_idle(now);
        self.totals.files.store(self.fleet.len() as u64, Ordering::Relaxed);
        self.look_at = now + if self.dirs.is_some() { self.settings.poll_interval } else { POLL };
    }

    /// Watches what is looked at; a directory that comes in between is seen by the next look.
    fn look_at_dirs(&mut self) -> Sight {
        let mut sight = Sight::default();
        for _ in 0..LOOKS_MAX {
            let before = std::mem::take(&mut sight.dirs);
            sight = Sight::default();
            for road in &self.roads {
                self.lease.beat();
                road.pattern.look(&mut sight);
            }
            self.fleet.resolve_links(&mut sight);
            let is_same = before == sight.dirs;
            let refused = match &mut self.dirs {
                Some(dirs) if !is_same => dirs.watch(sight.dirs.iter().cloned()),
                _ => break,
            };
            if let Some((dir, e)) = refused.first() {
                let dir = dir.display().to_string();
                self.dirs = None;
                self.say(format!(
                    "{dir} cannot be watched ({e}; see fs.inotify.max_user_watches): files are looked at every {POLL:?}"
                ));
            }
        }
        let refused: Vec<String> = sight.refused.iter().map(|(dir, e)| format!("{}: {e}", dir.display())).collect();
        if !refused.is_empty() {
            self.say(format!("cannot look into {}", refused.join(", ")));
        }
        sight
    }

    fn found_while_down(&mut self, sight: &Sight, now: Instant) -> Vec<usize> {
        let known: HashSet<_> = sight.files.iter().collect();
        let found = self.fleet.find_remembered(sight, &self.roads, &known, now);
        for at in &found {
            if let Some(followed) = self.fleet.get_mut(*at) {
                log::info!(
                    "{}: {} was rotated away and is finished first",
                    self.settings.task,
                    followed.path.display()
                );
            }
        }
        found
    }

    fn look_at_size(&mut self, at: usize) {
        let Some(followed) = self.fleet.get_mut(at) else { return };
        let size = std::fs::metadata(&followed.path).map_or(0, |meta| meta.len());
        if size != followed.cursor.size() {
            self.look_again(at);
        }
    }

    fn finish_all(&mut self) {
        for at in 0..self.fleet.files.len() {
            if let Some(followed) = self.fleet.get_mut(at)
                && followed.cursor.phase() == Phase::Live
            {
                followed.cursor.finish();
            }
        }
    }

    /// Files at rest hold no descriptor.
    fn close_idle(&mut self, now: Instant) {
        for followed in self.fleet.files.iter_mut().flatten() {
            let rests = followed.at_end && followed.cursor.phase() == Phase::Live && followed.cursor.is_quiet();
            if rests && now.saturating_duration_since(followed.cursor.last_grew()) >= CLOSE_IDLE {
                followed.file = None;
            }
        }
    }
}
