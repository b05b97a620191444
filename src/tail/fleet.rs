//! All followed files of a task: which file stands behind which name, found again by identity whatever its name is now.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::Sender;

use super::cursor::{Cursor, MARK_MAX, Mark, Place};
use super::patterns::{Pattern, Sight};
use super::positions::{Position, Remembered};
use super::{Entry, OrderError, StartFrom};
use crate::flow::backoff::Backoff;
use crate::flow::clock;
use crate::sys::follow::{self, FileId};

/// Files that one task follows at most, some 500 bytes each.
const FILES_MAX: usize = 500_000;
/// How far back the beginning of a last, unfinished line is looked for when a file is followed from its end.
const LAST_LINE_BYTES: u64 = 64 << 10;

/// One followed file.
pub struct Followed {
    pub id: FileId,
    /// The name that leads to it, or led to it last.
    pub path: PathBuf,
    /// The last name that an entry meant.
    pub meant: PathBuf,
    /// Where its lines go, even when no list names that any more.
    pub entry: Arc<Entry>,
    pub cursor: Cursor,
    /// Open while it has something to say.
    pub file: Option<File>,
    pub backoff: Backoff,
    /// The last read found nothing more.
    pub at_end: bool,
    /// It stands in the list of files to be read.
    pub is_ready: bool,
    /// Its entry is another: what is in flight goes the old way first.
    pub is_changing: bool,
}

/// What came of a look at a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Met {
    /// Nothing new but perhaps bytes.
    Known(usize),
    /// A new file, or an old one under a new name.
    Came(usize),
    /// Not to be followed.
    Nothing,
}

/// The followed files of one task.
pub struct Fleet {
    pub files: Vec<Option<Followed>>,
    free: Vec<usize>,
    by_id: HashMap<FileId, usize>,
    by_path: HashMap<PathBuf, usize>,
    remembered: HashMap<FileId, Position>,
    /// Names that are not followed, and why, so that it is said once.
    refused: HashMap<PathBuf, String>,
    /// Names that links lead to, as their directories are watched, and the links.
    pub links: HashMap<PathBuf, PathBuf>,
    /// Files that no name leads to.
    pub nameless: HashSet<usize>,
    pub roots: Vec<PathBuf>,
    pub wishes: Wishes,
    task: String,
}

/// An entry, and which files it means.
pub struct Road {
    pub pattern: Pattern,
    pub entry: Arc<Entry>,
}

/// What an operator asked for files by name, those to come too.
#[derive(Debug, Clone, Default)]
pub struct Wishes {
    /// Not read until that is taken back.
    pub paused: HashSet<PathBuf>,
    /// Where each is read from when it is met; then that is forgotten.
    pub seeks: HashMap<PathBuf, (u64, Sender<Result<(), OrderError>>)>,
}

impl Fleet {
    pub fn new(task: &str, remembered: Remembered) -> Fleet {
        Fleet {
            files: Vec::new(),
            free: Vec::new(),
            by_id: HashMap::new(),
            by_path: HashMap::new(),
            remembered: remembered.positions,
            refused: HashMap::new(),
            links: HashMap::new(),
            nameless: HashSet::new(),
            roots: Vec::new(),
            wishes: Wishes::default(),
            task: task.to_owned(),
        }
    }

    pub fn get_mut(&mut self, at: usize) -> Option<&mut Followed> {
        self.files.get_mut(at)?.as_mut()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Followed> {
        self.files.iter().flatten()
    }

    pub fn at_path(&self, path: &Path) -> Option<usize> {
        self.by_path.get(path).copied()
    }

    /// The same, by the link that leads there too.
    pub fn at_path_or_link(&self, path: &Path) -> Option<usize> {
        self.at_path(path).or_else(|| self.at_path(self.links.get(path)?))
    }

    /// Finds out where links lead, as far as that is within the roots: their directories are looked at too.
    pub fn resolve_links(&mut self, sight: &mut Sight) {
        self.links.clear();
        if sight.links.is_empty() {
            return;
        }
        let named = |dir: &PathBuf| Some((dir.canonicalize().ok()?, dir.clone()));
        let mut dirs: HashMap<PathBuf, PathBuf> = sight.dirs.iter().filter_map(named).collect();
        for link in &sight.links {
            let Ok(real) = link.canonicalize() else { continue };
            if let (Some(dir), Some(name)) = (real.parent(), real.file_name())
                && self.roots.iter().any(|root| real.starts_with(root))
            {
                let dir = dirs.entry(dir.into()).or_insert_with(|| dir.into());
                self.links.insert(dir.join(name), link.clone());
                sight.dirs.insert(dir.clone());
            }
        }
    }

    /// Files that have this name, and those that had it when they were rotated away.
    pub fn named(&self, path: &Path) -> Vec<usize> {
        let named = |f: &Followed| f.path == path || f.meant == path;
        (0..).zip(&self.files).filter(|(_, f)| f.as_ref().is_some_and(named)).map(|(at, _)| at).collect()
    }

    pub fn paths(&self) -> Vec<PathBuf> {
        self.by_path.keys().cloned().collect()
    }

    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Names that are not followed, with the reason.
    pub fn refused(&self) -> impl Iterator<Item = (&PathBuf, &String)> {
        self.refused.iter()
    }

    /// Looks at a name that an entry means.
    pub fn meet(&mut self, path: &Path, entry: &Arc<Entry>, from: StartFrom, now: Instant) -> Met {
        let id = match follow::file_id(path) {
            Ok(id) => id,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                self.lose_name(path, now);
                self.refused.remove(path);
                return Met::Nothing;
            }
            Err(e) => return self.refuse(path, &e.to_string()),
        };
        if let Some(known) = self.at_path(path) {
            if self.get_mut(known).is_some_and(|f| f.id == id) {
                return Met::Known(known);
            }
            self.lose_name(path, now);
        }
        if let Some(known) = self.by_id.get(&id).copied() {
            return self.rename(known, path, Some(entry));
        }
        match self.admit(path, &id, from) {
            Ok(place) => self.add(id, path, entry, place, now),
            Err(reason) => self.refuse(path, &reason),
        }
    }

    /// May this file be followed, and from where?
    fn admit(&mut self, path: &Path, id: &FileId, from: StartFrom) -> Result<Place, String> {
        if self.len() >= FILES_MAX {
            return Err(format!("{FILES_MAX} files are followed already; name fewer, or spread them over tasks"));
        }
        let file = follow::open_regular(path).map_err(|e| e.to_string())?;
        let real = follow::real_path(&file).map_err(|e| e.to_string())?;
        if !self.roots.iter().any(|root| real.starts_with(root)) {
            return Err(format!("it leads to {}, out of the roots of this task; name that in roots", real.display()));
        }
        if follow::open_file_id(&file).ok().as_ref() != Some(id) {
            return Err("it was replaced just now".into());
        }
        let known = self.remembered.remove(id);
        if let Some((at, answer)) = self.wishes.seeks.remove(path) {
            let size = file.metadata().map_err(|e| e.to_string())?.len();
            let _ = answer.send(if at > size { Err(OrderError::BehindEnd { size }) } else { Ok(()) });
            if at <= size {
                return Ok(Place { at, ..Place::default() });
            }
        }
        match (known, from) {
            (Some(known), _) => Ok(known.place),
            (None, StartFrom::Beginning) => Ok(Place::default()),
            (None, StartFrom::End) => end_of(&file).map_err(|e| e.to_string()),
        }
    }

    fn refuse(&mut self, path: &Path, reason: &str) -> Met {
        if self.refused.get(path).is_none_or(|said| said != reason) {
            log::warn!("{}: {} is not followed: {reason}", self.task, path.display());
            self.refused.insert(path.to_path_buf(), reason.to_owned());
        }
        Met::Nothing
    }

    fn add(&mut self, id: FileId, path: &Path, entry: &Arc<Entry>, place: Place, now: Instant) -> Met {
        log::debug!("{}: {} is followed from byte {}", self.task, path.display(), place.at);
        self.refused.remove(path);
        let mut cursor = Cursor::new(place, now);
        cursor.set_paused(self.wishes.paused.contains(path));
        let followed = Followed {
            id: id.clone(),
            path: path.to_path_buf(),
            meant: path.to_path_buf(),
            entry: entry.clone(),
            cursor,
            file: None,
            backoff: Backoff::default(),
            at_end: false,
            is_ready: false,
            is_changing: false,
        };
        let at = self.free.pop().unwrap_or(self.files.len());
        match self.files.get_mut(at) {
            Some(slot) => *slot = Some(followed),
            None => self.files.push(Some(followed)),
        }
        self.by_id.insert(id, at);
        self.by_path.insert(path.to_path_buf(), at);
        Met::Came(at)
    }

    /// The file has this name now, too or instead; `entry`: the one that means it.
    fn rename(&mut self, at: usize, path: &Path, entry: Option<&Arc<Entry>>) -> Met {
        let Some(followed) = self.files.get_mut(at).and_then(Option::as_mut) else { return Met::Nothing };
        let is_alias = followed.path != path && follow::file_id(&followed.path).is_ok_and(|id| id == followed.id);
        if is_alias && self.by_path.get(&followed.path) == Some(&at) {
            return Met::Known(at);
        }
        if self.by_path.get(&followed.path) == Some(&at) {
            self.by_path.remove(&followed.path);
        }
        followed.path = path.to_path_buf();
        if let Some(entry) = entry {
            followed.entry = entry.clone();
            followed.meant = path.to_path_buf();
            followed.cursor.named();
            self.by_path.insert(path.to_path_buf(), at);
            self.nameless.remove(&at);
        }
        Met::Came(at)
    }

    /// Nothing leads from this name to its file any more.
    pub fn lose_name(&mut self, path: &Path, now: Instant) -> Option<usize> {
        let at = self.by_path.remove(path)?;
        self.get_mut(at)?.cursor.unnamed(now);
        self.nameless.insert(at);
        Some(at)
    }

    /// A name that no entry means: is it a file that was rotated away?
    pub fn meet_stranger(&mut self, path: &Path) {
        if self.nameless.is_empty() {
            return;
        }
        if let Ok(id) = follow::file_id(path)
            && let Some(at) = self.by_id.get(&id).copied()
            && self.nameless.contains(&at)
        {
            self.rename(at, path, None);
        }
    }

    /// Files that stood in the ledger and under no name that is followed: rotated while nobody looked. Those that are
    /// found by their identity beside their old names come back, to be read to their ends.
    pub fn find_remembered(
        &mut self,
        sight: &Sight,
        roads: &[Road],
        known: &HashSet<&PathBuf>,
        now: Instant,
    ) -> Vec<usize> {
        let missing: Vec<Position> = self.remembered.values().filter(|p| p.gone_ms == 0).cloned().collect();
        let mut dirs: HashSet<PathBuf> =
            missing.iter().filter_map(|p| p.path.parent().map(Path::to_path_buf)).collect();
        if !missing.is_empty() {
            dirs.extend(sight.dirs.iter().cloned());
        }
        let mut found = Vec::new();
        let files = dirs.iter().filter_map(|dir| std::fs::read_dir(dir).ok()).flatten().flatten();
        let strangers = files.filter(|f| f.file_type().is_ok_and(|t| t.is_file())).map(|f| f.path());
        for path in strangers.filter(|path| !known.contains(path)) {
            let Ok(id) = follow::file_id(&path) else { continue };
            let Some(known) = self.remembered.get(&id) else { continue };
            let Some(entry) = entry_of(roads, &known.meant) else { continue };
            let meant = known.meant.clone();
            if let Ok(place) = self.admit(&path, &id, StartFrom::Beginning)
                && let Met::Came(at) = self.add(id, &path, entry, place, now)
            {
                self.lose_name(&path, now);
                self.get_mut(at).into_iter().for_each(|followed| followed.meant.clone_from(&meant));
                found.push(at);
            }
        }
        found
    }

    /// Positions whose files are gone or not followed: kept for some days more. Those that were gone before stay as
    /// they are.
    pub fn take_lost(&mut self) -> Vec<Position> {
        let lost = self.remembered.values_mut().filter(|p| p.gone_ms == 0);
        lost.map(|position| {
            log::warn!(
                "{}: {} is not there any more: what stood in it behind byte {} is lost, if there was anything",
                self.task,
                position.path.display(),
                position.place.at
            );
            position.gone_ms = clock::now_ms();
            position.clone()
        })
        .collect()
    }

    /// Forgets positions that are gone for too long.
    pub fn expire(&mut self) -> Vec<FileId> {
        let now_ms = clock::now_ms();
        let old: Vec<FileId> =
            self.remembered.values().filter(|p| p.is_too_old(now_ms)).map(|p| p.id.clone()).collect();
        old.iter().for_each(|id| drop(self.remembered.remove(id)));
        old
    }

    /// Places that are believed over everything that is known here.
    pub fn remember(&mut self, remembered: Remembered) {
        for (id, position) in remembered.positions {
            match self.by_id.get(&id).copied().and_then(|at| self.get_mut(at)) {
                Some(followed) => followed.cursor.seek(position.place),
                None => drop(self.remembered.insert(id, position)),
            }
        }
    }

    /// Opens a file, under its name or any other in the same directory, or in that which its link leads to.
    ///
    /// # Errors
    /// The kernel's; `NotFound` where no name leads to it.
    pub fn open(&mut self, at: usize) -> io::Result<()> {
        let Some(followed) = self.files.get_mut(at).and_then(Option::as_mut) else { return Ok(()) };
        if followed.file.is_some() {
            return Ok(());
        }
        followed.file = match open_known(&followed.path, &followed.id) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let real = self.links.iter().find(|(_, link)| **link == followed.path).map(|(real, _)| real);
                let dirs = [Some(&followed.path), real].into_iter().flatten().filter_map(|path| path.parent());
                let entries = dirs.filter_map(|dir| std::fs::read_dir(dir).ok()).flatten().flatten();
                let mut paths = entries.map(|entry| entry.path());
                let beside = paths.find(|path| follow::file_id(path).is_ok_and(|id| id == followed.id));
                Some(open_known(&beside.ok_or(e)?, &followed.id)?)
            }
            opened => Some(opened?),
        };
        Ok(())
    }

    /// Forgets a file; its position, to be kept for some days.
    pub fn remove(&mut self, at: usize) -> Option<Position> {
        let followed = self.files.get_mut(at)?.take()?;
        self.free.push(at);
        self.nameless.remove(&at);
        self.by_id.remove(&followed.id);
        if self.by_path.get(&followed.path) == Some(&at) {
            self.by_path.remove(&followed.path);
        }
        let position = Position { gone_ms: clock::now_ms(), ..followed.position() };
        self.remembered.insert(position.id.clone(), position.clone());
        Some(position)
    }
}

impl Followed {
    pub fn position(&self) -> Position {
        let place = self.cursor.kept().clone();
        Position { id: self.id.clone(), path: self.path.clone(), meant: self.meant.clone(), place, gone_ms: 0 }
    }

    pub fn hash(&self) -> u32 {
        self.id.hash()
    }
}

/// # Errors
/// The kernel's; `NotFound` too where the name leads to another file.
fn open_known(path: &Path, id: &FileId) -> io::Result<File> {
    let file = follow::open_regular(path)?;
    if follow::open_file_id(&file)? == *id { Ok(file) } else { Err(io::ErrorKind::NotFound.into()) }
}

/// The directories of the entries and those that were named beside them, links resolved.
pub fn real_roots(roads: &[Road], roots: &[PathBuf]) -> Vec<PathBuf> {
    let all = roads.iter().map(|road| road.pattern.root()).chain(roots.iter().map(PathBuf::as_path));
    all.filter_map(|root| root.canonicalize().ok()).collect()
}

/// The entry that means this path.
pub fn entry_of<'r>(roads: &'r [Road], path: &Path) -> Option<&'r Arc<Entry>> {
    roads.iter().find(|road| road.pattern.matches(path)).map(|road| &road.entry)
}

/// The place behind the last whole line.
fn end_of(file: &File) -> io::Result<Place> {
    use std::os::unix::fs::FileExt;
    let size = file.metadata()?.len();
    let from = size.saturating_sub(LAST_LINE_BYTES);
    let mut bytes = vec![0; (size - from) as usize];
    file.read_exact_at(&mut bytes, from)?;
    let end = memchr::memrchr(b'\n', &bytes).map_or(if from == 0 { 0 } else { bytes.len() }, |at| at + 1);
    let before = &bytes[end.saturating_sub(MARK_MAX)..end];
    Ok(Place { at: from + end as u64, pieces: 0, mark: Mark::of(before) })
}

/// What two lists of entries have to do with each other: the same file may go to another topic.
pub fn same_road(old: &Entry, new: &Entry) -> bool {
    old.topic == new.topic && old.key == new.key
}
