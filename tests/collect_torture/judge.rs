//! What must have come, what may be missing, and whether the program knew.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use crate::scribble::{Content, Fate};

/// What came of all lines.
#[derive(Debug, Default)]
pub struct Verdict {
    pub lines: u64,
    /// Lines of files that still stand, (sheet, number).
    pub lost: Vec<(usize, u64)>,
    pub doubled: u64,
    pub first_doubled: Option<(usize, u64)>,
    pub out_of_order: Vec<(usize, u64)>,
    /// Lines that were cut or deleted before they were read; the program has named each of these stretches.
    pub destroyed: u64,
    /// Stretches of them.
    pub holes: u64,
    /// Destroyed, and the program knew of nothing that was lost there.
    pub untold: Vec<String>,
    pub strangers: Vec<String>,
}

impl Verdict {
    pub fn of<'c>(contents: impl Iterator<Item = &'c Content>, values: &[Vec<Vec<u8>>], log: &str) -> Verdict {
        let mut verdict = Verdict::default();
        let mut times: HashMap<(usize, u64), u64> = HashMap::new();
        let mut order: Vec<(usize, u64)> = Vec::new();
        for value in values.iter().flatten() {
            match mark(value) {
                Some(mark) => {
                    let count = times.entry(mark).or_default();
                    *count += 1;
                    if *count == 1 {
                        order.push(mark);
                    } else {
                        verdict.doubled += 1;
                        verdict.first_doubled.get_or_insert(mark);
                    }
                }
                None => verdict.strangers.push(String::from_utf8_lossy(&value[..value.len().min(200)]).into_owned()),
            }
        }
        let place: HashMap<(usize, u64), usize> = order.into_iter().enumerate().map(|(at, mark)| (mark, at)).collect();
        let named = named(log);
        for content in contents {
            verdict.judge(content, &place, &named);
        }
        verdict
    }

    fn judge(&mut self, content: &Content, place: &HashMap<(usize, u64), usize>, named: &BTreeMap<usize, Vec<u64>>) {
        let mut last = 0;
        let mut missing = Vec::new();
        for (n, end) in (content.first..).zip(&content.ends) {
            let mark = (content.sheet, n);
            match place.get(&mark) {
                Some(at) => {
                    self.lines += 1;
                    if *at < last || !missing.is_empty() && content.fate == Fate::Destroyed {
                        self.out_of_order.push(mark);
                    }
                    last = *at;
                }
                None => missing.push((mark, *end)),
            }
        }
        if content.fate == Fate::Kept {
            return self.lost.extend(missing.into_iter().map(|(mark, _)| mark));
        }
        let Some((mark, end)) = missing.first() else { return };
        self.destroyed += missing.len() as u64;
        self.holes += 1;
        // Nothing of it was seen or remembered, or it was lost behind a place that was named.
        let all = missing.len() == content.ends.len();
        if !all
            && content.was_known
            && !named.get(&content.sheet).is_some_and(|places| places.iter().any(|place| place < end))
        {
            self.untold.push(format!("{mark:?}, which ends at byte {end}"));
        }
    }

    pub fn is_good(&self) -> bool {
        self.lost.is_empty() && self.out_of_order.is_empty() && self.untold.is_empty() && self.strangers.is_empty()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{} lines came, {} lost, {} doubled, {} out of order; {} destroyed in {} places, {} of these not named",
            self.lines,
            self.lost.len(),
            self.doubled,
            self.out_of_order.len(),
            self.destroyed,
            self.holes,
            self.untold.len(),
        )?;
        if let Some(mark) = self.first_doubled {
            write!(out, "\n  the first that came twice: {mark:?}")?;
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
fn mark(line: &[u8]) -> Option<(usize, u64)> {
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
