//! A course: one topic, one task that delivers it, and what is known of its lines. A fault runs over one course or more
//! and adds up what came of them.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::support::{Checker, Finding, Kafka, Mix, Order, Record, Running, Seen, Site, Tailer};

pub const PARTITIONS: i32 = 4;
/// Longest wait for anything that has to come.
pub const SOON: Duration = Duration::from_secs(120);

/// What every fault is given.
pub struct Ground<'k> {
    pub kafka: &'k Kafka,
    pub seed: u64,
}

/// A row of the table.
#[derive(Debug, Default)]
pub struct Outcome {
    /// How often the fault happened.
    pub times: u64,
    pub lines: u64,
    pub lost: u64,
    pub doubled: u64,
    pub shrunk: u64,
    pub out_of_order: u64,
    /// From exec to the first new line, the longest.
    pub slowest: Duration,
    /// What else was wrong, and where the wrong was seen first.
    pub other: Vec<String>,
}

pub struct Course<'k> {
    pub kafka: &'k Kafka,
    pub site: Site,
    pub topic: String,
    mix: Mix,
    checker: Checker,
    /// Lines that have to come out.
    pub lines: u64,
}

impl Outcome {
    pub fn is_exact(&self) -> bool {
        self.lost + self.doubled + self.shrunk + self.out_of_order == 0 && self.other.is_empty()
    }

    pub fn note_recovery(&mut self, took: Duration) {
        self.slowest = self.slowest.max(took);
    }
}

impl<'k> Course<'k> {
    pub fn new(kafka: &'k Kafka, name: &str, seed: u64) -> Course<'k> {
        let topic = kafka.create_topic(name, PARTITIONS);
        let site = Site::new(kafka.bootstrap());
        Course { kafka, site, topic, mix: Mix::new(seed, PARTITIONS), checker: Checker::new(), lines: 0 }
    }

    /// The same topic from its beginning, into another place.
    pub fn elsewhere(&self) -> Course<'k> {
        let site = Site::new(self.kafka.bootstrap());
        let (mix, checker) = (self.mix.clone(), self.checker.clone());
        Course { kafka: self.kafka, site, topic: self.topic.clone(), mix, checker, lines: self.lines }
    }

    /// The task as it is configured from the next start on.
    pub fn configure(&mut self, lines: &str) {
        let topic = self.topic.clone();
        self.site.clear_tasks().task("game", &[&topic], lines);
    }

    /// Records to produce, whose lines are expected from now on.
    pub fn make(&mut self, count: usize) -> Vec<Record> {
        let mut records = Vec::with_capacity(count);
        for made in self.mix.by_ref().take(count) {
            self.lines += u64::from(made.fate == crate::support::Fate::Written);
            self.checker.expect_made(&made);
            records.push(Record::from(&made));
        }
        records
    }

    pub fn produce(&mut self, count: usize) {
        let records = self.make(count);
        self.kafka.produce(&self.topic, records);
    }

    /// Starts the program and waits for the first new line; there must be something to deliver. `None`: it ended.
    pub fn start_to_first_line(&self, outcome: &mut Outcome) -> Option<Running> {
        let before = self.bytes();
        let began = Instant::now();
        let run = self.site.start(&[]);
        self.await_first_line(run, before, began, outcome)
    }

    pub fn await_first_line(
        &self,
        mut run: Running,
        mut least: u64,
        began: Instant,
        outcome: &mut Outcome,
    ) -> Option<Running> {
        loop {
            // After a power loss files are cut first.
            let now = self.bytes();
            if now > least {
                outcome.note_recovery(began.elapsed());
                return Some(run);
            }
            least = now;
            if run.ended().is_some() {
                return None;
            }
            assert!(began.elapsed() < SOON, "no line came:\n{}", self.log_end());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Delivers all that is in the topic, and ends in order.
    pub fn run_to_the_end(&self) {
        let status = self.site.start(&["--exit-at-end"]).wait(SOON);
        assert!(status.success(), "{status}:\n{}", self.log_end());
    }

    /// Waits until all lines stand in the files, if the program does not end before.
    pub fn await_all(&self, run: &mut Running, deadline: Duration) -> bool {
        let began = Instant::now();
        while (self.site.lines("game") as u64) < self.lines {
            if run.ended().is_some() {
                return false;
            }
            assert!(began.elapsed() < deadline, "not all lines came:\n{}", self.log_end());
            std::thread::sleep(Duration::from_millis(5));
        }
        true
    }

    /// Bytes in the output files.
    pub fn bytes(&self) -> u64 {
        self.files().values().map(|file| file.length).sum()
    }

    pub fn files(&self) -> BTreeMap<PathBuf, Standing> {
        let mut files = BTreeMap::new();
        collect(&self.site.out("game"), &mut files);
        files
    }

    /// Follows the files from now on.
    pub fn tailer(&self) -> Tailer {
        Tailer::follow(&self.site.out("game"))
    }

    /// Judges what a tailer has seen, or the files at rest.
    pub fn judge(&self, seen: &Seen, order: Order, outcome: &mut Outcome) {
        let verdict = self.checker.check(seen, order);
        outcome.lines += verdict.found;
        outcome.lost += verdict.lost.len() as u64;
        outcome.doubled += verdict.doubled.len() as u64;
        outcome.out_of_order += verdict.out_of_order.len() as u64;
        let shrank = |finding: &&Finding| matches!(finding, Finding::Shrank { .. });
        outcome.shrunk += seen.findings.iter().filter(shrank).count() as u64;
        outcome.other.extend(seen.findings.iter().map(Finding::to_string));
        outcome.other.extend(verdict.strangers.iter().take(3).map(|line| format!("nobody's line: {line}")));
        if !verdict.is_exact() {
            outcome.other.push(format!("{verdict}"));
            outcome.other.push(format!("kept for a look: {}", self.keep().display()));
        }
    }

    pub fn judge_at_rest(&self, order: Order, outcome: &mut Outcome) {
        self.judge(&Seen::at_rest(&self.site.out("game")), order, outcome);
    }

    /// The end of the program's log.
    pub fn log_end(&self) -> String {
        let log = self.site.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// Copies the whole place aside before it goes.
    fn keep(&self) -> PathBuf {
        let to = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("torture-{}-{}", std::process::id(), self.topic));
        let root = self.site.path("");
        let copied = std::process::Command::new("cp").arg("-aL").arg(root).arg(&to).status();
        copied.expect("cp");
        to
    }
}

/// A file as its directory shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    pub inode: u64,
    pub length: u64,
    pub is_finished: bool,
}

fn collect(dir: &Path, files: &mut BTreeMap<PathBuf, Standing>) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for entry in entries.flatten().filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b".")) {
        let Ok(meta) = entry.metadata() else { continue };
        if meta.is_dir() {
            collect(&entry.path(), files);
        } else {
            let is_finished = meta.mode() & 0o222 == 0;
            files.insert(entry.path(), Standing { inode: meta.ino(), length: meta.len(), is_finished });
        }
    }
}

/// SplitMix64: the choices of a run.
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }

    pub fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }
}
