//! `deliver_by`: which lane a record takes.

use super::entry::Name;
use super::json_text;
use super::lookup::{Facts, Scratch};
use super::members::{Kind, Members};
use super::scanner;
use crate::flow::record::Record;

/// `lanes = N` with the field that chooses among them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneRule {
    lanes: u32,
    /// The dotted path; `None`: the partition chooses.
    field: Option<Vec<Name>>,
    data: Name,
}

impl LaneRule {
    /// 0 lanes count as 1.
    pub fn new(lanes: u32, field: Option<String>) -> LaneRule {
        let path = field.map(|field| field.split('.').map(Name::new).collect());
        LaneRule { lanes: lanes.max(1), field: path, data: Name::new("data") }
    }

    /// The lane of a value that is not transformed (`transform = "none"`).
    pub fn of_value(&self, record: &Record<'_>, value: &[u8]) -> u32 {
        let text = value.strip_prefix(b"\xef\xbb\xbf").unwrap_or(value);
        let (mut headers, mut logs) = (Members::default(), Members::default());
        let by_field = self.lanes > 1 && self.field.is_some();
        if by_field {
            let scan = simdutf8::basic::from_utf8(text)
                .ok()
                .and_then(|_| scanner::scan(text, &mut headers, &mut logs, None).ok());
            match scan {
                None => return self.of_offset(record),
                Some(scan) if scan.logs != Some(Kind::Object) => logs.clear(),
                Some(_) => {}
            }
        }
        self.of_text(&Facts { record, text, headers: &headers, logs: &logs }, &mut Scratch::default())
    }

    /// The lane of checked JSON.
    pub(super) fn of_text(&self, facts: &Facts<'_>, scratch: &mut Scratch) -> u32 {
        if self.lanes == 1 {
            return 0;
        }
        let record = facts.record;
        let Some(path) = &self.field else {
            return i64::from(record.partition).rem_euclid(i64::from(self.lanes)) as u32;
        };
        match self.find(path, facts, scratch) {
            Some((Kind::Integer | Kind::Decimal | Kind::Exponent, number)) => self.of_word(number),
            Some((Kind::String, token)) => self.of_word(&token[1..token.len() - 1]),
            Some((Kind::Escaped, token)) => {
                let from = scratch.made.len();
                json_text::decode(&token[1..token.len() - 1], &mut scratch.made);
                let lane = self.of_word(&scratch.made[from..]);
                scratch.made.truncate(from);
                lane
            }
            _ => self.of_offset(record),
        }
    }

    /// Below `logs`, else from the root, else below `data`; null counts as absent.
    fn find<'t>(&self, path: &[Name], facts: &Facts<'t>, scratch: &mut Scratch) -> Option<(Kind, &'t [u8])> {
        let text = facts.text;
        let there = |found: &(Kind, &[u8])| found.0 != Kind::Null;
        if let Some(found) = scratch.below_logs(facts, path).filter(there) {
            return Some(found);
        }
        let (at, root) = scanner::value(text, 0).ok()?;
        let bytes = &text[at..root.end];
        if let Some(found) = scratch.below(root.kind, bytes, path).filter(there) {
            return Some(found);
        }
        let (kind, data) = scratch.below(root.kind, bytes, std::slice::from_ref(&self.data))?;
        scratch.below(kind, data, path).filter(there)
    }

    /// Decoded text, or a number's: by its value if it begins with a number, else by its bytes.
    fn of_word(&self, word: &[u8]) -> u32 {
        match whole_modulo(word, self.lanes) {
            Some(lane) => lane,
            None => (fnv1a_64(word) % u64::from(self.lanes)) as u32,
        }
    }

    fn of_offset(&self, record: &Record<'_>) -> u32 {
        record.offset.rem_euclid(i64::from(self.lanes)) as u32
    }
}

/// The number a text begins with (as PHP's intval reads it, cut toward 0) modulo `lanes`, mathematically,
/// whatever its size. `None` if there is none, or its exponent is above 308.
fn whole_modulo(text: &[u8], lanes: u32) -> Option<u32> {
    let blanks = text.iter().take_while(|b| matches!(b, b' ' | b'\t' | b'\n' | 0x0B | 0x0C | b'\r')).count();
    let text = &text[blanks..];
    let (negative, text) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let (whole, rest) = split_digits(text);
    let (fraction, rest) = rest.strip_prefix(b".").map_or((&b""[..], rest), split_digits);
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let exponent = exponent(rest)?;
    // The digits before the point once it has moved by the exponent; zeros stand in for those that are not written.
    let count = (whole.len() as i64 + exponent).max(0) as usize;
    let digits = whole.iter().chain(fraction).copied().chain(std::iter::repeat(b'0')).take(count);
    let lanes = u64::from(lanes);
    let rest = digits.fold(0, |rest, digit| (rest * 10 + u64::from(digit - b'0')) % lanes);
    Some(if negative { (lanes - rest) % lanes } else { rest } as u32)
}

/// The exponent that stands here, 0 if none does; `None` above 308.
fn exponent(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'e' | b'E', b'-', rest @ ..] => (true, rest),
        [b'e' | b'E', b'+', rest @ ..] | [b'e' | b'E', rest @ ..] => (false, rest),
        _ => return Some(0),
    };
    let digits = split_digits(digits).0;
    let value = digits.iter().fold(0i64, |value, d| value.saturating_mul(10).saturating_add(i64::from(d - b'0')));
    match (negative, value) {
        (true, value) => Some(-value),
        (false, 0..=308) => Some(value),
        _ => None,
    }
}

fn split_digits(text: &[u8]) -> (&[u8], &[u8]) {
    text.split_at(text.iter().take_while(|b| b.is_ascii_digit()).count())
}

fn fnv1a_64(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, |hash, &b| (hash ^ u64::from(b)).wrapping_mul(0x0100_0000_01B3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(lanes: u32, field: &str, value: &str) -> u32 {
        let record = Record { topic: "t", partition: 3, offset: 77, timestamp_ms: 0, leader_epoch: 0, value: None };
        LaneRule::new(lanes, Some(field.into())).of_value(&record, value.as_bytes())
    }
    fn of(token: &str) -> u32 {
        lane(10, "key", &format!("{{\"logs\":{{\"key\":{token}}}}}"))
    }

    #[test]
    fn whole_numbers_take_the_lane_of_their_remainder() {
        let cases = [
            ("35432", 2),
            ("\"35432\"", 2),
            ("-1", 9),
            ("\"-1\"", 9),
            ("0", 0),
            ("-0", 0),
            ("-10", 0),
            ("-3.9", 7),
            ("3.9", 3),
            ("\" \\t\\n\\u000b\\f\\r+12abc\"", 2),
            ("\"7.\"", 7),
            ("\".9\"", 0),
            ("1.29e1", 2),
            ("\"1e1x\"", 0),
            ("\"4e\"", 4),
            ("\"4e+\"", 4),
            ("5e-1", 0),
            ("123e-1", 2),
            ("1e308", 0),
            ("\"17e-99999999999999999999\"", 0),
            ("92233720368547758089", 9),
            ("-92233720368547758089", 1),
            ("\"123456789012345678901234567893\"", 3),
            ("\"\\u0035\"", 5),
        ];
        for (token, expected) in cases {
            assert_eq!(of(token), expected, "{token}");
        }
        assert_eq!(lane(7, "k", "{\"k\":1e20}"), (10u128.pow(20) % 7) as u32);
    }

    #[test]
    fn other_text_takes_the_lane_of_its_hash() {
        // FNV-1a-64: "" is the offset basis, "a" and "foobar" are published test values.
        assert_eq!(of("\"\""), (0xcbf2_9ce4_8422_2325u64 % 10) as u32);
        assert_eq!(of("\"a\""), (0xaf63_dc4c_8601_ec8cu64 % 10) as u32);
        assert_eq!(of("\"\\u0066oobar\""), (0x8594_4171_f739_67e8u64 % 10) as u32);
        assert_eq!(of("1e309"), (fnv1a_64(b"1e309") % 10) as u32);
        assert_eq!(of("\"- 1\""), (fnv1a_64(b"- 1") % 10) as u32);
        assert_eq!(of("\".\""), (fnv1a_64(b".") % 10) as u32);
    }

    #[test]
    fn all_else_takes_the_lane_of_the_offset() {
        for token in ["true", "null", "[1]", "{}"] {
            assert_eq!(of(token), 7, "{token}");
        }
        for value in ["{}", "{\"logs\":{\"key\":1}", "", "5", "\u{0}"] {
            assert_eq!(lane(10, "key", value), 7, "{value}");
        }
        let record = Record { topic: "t", partition: 13, offset: 7, timestamp_ms: 0, leader_epoch: 0, value: None };
        assert_eq!(LaneRule::new(10, None).of_value(&record, b"{\"key\":1}"), 3);
        assert_eq!(LaneRule::new(10, Some("key".into())).of_value(&record, b"{\"key\":\"\xff\"}"), 7);
    }

    #[test]
    fn logs_come_before_the_root_and_the_root_before_data() {
        assert_eq!(lane(10, "k", "{\"k\":2,\"data\":{\"k\":3},\"logs\":{\"k\":1}}"), 1);
        assert_eq!(lane(10, "k", "{\"k\":2,\"data\":{\"k\":3},\"logs\":{\"k\":null}}"), 2);
        assert_eq!(lane(10, "k", "{\"k\":null,\"data\":{\"k\":3},\"logs\":[]}"), 3);
        assert_eq!(lane(10, "k", "{\"k\":true,\"data\":{\"k\":3}}"), 7);
        assert_eq!(lane(10, "headers.app", "{\"headers\":{\"app\":4,\"app\":5}}"), 5);
        assert_eq!(lane(10, "a.b.c", "{\"logs\":{\"a\":{\"b\":{\"c\":\"6\"}}},\"a\":1}"), 6);
        assert_eq!(lane(10, "k", "{\"logs\":{\"k\":1},\"logs\":2,\"k\":8}"), 8);
        assert_eq!(lane(10, "k", "{\"logs\":{\"k\":1},\"logs\":{\"k\":4}}"), 4);
    }
}
