//! Does the demo keep the program's promise? Reads all files and holds them against the records that were made.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use super::feed::PARTITIONS;
use super::made::{self, Fate, Kind};
use super::place::Place;
use crate::flow::span::Counts;
use crate::ledger::failures::Failure;

/// What was found.
#[derive(Debug, Default)]
pub struct Proof {
    pub files: usize,
    pub lines: u64,
    pub bytes: u64,
    /// What is wrong; empty = every record is where it belongs, once.
    pub wrong: Vec<String>,
}

/// Findings that are named.
const NAMED_MAX: usize = 5;

struct Check {
    /// By record number: it was found.
    seen: Vec<bool>,
    /// By partition: one more than the last number found in lines.
    next: [u64; PARTITIONS as usize],
    proof: Proof,
    wrong: u64,
}

/// Reads what stands in the files after `sent` records were made, of which `counts` tells what became.
///
/// # Errors
/// A file that cannot be read.
pub fn prove(place: &Place, sent: u64, counts: Counts) -> io::Result<Proof> {
    let mut check = Check { seen: vec![false; sent as usize], next: [0; _], proof: Proof::default(), wrong: 0 };
    for path in place.line_files()? {
        check.proof.files += 1;
        each_line(&path, |line| check.line(line))?;
    }
    let lines = check.proof.lines;
    let mut parked = 0;
    for path in place.segments()? {
        each_line(&path, |line| {
            parked += 1;
            check.parked(line);
        })?;
    }
    check.nothing_lost(sent, counts);
    check.same("lines in the files and records written", lines, counts.written);
    check.same("records in the failure queue and records parked", parked, counts.parked);
    if !counts.balance() {
        check.wrong("consumed is not written + filtered + parked".into());
    }
    if check.wrong > NAMED_MAX as u64 {
        check.proof.wrong.push(format!("and {} more", check.wrong - NAMED_MAX as u64));
    }
    Ok(check.proof)
}

impl Check {
    fn line(&mut self, line: &[u8]) {
        self.proof.lines += 1;
        self.proof.bytes += line.len() as u64;
        let Some(n) = self.found(line, Fate::Written) else { return };
        let next = &mut self.next[(n % PARTITIONS) as usize];
        if n < *next {
            self.wrong(format!("the line of record {n} stands behind one of its partition that came later"));
        } else {
            *next = n + 1;
        }
    }

    fn parked(&mut self, line: &[u8]) {
        match Failure::parse(line) {
            Err(what) => self.wrong(format!("a parked record does not read back: {what}")),
            Ok(failure) => {
                let n = made::number(&failure.payload);
                let fate = n.map(|n| Kind::of(n).fate());
                match fate {
                    Some(fate @ Fate::Parked(code)) if code.name() == failure.code => {
                        self.found(&failure.payload, fate);
                    }
                    _ => self.wrong(format!("record {n:?} is parked with {}", failure.code)),
                }
            }
        }
    }

    /// Notes the record of a text that has this fate.
    fn found(&mut self, text: &[u8], fate: Fate) -> Option<u64> {
        let n = made::number(text).filter(|n| Kind::of(*n).fate() == fate);
        let Some((n, seen)) = n.and_then(|n| Some((n, self.seen.get_mut(n as usize)?))) else {
            let shown = String::from_utf8_lossy(&text[..text.len().min(100)]).into_owned();
            self.wrong(format!("nobody expects this: {shown}"));
            return None;
        };
        if std::mem::replace(seen, true) {
            self.wrong(format!("record {n} is there twice"));
        }
        Some(n)
    }

    /// Where not all records were consumed (somebody stopped the demo), none may be missing before the last one found.
    fn nothing_lost(&mut self, sent: u64, counts: Counts) {
        let all = counts.consumed == sent;
        let mut filtered = 0;
        for n in 0..sent {
            let due = all || n < self.next[(n % PARTITIONS) as usize];
            match Kind::of(n).fate() {
                Fate::Filtered => filtered += 1,
                _ if due && !self.seen[n as usize] => self.wrong(format!("record {n} is missing")),
                _ => {}
            }
        }
        if all {
            self.same("records made to be filtered and records filtered", filtered, counts.filtered);
        }
    }

    fn same(&mut self, what: &str, found: u64, counted: u64) {
        if found != counted {
            self.wrong(format!("{what}: {found} and {counted}"));
        }
    }

    fn wrong(&mut self, what: String) {
        self.wrong += 1;
        if self.proof.wrong.len() < NAMED_MAX {
            self.proof.wrong.push(what);
        }
    }
}

/// Calls with each line and its newline; a last one without is given too.
fn each_line(path: &Path, mut take: impl FnMut(&[u8])) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(1 << 20, File::open(path)?);
    let mut line = Vec::new();
    loop {
        line.clear();
        if reader.read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        take(&line);
    }
}

/// The line of record `n`, if it is among the first of the first file.
///
/// # Errors
/// A file that cannot be read.
pub fn find(place: &Place, n: u64) -> io::Result<Option<String>> {
    const LOOK_AT: usize = 20_000;
    let Some(path) = place.line_files()?.into_iter().next() else { return Ok(None) };
    for line in BufReader::new(File::open(path)?).lines().take(LOOK_AT) {
        let line = line?;
        if made::number(line.as_bytes()) == Some(n) {
            return Ok(Some(line));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A place with the files of a perfect run of 3000 records, and its counts.
    fn perfect() -> (tempfile::TempDir, Place, Counts) {
        let dir = tempfile::tempdir().expect("a directory");
        let place = Place { root: dir.path().into() };
        let failures = dir.path().join("data/state.1/failures");
        std::fs::create_dir_all(&failures).expect("directories");
        std::fs::create_dir_all(place.out()).expect("directories");
        let (mut lines, mut parked) = ([String::new(), String::new()], Vec::new());
        let mut counts = Counts { consumed: 3000, ..Counts::default() };
        for n in 0..3000 {
            match Kind::of(n).fate() {
                Fate::Filtered => counts.filtered += 1,
                Fate::Written => {
                    counts.written += 1;
                    lines[usize::from(n >= 2000)] += &format!("{{\"log_id\":{n}}}\n");
                }
                Fate::Parked(code) => {
                    counts.parked += 1;
                    parked.extend(failure(n, code.name()));
                }
            }
        }
        for (number, text) in lines.iter().enumerate() {
            std::fs::write(place.out().join(format!("log.2026-01-01_{}", 9 + number)), text).expect("a file");
        }
        std::fs::write(failures.join("failures_3.jsonl"), parked).expect("a file");
        (dir, place, counts)
    }

    fn failure(n: u64, code: &str) -> Vec<u8> {
        let mut failure = Failure {
            code: code.into(),
            detail: String::new(),
            topic: String::new(),
            partition: 0,
            offset: 0,
            k: 0,
            timestamp_ms: 0,
            parked_ms: 0,
            attempts: 1,
            whole: true,
            bytes: 0,
            payload: Vec::new(),
        };
        failure.keep(Some(made::value(n, 0).as_bytes()), 1 << 20);
        failure.line()
    }

    fn wrong(place: &Place, sent: u64, counts: Counts) -> String {
        prove(place, sent, counts).expect("files").wrong.join("\n")
    }

    #[test]
    fn a_perfect_run_is_believed_and_no_other() {
        let (_dir, place, counts) = perfect();
        assert_eq!(wrong(&place, 3000, counts), "");
        let path = place.out().join("log.2026-01-01_9");
        let good = std::fs::read_to_string(&path).expect("a file");
        let lines: Vec<&str> = good.split_inclusive('\n').collect();
        let part = |range: std::ops::Range<usize>| lines[range].concat();
        let all = lines.len();
        for (text, word) in [
            (part(1..all), "is missing"),
            (part(0..all) + lines[5], "is there twice"),
            (part(1..all) + lines[0], "stands behind"),
            (part(0..all) + "{\"log_id\":999999}\n", "nobody expects"),
            (part(0..all) + "{\"log_", "nobody expects"),
        ] {
            std::fs::write(&path, text).expect("a file");
            assert!(wrong(&place, 3000, counts).contains(word), "{word}");
        }
        std::fs::write(&path, good).expect("a file");
        let fewer = Counts { filtered: counts.filtered - 1, parked: counts.parked + 1, ..counts };
        assert!(wrong(&place, 3000, fewer).contains("records filtered"));
        assert!(wrong(&place, 3000, Counts { consumed: 2999, ..counts }).contains("consumed is not"));
    }

    #[test]
    fn a_run_that_was_stopped_may_leave_records_behind() {
        let (_dir, place, counts) = perfect();
        assert_eq!(wrong(&place, 3600, counts), "");
        assert!(wrong(&place, 3600, Counts { consumed: 3600, ..counts }).contains("is missing"));
    }

    #[test]
    fn a_parked_record_needs_its_code() {
        let (_dir, place, counts) = perfect();
        let n = (0..).find(|n| Kind::of(*n) == Kind::Cut).expect("a cut one");
        let path = place.segments().expect("segments").remove(0);
        let parked = std::fs::read(&path).expect("a file");
        std::fs::write(&path, [&parked[..], &failure(n, "E06_DEPTH")].concat()).expect("a file");
        assert!(wrong(&place, 3000, counts).contains("parked with E06_DEPTH"));
    }
}
