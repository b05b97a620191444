//! Numbers as text: their grammar and their exact order in decimal; nothing goes through f64.

use std::cmp::Ordering;

/// A JSON number without `.`, `e`, `E`.
pub fn is_integer(token: &str) -> bool {
    !token.contains(['.', 'e', 'E'])
}

/// `-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?`, the whole text.
pub fn is_json_number(text: &str) -> bool {
    let all_digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let whole_ok = all_digits(whole) && (whole == "0" || !whole.starts_with('0'));
    let fraction_ok = fraction.is_none_or(all_digits);
    let exponent_ok = exponent.is_none_or(|e| all_digits(e.strip_prefix(['+', '-']).unwrap_or(e)));
    whole_ok && fraction_ok && exponent_ok
}

/// The order of two JSON numbers by value.
pub fn compare(a: &str, b: &str) -> Ordering {
    let (a, b) = (Decimal::new(a), Decimal::new(b));
    let sign = |d: &Decimal| {
        if d.digits.is_empty() {
            0
        } else if d.negative {
            -1
        } else {
            1
        }
    };
    match (sign(&a).cmp(&sign(&b)), a.negative) {
        (Ordering::Equal, false) => a.compare_size(&b),
        (Ordering::Equal, true) => b.compare_size(&a),
        (unequal, _) => unequal,
    }
}

/// abs(v) > 9·10^15.
pub fn is_out_of_range(token: &str) -> bool {
    compare(token.strip_prefix('-').unwrap_or(token), "9000000000000000") == Ordering::Greater
}

/// 0.d1d2d3… times 10^exponent; no digit for zero.
struct Decimal {
    negative: bool,
    digits: Vec<u8>,
    exponent: i128,
}

impl Decimal {
    fn new(token: &str) -> Decimal {
        let unsigned = token.strip_prefix('-').unwrap_or(token);
        let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let mut digits = [whole, fraction].concat().into_bytes();
        let mut exponent = exponent_value(exponent) + whole.len() as i128;
        while digits.first() == Some(&b'0') {
            digits.remove(0);
            exponent -= 1;
        }
        while digits.last() == Some(&b'0') {
            digits.pop();
        }
        let is_zero = digits.is_empty();
        Decimal { negative: token.starts_with('-') && !is_zero, digits, exponent: if is_zero { 0 } else { exponent } }
    }

    fn compare_size(&self, other: &Decimal) -> Ordering {
        self.exponent.cmp(&other.exponent).then_with(|| self.digits.cmp(&other.digits))
    }
}

/// Exact to 30 digits; beyond them only the sign matters.
fn exponent_value(text: &str) -> i128 {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let digits = digits.trim_start_matches('0');
    let size = if digits.len() > 30 { 10_i128.pow(30) } else { digits.parse().unwrap_or(0) };
    sign * size
}
