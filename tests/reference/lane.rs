//! `deliver_by`: a value, a field and a number of lanes go in, the lane goes out.

use logmill::flow::record::Record;

use super::json::{self, Json};

/// Which of `lanes` a record takes.
pub fn lane(lanes: u32, field: Option<&str>, record: &Record<'_>, value: &[u8]) -> u32 {
    let by_number = |n: i64| n.rem_euclid(i64::from(lanes)) as u32;
    let Some(field) = field else { return by_number(i64::from(record.partition)) };
    let Ok(root) = json::valid_text(value) else { return by_number(record.offset) };
    let places = [format!("logs.{field}"), field.to_string(), format!("data.{field}")];
    let found = places.iter().find_map(|path| find(root, path).filter(|raw| *raw != "null"));
    let text = match found.map(json_scalar) {
        Some(Some(text)) => text,
        _ => return by_number(record.offset),
    };
    leading_number(&text, lanes).unwrap_or_else(|| (fnv1a_64(text.as_bytes()) % u64::from(lanes)) as u32)
}

/// The text of a string or a number.
fn json_scalar(raw: &str) -> Option<String> {
    if raw.starts_with(['{', '[']) {
        return None;
    }
    match json::tree(raw) {
        Json::Text(text) | Json::Number(text) => Some(text),
        _ => None,
    }
}

fn find<'a>(value: &'a str, path: &str) -> Option<&'a str> {
    let value = value.trim_matches([' ', '\t', '\n', '\r']);
    if !value.starts_with('{') {
        return None;
    }
    let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
    let (_, member) = json::members(value).into_iter().find(|(name, _)| name == first)?;
    rest.map_or(Some(member), |rest| find(member, rest))
}

/// The number that the text begins with, cut toward 0, modulo `lanes`; `None` where it begins with none or its exponent
/// is above 308.
fn leading_number(text: &str, lanes: u32) -> Option<u32> {
    let text = text.trim_start_matches([' ', '\t', '\n', '\u{b}', '\u{c}', '\r']);
    let (is_negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, rest) = split_digits(text);
    let (fraction, rest) = rest.strip_prefix('.').map_or(("", rest), split_digits);
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let exponent = exponent(rest);
    if exponent > 308 {
        return None;
    }
    // Digits before the point once the exponent has moved it.
    let point = whole.len() as i64 + exponent;
    let all = [whole, fraction].concat().into_bytes();
    let mut rest_of = 0_u64;
    for i in 0..point.max(0) as usize {
        let digit = all.get(i).map_or(0, |d| u64::from(d - b'0'));
        rest_of = (rest_of * 10 + digit) % u64::from(lanes);
    }
    let lanes = u64::from(lanes);
    Some(if is_negative { (lanes - rest_of) % lanes } else { rest_of } as u32)
}

fn split_digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

/// `[eE][+-]?[0-9]+`, else 0; what no number of lanes or digits can need is cut off.
fn exponent(text: &str) -> i64 {
    let Some(rest) = text.strip_prefix(['e', 'E']) else { return 0 };
    let (sign, rest) = match rest.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, rest.strip_prefix('+').unwrap_or(rest)),
    };
    let digits = split_digits(rest).0.trim_start_matches('0');
    sign * if digits.len() > 15 { 1 << 40 } else { digits.parse().unwrap_or(0) }
}

fn fnv1a_64(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}
