//! A writer's files: which file a route writes now, opened when needed, sealed when finished or no longer ours alone.

use std::fs::File;
use std::io::{self, IoSlice};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::compare::{common, tail, whole_lines};
use super::table::{Entry, Table};
use super::{Gauge, Settings};
use crate::flow::clock;
use crate::flow::name::{self, Rotate};
use crate::ring::publish::RUNS_OWED_MAX;
use crate::ring::slot::{FILES_MAX, Kind, Row, Slot, State};
use crate::sys::file::{self, Make};

/// A writer's part of the files that the process may have open; those not used for longest are closed.
const OPEN_PART: usize = 8;
const OPEN_LEAST: usize = 8;
const OPEN_MOST: usize = 2048;
/// Files that may grow at the same time; beyond, the one not used for longest is finished.
const UNSEALED_MAX: usize = FILES_MAX * 3 / 8;
/// Rows in use above which a checkpoint is wanted at once.
const CROWDED: usize = FILES_MAX / 2;
/// Rows that only a start uses: more than what all rings together can owe.
const SPARE_ROWS: usize = RUNS_OWED_MAX;
/// Bytes after which a segment of the failure queue is finished.
const SEGMENT_BYTES: u64 = 64 << 20;
/// A file that has grown by so much is given to the disk: a checkpoint would have to wait for all of it.
const SYNC_BYTES: u64 = 8 << 20;
/// Wait between two tries while the disk refuses.
const RETRY: Duration = Duration::from_millis(50);
/// How often the free space is asked for.
const SPACE_CHECK: Duration = Duration::from_millis(200);
/// How often stale files are looked for.
const LOOK: Duration = Duration::from_secs(1);

/// What became of an append.
#[derive(Debug, PartialEq, Eq)]
pub enum Place {
    /// All bytes stand in the file, which has this length now.
    Complete { appended: u64, length: u64 },
    /// Something else stands there, or the file is gone: `whole` bytes of whole lines stand in it all the same.
    Broken { whole: u64 },
}

/// The file table with its open files.
pub struct Files {
    settings: Settings,
    slot: Arc<Slot>,
    numbers: Arc<Slot>,
    gauge: Arc<Gauge>,
    table: Table,
    /// Rows that may be used.
    rows_max: usize,
    /// Files kept open.
    open_max: usize,
    batch: u64,
    /// The clock as it was when it was furthest: names and periods never go back with it.
    latest_ms: i64,
    clock: fn() -> i64,
    space: Option<(Instant, u64)>,
    /// When stale files were last looked for.
    looked: Instant,
}

impl Files {
    pub fn new(settings: Settings, slot: Arc<Slot>, numbers: Arc<Slot>, gauge: Arc<Gauge>) -> Result<Files, String> {
        let table = Table::new(slot.rows()?);
        // The last process may have seen a later day than the clock shows now.
        let latest_s = table.periods().max().unwrap_or(0) - i64::from(settings.live.timezone_s);
        let latest_ms = latest_s.saturating_mul(1000);
        Ok(Files {
            settings,
            slot,
            numbers,
            gauge,
            table,
            rows_max: FILES_MAX,
            open_max: (file::open_files_max() / OPEN_PART).clamp(OPEN_LEAST, OPEN_MOST),
            batch: 1,
            latest_ms,
            clock: clock::now_ms,
            space: None,
            looked: Instant::now(),
        })
    }

    pub fn begin_batch(&mut self) {
        self.batch += 1;
        self.take_live();
    }

    fn take_live(&mut self) {
        if let Some(live) = self.gauge.live.take() {
            self.settings.live = live;
        }
    }

    /// From now on some rows stay free: whatever is owed at a kill, the next start has rows for it.
    pub fn keep_spare_rows(&mut self) {
        self.rows_max = FILES_MAX - SPARE_ROWS;
    }

    /// The row of the file that `route` writes now: the present one, or a new one where it is finished or gone.
    pub fn row_for(&mut self, route: &[u8]) -> io::Result<usize> {
        let hash = name::fnv1a_64(route);
        let now = self.now_ms();
        if let Some(row) = self.table.of_route(hash) {
            if self.entry(row).used() == self.batch {
                return Ok(row);
            }
            if self.is_finished(row, now) {
                self.seal(row);
            } else if self.is_ours(row)? {
                self.table.touch(row, self.batch);
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
        let entry = self.table.get(row).and_then(|e| e.file.as_ref()).ok_or_else(gone)?;
        let standing = file::standing(entry)?;
        let have = standing.length.saturating_sub(start).min(added);
        let same = if standing.length < start { 0 } else { common(entry, start, have, parts)? };
        if standing.length < start || standing.unlinked || same < have || standing.length > start + added {
            return Ok(self.report_broken(row, start, standing, same, parts));
        }
        let rest = tail(parts, have);
        let mut slices: Vec<IoSlice<'_>> = rest.iter().map(|part| IoSlice::new(part)).collect();
        file::append(entry, &mut slices)?;
        let whole = |length: u64| length - length % SYNC_BYTES;
        if whole(start) < whole(start + added) {
            file::begin_sync(entry, whole(start)..whole(start + added));
        }
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
        self.take_live();
        let now = self.now_ms();
        for row in self.table.unsealed() {
            if self.is_finished(row, now) {
                self.seal(row);
            }
        }
    }

    /// Rows that a committed checkpoint holds as sealed leave the table, unless another file has got the row since.
    pub fn forget_committed(&mut self) {
        for (row, seq) in self.gauge.committed.take() {
            if self.table.get(row).is_some_and(|e| e.state == State::Sealed && e.row.seq == seq) {
                self.slot.clear_row(row);
                self.table.remove(row);
            }
        }
        self.gauge.crowded.store(self.table.count() > CROWDED, Ordering::Relaxed);
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
        // Another min_free may be what it waits for.
        self.take_live();
    }

    pub fn unblock(&mut self) {
        if self.gauge.blocked.load(Ordering::Relaxed) {
            self.gauge.blocked.store(false, Ordering::Relaxed);
            log::warn!("{}: writer {} goes on", self.settings.task, self.settings.index);
        }
    }

    fn entry(&self, row: usize) -> &Entry {
        let task = &self.settings.task;
        self.table.get(row).unwrap_or_else(|| panic!("{task}: row {row} of the file table is free"))
    }

    fn path(&self, row: &Row) -> PathBuf {
        self.settings.dir_of(row.kind).join(&row.name)
    }

    fn now_ms(&mut self) -> i64 {
        self.latest_ms = self.latest_ms.max((self.clock)());
        self.latest_ms
    }

    /// When the day or hour of a moment began, in seconds of local time; comparable across both.
    fn period(&self, kind: Kind, now_ms: i64) -> i64 {
        let local_s = now_ms.div_euclid(1000) + i64::from(self.settings.live.timezone_s);
        match self.settings.live.rotate {
            _ if kind == Kind::Failures => 0,
            Rotate::None => 0,
            Rotate::Day => local_s - local_s.rem_euclid(86_400),
            Rotate::Hour => local_s - local_s.rem_euclid(3_600),
        }
    }

    fn is_finished(&self, row: usize, now_ms: i64) -> bool {
        let Some(entry) = self.table.get(row) else { return false };
        let limit = match entry.row.kind {
            Kind::Lines => self.settings.live.rotate_size,
            Kind::Failures => SEGMENT_BYTES,
        };
        let over = limit > 0 && self.slot.length(row) >= limit;
        let taken = self.gauge.segments_from.load(Ordering::Relaxed);
        let over = over || (entry.row.kind == Kind::Failures && entry.row.seq < taken);
        over || self.period(entry.row.kind, now_ms) > entry.row.period
    }

    fn seal(&mut self, row: usize) {
        self.table.seal(row);
        self.slot.set_state(row, &self.entry(row).row, State::Sealed);
    }

    /// Takes a number and a row and makes the file.
    fn create(&mut self, kind: Kind, pattern: &str, hash: u64, now_ms: i64) -> io::Result<usize> {
        let at = self.free_row()?;
        let seq =
            self.numbers.take_seq().ok_or_else(|| io::Error::other("no file number is free before a checkpoint"))?;
        let time = clock::civil(now_ms, self.settings.live.timezone_s);
        let row = Row {
            kind,
            name: name::file_name(pattern, time, seq),
            seq,
            route_hash: hash,
            period: self.period(kind, now_ms),
        };
        self.slot.set_row(at, &row);
        self.table.insert(at, row, State::Planned, self.batch);
        match self.ensure_open(at) {
            Ok(()) => Ok(at),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                self.abandon(at);
                self.create(kind, pattern, hash, now_ms)
            }
            Err(e) => {
                // The next try finds it by its route.
                self.table.touch(at, 0);
                Err(e)
            }
        }
    }

    /// A stranger's file has the name that was planned: its number is spent.
    fn abandon(&mut self, at: usize) {
        let row = self.entry(at).row.clone();
        log::warn!("{}: {} exists already and is not ours; it is left alone", self.settings.task, row.name);
        self.slot.clear_row(at);
        self.table.remove(at);
    }

    /// A free row. Beyond a number of unsealed files the one not used for longest is sealed, so that checkpoints make
    /// room.
    fn free_row(&mut self) -> io::Result<usize> {
        self.forget_committed();
        let oldest = self.table.oldest_unsealed().filter(|_| self.table.unsealed_count() >= UNSEALED_MAX);
        if let Some(row) = oldest.filter(|row| self.entry(*row).used() < self.batch) {
            self.seal(row);
        }
        if self.table.count() >= self.rows_max {
            return Err(io::Error::other(format!("{} files wait for a checkpoint", self.table.count())));
        }
        Ok(self.table.free_row())
    }

    /// Opens the file of a row, making it where it is only planned.
    fn ensure_open(&mut self, at: usize) -> io::Result<()> {
        if self.entry(at).file.is_some() {
            return Ok(());
        }
        self.close_oldest(self.open_max - 1);
        let (row, state) = (self.entry(at).row.clone(), self.entry(at).state);
        let opened = loop {
            let opened = if state == State::Planned { self.make(at, &row) } else { self.open(&row, Make::Nothing) };
            match opened {
                Err(e) if is_too_many(&e) && self.close_oldest(self.table.open_count() / 2) => {}
                other => break other?,
            }
        };
        if state == State::Planned {
            self.slot.set_identity(at, file::identity(&opened)?);
            self.slot.set_state(at, &row, State::Created);
            self.table.set_created(at);
        } else if file::identity(&opened)? != self.slot.identity(at) {
            return Err(io::Error::new(io::ErrorKind::NotFound, "another file has taken its name"));
        }
        self.table.set_open(at, opened);
        Ok(())
    }

    /// A file that is planned, empty and ours is ours: a kill fell between its creation and the note of it.
    fn make(&self, at: usize, row: &Row) -> io::Result<File> {
        match self.open(row, Make::File) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                let opened = self.open(row, Make::Nothing).map_err(|_| e)?;
                let ours = file::standing(&opened)?.length == 0 && self.slot.length(at) == 0 && file::is_mine(&opened)?;
                if ours { Ok(opened) } else { Err(io::ErrorKind::AlreadyExists.into()) }
            }
            other => other,
        }
    }

    fn open(&self, row: &Row, make: Make) -> io::Result<File> {
        let modes = match row.kind {
            Kind::Lines => file::Modes { file: file::FILE_MODE, dir: file::DIR_MODE },
            Kind::Failures => file::Modes { file: file::PRIVATE_FILE_MODE, dir: file::PRIVATE_DIR_MODE },
        };
        file::open_append(self.settings.dir_of(row.kind), &row.name, make, modes)
    }

    /// Closes files that were not used for longest until at most `most` are open; false where none is open.
    fn close_oldest(&mut self, most: usize) -> bool {
        let some = self.table.open_count() > 0;
        while let Some(at) = self.table.oldest_open().filter(|_| self.table.open_count() > most) {
            self.table.close(at);
        }
        some
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
        if self.settings.live.min_free == 0 {
            return Ok(());
        }
        let fresh = self.space.filter(|(asked, _)| asked.elapsed() < SPACE_CHECK);
        let (_, free) = match fresh {
            Some(known) => known,
            None => *self.space.insert((Instant::now(), file::free_space(&self.settings.dir)?)),
        };
        if free >= self.settings.live.min_free {
            return Ok(());
        }
        Err(io::Error::new(
            io::ErrorKind::StorageFull,
            format!(
                "only {free} bytes are free in {}, min_free asks for {}",
                self.settings.dir.display(),
                self.settings.live.min_free
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

fn is_too_many(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

#[cfg(test)]
#[path = "files_tests.rs"]
mod tests;
