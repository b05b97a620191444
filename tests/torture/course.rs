//! A course: one topic, one task that delivers it, and what is known of its lines. A fault runs over one course or more
//! and adds up what came of them.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::{Checker, Fate, Finding, Kafka, Mix, Order, Proxy, Record, Running, Seen, Site, Sums, Tailer};

pub const PARTITIONS: i32 = 4;
/// Longest wait for anything that has to come.
pub const SOON: Duration = Duration::from_secs(120);
/// Where a janitor puts what it takes, in the place of the course.
pub const TAKEN: &str = "taken";

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
    /// What was made, by what has to become of it; parked records by their codes too.
    made: Sums,
    codes: BTreeMap<String, u64>,
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
        let (mix, checker) = (Mix::new(seed, PARTITIONS), Checker::new());
        Course { kafka, site, topic, mix, checker, made: Sums::default(), codes: BTreeMap::new() }
    }

    /// The records go to the broker directly, and come from it through the proxy.
    pub fn through(proxy: &'k Proxy, name: &str, seed: u64) -> Course<'k> {
        Course { site: Site::new(&proxy.bootstrap()), ..Course::new(proxy.kafka(), name, seed) }
    }

    /// The same topic from its beginning, into another place.
    pub fn elsewhere(&self) -> Course<'k> {
        let site = Site::new(self.kafka.bootstrap());
        let (mix, checker, codes) = (self.mix.clone(), self.checker.clone(), self.codes.clone());
        Course { kafka: self.kafka, site, topic: self.topic.clone(), mix, checker, made: self.made, codes }
    }

    /// Lines that have to come out.
    pub fn lines(&self) -> u64 {
        self.made.written
    }

    /// True once all of them stand in the files.
    pub fn is_delivered(&self) -> bool {
        self.site.lines("game") as u64 >= self.lines()
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
            self.made.consumed += 1;
            match made.fate {
                Fate::Written => self.made.written += 1,
                Fate::Filtered => self.made.filtered += 1,
                Fate::Parked(code) => {
                    self.made.parked += 1;
                    *self.codes.entry(code.to_owned()).or_default() += 1;
                }
            }
            self.checker.expect_made(&made);
            records.push(Record::from(&made));
        }
        records
    }

    /// Records for a transaction that is aborted: their lines are nobody's.
    pub fn make_hidden(&mut self, count: usize) -> Vec<Record> {
        self.mix.by_ref().take(count).map(|made| Record::from(&made)).collect()
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
        while !self.is_delivered() {
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
        }
        self.judge_parked(outcome);
        self.judge_counts(outcome);
        self.verify(outcome);
        if !verdict.is_exact() {
            outcome.other.push(format!("kept for a look: {}", self.keep().display()));
        }
    }

    /// Every record that had to be parked is, once.
    fn judge_parked(&self, outcome: &mut Outcome) {
        let failures = self.site.failures();
        let places: BTreeSet<_> = failures.iter().map(|f| (&f.topic, f.partition, f.offset, f.k)).collect();
        let (all, different) = (failures.len() as u64, places.len() as u64);
        if (all, different) != (self.made.parked, self.made.parked) {
            let owed = self.made.parked;
            outcome.other.push(format!("{all} records are parked, {different} different ones, {owed} have to be"));
        }
    }

    /// What the last run, which ended in order, has told of all since the first start.
    fn judge_counts(&self, outcome: &mut Outcome) {
        let told = self.site.told("game");
        if (told.total, told.codes()) != (self.made, self.codes.clone()) {
            let (counted, made, codes) = (told.total, self.made, &self.codes);
            outcome.other.push(format!("counted {counted:?} {:?}, made {made:?} {codes:?}", told.codes()));
        }
    }

    /// The program's own comparison of the files with the topic. What a janitor has taken belongs to the files.
    fn verify(&self, outcome: &mut Outcome) {
        let mut verify = Command::new(env!("CARGO_BIN_EXE_logmill"));
        verify.arg("verify");
        let taken = self.site.path(TAKEN);
        if taken.exists() {
            let copied = Command::new("cp").arg("-a").arg(self.site.out("game").join(".")).arg(&taken).status();
            assert!(copied.expect("cp").success());
            verify.arg(taken);
        }
        verify.arg("--config").arg(self.site.config()).args(["--task", "game"]);
        let output = verify.output().expect("logmill verify");
        if !output.status.success() {
            let said = [output.stdout, output.stderr].concat();
            outcome.other.push(format!("logmill verify: {}: {}", output.status, String::from_utf8_lossy(&said)));
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
        let copied = Command::new("cp").arg("-aL").arg(root).arg(&to).status();
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
