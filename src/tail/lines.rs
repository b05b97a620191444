//! Bytes of a file -> the lines in them. In: what was read, from the beginning of a line on. Out: where each line
//! stands, and how far they reach. Nothing is copied, and no byte of a line is changed: `\r` stays, UTF-8 is not asked
//! for.

use std::fmt;

use memchr::{memchr, memchr_iter};
use regex::bytes::{Regex, RegexBuilder};

/// How a file's bytes become lines.
#[derive(Debug, Clone)]
pub struct Rules {
    /// A longer line goes out in pieces of so many bytes.
    pub max_line_bytes: usize,
    /// A line that matches begins a record; those that follow belong to it.
    pub multiline_start: Option<Regex>,
}

impl Rules {
    /// # Errors
    /// `multiline_start` is no regular expression.
    pub fn new(max_line_bytes: usize, multiline_start: Option<&str>) -> Result<Rules, String> {
        let start = multiline_start.map(|text| RegexBuilder::new(text).unicode(false).build());
        Ok(Rules { max_line_bytes, multiline_start: start.transpose().map_err(|e| e.to_string())? })
    }
}

/// What is known of the bytes before they are split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Before {
    /// Nothing but NUL stands before them.
    pub hole: bool,
    /// Pieces of this line that went out already.
    pub pieces: u32,
}

/// What may follow the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// Anything.
    More,
    /// Nothing for some time: a record of several lines is as long as it will be.
    Pause,
    /// Nothing ever: a last line without newline is a line.
    End,
}

/// What the bytes became. `lines` holds (start, length) of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Split {
    /// Bytes of NUL that were skipped before the first line.
    pub skipped: usize,
    /// Bytes up to where the next line begins, the skipped ones with them.
    pub consumed: usize,
    /// The one line is a piece of a longer one.
    pub piece: Option<Piece>,
}

/// A part of a line that is too long to go out whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// 1 for the first.
    pub number: u32,
    pub is_last: bool,
}

/// As its record's header has it: `2`, or `5 last`.
impl fmt::Display for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.number, if self.is_last { " last" } else { "" })
    }
}

/// Splits at most `lines_max` lines off the beginning of `bytes`.
pub fn split(
    bytes: &[u8],
    before: Before,
    after: After,
    rules: &Rules,
    lines_max: usize,
    lines: &mut Vec<(u32, u32)>,
) -> Split {
    lines.clear();
    let skipped = if before.hole { bytes.iter().take_while(|b| **b == 0).count() } else { 0 };
    let mut split = Split { skipped, consumed: skipped, piece: None };
    if before.pieces > 0 {
        piece(bytes, before.pieces, after, rules, lines, &mut split);
    } else if let Some(start) = &rules.multiline_start {
        records(bytes, after, rules, start, lines_max, lines, &mut split);
    } else {
        single(bytes, after, rules, lines_max, lines, &mut split);
    }
    // What is longer than a line may be, and no line before it: its first piece.
    if lines.is_empty() && split.piece.is_none() && bytes.len() - split.consumed > rules.max_line_bytes {
        let line = &bytes[split.consumed..];
        if memchr(b'\n', &line[..=rules.max_line_bytes]).is_none() {
            piece(bytes, 0, after, rules, lines, &mut split);
        }
    }
    split
}

fn single(bytes: &[u8], after: After, rules: &Rules, lines_max: usize, lines: &mut Vec<(u32, u32)>, split: &mut Split) {
    let from = split.consumed;
    for newline in memchr_iter(b'\n', &bytes[from..]).map(|at| from + at) {
        let length = newline - split.consumed;
        if length > rules.max_line_bytes || lines.len() == lines_max {
            return;
        }
        lines.push((split.consumed as u32, length as u32));
        split.consumed = newline + 1;
    }
    rest(bytes, after, rules, lines_max, lines, split);
}

/// The last line of a file that ends without a newline.
fn rest(bytes: &[u8], after: After, rules: &Rules, lines_max: usize, lines: &mut Vec<(u32, u32)>, split: &mut Split) {
    let length = bytes.len() - split.consumed;
    if after == After::End && (1..=rules.max_line_bytes).contains(&length) && lines.len() < lines_max {
        lines.push((split.consumed as u32, length as u32));
        split.consumed = bytes.len();
    }
}

/// Lines joined to records; a record that grows too long ends with the line before.
fn records(
    bytes: &[u8],
    after: After,
    rules: &Rules,
    start: &Regex,
    lines_max: usize,
    lines: &mut Vec<(u32, u32)>,
    split: &mut Split,
) {
    let first = split.consumed;
    let mut line = first;
    let mut close = |line: usize, split: &mut Split| {
        lines.push((split.consumed as u32, (line - 1 - split.consumed) as u32));
        split.consumed = line;
        lines.len() == lines_max
    };
    for newline in memchr_iter(b'\n', &bytes[line..]).map(|at| first + at) {
        let begins = || start.is_match(&bytes[line..newline]);
        let too_long = newline - split.consumed > rules.max_line_bytes;
        if line > split.consumed && (too_long || begins()) && close(line, split) {
            return;
        }
        if newline - split.consumed > rules.max_line_bytes {
            return;
        }
        line = newline + 1;
    }
    let too_long = bytes.len() - split.consumed > rules.max_line_bytes;
    let partial_begins = || line < bytes.len() && start.is_match(&bytes[line..]);
    let is_whole = after == After::Pause || after == After::End && (too_long || partial_begins());
    if is_whole && line > split.consumed && close(line, split) {
        return;
    }
    if after == After::End && line == bytes.len() && line > split.consumed {
        close(line, split);
    } else {
        rest(bytes, after, rules, lines_max, lines, split);
    }
}

/// The next piece of a long line of which `sent` went out.
fn piece(bytes: &[u8], sent: u32, after: After, rules: &Rules, lines: &mut Vec<(u32, u32)>, split: &mut Split) {
    let line = &bytes[split.consumed..];
    let most = line.len().min(rules.max_line_bytes + 1);
    let newline = memchr(b'\n', &line[..most]);
    let (length, with_newline) = match newline {
        Some(at) => (at, at + 1),
        None if line.len() > rules.max_line_bytes => (rules.max_line_bytes, rules.max_line_bytes),
        None if after == After::End => (line.len(), line.len()),
        None => return,
    };
    let is_last = newline.is_some() || length == line.len();
    lines.push((split.consumed as u32, length as u32));
    split.consumed += with_newline;
    split.piece = Some(Piece { number: sent + 1, is_last });
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rules(max_line_bytes: usize, start: Option<&str>) -> Rules {
        Rules::new(max_line_bytes, start).unwrap()
    }

    /// Texts and the bytes consumed.
    fn cut(bytes: &[u8], before: Before, after: After, rules: &Rules) -> (Vec<String>, Split) {
        let mut lines = Vec::new();
        let split = split(bytes, before, after, rules, 100, &mut lines);
        let text = |(at, length): &(u32, u32)| {
            String::from_utf8_lossy(&bytes[*at as usize..(*at + *length) as usize]).into_owned()
        };
        (lines.iter().map(text).collect(), split)
    }

    #[test]
    fn whole_lines_come_out_and_the_rest_waits() {
        let plain = rules(100, None);
        let (lines, split) = cut(b"a\r\n\nbc\nrest", Before::default(), After::More, &plain);
        assert_eq!((lines, split.consumed), (vec!["a\r".into(), String::new(), "bc".into()], 7));
        let (lines, split) = cut(b"a\nrest", Before::default(), After::End, &plain);
        assert_eq!((lines, split.consumed), (vec!["a".into(), "rest".into()], 6));
    }

    #[test]
    fn nul_is_skipped_at_the_beginning_of_a_file_alone() {
        let plain = rules(100, None);
        let hole = Before { hole: true, ..Before::default() };
        let (lines, split) = cut(b"\0\0\0a\0\nb\n", hole, After::More, &plain);
        assert_eq!((lines, split.skipped, split.consumed), (vec!["a\0".into(), "b".into()], 3, 8));
        assert_eq!(cut(b"\0\0", hole, After::More, &plain).1.consumed, 2);
        assert_eq!(cut(b"\0a\n", Before::default(), After::More, &plain).0, ["\0a"]);
    }

    #[test]
    fn a_long_line_goes_out_in_pieces() {
        let four = rules(4, None);
        let (lines, split) = cut(b"ok\nabcdefghij\n", Before::default(), After::More, &four);
        assert_eq!((lines, split.consumed, split.piece), (vec!["ok".into()], 3, None));
        let mut bytes = &b"abcdefghij\nok\n"[..];
        let mut seen = Vec::new();
        let mut before = Before::default();
        while !bytes.is_empty() {
            let (lines, split) = cut(bytes, before, After::More, &four);
            seen.extend(lines.into_iter().map(|line| (line, split.piece.map(|p| (p.number, p.is_last)))));
            before.pieces = split.piece.filter(|p| !p.is_last).map_or(0, |p| p.number);
            bytes = &bytes[split.consumed..];
        }
        let piece = |text: &str, number, is_last| (text.to_owned(), Some((number, is_last)));
        let wanted = [piece("abcd", 1, false), piece("efgh", 2, false), piece("ij", 3, true), ("ok".to_owned(), None)];
        assert_eq!(seen, wanted);
        // As long as it may be, and not a byte more is there yet: nobody knows.
        assert_eq!(cut(b"abcd", Before::default(), After::More, &four).1.consumed, 0);
        assert_eq!(cut(b"abcd\n", Before::default(), After::More, &four).0, ["abcd"]);
        assert_eq!(cut(b"abcde", Before::default(), After::End, &four).1.consumed, 4);
    }

    #[test]
    fn lines_are_joined_from_start_to_start() {
        let joined = rules(100, Some("^[0-9]"));
        let bytes = b"stray\n1 a\n at b\n at c\n2 d\n at";
        let (lines, split) = cut(bytes, Before::default(), After::More, &joined);
        assert_eq!((lines, split.consumed), (vec!["stray".into(), "1 a\n at b\n at c".into()], 22));
        let (lines, split) = cut(&bytes[22..], Before::default(), After::Pause, &joined);
        assert_eq!((lines, split.consumed), (vec!["2 d".into()], 4));
        assert_eq!(cut(&bytes[22..], Before::default(), After::End, &joined).0, ["2 d\n at"]);
        assert_eq!(cut(b"1\n2", Before::default(), After::End, &joined).0, ["1", "2"]);
        assert_eq!(cut(b"1\n x\n", Before::default(), After::End, &joined).0, ["1\n x"]);
        // A record that would be too long ends before.
        let short = rules(6, Some("^[0-9]"));
        assert_eq!(cut(b"1 a\n b\n c\n2\n", Before::default(), After::More, &short).0, ["1 a\n b", " c"]);
    }

    proptest! {
        /// However a file is cut into reads, and however short lines must be: the bytes come out as they were.
        #[test]
        fn nothing_is_lost_or_doubled(
            text in "[a1\n\u{0}]{0,60}",
            reads in proptest::collection::vec(1usize..20, 1..80),
            most in 1usize..12,
            joins in any::<bool>(),
        ) {
            let rules = rules(most, joins.then_some("^1"));
            let bytes = text.as_bytes();
            let (mut at, mut end, mut before) = (0, 0, Before::default());
            let mut out = Vec::new();
            let mut lines = Vec::new();
            for step in reads.into_iter().chain([1000; 100]) {
                end = bytes.len().min(end + step);
                let after = if end == bytes.len() { After::End } else { After::More };
                let split = split(&bytes[at..end], before, after, &rules, 3, &mut lines);
                for (start, length) in &lines {
                    prop_assert!(*length as usize <= most);
                    out.extend(&bytes[at + *start as usize..at + (*start + *length) as usize]);
                    if split.piece.is_none_or(|p| p.is_last) {
                        out.push(b'\n');
                    }
                }
                before.pieces = split.piece.filter(|p| !p.is_last).map_or(0, |p| p.number);
                at += split.consumed;
            }
            let mut wanted = bytes.to_vec();
            if !wanted.is_empty() && wanted.last() != Some(&b'\n') {
                wanted.push(b'\n');
            }
            prop_assert_eq!(out, wanted);
        }
    }
}
