//! Knows which lines must have come out, and says which are lost, doubled, out of order or strangers. Lines carry the
//! partition and the number of their record within it as two neighbouring members, `"p":3,"s":1234`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::{Fate, Made, Seen};

/// The expected lines: per partition, by sequence number.
#[derive(Debug, Default, Clone)]
pub struct Checker {
    expected: BTreeMap<i32, Vec<bool>>,
}

/// Which order must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Each partition's lines in order over all files, in the order of the files' numbers (the end of their names):
    /// without `deliver_by` a partition is written to one lane.
    PerPartition,
    /// Each partition's lines in order within each file: with `deliver_by` they spread over the lanes.
    PerFile,
}

/// What is wrong, as (partition, sequence).
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    pub lost: Vec<(i32, u64)>,
    pub doubled: Vec<(i32, u64)>,
    pub out_of_order: Vec<(i32, u64)>,
    /// Lines nobody expected: not ours, or of a record that had to be filtered or parked.
    pub strangers: Vec<String>,
    /// Expected lines that came.
    pub found: u64,
}

impl Checker {
    pub fn new() -> Checker {
        Checker::default()
    }

    /// The line of this record has to come, exactly once.
    pub fn expect(&mut self, partition: i32, sequence: u64) {
        let expected = self.expected.entry(partition).or_default();
        let at = sequence as usize;
        if expected.len() <= at {
            expected.resize(at + 1, false);
        }
        expected[at] = true;
    }

    /// Expects the record's line if it is one that has to be written.
    pub fn expect_made(&mut self, made: &Made) {
        if made.fate == Fate::Written {
            self.expect(made.partition, made.sequence);
        }
    }

    pub fn check(&self, seen: &Seen, order: Order) -> Verdict {
        let mut verdict = Verdict::default();
        let mut times: BTreeMap<i32, Vec<u8>> =
            self.expected.iter().map(|(partition, expected)| (*partition, vec![0; expected.len()])).collect();
        let mut last: BTreeMap<i32, u64> = BTreeMap::new();
        let mut file = None;
        for (path, line) in seen.in_number_order() {
            if order == Order::PerFile && file != Some(path) {
                last.clear();
                file = Some(path);
            }
            let Some((partition, sequence)) = mark(line).filter(|mark| self.is_expected(*mark)) else {
                verdict.strangers.push(String::from_utf8_lossy(&line[..line.len().min(300)]).into_owned());
                continue;
            };
            let count = times.get_mut(&partition).map(|times| &mut times[sequence as usize]).expect("expected");
            *count = count.saturating_add(1);
            if *count > 1 {
                verdict.doubled.push((partition, sequence));
                continue;
            }
            verdict.found += 1;
            if last.get(&partition).is_some_and(|last| *last > sequence) {
                verdict.out_of_order.push((partition, sequence));
            }
            last.insert(partition, sequence);
        }
        for (partition, expected) in &self.expected {
            let lost = |at: &usize| expected[*at] && times[partition][*at] == 0;
            verdict.lost.extend((0..expected.len()).filter(lost).map(|at| (*partition, at as u64)));
        }
        verdict
    }

    fn is_expected(&self, (partition, sequence): (i32, u64)) -> bool {
        let expected = self.expected.get(&partition).and_then(|expected| expected.get(sequence as usize));
        expected.copied().unwrap_or(false)
    }
}

impl Verdict {
    pub fn is_exact(&self) -> bool {
        self.lost.is_empty() && self.doubled.is_empty() && self.out_of_order.is_empty() && self.strangers.is_empty()
    }

    /// Panics when a line is lost, doubled, out of order or a stranger.
    pub fn assert_exact(&self) {
        assert!(self.is_exact(), "{self}");
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "{} lines as expected, (partition, sequence) of the others:", self.found)?;
        let wrong = [("lost", &self.lost), ("doubled", &self.doubled), ("out of order", &self.out_of_order)];
        for (what, marks) in wrong.into_iter().filter(|(_, marks)| !marks.is_empty()) {
            writeln!(out, "  {} {what}, at first {:?}", marks.len(), &marks[..marks.len().min(10)])?;
        }
        if let Some(first) = self.strangers.first() {
            writeln!(out, "  {} strangers, the first: {first}", self.strangers.len())?;
        }
        Ok(())
    }
}

impl Seen {
    /// All lines, the files in the order of the numbers at the end of their names (then of their paths).
    pub fn in_number_order(&self) -> impl Iterator<Item = (&Path, &[u8])> {
        let number = |path: &Path| -> u64 {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let digits = name.rfind(|c: char| !c.is_ascii_digit()).map_or(0, |at| at + 1);
            name[digits..].parse().unwrap_or(0)
        };
        let mut paths: Vec<(u64, &PathBuf)> = self.files.keys().map(|path| (number(path), path)).collect();
        paths.sort();
        paths.into_iter().flat_map(|(_, path)| self.lines_of(path).map(move |line| (path.as_path(), line)))
    }
}

/// The partition and sequence that a line carries.
pub fn mark(line: &[u8]) -> Option<(i32, u64)> {
    let at = memchr::memmem::find(line, b"\"p\":")? + 4;
    let (partition, rest) = number(&line[at..])?;
    let (sequence, _) = number(rest.strip_prefix(b",\"s\":")?)?;
    Some((i32::try_from(partition).ok()?, sequence))
}

fn number(text: &[u8]) -> Option<(u64, &[u8])> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let value = std::str::from_utf8(&text[..digits]).ok()?.parse().ok()?;
    Some((value, &text[digits..]))
}
