//! The failure queue as a whole: its segments in the order of their numbers, read from a place on, and what is to be
//! done with the records in it.
//!
//! A *place* is one number, the segment's in the upper bits and a byte's in the lower ones, so that the queue is a
//! source with a growing position like any other. Everything below the mark's place has been taken out.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::failures::{Failure, Filter, SEGMENT};
use crate::flow::name::Template;
use crate::flow::span::{Counts, Mark};
use crate::ring::layout::Entry;
use crate::ring::recover::entries;
use crate::ring::set::MapSet;
use crate::sys::file;

/// A segment's bytes fit these: a writer finishes it at 64 MiB, behind the batch that got it there.
const BYTE_BITS: u32 = 29;
const BYTES_MAX: u64 = 1 << BYTE_BITS;
/// No segment has a number as high.
pub const SEGMENTS_MAX: u64 = 1 << (63 - BYTE_BITS);
/// Bytes read at a time.
const READ_BYTES: usize = 256 << 10;

/// What is to be done with parked records. It stands in every cut from the one that begins it to the one that ends it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Removes them; else they are tried again.
    pub clear: bool,
    pub filter: Filter,
    /// Segments with smaller numbers are its own, and do not grow any more.
    pub end: u64,
    /// The queue's counts when it began.
    pub began: Counts,
}

impl Job {
    /// One that no cut holds yet.
    pub fn new(clear: bool, filter: Filter) -> Job {
        Job { clear, filter, end: 0, began: Counts::default() }
    }
}

/// The place of a byte of a segment.
pub fn place(segment: u64, byte: u64) -> i64 {
    (segment.min(SEGMENTS_MAX - 1) << BYTE_BITS | byte.min(BYTES_MAX - 1)) as i64
}

/// The segment of a place.
pub fn segment_of(place: i64) -> u64 {
    place as u64 >> BYTE_BITS
}

/// The segments in `dir` by their numbers; none where there is no such directory.
///
/// # Errors
/// The kernel's.
pub fn segments(dir: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let template = Template::parse(SEGMENT).map_err(io::Error::other)?;
    let mut found = Vec::new();
    let items = match std::fs::read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(found),
        other => other?,
    };
    for item in items {
        let path = item?.path();
        let number = path.file_name().and_then(|name| template.seq_of(name.to_str()?));
        found.extend(number.map(|number| (number, path)));
    }
    found.sort_unstable();
    Ok(found)
}

/// Up to where the queue has been taken out, as the maps of a running or a killed program tell: what is published
/// counts once its lines are in the files.
pub fn taken(maps: &MapSet) -> i64 {
    let mut taken = 0;
    let mut see = |mark: Mark| taken = if mark.is_of_kafka() { taken } else { taken.max(mark.next) };
    for (index, ring) in maps.rings.iter().enumerate() {
        ring.marks().into_iter().flatten().for_each(&mut see);
        let applied = |entry: &Entry<'_>| {
            (0..maps.slots.len()).all(|w| entry.writers() >> w & 1 == 0 || maps.applied(w, index) >= entry.end())
        };
        let entries = entries(ring).unwrap_or_default();
        entries.iter().take_while(|entry| applied(entry)).flat_map(Entry::marks).flatten().for_each(&mut see);
    }
    taken
}

/// Parked records at `from` and behind it which `filter` asks for, oldest segment first. What does not read back is
/// passed over: the program may be writing it. One record at a time is in memory.
///
/// # Errors
/// Each item may be the kernel's error.
pub fn list(dir: &Path, from: i64, filter: Filter) -> impl Iterator<Item = io::Result<Failure>> {
    let mut walk = Some(Walk::new(dir, from, SEGMENTS_MAX));
    std::iter::from_fn(move || {
        loop {
            match walk.as_mut()?.step() {
                Ok(None) => return None,
                Ok(Some(found)) => match Failure::parse(found.line) {
                    Ok(failure) if filter.matches(&failure) => return Some(Ok(failure)),
                    _ => {}
                },
                Err(error) => {
                    walk = None;
                    return Some(Err(error));
                }
            }
        }
    })
}

/// How many [`list`] gives.
///
/// # Errors
/// The kernel's.
pub fn count(dir: &Path, from: i64, filter: Filter) -> io::Result<u64> {
    list(dir, from, filter).try_fold(0, |sum, failure| failure.map(|_| sum + 1))
}

/// A way through the segments, line by line.
pub struct Walk {
    dir: PathBuf,
    /// Of the next line.
    at: i64,
    /// The first segment behind its end.
    end: u64,
    open: Option<(PathBuf, BufReader<File>)>,
    line: Vec<u8>,
}

/// A line, its place, and the next one's.
pub struct Found<'w> {
    pub at: i64,
    pub next: i64,
    pub line: &'w [u8],
    pub path: &'w Path,
}

impl Walk {
    pub fn new(dir: &Path, from: i64, end: u64) -> Walk {
        Walk { dir: dir.to_path_buf(), at: from, end, open: None, line: Vec::new() }
    }

    /// The next line with its newline; `None` behind the last one. After an error the same line is read again.
    ///
    /// # Errors
    /// The kernel's.
    pub fn step(&mut self) -> io::Result<Option<Found<'_>>> {
        let at = loop {
            if self.open.is_none() && !self.open_next()? {
                return Ok(None);
            }
            let Some((_, reader)) = &mut self.open else { return Ok(None) };
            self.line.clear();
            let most = BYTES_MAX - 1 - (self.at as u64 & (BYTES_MAX - 1));
            match reader.take(most).read_until(b'\n', &mut self.line) {
                Ok(0) => {
                    self.open = None;
                    self.at = place(segment_of(self.at) + 1, 0);
                }
                Ok(bytes) => {
                    let at = self.at;
                    self.at += bytes as i64;
                    break at;
                }
                Err(error) => {
                    self.open = None;
                    return Err(error);
                }
            }
        };
        let path = self.open.as_ref().map_or(self.dir.as_path(), |(path, _)| path);
        Ok(Some(Found { at, next: self.at, line: &self.line, path }))
    }

    /// The first segment at or behind the place; one that goes in this moment has been taken.
    fn open_next(&mut self) -> io::Result<bool> {
        for (number, path) in segments(&self.dir)? {
            if number < segment_of(self.at) || number >= self.end {
                continue;
            }
            match file::open_read(&path) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                opened => {
                    self.at = self.at.max(place(number, 0));
                    let mut reader = BufReader::with_capacity(READ_BYTES, opened?);
                    reader.seek(SeekFrom::Start(self.at as u64 & (BYTES_MAX - 1)))?;
                    self.open = Some((path, reader));
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(offset: i64, code: &str) -> Failure {
        let mut failure = Failure {
            code: code.into(),
            detail: "no".into(),
            topic: "t".into(),
            partition: 0,
            offset,
            k: 0,
            timestamp_ms: -1,
            parked_ms: 5,
            attempts: 1,
            whole: true,
            bytes: 0,
            payload: Vec::new(),
        };
        failure.keep(Some(b"{"), 4096);
        failure
    }

    fn offsets(dir: &Path, from: i64, filter: Filter) -> Vec<i64> {
        list(dir, from, filter).map(|f| f.unwrap().offset).collect()
    }

    #[test]
    fn places_grow_with_segments_and_bytes() {
        let places = [place(0, 0), place(0, 5), place(1, 0), place(1, 400 << 20), place(2, 0), place(1 << 33, 7)];
        assert!(places.is_sorted() && places[0] == 0 && places[5] > 0);
        assert_eq!(places.map(segment_of), [0, 0, 1, 1, 2, 1 << 33]);
    }

    #[test]
    fn a_list_begins_at_its_place_and_passes_over_what_is_torn() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(count(&dir.path().join("none"), 0, Filter::default()).unwrap(), 0);
        let line = |offset| failure(offset, if offset % 2 == 0 { "E05_JSON" } else { "E14_NO_ID" }).line();
        let torn = &line(9)[..30];
        std::fs::write(dir.path().join("failures_10.jsonl"), [line(4), line(5), torn.to_vec()].concat()).unwrap();
        std::fs::write(dir.path().join("failures_9.jsonl"), [line(1), b"garbage\n".to_vec(), line(2)].concat())
            .unwrap();
        std::fs::write(dir.path().join("failures_11.jsonl.damaged"), line(7)).unwrap();
        assert_eq!(offsets(dir.path(), 0, Filter::default()), [1, 2, 4, 5]);
        assert_eq!(offsets(dir.path(), place(9, line(1).len() as u64), Filter::default()), [2, 4, 5]);
        assert_eq!(offsets(dir.path(), place(10, 0), Filter::default()), [4, 5]);
        assert_eq!(offsets(dir.path(), place(11, 0), Filter::default()), [0; 0]);
        let even = Filter { codes: vec!["E05".into()], ..Filter::default() };
        assert_eq!((offsets(dir.path(), 0, even.clone()), count(dir.path(), 0, even).unwrap()), (vec![2, 4], 2));
    }

    #[test]
    fn a_walk_tells_places_from_which_another_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        for segment in [3, 5, 6] {
            let text: String = (0..4).map(|n| format!("{segment} {n}\n")).collect();
            std::fs::write(dir.path().join(format!("failures_{segment}.jsonl")), text).unwrap();
        }
        let mut all = Vec::new();
        let mut walk = Walk::new(dir.path(), 0, 6);
        while let Some(found) = walk.step().unwrap() {
            all.push((found.at, found.next, found.line.to_vec()));
        }
        assert_eq!(all.len(), 8, "the segment at the end is not its own");
        for (n, (_, next, _)) in all.iter().enumerate().take(7) {
            let mut later = Walk::new(dir.path(), *next, 6);
            assert_eq!(later.step().unwrap().unwrap().line, all[n + 1].2);
        }
    }
}
