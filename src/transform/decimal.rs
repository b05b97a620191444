//! Numbers as decimal text: compared exactly, whatever their size, and never through a float.

use std::cmp::Ordering;

use super::json_text::HIGHS;
use super::members::same;

/// True if the whole text is one JSON number.
pub fn is_number(text: &[u8]) -> bool {
    let starts = matches!(text.first(), Some(b'-' | b'0'..=b'9'));
    starts && super::scanner::value(text, 0).is_ok_and(|(_, token)| token.end == text.len())
}

/// True for a JSON number without `.` and exponent.
#[inline]
pub fn is_integer(number: &[u8]) -> bool {
    is_digits(number.strip_prefix(b"-").unwrap_or(number))
}

/// True where nothing but digits stands there.
#[inline]
pub fn is_digits(text: &[u8]) -> bool {
    let eight = |bytes: &[u8; 8]| other_marks(u64::from_le_bytes(*bytes)) == 0;
    // The last bytes overlap those before.
    if let Some(last) = text.last_chunk::<8>() {
        eight(last) && text.as_chunks::<8>().0.iter().all(eight)
    } else if let (Some(first), Some(last)) = (text.first_chunk::<4>(), text.last_chunk::<4>()) {
        other_marks(u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << 32) == 0
    } else {
        text.iter().all(u8::is_ascii_digit)
    }
}

/// The high bit of each byte that is no digit.
#[inline]
pub fn other_marks(word: u64) -> u64 {
    // 0 to 9 after the xor, so that 0x76 more does not reach the high bit.
    let word = word ^ 0x3030_3030_3030_3030;
    (((word & !HIGHS) + 0x7676_7676_7676_7676) | word) & HIGHS
}

/// The value of at most 18 digits.
#[inline]
pub fn value_of(digits: &[u8]) -> i64 {
    let (eights, rest) = digits.as_chunks::<8>();
    let value = eights.iter().fold(0, |value, eight| value * 100_000_000 + value_of_eight(*eight));
    rest.iter().fold(value, |value, digit| value * 10 + i64::from(digit - b'0'))
}

/// Neighbours are added up: digits, then pairs, then fours.
#[inline]
fn value_of_eight(digits: [u8; 8]) -> i64 {
    let word = u64::from_le_bytes(digits) & 0x0F0F_0F0F_0F0F_0F0F;
    let pairs = (word.wrapping_mul(10 << 8 | 1) >> 8) & 0x00FF_00FF_00FF_00FF;
    let fours = (pairs.wrapping_mul(100 << 16 | 1) >> 16) & 0x0000_FFFF_0000_FFFF;
    (fours.wrapping_mul(10_000 << 32 | 1) >> 32) as i64
}

/// True if abs(number) > 9·10^15: beyond what TE keeps exactly.
#[inline]
pub fn is_out_of_range(number: &[u8]) -> bool {
    const LIMIT: &[u8] = b"9000000000000000";
    let digits = number.strip_prefix(b"-").unwrap_or(number);
    if number.len() < LIMIT.len() && !number.iter().any(|b| matches!(b, b'e' | b'E')) {
        return false;
    }
    compare(digits, LIMIT) == Ordering::Greater
}

/// True for two JSON numbers of the same value.
#[inline]
pub fn equal(a: &[u8], b: &[u8]) -> bool {
    // A whole number of no sign is written in one way only.
    same(a, b) || !(is_digits(a) && is_digits(b)) && compare(a, b) == Ordering::Equal
}

/// Orders two JSON numbers by value. Exponents beyond ±10^30 count as that.
pub fn compare(a: &[u8], b: &[u8]) -> Ordering {
    // Whole numbers have no leading zeros: of two that are equally long the text decides.
    if is_digits(a) && is_digits(b) {
        return (a.len(), a).cmp(&(b.len(), b));
    }
    let (a, b) = (Decimal::of(a), Decimal::of(b));
    match (a.sign, b.sign) {
        (x, y) if x != y => x.cmp(&y),
        (0, _) => Ordering::Equal,
        (1, _) => a.magnitude(&b),
        _ => b.magnitude(&a),
    }
}

/// sign × 0.d1d2d3… × 10^exponent, with d1 not 0.
struct Decimal<'a> {
    sign: i8,
    exponent: i128,
    whole: &'a [u8],
    fraction: &'a [u8],
}

impl<'a> Decimal<'a> {
    fn of(number: &'a [u8]) -> Decimal<'a> {
        let (sign, rest) = number.strip_prefix(b"-").map_or((1, number), |rest| (-1, rest));
        let e = rest.iter().position(|b| matches!(b, b'e' | b'E')).unwrap_or(rest.len());
        let (mantissa, exponent) = (&rest[..e], rest.get(e + 1..).unwrap_or_default());
        let dot = mantissa.iter().position(|&b| b == b'.').unwrap_or(mantissa.len());
        let whole = without_leading_zeros(&mantissa[..dot]);
        let mut fraction = mantissa.get(dot + 1..).unwrap_or_default();
        let mut exponent = exponent_value(exponent) + whole.len() as i128;
        if whole.is_empty() {
            let digits = without_leading_zeros(fraction);
            exponent -= (fraction.len() - digits.len()) as i128;
            fraction = digits;
        }
        let sign = if whole.is_empty() && fraction.is_empty() { 0 } else { sign };
        Decimal { sign, exponent, whole, fraction }
    }

    fn magnitude(&self, other: &Decimal<'_>) -> Ordering {
        let length = (self.whole.len() + self.fraction.len()).max(other.whole.len() + other.fraction.len());
        self.exponent.cmp(&other.exponent).then_with(|| self.digits().take(length).cmp(other.digits().take(length)))
    }

    fn digits(&self) -> impl Iterator<Item = u8> + '_ {
        self.whole.iter().chain(self.fraction).copied().chain(std::iter::repeat(b'0'))
    }
}

fn exponent_value(text: &[u8]) -> i128 {
    let (sign, digits) = match text {
        [b'-', digits @ ..] => (-1, digits),
        [b'+', digits @ ..] => (1, digits),
        digits => (1, digits),
    };
    let digits = without_leading_zeros(digits);
    const MAX: i128 = 10i128.pow(30);
    if digits.len() > 30 {
        return sign * MAX;
    }
    sign * digits.iter().fold(0, |value, d| value * 10 + i128::from(d - b'0'))
}

fn without_leading_zeros(digits: &[u8]) -> &[u8] {
    &digits[digits.iter().take_while(|&&d| d == b'0').count()..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_compare_by_value() {
        let ascending = [
            "-1e999",
            "-10",
            "-9.5",
            "-1",
            "-1e-999",
            "0",
            "1e-999",
            "0.00099",
            "0.001",
            "0.99",
            "1",
            "1.000000000000001",
            "9007199254740992",
            "9007199254740993",
            "1e16",
            "1e999",
            "1e1000",
        ];
        for (i, a) in ascending.iter().enumerate() {
            for (j, b) in ascending.iter().enumerate() {
                assert_eq!(compare(a.as_bytes(), b.as_bytes()), i.cmp(&j), "{a} {b}");
                assert_eq!(equal(a.as_bytes(), b.as_bytes()), i == j, "{a} {b}");
            }
        }
        for (a, b) in
            [("1", "1.0"), ("-0", "0e5"), ("100", "1E2"), ("0.5", "5e-1"), ("1200", "0.00012e7"), ("10", "1e1")]
        {
            assert_eq!(compare(a.as_bytes(), b.as_bytes()), Ordering::Equal, "{a} {b}");
            assert!(equal(a.as_bytes(), b.as_bytes()), "{a} {b}");
        }
    }

    #[test]
    fn the_range_ends_exactly_at_nine_quadrillion() {
        for inside in
            ["0", "9000000000000000", "-9000000000000000", "9e15", "9000000000000000.0", "-0", "0e999", "1e-999"]
        {
            assert!(!is_out_of_range(inside.as_bytes()), "{inside}");
        }
        for outside in ["9000000000000001", "-9000000000000000.1", "9007199254740993", "1e999", "1e16", "9.1e15"] {
            assert!(is_out_of_range(outside.as_bytes()), "{outside}");
        }
    }

    #[test]
    fn digits_are_told_from_all_else_and_added_up() {
        for len in 1..=18 {
            let text = &b"907364518209182736"[..len];
            assert!(is_digits(text));
            assert_eq!(value_of(text), std::str::from_utf8(text).unwrap().parse::<i64>().unwrap());
            for (at, byte) in (0..len).flat_map(|at| (0..=255u8).map(move |byte| (at, byte))) {
                let mut text = text.to_vec();
                text[at] = byte;
                assert_eq!(is_digits(&text), byte.is_ascii_digit(), "{byte} at {at} of {len}");
            }
        }
    }

    #[test]
    fn the_number_grammar_is_jsons() {
        assert!(["0", "-0", "1.5", "1E3"].iter().all(|n| is_number(n.as_bytes())));
        assert!(
            ["", " 1", "1 ", "01", "+1", "1.", "0x1", "NaN", "\"1\"", "true"].iter().all(|n| !is_number(n.as_bytes()))
        );
    }
}
