//! What must have come, what may be missing, and whether the program knew.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use crate::scribble::{Content, Fate};

/// What came of all lines.
#[derive(Debug, Default)]
pub struct Verdict {
    pub written: u64,
    /// Of those that were written, each counted once.
    pub came: u64,
    /// Lines of files that still stand, (sheet, number).
    pub lost: Vec<(usize, u64)>,
    pub doubled: Doubled,
    pub out_of_order: Vec<(usize, u64)>,
    /// Lines that were cut or deleted before they were read; the program has named each of these stretches.
    pub destroyed: u64,
    /// Stretches of them.
    pub holes: u64,
    /// Of these: the program had not sent a line of them, or would not have remembered it after a kill.
    pub unseen: u64,
    /// Destroyed, and the program knew of nothing that was lost there.
    pub untold: Vec<String>,
    pub strangers: Vec<String>,
}

/// Lines that came again after a kill.
#[derive(Debug, Default)]
pub struct Doubled {
    pub lines: u64,
    /// Of these: how many had stood in the topic for longer than [`REPORTED_MS`] when the kill came. Unless broker or
    /// machine stood still, their confirmation had come, and was not kept yet.
    pub older: u64,
    /// The oldest of them, in milliseconds.
    pub oldest_ms: i64,
    pub first: Option<(usize, u64)>,
    /// How often any line came, less one, at most.
    pub times: u64,
}

/// What a confirmation takes at most on a machine that is not loaded.
pub const REPORTED_MS: i64 = 20;

/// A line in a topic: its sheet and number.
type Mark = (usize, u64);

/// What is to be held against what was written.
pub struct Evidence<'e> {
    /// Each partition's values with the broker's times.
    pub values: &'e [Vec<(Vec<u8>, i64)>],
    /// When kills came, in milliseconds since the epoch, in order.
    pub kills: &'e [i64],
    pub log: &'e str,
}

impl Verdict {
    pub fn of<'c>(contents: impl Iterator<Item = &'c Content>, evidence: &Evidence<'_>) -> Verdict {
        let mut verdict = Verdict::default();
        let mut seen: HashMap<Mark, (u64, i64)> = HashMap::new();
        let mut place: HashMap<Mark, usize> = HashMap::new();
        for (value, ms) in evidence.values.iter().flatten() {
            let Some(mark) = mark(value) else {
                verdict.strangers.push(String::from_utf8_lossy(&value[..value.len().min(200)]).into_owned());
                continue;
            };
            let (times, first_ms) = seen.entry(mark).or_insert((0, *ms));
            *times += 1;
            if *times == 1 {
                place.insert(mark, place.len());
            } else {
                verdict.doubled.count(mark, *times - 1, *first_ms, evidence.kills);
            }
        }
        let mut holes: BTreeMap<usize, Vec<(u64, Mark)>> = BTreeMap::new();
        for content in contents {
            let hole = verdict.judge(content, &place);
            holes.entry(content.sheet).or_default().extend(hole);
        }
        let named = named(evidence.log);
        for (sheet, holes) in holes {
            verdict.match_up(holes, named.get(&sheet).cloned().unwrap_or_default());
        }
        verdict
    }

    /// The first line that is missing of a content that was known and is gone, and where it ends.
    fn judge(&mut self, content: &Content, place: &HashMap<Mark, usize>) -> Option<(u64, Mark)> {
        let mut last = 0;
        let mut missing = Vec::new();
        self.written += content.ends.len() as u64;
        for (n, end) in (content.first..).zip(&content.ends) {
            let mark = (content.sheet, n);
            match place.get(&mark) {
                Some(at) => {
                    self.came += 1;
                    if *at < last || !missing.is_empty() && content.fate == Fate::Destroyed {
                        self.out_of_order.push(mark);
                    }
                    last = *at;
                }
                None => missing.push((mark, *end)),
            }
        }
        if content.fate == Fate::Kept {
            self.lost.extend(missing.into_iter().map(|(mark, _)| mark));
            return None;
        }
        let (mark, end) = *missing.first()?;
        self.destroyed += missing.len() as u64;
        self.holes += 1;
        self.unseen += u64::from(!content.was_known);
        content.was_known.then_some((end, mark))
    }

    /// Each stretch needs a naming of its own, of a place before the end of its first line.
    fn match_up(&mut self, mut holes: Vec<(u64, Mark)>, mut named: Vec<u64>) {
        holes.sort_unstable();
        named.sort_unstable();
        let mut named = named.into_iter().peekable();
        for (end, mark) in holes {
            if named.next_if(|place| *place < end).is_none() {
                self.untold.push(format!("{mark:?}, which ends at byte {end}"));
            }
        }
    }

    pub fn is_good(&self) -> bool {
        self.lost.is_empty()
            && self.out_of_order.is_empty()
            && self.untold.is_empty()
            && self.strangers.is_empty()
            && self.written == self.came + self.destroyed
    }
}

impl Doubled {
    fn count(&mut self, mark: Mark, times: u64, first_ms: i64, kills: &[i64]) {
        self.lines += 1;
        self.first.get_or_insert(mark);
        self.times = self.times.max(times);
        if times == 1
            && let Some(kill) = kills.iter().find(|kill| **kill >= first_ms)
        {
            self.older += u64::from(kill - first_ms > REPORTED_MS);
            self.oldest_ms = self.oldest_ms.max(kill - first_ms);
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Verdict { written, came, doubled, destroyed, holes, unseen, .. } = self;
        write!(
            out,
            "{written} lines written, {came} came, {} lost, {} out of order; {destroyed} destroyed in {holes} places, \
             {unseen} of these unseen, {} not named; {} sent again",
            self.lost.len(),
            self.out_of_order.len(),
            self.untold.len(),
            doubled.lines,
        )?;
        if let Some(mark) = doubled.first {
            let Doubled { older, oldest_ms, times, .. } = doubled;
            write!(
                out,
                " ({older} of them stood there for more than {REPORTED_MS} ms before the kill, at most for \
                 {oldest_ms} ms; no line more than {times} times; the first is {mark:?})"
            )?;
        }
        for (what, marks) in [("lost", &self.lost), ("out of order", &self.out_of_order)] {
            if !marks.is_empty() {
                write!(out, "\n  {what}, at first {:?}", &marks[..marks.len().min(10)])?;
            }
        }
        for words in self.untold.iter().take(5).chain(self.strangers.iter().take(5)) {
            write!(out, "\n  {words}")?;
        }
        Ok(())
    }
}

/// The sheet and number of a line that is whole.
fn mark(line: &[u8]) -> Option<Mark> {
    let text = std::str::from_utf8(line).ok()?;
    let (sheet, rest) = text.strip_prefix("{\"sheet\":")?.split_once(",\"n\":")?;
    let (number, text) = rest.split_once(",\"text\":\"")?;
    text.strip_suffix("\"}")?
        .bytes()
        .all(|b| b.is_ascii_lowercase())
        .then_some((sheet.parse().ok()?, number.parse().ok()?))
}

/// The bytes behind which the program said that something of a sheet is lost.
fn named(log: &str) -> BTreeMap<usize, Vec<u64>> {
    let mut named: BTreeMap<usize, Vec<u64>> = BTreeMap::new();
    for line in log.lines() {
        let number = |after: &str| {
            let digits = line.split_once(after)?.1;
            digits[..digits.find(|c: char| !c.is_ascii_digit())?].parse::<u64>().ok()
        };
        let sheet = number("/logs/sheet");
        let place = number("(confirmed: ").or_else(|| number("behind byte "));
        if let (Some(sheet), Some(place)) = (sheet, place) {
            named.entry(sheet as usize).or_default().push(place);
        }
    }
    named
}
