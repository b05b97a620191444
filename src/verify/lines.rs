//! Lines by their hashes: those that have to be there, and those that are.

use std::collections::HashMap;
use std::fs::File;
use std::hash::{DefaultHasher, Hasher};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use super::topic::Topic;
use super::{Finding, Report, VerifyError};
use crate::engine::ours;
use crate::flow::name::Template;
use crate::ledger::cut::Cut;
use crate::ring::slot::Kind;

/// Bytes read at a time.
const READ_BYTES: usize = 1 << 20;

/// A file of the task, up to the length that the checkpoint gives it.
pub struct LineFile {
    pub path: PathBuf,
    length: u64,
    pub number: u64,
}

/// One reading's share of all lines.
pub struct Lines {
    share: u64,
    shares: u64,
    wanted: HashMap<u128, Wanted>,
}

/// The records that give one line: most often one.
struct Wanted {
    /// The first of them.
    place: Place,
    records: u32,
    found: u32,
}

/// A record: its source in the checkpoint, its offset, its number in the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub source: u32,
    pub offset: i64,
    pub k: u32,
}

impl LineFile {
    /// The checkpoint's files below a directory. Younger ones are not in it yet.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn of(cut: &Cut, (dir, kind, templates): &(&Path, Kind, Vec<Template>)) -> Result<Vec<LineFile>, VerifyError> {
        let found = ours(dir, templates).map_err(|source| VerifyError::Io { path: dir.to_path_buf(), source })?;
        let mut files = Vec::new();
        for (name, number) in found {
            let mark = cut.files.iter().find(|mark| mark.kind() == *kind && mark.name == name);
            let length = match mark {
                Some(mark) => mark.length,
                None if number < cut.seq => u64::MAX,
                None => continue,
            };
            files.push(LineFile { path: dir.join(name), length, number });
        }
        files.sort_by(|a, b| (a.number, &a.path).cmp(&(b.number, &b.path)));
        Ok(files)
    }

    /// Gives every line without its newline, with its number from 1.
    ///
    /// # Errors
    /// The file cannot be read, or the caller's own.
    pub fn each(&self, mut line: impl FnMut(u64, &[u8]) -> Result<(), VerifyError>) -> Result<(), VerifyError> {
        let error = |source| VerifyError::Io { path: self.path.clone(), source };
        let opened = File::open(&self.path).map_err(error)?;
        let mut reader = BufReader::with_capacity(READ_BYTES, opened.take(self.length));
        let mut text = Vec::new();
        for number in 1.. {
            text.clear();
            if reader.read_until(b'\n', &mut text).map_err(error)? == 0 {
                break;
            }
            line(number, text.strip_suffix(b"\n").unwrap_or(&text))?;
        }
        Ok(())
    }
}

impl Lines {
    pub fn new(share: u64, shares: u64) -> Lines {
        Lines { share, shares, wanted: HashMap::new() }
    }

    /// What is counted once is counted in this reading.
    pub fn is_first(&self) -> bool {
        self.share == 0
    }

    /// This line has to be in the files once for each time it is said.
    pub fn want(&mut self, line: &[u8], place: Place) {
        let hash = hash(line);
        if self.is_mine(hash) {
            self.wanted.entry(hash).or_insert(Wanted { place, records: 0, found: 0 }).records += 1;
        }
    }

    /// Looks every line of the files up; returns their number. Order is asked of each partition within each file, where
    /// a line is one record's alone.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn compare(&mut self, files: &[LineFile], topic: &Topic, report: &mut Report) -> Result<u64, VerifyError> {
        let mut lines = 0;
        for file in files {
            let mut last: HashMap<u32, Place> = HashMap::new();
            let at = |number: u64| format!("{} line {number}", file.path.display());
            file.each(|number, line| {
                lines += 1;
                let hash = hash(line);
                if !self.is_mine(hash) {
                    return Ok(());
                }
                let Some(wanted) = self.wanted.get_mut(&hash) else {
                    report.unknown.add(1, || at(number));
                    return Ok(());
                };
                wanted.found += 1;
                if wanted.found > wanted.records {
                    report.doubled.add(1, || format!("{}, {}", topic.name(wanted.place), at(number)));
                } else if wanted.records == 1 {
                    let before = last.insert(wanted.place.source, wanted.place);
                    if before.is_some_and(|before| before > wanted.place) {
                        report.out_of_order.add(1, || format!("{}, {}", topic.name(wanted.place), at(number)));
                    }
                }
                Ok(())
            })?;
        }
        Ok(lines)
    }

    /// What was wanted and has not come.
    pub fn missing(&self, topic: &Topic, lost: &mut Finding) {
        let missing = self.wanted.values().filter(|wanted| wanted.found < wanted.records);
        let mut places: Vec<_> = missing.map(|wanted| (wanted.place, wanted.records - wanted.found)).collect();
        places.sort_unstable();
        places.into_iter().for_each(|(place, count)| lost.add(count.into(), || topic.name(place)));
    }

    fn is_mine(&self, hash: u128) -> bool {
        hash % u128::from(self.shares) == u128::from(self.share)
    }
}

fn hash(line: &[u8]) -> u128 {
    let half = |seed: u8| {
        let mut hasher = DefaultHasher::new();
        hasher.write_u8(seed);
        hasher.write(line);
        u128::from(hasher.finish())
    };
    half(1) << 64 | half(2)
}
