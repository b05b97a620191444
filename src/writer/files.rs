//! A writer's files: which file a route writes now, opened when needed, sealed when finished or no longer ours alone.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::{Gauge, Settings};
use crate::flow::clock;
use crate::flow::name::{self, Rotate};
use crate::ring::slot::{FILES_MAX, Kind, Row, Slot, State};
use crate::sys::file;

/// Files a writer keeps open; those not used for longest are closed.
const OPEN_MAX: usize = 256;
/// Bytes after which a segment of the failure queue is finished.
const SEGMENT_BYTES: u64 = 64 << 20;
/// Wait between two tries while the disk refuses.
const RETRY: Duration = Duration::from_millis(50);
/// How often the free space is asked for.
const SPACE_CHECK: Duration = Duration::from_millis(200);
/// How often stale files are looked for.
const LOOK: Duration = Duration::from_secs(1);
/// Bytes compared at a time with what stands in a file.
const COMPARE_BYTES: usize = 64 << 10;

/// What became of an append.
#[derive(Debug, PartialEq, Eq)]
pub enum Place {
    /// All bytes stand in the file, which has this length now.
    Complete { appended: u64, length: u64 },
    /// Something else stands there, or the file is gone: `whole` bytes of whole lines stand in it all the same.
    Broken { whole: u64 },
}

struct Entry {
    row: Row,
    state: State,
    file: Option<File>,
    /// The batch that used it last.
    used: u64,
}

/// The file table with its open files.
pub struct Files {
    settings: Settings,
    slot: Arc<Slot>,
    numbers: Arc<Slot>,
    gauge: Arc<Gauge>,
    entries: Vec<Option<Entry>>,
    /// The unsealed file of each route.
    by_route: HashMap<u64, usize>,
    open: usize,
    batch: u64,
    space: Option<(Instant, u64)>,
    /// When stale files were last looked for.
    looked: Instant,
}

impl Files {
    pub fn new(settings: Settings, slot: Arc<Slot>, numbers: Arc<Slot>, gauge: Arc<Gauge>) -> Result<Files, String> {
        let mut entries: Vec<Option<Entry>> = Vec::new();
        let mut by_route = HashMap::new();
        for (at, row, state) in slot.rows()? {
            entries.resize_with(at + 1, || None);
            if state != State::Sealed {
                by_route.insert(row.route_hash, at);
            }
            entries[at] = Some(Entry { row, state, file: None, used: 0 });
        }
        Ok(Files {
            settings,
            slot,
            numbers,
            gauge,
            entries,
            by_route,
            open: 0,
            batch: 1,
            space: None,
            looked: Instant::now(),
        })
    }

    pub fn begin_batch(&mut self) {
        self.batch += 1;
    }

    /// The row of the file that `route` writes now: the present one, or a new one where it is finished or gone.
    pub fn row_for(&mut self, route: &[u8]) -> io::Result<usize> {
        let hash = name::fnv1a_64(route);
        let now = clock::now_ms();
        if let Some(row) = self.by_route.get(&hash).copied() {
            let entry = self.entry(row);
            if entry.used == self.batch {
                return Ok(row);
            }
            if self.is_finished(row, now) {
                self.seal(row);
            } else if self.is_ours(row)? {
                self.entry(row).used = self.batch;
                return Ok(row);
            }
        }
        self.check_space()?;
        let (kind, pattern) = split_route(route)?;
        self.create(kind, pattern, hash, now)
    }

    /// Appends what of `parts` is missing behind `start`. `added` is the sum of their lengths.
    ///
    /// # Errors
    /// The disk refuses; what was appended stands, and the same call goes on from there.
    pub fn append(&mut self, row: usize, start: u64, added: u64, parts: &[&[u8]]) -> io::Result<Place> {
        if let Err(error) = self.ensure_open(row) {
            return self.broken_if_gone(row, error);
        }
        self.check_space()?;
        let entry = self.entries[row].as_ref().and_then(|e| e.file.as_ref()).ok_or_else(gone)?;
        let standing = file::standing(entry)?;
        let have = standing.length.saturating_sub(start).min(added);
        let same = if standing.length < start { 0 } else { common(entry, start, have, parts)? };
        if standing.length < start || standing.unlinked || same < have || standing.length > start + added {
            return Ok(self.report_broken(row, start, standing, same, parts));
        }
        let rest = tail(parts, have);
        let mut slices: Vec<IoSlice<'_>> = rest.iter().map(|part| IoSlice::new(part)).collect();
        file::append(entry, &mut slices)?;
        let after = file::standing(entry)?;
        let done = Place::Complete { appended: added - have, length: after.length };
        if after.length == start + added {
            return Ok(done);
        }
        // A stranger wrote at the same moment, behind our bytes or before them: ours are whole all the same.
        let ours_at = |at: u64| common(entry, at, added - have, &rest).is_ok_and(|n| n == added - have);
        if after.length > start + added && (ours_at(start + have) || ours_at(after.length - (added - have))) {
            self.note_stranger(row);
            return Ok(done);
        }
        let same = common(entry, start, after.length.saturating_sub(start).min(added), parts)?;
        Ok(self.report_broken(row, start, after, same, parts))
    }

    /// Once in a while: seals files whose day or hour is over although nothing more came for them.
    pub fn seal_stale(&mut self) {
        if self.looked.elapsed() < LOOK {
            return;
        }
        self.looked = Instant::now();
        let now = clock::now_ms();
        let unsealed: Vec<usize> = self.by_route.values().copied().collect();
        for row in unsealed {
            if self.is_finished(row, now) {
                self.seal(row);
            }
        }
    }

    /// Rows that a committed checkpoint holds as sealed leave the table, unless another file has got the row since.
    pub fn forget(&mut self, rows: &[(usize, u64)]) {
        for (row, seq) in rows {
            let sealed = |e: &Entry| e.state == State::Sealed && e.row.seq == *seq;
            if self.entries.get(*row).is_some_and(|e| e.as_ref().is_some_and(sealed)) {
                self.close(*row);
                self.slot.clear_row(*row);
                self.entries[*row] = None;
            }
        }
    }

    /// The disk refuses: says so once, and waits a little.
    pub fn block(&mut self, error: &io::Error) {
        if !self.gauge.blocked.swap(true, Ordering::Relaxed) {
            log::error!(
                "{}: writer {} waits for the disk: {error}; nothing is lost, it goes on by itself",
                self.settings.task,
                self.settings.index
            );
        }
        self.gauge.last_error.set(error.to_string());
        std::thread::sleep(RETRY);
    }

    pub fn unblock(&mut self) {
        if self.gauge.blocked.load(Ordering::Relaxed) {
            self.gauge.blocked.store(false, Ordering::Relaxed);
            log::warn!("{}: writer {} goes on", self.settings.task, self.settings.index);
        }
    }

    fn entry(&mut self, row: usize) -> &mut Entry {
        let task = &self.settings.task;
        self.entries[row].as_mut().unwrap_or_else(|| panic!("{task}: row {row} of the file table is free"))
    }

    fn path(&self, row: &Row) -> PathBuf {
        self.settings.dir_of(row.kind).join(&row.name)
    }

    fn period(&self, kind: Kind, now_ms: i64) -> i64 {
        let local_s = now_ms.div_euclid(1000) + i64::from(self.settings.timezone_s);
        match self.settings.rotate {
            _ if kind == Kind::Failures => 0,
            Rotate::None => 0,
            Rotate::Day => local_s.div_euclid(86_400),
            Rotate::Hour => local_s.div_euclid(3_600),
        }
    }

    /// A period never goes backwards when the clock does.
    fn is_finished(&self, row: usize, now_ms: i64) -> bool {
        let Some(entry) = self.entries[row].as_ref() else { return false };
        let limit = match entry.row.kind {
            Kind::Lines => self.settings.rotate_size,
            Kind::Failures => SEGMENT_BYTES,
        };
        let over = limit > 0 && self.slot.length(row) >= limit;
        over || self.period(entry.row.kind, now_ms) > entry.row.period
    }

    fn seal(&mut self, row: usize) {
        self.close(row);
        let entry = self.entry(row);
        entry.state = State::Sealed;
        let (row_, hash) = (entry.row.clone(), entry.row.route_hash);
        self.slot.set_state(row, &row_, State::Sealed);
        if self.by_route.get(&hash) == Some(&row) {
            self.by_route.remove(&hash);
        }
    }

    fn close(&mut self, row: usize) {
        if self.entry(row).file.take().is_some() {
            self.open -= 1;
        }
    }

    /// Takes a number and a row and makes the file.
    fn create(&mut self, kind: Kind, pattern: &str, hash: u64, now_ms: i64) -> io::Result<usize> {
        let at = self.free_row()?;
        let seq =
            self.numbers.take_seq().ok_or_else(|| io::Error::other("no file number is free before a checkpoint"))?;
        let time = clock::civil(now_ms, self.settings.timezone_s);
        let row = Row {
            kind,
            name: name::file_name(pattern, time, seq),
            seq,
            route_hash: hash,
            period: self.period(kind, now_ms),
        };
        self.slot.set_row(at, &row);
        self.entries[at] = Some(Entry { row, state: State::Planned, file: None, used: self.batch });
        self.by_route.insert(hash, at);
        match self.ensure_open(at) {
            Ok(()) => Ok(at),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                self.abandon(at);
                self.create(kind, pattern, hash, now_ms)
            }
            Err(e) => {
                self.entry(at).used = 0;
                Err(e)
            }
        }
    }

    /// A stranger's file has the name that was planned: its number is spent.
    fn abandon(&mut self, at: usize) {
        let row = self.entry(at).row.clone();
        log::warn!("{}: {} exists already and is not ours; it is left alone", self.settings.task, row.name);
        self.by_route.remove(&row.route_hash);
        self.slot.clear_row(at);
        self.entries[at] = None;
    }

    /// A free row. At half the table the file not used for longest is sealed, so that checkpoints make room.
    fn free_row(&mut self) -> io::Result<usize> {
        if self.by_route.len() >= FILES_MAX / 2 {
            let batch = self.batch;
            let oldest = self.by_route.values().copied().min_by_key(|row| self.entries[*row].as_ref().map(|e| e.used));
            if let Some(row) = oldest.filter(|row| self.entries[*row].as_ref().is_some_and(|e| e.used < batch)) {
                self.seal(row);
            }
        }
        if let Some(free) = self.entries.iter().position(Option::is_none) {
            return Ok(free);
        }
        if self.entries.len() == FILES_MAX {
            return Err(io::Error::other(format!("all {FILES_MAX} rows of the file table wait for a checkpoint")));
        }
        self.entries.push(None);
        Ok(self.entries.len() - 1)
    }

    /// Opens the file of a row, making it where it is only planned.
    fn ensure_open(&mut self, at: usize) -> io::Result<()> {
        if self.entry(at).file.is_some() {
            return Ok(());
        }
        self.make_room_for_one();
        let (row, state) = (self.entry(at).row.clone(), self.entry(at).state);
        let path = self.path(&row);
        let opened =
            if state == State::Planned { self.make(at, &row, &path)? } else { file::open_append(&path, false, 0)? };
        if state == State::Planned {
            self.slot.set_identity(at, file::identity(&opened)?);
            self.slot.set_state(at, &row, State::Created);
            self.entry(at).state = State::Created;
        } else if file::identity(&opened)? != self.slot.identity(at) {
            return Err(io::Error::new(io::ErrorKind::NotFound, "another file has taken its name"));
        }
        self.entry(at).file = Some(opened);
        self.open += 1;
        Ok(())
    }

    /// A file that is planned, empty and ours is ours: a kill fell between its creation and the note of it.
    fn make(&self, at: usize, row: &Row, path: &std::path::Path) -> io::Result<File> {
        let (file_mode, dir_mode) = match row.kind {
            Kind::Lines => (file::FILE_MODE, file::DIR_MODE),
            Kind::Failures => (file::PRIVATE_FILE_MODE, file::PRIVATE_DIR_MODE),
        };
        if let Some(parent) = path.parent() {
            file::make_dirs(parent, dir_mode)?;
        }
        match file::open_append(path, true, file_mode) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                let opened = file::open_append(path, false, 0).map_err(|_| e)?;
                let ours = file::standing(&opened)?.length == 0 && self.slot.length(at) == 0 && file::is_mine(&opened)?;
                if ours { Ok(opened) } else { Err(io::ErrorKind::AlreadyExists.into()) }
            }
            other => other,
        }
    }

    fn make_room_for_one(&mut self) {
        while self.open >= OPEN_MAX {
            let used = |e: &Option<Entry>| e.as_ref().filter(|e| e.file.is_some()).map(|e| e.used);
            let rows = self.entries.iter().enumerate();
            match rows.filter_map(|(at, e)| used(e).map(|u| (u, at))).min() {
                Some((_, at)) => self.close(at),
                None => return,
            }
        }
    }

    /// Before a batch uses a file: it must stand under its name with the length we gave it.
    fn is_ours(&mut self, row: usize) -> io::Result<bool> {
        match self.ensure_open(row) {
            Ok(()) => {}
            Err(e) if is_gone(&e) => {
                self.note_deleted(row, "is gone");
                return Ok(false);
            }
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                self.abandon(row);
                return Ok(false);
            }
            Err(e) => return Err(e),
        }
        let length = self.slot.length(row);
        let standing = file::standing(self.entry(row).file.as_ref().ok_or_else(gone)?)?;
        if standing.unlinked || standing.length < length {
            self.note_deleted(row, if standing.unlinked { "was removed" } else { "was cut" });
            return Ok(false);
        }
        if standing.length > length {
            self.note_stranger(row);
            return Ok(false);
        }
        Ok(true)
    }

    fn note_deleted(&mut self, row: usize, what: &str) {
        Gauge::count(&self.gauge.deleted_live, 1);
        let file = self.entry(row).row.clone();
        let (path, length) = (self.path(&file), self.slot.length(row));
        log::error!(
            "{}: {} {what} by somebody else; it held our bytes 0..{length}",
            self.settings.task,
            path.display()
        );
        self.seal(row);
    }

    fn note_stranger(&mut self, row: usize) {
        Gauge::count(&self.gauge.strangers, 1);
        let name = self.entry(row).row.name.clone();
        log::error!("{}: somebody else wrote into {name}; it is finished, a new file follows", self.settings.task);
        self.seal(row);
    }

    fn broken_if_gone(&mut self, row: usize, error: io::Error) -> io::Result<Place> {
        if !is_gone(&error) {
            return Err(error);
        }
        self.note_deleted(row, "is gone");
        Ok(Place::Broken { whole: 0 })
    }

    fn report_broken(&mut self, row: usize, start: u64, found: file::Standing, same: u64, parts: &[&[u8]]) -> Place {
        if found.unlinked || found.length < start {
            self.note_deleted(row, if found.unlinked { "was removed" } else { "was cut" });
        } else {
            self.note_stranger(row);
        }
        Place::Broken { whole: if found.length < start { 0 } else { whole_lines(parts, same) } }
    }

    fn check_space(&mut self) -> io::Result<()> {
        if self.settings.min_free == 0 {
            return Ok(());
        }
        let fresh = self.space.filter(|(asked, _)| asked.elapsed() < SPACE_CHECK);
        let (_, free) = match fresh {
            Some(known) => known,
            None => *self.space.insert((Instant::now(), file::free_space(&self.settings.dir)?)),
        };
        if free >= self.settings.min_free {
            return Ok(());
        }
        Err(io::Error::new(
            io::ErrorKind::StorageFull,
            format!(
                "only {free} bytes are free in {}, min_free asks for {}",
                self.settings.dir.display(),
                self.settings.min_free
            ),
        ))
    }
}

/// A route's key in the ring: the kind's number, then the name pattern.
pub fn route_key(kind: Kind, pattern: &str) -> Vec<u8> {
    let mut key = vec![kind as u8];
    key.extend(pattern.as_bytes());
    key
}

fn split_route(route: &[u8]) -> io::Result<(Kind, &str)> {
    let kind = match route.first() {
        Some(1) => Kind::Lines,
        Some(2) => Kind::Failures,
        _ => return Err(io::Error::other("a route of no known kind")),
    };
    Ok((kind, std::str::from_utf8(&route[1..]).map_err(io::Error::other)?))
}

fn gone() -> io::Error {
    io::ErrorKind::NotFound.into()
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ELOOP)) || error.kind() == io::ErrorKind::NotFound
}

/// How many of the `have` bytes at `start` are the first ones of `parts`.
fn common(file: &File, start: u64, have: u64, parts: &[&[u8]]) -> io::Result<u64> {
    let mut buffer = vec![0; COMPARE_BYTES.min(have as usize)];
    let mut same = 0;
    for chunk in parts.iter().flat_map(|p| p.chunks(COMPARE_BYTES)) {
        let len = chunk.len().min((have - same) as usize);
        if len == 0 {
            break;
        }
        let found = &mut buffer[..len];
        file.read_exact_at(found, start + same)?;
        let equal = found.iter().zip(chunk).take_while(|(a, b)| a == b).count();
        same += equal as u64;
        if equal < len {
            break;
        }
    }
    Ok(same)
}

/// What of `parts` is behind the first `skip` bytes.
fn tail<'a>(parts: &[&'a [u8]], mut skip: u64) -> Vec<&'a [u8]> {
    let mut rest = Vec::with_capacity(parts.len());
    for part in parts {
        let cut = skip.min(part.len() as u64) as usize;
        skip -= cut as u64;
        if part.len() > cut {
            rest.push(&part[cut..]);
        }
    }
    rest
}

/// Bytes of the whole lines within the first `same` bytes of `parts`.
fn whole_lines(parts: &[&[u8]], same: u64) -> u64 {
    let bytes = parts.iter().flat_map(|p| p.iter()).take(same as usize);
    bytes.enumerate().filter(|(_, b)| **b == b'\n').last().map_or(0, |(at, _)| at as u64 + 1)
}
