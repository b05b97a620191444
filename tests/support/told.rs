//! What the program tells and leaves behind beside the lines: its summary, its log, and the failure queue.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use logmill::ledger::failures::Failure;

use super::{Seen, Site};

/// The numbers that a task ended with, as the summary on stdout prints them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Of this run.
    pub run: Sums,
    /// Since the task's first start.
    pub total: Sums,
    /// Codes and remarks that are not zero, since the first start.
    pub named: BTreeMap<String, u64>,
}

/// consumed = written + filtered + parked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sums {
    pub consumed: u64,
    pub written: u64,
    pub filtered: u64,
    pub parked: u64,
}

impl Told {
    /// Only the codes, `E01_EMPTY` and so on.
    pub fn codes(&self) -> BTreeMap<String, u64> {
        let is_code = |(name, _): &(&String, &u64)| name.starts_with('E');
        self.named.iter().filter(is_code).map(|(name, count)| (name.clone(), *count)).collect()
    }
}

impl Site {
    /// The summary of the newest run; panics where it has printed none for this task.
    pub fn told(&self, task: &str) -> Told {
        let text = std::fs::read_to_string(self.path("summary")).expect("a summary");
        let mine = |line: &'_ str| line.strip_prefix(&format!("{task}: ")).map(str::to_owned);
        let lines: Vec<String> = text.lines().filter_map(mine).collect();
        let run = lines.iter().find_map(|line| sums(line.strip_prefix("consumed ")?));
        let run = run.unwrap_or_else(|| panic!("no summary of {task} in {text:?}; the log:\n{}", self.log()));
        let total = lines.iter().find_map(|line| sums(line.strip_prefix("since its first start consumed ")?));
        let named = lines.iter().filter(|line| !line.contains(':') && !line.contains("consumed"));
        Told { run, total: total.unwrap_or(run), named: named.flat_map(|line| names(line)).collect() }
    }

    /// Every parked record in the segments of the failure queue, by topic, partition, offset, k; each has to be whole.
    pub fn failures(&self) -> Vec<Failure> {
        let mut failures = Vec::new();
        for state in std::fs::read_dir(self.path("data")).expect("the data directory") {
            let dir = state.expect("an entry").path().join("failures");
            if dir.is_dir() {
                let seen = Seen::at_rest(&dir);
                seen.assert_clean();
                failures.extend(seen.lines().map(|(_, line)| Failure::parse(line).expect("a whole record")));
            }
        }
        failures.sort_by(|a, b| (&a.topic, a.partition, a.offset, a.k).cmp(&(&b.topic, b.partition, b.offset, b.k)));
        failures
    }

    /// Waits until the log holds `text`.
    pub fn await_log(&self, text: &str, deadline: Duration) {
        self.awaited(&format!("{text:?} in the log"), deadline, || self.log().contains(text).then_some(()));
    }

    /// Waits until the task's files hold at least `lines` lines.
    pub fn await_lines(&self, task: &str, lines: usize, deadline: Duration) {
        self.awaited(&format!("{lines} lines"), deadline, || (self.lines(task) >= lines).then_some(()));
    }

    /// Lines in the task's files at this moment.
    pub fn lines(&self, task: &str) -> usize {
        count_lines(&self.out(task))
    }

    /// As `eventually`, with the log where it does not come.
    pub fn awaited<T>(&self, what: &str, deadline: Duration, mut ready: impl FnMut() -> Option<T>) -> T {
        let start = Instant::now();
        loop {
            if let Some(value) = ready() {
                return value;
            }
            assert!(start.elapsed() < deadline, "not within {deadline:?}: {what}; the log:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn count_lines(dir: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let visible = paths.filter(|path| path.file_name().is_some_and(|n| !n.as_encoded_bytes().starts_with(b".")));
    let lines = |path: std::path::PathBuf| match path.is_dir() {
        true => count_lines(&path),
        false => std::fs::read(&path).map_or(0, |content| memchr::memchr_iter(b'\n', &content).count()),
    };
    visible.map(lines).sum()
}

/// "9 = written 4 + filtered 3 + parked 2 …"
fn sums(text: &str) -> Option<Sums> {
    let mut numbers = text.split_whitespace().filter_map(|word| word.parse().ok());
    let mut next = || numbers.next();
    Some(Sums { consumed: next()?, written: next()?, filtered: next()?, parked: next()? })
}

/// "E05_JSON 3, prop_null 4"
fn names(line: &str) -> Vec<(String, u64)> {
    let pair = |part: &str| {
        let (name, count) = part.rsplit_once(' ')?;
        Some((name.to_owned(), count.parse().ok()?))
    };
    line.split(", ").filter_map(pair).collect()
}
